"""`models` and `info`: what there is. They read facts.json, and do not load TensorFlow. `licences`: whose it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..facts import fact, facts, info_table, matching
from ..terminal import note, print_table
from .app import Json, app, load_tensorflow
from .output import say, show


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help='Which, as "inception*".')] = "*",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Those with published weights, and these.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks."""
    named = {name: record for name, record in facts().items() if record["weights"] or not pretrained}
    records = [named[name] for name in matching(pattern, named)]
    if not records:
        kind = "pretrained model" if pretrained else "model"
        raise InputError(f"no {kind} matches {pattern!r}; `keras-inception models` lists all")
    if pretrained:
        rows = [row for record in records for row in record["weights"]]
        show(rows if as_json else _without_urls(rows), as_json)
        return
    rows = [
        {
            "name": record["name"],
            "year": record["paper"]["year"],
            "input": " x ".join(map(str, record["input"])),
            "parameters": record["trainable"],
            "multiply-adds": record["macs"],
            "paper": record["paper"]["title"],
        }
        for record in records
    ]
    show(rows, as_json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A network, as `models` lists them, or a .tflite file of one.")],
    diagram: Annotated[Path | None, typer.Option(help="Draw the network and its modules into this .svg file.")] = None,
    as_json: Json = False,
) -> None:
    """Print a network's table: every row of the paper's, with size, cost and receptive field; then its arguments."""
    if name.endswith(".tflite"):
        load_tensorflow()
        from ..weights import recognise_tflite

        found = recognise_tflite(name)
        arguments = ", ".join(f"{key}={value!r}" for key, value in found.arguments.items())
        before = ", with a background class before these" if found.background else ""
        typer.echo(f"{name} holds {found.network} with {arguments}{before}", err=as_json)
        name = found.network
    record = fact(name)
    if as_json:
        show([dict(record)], as_json, whole=True)
    else:
        print_table(info_table(record))
        show([{**a, "default": str(a["default"])} for a in record["arguments"]], as_json)
        if record["weights"]:
            show(_without_urls(record["weights"]), as_json)
    if diagram:
        load_tensorflow()
        from ..analysis.cost import blueprint
        from ..diagram.draw import draw
        from ..registry import get

        draw(blueprint(get(name).build), diagram)
        if not as_json:
            say(f"wrote {diagram}")


@app.command()
def licences(as_json: Json = False) -> None:
    """List the licences of the package, of the installed packages that it needs, and of all published weights."""
    from ..licences import licences as found

    entries = found()
    rows = [asdict(entry) | {"non_commercial": entry.non_commercial} for entry in entries]
    if not as_json:
        rows = [row | {"non_commercial": "yes" if row["non_commercial"] else ""} for row in rows]
    show(rows, as_json)
    if excluded := [entry.name for entry in entries if entry.non_commercial]:
        note(f"{len(excluded)} exclude commercial use: {', '.join(excluded)}")


def _without_urls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a terminal is wide enough for."""
    return [{k: v for k, v in row.items() if k != "url"} for row in rows]
