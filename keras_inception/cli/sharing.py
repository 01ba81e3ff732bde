"""`push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import note
from .app import Json, RunPath, app
from .output import say, show


@app.command()
def push(
    run_path: RunPath,
    address: Annotated[str, typer.Argument(metavar="hf://USER/NAME", help="Where to, on the hub.", show_default=False)],
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            "--license",
            metavar="NAME",
            help="Of the model: apache-2.0, mit, cc-by-4.0 ...",
            show_default="that of the published weights it started from",
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="With its page, which shows images.")] = True,
    exports: Annotated[bool, typer.Option("--exports", help="With the files in RUN/exports.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the model card; upload nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Upload a run to the Hugging Face hub with a model card; hf://USER/NAME stands wherever a run does."""
    from ..run import Run
    from ..sharing import prepared, push_to_hub

    run = Run.load(run_path)
    files = prepared(run, address, licence=licence, report=report, exports=exports)
    sizes = {name: f.stat().st_size if isinstance(f, Path) else len(f) for name, f in files.items()}
    if dry_run:
        card = files["README.md"]
        assert isinstance(card, bytes)
        if as_json:
            show([{"card": card.decode(), "files": sizes}], as_json, whole=True)
        else:
            print(card.decode(), end="")
            for name, size in sizes.items():
                note(f"{name}, {size:,} bytes", style="")
        return
    if "report.html" in files:
        note("report.html shows some of the images; --no-report leaves it out", style="")
    made = push_to_hub(run, address, licence=licence, private=private, report=report, exports=exports)
    if as_json:
        show([{"address": made, "files": sizes}], as_json, whole=True)
    else:
        say(f"pushed {len(files)} files, {sum(sizes.values()) / 1e6:,.1f} MB: {made}")
