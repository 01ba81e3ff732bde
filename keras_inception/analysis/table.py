"""A network's table, as its paper prints it, computed from the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from ..registry import Architecture
from ..weights.download import addresses
from .cost import blueprint, endpoint_costs, total


def info_table(architecture: Architecture) -> Table:
    """A row for each endpoint of the network with its default arguments, and the totals."""
    costs = endpoint_costs(blueprint(architecture.build))
    everything = total(costs)
    paper = architecture.paper
    table = Table(
        title=f'{architecture.builder}: {paper.authors}, {paper.year}, "{paper.title}"',
        caption=(
            f"{everything.trainable:,} parameters are trainable. MACs: multiply-adds of convolutions and dense layers, "
            f"one image. Field: receptive field in pixels. {paper.url}"
        ),
        box=box.SIMPLE_HEAD,
        show_footer=True,
        padding=(0, 1, 0, 0),
    )
    table.add_column("name", "total", no_wrap=True)
    table.add_column("kind")
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("parameters", f"{everything.parameters:,}", justify="right", no_wrap=True)
    table.add_column("MACs", f"{everything.macs:,}", justify="right", no_wrap=True)
    table.add_column("field", justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(
            cost.name,
            cost.kind,
            by(cost.output_shape),
            f"{cost.parameters:,}" if cost.parameters else "",
            f"{cost.macs:,}" if cost.macs else "",
            by(tuple(dict.fromkeys(cost.receptive_field))),  # once if it is square
        )
    return table


def checkpoint_rows(architecture: Architecture) -> list[dict[str, Any]]:
    """A network's published checkpoints, the preferred one first. Accuracies (0..1) are the publishers'."""
    return [
        {
            "model": checkpoint.model,
            "tag": checkpoint.tag,
            "top-1": None if checkpoint.top1 is None else round(checkpoint.top1 / 100, 6),
            "pixels": by(checkpoint.preprocessing.size),
            "resize": f"{checkpoint.preprocessing.resize_mode} {checkpoint.preprocessing.crop:.3g}",
            "bytes": checkpoint.bytes,
            "licence": checkpoint.license.split(" (")[0],
            "source": checkpoint.layout,
            "url": addresses(checkpoint)[0],
        }
        for checkpoint in architecture.weights
    ]


def by(sizes: Sequence[int]) -> str:
    """Sizes as text, "224×224×3"."""
    return "×".join(map(str, sizes))
