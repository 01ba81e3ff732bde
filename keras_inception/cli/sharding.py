"""`shards`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from .app import Json, app, fail
from .output import say, show


@app.command()
def shards(
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="Labelled image files, in any place that `train` takes.")
    ],
    out_path: Annotated[Path, typer.Option("--out", help="The folder to make; `train` and others take it as IMAGES.")],
    validation: Annotated[float, typer.Option(help="Fraction for validation, where IMAGES has no val/.")] = 0.2,
    test: Annotated[float, typer.Option(help="Fraction for test, where IMAGES has no test/.")] = 0.0,
    per_shard: Annotated[int, typer.Option(metavar="IMAGES", help="The most images in a file.")] = 1024,
    as_json: Json = False,
) -> None:
    """Write images into a few large files (TFRecord), verified. The same command resumes an interrupted writing."""
    from ..data import write_shards

    try:
        written = write_shards(images, out_path, validation=validation, test=test, per_shard=per_shard)
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        fail("interrupted; the same command resumes with the shards that are finished", code=128 + number)
    rows = [
        {
            "side": side,
            "images": sum(shard.images for shard in files),
            "shards": len(files),
            "bytes": sum(shard.bytes for shard in files),
        }
        for side, files in written.sides.items()
    ]
    show(rows, as_json)
    if not as_json:
        say(f"wrote {written.path}")
