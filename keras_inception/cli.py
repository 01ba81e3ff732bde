"""The command line. Each command is a call of the library; its heavy imports wait until a command is given."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from .errors import InputError
from .quiet import quiet

if TYPE_CHECKING:
    from .data import Split
    from .export import Agreement
    from .run import Run

app = typer.Typer(
    name="keras-inception",
    help="Classic CNNs: labelled pictures in, verified server and phone files out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory that `train` made.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main() -> None:
    """Run the command line: an expected failure is one line on stderr, and the exit code is 0 only on success."""
    try:
        app()
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail("the disk is full: free some space and run the same command again")
        if error.errno is None:
            raise
        _fail(f"{error.filename or 'file'}: {os.strerror(error.errno).lower()}")


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


@app.callback()
def start() -> None:
    """Load TensorFlow without its start-up chatter; `--help` does not need it."""
    if "--help" not in sys.argv:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet():
            import tensorflow  # noqa: F401


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help='Which, as "inception*".')] = "*",
    as_json: Json = False,
) -> None:
    """List the networks."""
    from .registry import get, list_models

    architectures = [get(name) for name in list_models(pattern)]
    if not architectures:
        raise InputError(f"no model matches {pattern!r}; `keras-inception models` lists all")
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
    _show(rows, as_json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A network, as `models` lists them.")],
    diagram: Annotated[Path | None, typer.Option(help="Draw the network and its modules into this .svg file.")] = None,
) -> None:
    """Print a network's table: every row of the paper's, with size, cost and receptive field."""
    from .info import info_table
    from .registry import get

    architecture = get(name)
    out.print(info_table(architecture))
    if diagram:
        from .cost import blueprint
        from .diagram import draw

        draw(blueprint(architecture.build), diagram)
        out.print(f"wrote {diagram}", highlight=False)


@app.command()
def train(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="One folder of pictures a class.")],
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")],
    model: Annotated[str, typer.Option(help="The network, as `models` lists them.")] = "inception_v3",
    epochs: Annotated[int, typer.Option(help="Times to see all pictures.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Pictures a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the first step; falls to 0 along a cosine.")] = 1e-3,
    size: Annotated[int | None, typer.Option(help="Input height and width in pixels.", show_default="paper's")] = None,
    validation: Annotated[float, typer.Option(help="Fraction held out where PHOTOS has no val/.")] = 0.2,
    flip: Annotated[bool, typer.Option(help="Mirror half of the training pictures; not for text.")] = True,
    weights: Annotated[str | None, typer.Option(help="A .weights.h5 file to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a network on labelled pictures. The same command resumes a training that was interrupted."""
    from .data import Augmentation
    from .training import train

    try:
        run = train(
            photos,
            out=out_path,
            model=model,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            size=size,
            validation=validation,
            augmentation=Augmentation(flip=flip),
            weights=weights,
            seed=seed,
        )
    except KeyboardInterrupt:
        _fail("interrupted; the same command resumes behind the last whole epoch", code=130)
    _show([run.metrics], as_json, whole=True)
    if not as_json:
        out.print(f"wrote {run.path}; see {run.path / 'report.html'}", highlight=False)


@app.command()
def evaluate(
    run_path: RunPath,
    photos: Annotated[
        Path | None, typer.Argument(metavar="PHOTOS", help="Other pictures, one folder a class.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a run on the pictures it held out, or on all of PHOTOS."""
    from .run import Run
    from .training import evaluate

    run = Run.load(run_path)
    _show([evaluate(run.model(), _pictures(run, photos), run.preprocessing)], as_json, whole=True)


@app.command()
def predict(
    run_path: RunPath,
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
    top: Annotated[int, typer.Option(help="Answers a picture.")] = 3,
    as_json: Json = False,
) -> None:
    """Name what is in pictures."""
    import numpy as np

    from .data import decode
    from .run import Run

    run = Run.load(run_path)
    prepared = [run.preprocessing(decode(picture)) for picture in pictures]
    network = run.model()
    rows: list[dict[str, Any]] = []
    for path, picture in zip(pictures, prepared, strict=True):
        answer = np.asarray(network.predict_on_batch(picture[None]))[0]
        best = np.argsort(-answer)[:top]
        rows.append({"picture": str(path), "labels": {run.labels[i]: float(answer[i]) for i in best}})
    if as_json:
        _show(rows, as_json)
        return
    for row in rows:
        answers = "   ".join(f"{label} {p:.1%}" for label, p in row["labels"].items())
        out.print(f"{row['picture']}   {answers}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[list[str] | None, typer.Option(help="A format; repeat for several.", show_default="all five")] = None,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="RUN/exports")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Json = False,
) -> None:
    """Export a run for servers (saved_model) and phones (tflite, tflite-float16, tflite-dynamic, tflite-int8)."""
    from .export import FORMATS, export_run
    from .run import Run

    run = Run.load(run_path)
    files = export_run(run, to or list(FORMATS), out_path, overwrite=overwrite)
    _report(_verified(files, run, _pictures(run, None).sample(50)), as_json)


@app.command()
def verify(
    run_path: RunPath,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Exported files.", show_default="all in RUN/exports")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Other pictures, one folder a class.")] = None,
    as_json: Json = False,
) -> None:
    """Run exported files in their own runtimes against the Keras model; exit with 1 if one misses its bar."""
    from .export import exported
    from .run import Run

    run = Run.load(run_path)
    _report(_verified(files or exported(run), run, _pictures(run, photos)), as_json)


@app.command()
def demo(
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Train on real handwritten digits, export every format, and verify every file: the whole road in minutes."""
    from .demo import SETTINGS, digits
    from .export import FORMATS, export_run
    from .training import train

    dataset = digits()
    run = train(dataset, out=out_path, **SETTINGS)
    files = export_run(run, list(FORMATS), calibration=dataset.train)
    _report(_verified(files, run, dataset.val), as_json)


# ------------------------------------------------------------------------------------------------------------ helpers


def _pictures(run: Run, photos: Path | None) -> Split:
    """What to measure on: all of `photos`, or what the run held out."""
    from .data import load_pictures
    from .training import held_out

    return held_out(run) if photos is None else load_pictures(photos, run.labels)


def _verified(files: Iterable[Path], run: Run, pictures: Split) -> list[Agreement]:
    from .export import agreement

    model = run.model()
    return [agreement(file, model, pictures) for file in files]


def _report(agreements: list[Agreement], as_json: bool) -> None:
    """Print what was measured; exit with 1 if a file misses its bar."""
    from .export import misses

    if as_json:
        _show([a.to_dict() for a in agreements], as_json)
    else:
        keras_top1 = _cell("top1", agreements[0].keras_top1)
        out.print(f"{agreements[0].n:,} pictures; the Keras model gets {keras_top1} of them right", highlight=False)
        columns = {
            "format": "format",
            "bytes": "bytes",
            "top1": "top-1",
            "agreement": "agreement",
            "max_difference": "largest difference",
            "milliseconds": "ms a picture",
        }
        _show([{title: getattr(a, name) for name, title in columns.items()} for a in agreements], as_json)
    if failures := [m for a in agreements for m in misses(a)]:
        _fail("; ".join(failures))


def _show(rows: list[dict[str, Any]], as_json: bool, *, whole: bool = False) -> None:
    """Rows as a table, or as JSON; `whole` is a single record."""
    if as_json:
        print(json.dumps(rows[0] if whole else rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key, value in rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*map(_cell, row.keys(), row.values()))
    out.print(table)


def _cell(key: str, value: Any) -> str:
    match value:
        case None:
            return "-"
        case float() if key in ("top1", "top-1", "top5", "agreement"):
            return f"{value:.2%}"
        case float():
            return f"{value:.3g}"
        case int() if key != "year":
            return f"{value:,}"
    return str(value)
