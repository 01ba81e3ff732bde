"""`evaluate`, `predict` and `report`."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..terminal import note
from .app import Images, Json, RunPath, app, fail
from .output import say, show, show_metrics

if TYPE_CHECKING:
    from ..evaluation import BatchPredictor, Predictor

PREDICTOR = "A run, or hf://USER/NAME, or an exported file: a .tflite, a SavedModel, an .onnx, OpenVINO's folder."


@app.command()
def evaluate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [IMAGES]", help="Runs or exported files; then other images, one folder per class."
        ),
    ],
    crops: Annotated[int, typer.Option(help="Views of each image to average: 1, 10, 12 or 144.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure a run or an exported file, or several together, on the run's test images, or on other IMAGES.

    Where there are no test images, on the validation images; a line says which.
    """
    from ..evaluation import Ensemble, evaluate
    from ..run import Run

    *first, last = paths
    given = last if first and not _is_predictor(Path(last)) else None
    predictors: list[Predictor] = [opened(Path(path)) for path in (paths if given is None else first)]
    if given is None:
        if not isinstance(predictors[0], Run):
            raise InputError(f"{paths[0]} does not know its images: give a folder of them, with one folder per class")
        images: Any = predictors[0].images("held_out")
    else:
        images = given
    if crops != 1:
        predictors = [_with_crops(predictor, path, crops) for predictor, path in zip(predictors, paths, strict=False)]
    measured = evaluate(predictors[0] if len(predictors) == 1 else Ensemble(predictors), images)
    if given is None:
        note(f"measured on {images} of {paths[0]}", style="")
    show_metrics([measured], len(predictors[0].labels), as_json)


@app.command()
def report(
    run_path: RunPath,
    images: Images = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Where to look for Grad-CAM, as mixed_6e.", show_default="the last map")
    ] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="The page.", show_default="RUN/report.html")] = None,
    as_json: Json = False,
) -> None:
    """Draw a run's page anew: curves, training images, confusion, calibration, mistakes, Grad-CAM."""
    from ..files import need_writable, write_file
    from ..outputs import MAIN
    from ..report import figures, page, read_history
    from ..run import Run

    run = Run.load(run_path)
    target = out_path or run.beside("report.html")
    need_writable(target.parent)
    split = run.images("held_out", images)
    probabilities = run.probabilities(split)[MAIN]
    dataset = None
    with suppress(InputError):  # they may be gone, or others may be given
        dataset = run.dataset(images)
    text = page(run, run.predictor.model, read_history(run), split, probabilities, dataset=dataset, endpoint=endpoint)
    write_file(target, lambda part: part.write_text(text, encoding="utf-8"))
    if as_json:
        show([{"page": str(target)} | figures(run.labels, split, probabilities)], as_json, whole=True)
    else:
        say(f"wrote {target}, measured on {split}")


@app.command()
def predict(
    path: Annotated[Path, typer.Argument(metavar="RUN", help=PREDICTOR, show_default=False)],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...", help="Image files, folders of them, lists, shards, archives, Parquet files, addresses."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 3,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="A table to write: .parquet, .csv or .jsonl. For any number of images.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="With --out: images at a time.", show_default="32")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="With --out: the features before a run's classifier too.")
    ] = False,
    shards: Annotated[
        int | None, typer.Option(min=1, help="With --out: how many processes share the images.", show_default="1")
    ] = None,
    shard: Annotated[
        int | None, typer.Option(min=0, help="With --out: which of them this is, from 0.", show_default="0")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="local|ray", help="With --out: who computes.", show_default="local")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: the cluster's.", show_default="one of this machine")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is in images: the most probable classes of each. Exit with 1 if one of them cannot be read.

    With --out, images that cannot be read are rows that say why, and the same command resumes after an interruption.
    """
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "embeddings": embeddings or None,
        "shards": shards,
        "shard": shard,
    }
    options |= {"engine": engine, "address": address}
    given_options = {name: value for name, value in options.items() if value is not None}
    if out_path is not None:
        _predict_many(path, images, out_path, as_json, top=top, **given_options)
        return
    if given_options:
        name = next(iter(given_options)).replace("_", "-")
        raise InputError(f"--{name} is for a table of answers: say which file it is, --out answers.parquet")
    from ..data import as_images
    from ..evaluation.predictor import ranked
    from ..outputs import MAIN

    predictor = opened(path)
    given, names, rejected = as_images(images)
    rows: list[dict[str, Any]] = []
    for name, row in zip(names, predictor.probabilities(given)[MAIN] if names else (), strict=True):
        found = ranked(name, row, predictor.labels, top)
        labels = dict(zip(found.labels, found.probabilities, strict=True))
        rows.append({"image": name, "labels": labels})
    if as_json and (rows or not rejected):
        show(rows, as_json)
    else:
        for line in rows:
            classes = "   ".join(f"{label} {p:.1%}" for label, p in line["labels"].items())
            say(f"{line['image']}   {classes}")
    if rejected:
        fail("; ".join(f"{r.path} cannot be read: {r.reason}" for r in rejected))


def _predict_many(path: Path, images: list[str], out: Path, as_json: bool, **options: Any) -> None:
    from ..data import is_named
    from ..evaluation import predict_many

    for image in images:
        if not is_named(image) and not Path(image).exists():
            raise InputError(f"there is no file or folder {image}: give images that are there")
    try:
        written = predict_many(opened(path), images, out, **options)
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        fail("interrupted; the same command resumes with the parts that are finished", code=128 + number)
    rate = written.computed / written.seconds if written.computed else None
    row = {"images": written.images, "unreadable": written.unreadable, "images_per_second": rate}
    show([row | {"out": str(written.path)}], as_json, whole=True)


def opened(path: Path) -> BatchPredictor:
    """A run directory or an exported file.

    Raises:
        InputError: it is neither, or cannot be opened.
    """
    from keras_inception.export.runtimes.predictor import is_exported, open_predictor

    from ..run import Run, run_of

    if run := run_of(path):
        return run
    return open_predictor(path) if is_exported(path) else Run.load(path)


def _is_predictor(path: Path) -> bool:
    from keras_inception.export.runtimes.predictor import is_exported

    from ..hub import is_address
    from ..run import STATE

    return is_address(path) or any((path / name).exists() for name in ("run.json", STATE)) or is_exported(path)


def _with_crops(predictor: Predictor, path: str, crops: int) -> Predictor:
    from ..run import Run

    if not isinstance(predictor, Run):
        raise InputError(f"crops are for runs: {path} is an exported file, which takes one view of an image")
    return replace(predictor.predictor, crops=crops)
