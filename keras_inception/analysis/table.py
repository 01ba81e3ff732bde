"""A network's record and its table, as its paper prints it, computed from the network itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import keras
from rich.table import Table

from .. import facts
from ..arguments import checked
from ..builder import settable
from ..registry import Architecture
from ..weights.download import addresses
from .cost import blueprint, endpoint_costs, total


@checked
def info_table(architecture: Architecture) -> Table:
    """A row for each endpoint of the network with its default arguments, and the totals.

    Raises:
        InputError: it is no `Architecture`, as `model_info` returns it.
    """
    return facts.info_table(described(architecture))


@checked
def described(architecture: Architecture, model: keras.Model | None = None) -> dict[str, Any]:
    """All that `models` and `info` print of a network; `model` is its blueprint, where that is built already.

    Raises:
        InputError: it is no `Architecture`, as `model_info` returns it, or the model has no costs.
    """
    rows = endpoint_costs(model or blueprint(architecture.build))
    return {
        "name": architecture.name,
        "builder": architecture.builder,
        "alias": architecture.alias,
        "paper": asdict(architecture.paper),
        "input": architecture.input_shape,
        "classes": architecture.classes,
        "arguments": [
            {"name": a.name, "default": a.default, "allowed": a.allowed, "meaning": a.meaning}
            for a in settable(architecture).values()
        ],
        "weights": checkpoint_rows(architecture),
        **asdict(total(rows)),
        "rows": [asdict(row) for row in rows],
    }


@checked
def checkpoint_rows(architecture: Architecture) -> list[dict[str, Any]]:
    """A network's published checkpoints, the preferred one first. Accuracies (0..1) are the publishers'.

    Raises:
        InputError: it is no `Architecture`, as `model_info` returns it.
    """
    return [
        {
            "model": checkpoint.model,
            "tag": checkpoint.tag,
            "top-1": None if checkpoint.top1 is None else round(checkpoint.top1 / 100, 6),
            "pixels": facts.by(checkpoint.preprocessing.size),
            "resize": f"{checkpoint.preprocessing.resize_mode} {checkpoint.preprocessing.crop:.3g}",
            "bytes": checkpoint.bytes,
            "licence": checkpoint.license.split(" (")[0],
            "source": f"{checkpoint.layout} (page)" if checkpoint.page else checkpoint.layout,
            "url": addresses(checkpoint)[0],
        }
        for checkpoint in architecture.weights
    ]
