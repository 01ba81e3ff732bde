"""The Typer app, and how a command fails: one line on stderr, without a traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..terminal import quiet

app = typer.Typer(
    name="keras-inception",
    help="Classic CNNs: labelled images in, verified server and phone files out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunPath = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run directory that `train` made, or hf://USER/NAME.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Images = Annotated[  # text, since a path drops a slash of an address
    str | None, typer.Option("--images", metavar="IMAGES", help="Other images, of any kind that `train` takes.")
]


WITHOUT_TENSORFLOW = ("models", "info")


@app.callback()
def start(context: typer.Context) -> None:
    """Load TensorFlow without its start-up chatter, for the commands that need it; `--help` does not."""
    if "--help" not in sys.argv and context.invoked_subcommand not in WITHOUT_TENSORFLOW:
        load_tensorflow()


def load_tensorflow() -> None:
    """Import TensorFlow, which takes seconds, without its start-up chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import tensorflow  # noqa: F401


def fail(message: str, code: int = 1) -> NoReturn:
    """End with one line on stderr."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
