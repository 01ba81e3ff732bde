"""`models` and `info`: what there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..terminal import print_table
from .app import Json, app
from .output import say, show

if TYPE_CHECKING:
    from ..registry import Architecture


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help='Which, as "inception*".')] = "*",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Those with published weights, and these.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks."""
    from ..analysis import checkpoint_rows
    from ..registry import get, list_models

    architectures = [get(name) for name in list_models(pattern, pretrained=pretrained)]
    if not architectures:
        kind = "pretrained model" if pretrained else "model"
        raise InputError(f"no {kind} matches {pattern!r}; `keras-inception models` lists all")
    if pretrained:
        rows = [row for a in architectures for row in checkpoint_rows(a)]
        show(rows if as_json else _without_urls(rows), as_json)
        return
    rows = [
        {
            "name": a.name,
            "year": a.paper.year,
            "input": " x ".join(map(str, a.input_shape)),
            "parameters": a.parameters,
            "multiply-adds": a.macs,
            "paper": a.paper.title,
        }
        for a in architectures
    ]
    show(rows, as_json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A network, as `models` lists them.")],
    diagram: Annotated[Path | None, typer.Option(help="Draw the network and its modules into this .svg file.")] = None,
    as_json: Json = False,
) -> None:
    """Print a network's table: every row of the paper's, with size, cost and receptive field."""
    from ..analysis import checkpoint_rows, info_table
    from ..registry import get

    architecture = get(name)
    weights = checkpoint_rows(architecture)
    if as_json:
        show([_described(architecture) | {"weights": weights}], as_json, whole=True)
    else:
        print_table(info_table(architecture))
        if weights:
            show(_without_urls(weights), as_json)
    if diagram:
        from ..analysis.cost import blueprint
        from ..diagram.draw import draw

        draw(blueprint(architecture.build), diagram)
        if not as_json:
            say(f"wrote {diagram}")


def _described(architecture: Architecture) -> dict[str, Any]:
    """What the table of a network shows."""
    from ..analysis.cost import blueprint, endpoint_costs, total

    rows = endpoint_costs(blueprint(architecture.build))
    sums = asdict(total(rows))
    return {
        "name": architecture.name,
        "builder": architecture.builder,
        "paper": asdict(architecture.paper),
        "input": architecture.input_shape,
        "classes": architecture.classes,
        "arguments": architecture.own,
        **sums,
        "rows": [asdict(row) for row in rows],
    }


def _without_urls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a terminal is wide enough for."""
    return [{k: v for k, v in row.items() if k != "url"} for row in rows]
