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

from ..errors import InputError
from ..terminal import quiet

if TYPE_CHECKING:
    from keras_inception.export import Agreement

    from ..data import Split
    from ..run import Run

app = typer.Typer(
    name="keras-inception",
    help="Classic CNNs: labelled images in, verified server and phone files out.",
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
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Those with published weights, and these.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks."""
    from ..analysis.table import checkpoint_rows
    from ..registry import get, list_models

    architectures = [get(name) for name in list_models(pattern, pretrained=pretrained)]
    if not architectures:
        kind = "pretrained model" if pretrained else "model"
        raise InputError(f"no {kind} matches {pattern!r}; `keras-inception models` lists all")
    if pretrained:
        rows = [row for a in architectures for row in checkpoint_rows(a)]
        _show(rows if as_json else _without_urls(rows), as_json)
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
    _show(rows, as_json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A network, as `models` lists them.")],
    diagram: Annotated[Path | None, typer.Option(help="Draw the network and its modules into this .svg file.")] = None,
) -> None:
    """Print a network's table: every row of the paper's, with size, cost and receptive field."""
    from ..analysis.table import checkpoint_rows, info_table
    from ..registry import get

    architecture = get(name)
    out.print(info_table(architecture))
    if rows := checkpoint_rows(architecture):
        _show(_without_urls(rows), as_json=False)
    if diagram:
        from ..analysis.cost import blueprint
        from ..diagram.draw import draw

        draw(blueprint(architecture.build), diagram)
        out.print(f"wrote {diagram}", highlight=False)


@app.command()
def train(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="One folder of images per class.")],
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")],
    recipe: Annotated[
        str | None, typer.Option(help="A paper's, as inception_v3; the options below change it.", show_default="Adam")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The network, as `models` lists them.", show_default="recipe's, or inception_v3")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Times to see all images.", show_default="10")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.", show_default="32")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Before its schedule.", show_default="0.001")] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width in pixels.", show_default="paper's")] = None,
    validation: Annotated[float, typer.Option(help="Fraction held out where IMAGES has no val/.")] = 0.2,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the training images; not for text.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Fine-tune: a tag, as imagenet, a file of weights, or a run.")
    ] = None,
    freeze_epochs: Annotated[
        int | None, typer.Option(help="Of the epochs: only the new classifier learns.", show_default="half")
    ] = None,
    backbone_rate: Annotated[float, typer.Option(help="Backbone's learning rate, a part of the classifier's.")] = 0.1,
    batch_norm: Annotated[bool, typer.Option("--batch-norm", help="Let pretrained batch norms learn.")] = False,
    features: Annotated[
        bool,
        typer.Option("--features/--no-features", help="Run a frozen backbone once; or augment every epoch."),
    ] = True,
    balance: Annotated[bool, typer.Option("--balance", help="Weigh rare classes up.")] = False,
    precision: Annotated[str, typer.Option(help="float32, mixed_float16 or mixed_bfloat16.")] = "float32",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write RUN/logs for TensorBoard.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a network on labelled images. The same command resumes a training that was interrupted."""
    from dataclasses import replace

    from ..training import recipes
    from ..training.train import train

    chosen = recipes.get(recipe) if recipe else recipes.Recipe()
    changes: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    changes = {k: v for k, v in changes.items() if v is not None}
    if flip is not None and chosen.augmentation is not None:
        changes["augmentation"] = replace(chosen.augmentation, flip=flip)  # type: ignore[type-var]
    try:
        run = train(
            images,
            out=out_path,
            recipe=recipe,
            model=model,
            size=size,
            validation=validation,
            seed=seed,
            weights=weights,
            freeze_epochs=freeze_epochs,
            backbone_rate=backbone_rate,
            batch_norm=batch_norm,
            cache_features=features,
            balance=balance,
            precision=precision,
            tensorboard=tensorboard,
            **changes,
        )
    except KeyboardInterrupt:
        _fail("interrupted; the same command resumes behind the last whole epoch", code=130)
    _show([run.metrics], as_json, whole=True)
    if not as_json:
        out.print(f"wrote {run.path}; see {run.path / 'report.html'}", highlight=False)


@app.command()
def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN... [IMAGES]", help="Runs; then other images, one folder a class.")
    ],
    crops: Annotated[int, typer.Option(help="Views of each image to average: 1, 10, 12 or 144.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure a run, or several together, on the images held out, or on all of IMAGES."""
    from ..evaluation.predictor import evaluate, scores, together
    from ..run import Run

    *first, last = paths
    is_run = not first or any((last / name).exists() for name in ("run.json", "checkpoints"))
    runs = [Run.load(path) for path in (paths if is_run else first)]
    images = _images(runs[0], None if is_run else last)
    if len(runs) == 1:
        measured = evaluate(runs[0].model(), images, runs[0].preprocessing, crops=crops)
    else:
        measured = scores(together(runs, images, crops=crops), images.labels)
    _show([measured], as_json, whole=True)


@app.command()
def report(
    run_path: RunPath,
    images: Annotated[Path | None, typer.Option(help="Other images, one folder a class.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Where to look for Grad-CAM, as mixed_6e.", show_default="the last map")
    ] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="The page.", show_default="RUN/report.html")] = None,
) -> None:
    """Draw a run's page anew: curves, confusion, calibration, mistakes and where the network looked."""
    from ..evaluation.predictor import probabilities
    from ..files import write_file
    from ..report.page import page, read_history
    from ..run import Run

    run, target = Run.load(run_path), out_path or run_path / "report.html"
    split, network = _images(run, images), run.model()
    answers = probabilities(network, split, run.preprocessing)
    text = page(run, network, read_history(run), split, answers, endpoint=endpoint)
    write_file(target, lambda part: part.write_text(text, encoding="utf-8"))
    out.print(f"wrote {target}", highlight=False)


@app.command()
def predict(
    run_path: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(help="Answers an image.")] = 3,
    as_json: Json = False,
) -> None:
    """Name what is in images."""
    import numpy as np

    from ..data import decode
    from ..run import Run

    run = Run.load(run_path)
    prepared = [run.preprocessing(decode(image)) for image in images]
    network = run.model()
    rows: list[dict[str, Any]] = []
    for path, image in zip(images, prepared, strict=True):
        answer = np.asarray(network.predict_on_batch(image[None]))[0]
        best = np.argsort(-answer)[:top]
        rows.append({"image": str(path), "labels": {run.labels[i]: float(answer[i]) for i in best}})
    if as_json:
        _show(rows, as_json)
        return
    for row in rows:
        answers = "   ".join(f"{label} {p:.1%}" for label, p in row["labels"].items())
        out.print(f"{row['image']}   {answers}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[list[str] | None, typer.Option(help="A format; repeat for several.", show_default="all five")] = None,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="RUN/exports")
    ] = None,
    qat: Annotated[
        Path | None, typer.Option(metavar="IMAGES", help="Fine-tune tflite-int8 on these images, rounded to int8.")
    ] = None,
    prune: Annotated[
        str | None, typer.Option(metavar="SHARE", help="With --qat: first make this share of the weights 0, or 2:4.")
    ] = None,
    cluster: Annotated[
        int | None, typer.Option(metavar="VALUES", help="With --qat: first let a kernel have so many values.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Json = False,
) -> None:
    """Export a run for servers (saved_model) and phones (tflite, tflite-float16, tflite-dynamic, tflite-int8)."""
    from keras_inception.export import FORMATS, export_run

    from ..run import Run

    run = Run.load(run_path)
    files = export_run(run, to or list(FORMATS), out_path, qat=qat, prune=prune, cluster=cluster, overwrite=overwrite)
    if qat:
        from keras_inception.export.quantization.qat.fine_tune import zipped

        file = next(file for file in files if file.name == FORMATS["tflite-int8"][0])
        typer.echo(f"{file} is {zipped(file.read_bytes()):,} bytes in a zip archive", err=True)
    _report(_verified(files, run, _images(run, None).sample(50)), as_json)


@app.command()
def verify(
    run_path: RunPath,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Exported files.", show_default="all in RUN/exports")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Other images, one folder a class.")] = None,
    cross_check: Annotated[
        str | None, typer.Option(metavar="openvino", help="Run every file in this runtime too.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run exported files in their own runtimes against the Keras model; exit with 1 if one misses its bar."""
    from keras_inception.export import exported

    from ..run import Run

    run = Run.load(run_path)
    _report(_verified(files or exported(run), run, _images(run, images), cross_check), as_json)


@app.command()
def doctor(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tflite file, ours or anyone's.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Say what a .tflite file is made of, what is wrong with it, and the cure; exit with 1 if no phone will take it."""
    from keras_inception.export import doctor

    found = doctor(file)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        out.print(f"{found.path}: {found.format}, {found.bytes:,} bytes", highlight=False, markup=False, soft_wrap=True)
        for title, counts in (("operators", found.operators), ("tensors", found.types)):
            out.print(f"{title}: {', '.join(f'{n:,} {kind}' for kind, n in counts.items())}", highlight=False)
        for name, ends in found.signatures.items():
            out.print(f"signature {name}: {ends}", highlight=False, markup=False)
        for finding in found.findings:
            out.print(f"{finding.level}: {finding.problem}\n  {finding.cure}", highlight=False, markup=False)
        if not found.findings:
            out.print("nothing is wrong with it")
    if not found.ready:
        _fail(f"{file} does not run on a phone as it is")


@app.command()
def benchmark(
    files: Annotated[list[Path], typer.Argument(help="SavedModels, .tflite and .onnx files, OpenVINO's folders.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="tensorflow, litert, onnxruntime, openvino; repeat for several.", show_default="each file's own"
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of each runtime.", show_default="all cores")] = None,
    seconds: Annotated[float, typer.Option(help="To spend on each file.")] = 10.0,
    as_json: Json = False,
) -> None:
    """Time exported files side by side, in turns, beside the peak of the machine."""
    from keras_inception.export.runtimes.benchmark import benchmark

    result = benchmark(files, runtimes=runtime or (), threads=threads, seconds=seconds)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    peaks = f"{result.float32_peak / 1e9:.0f} (float32) and {result.int8_peak / 1e9:.0f} (int8)"
    out.print(f"{result.machine}, {result.threads} threads; peaks {peaks} GMAC/s", highlight=False, markup=False)
    rows = [
        {
            "file": t.path,
            "runtime": t.runtime,
            "format": t.format,
            "ms": t.milliseconds,
            "quartiles": " to ".join(f"{quartile:.3g}" for quartile in t.quartiles),
            "of peak": "-" if t.of_peak is None else f"{t.of_peak:.0%}",
            "MB": t.bytes / 1e6,
            "memory, MB": t.memory // 10**6,
        }
        for t in result.timings
    ]
    _show(rows, as_json)


@app.command()
def demo(
    out_path: Annotated[Path, typer.Option("--out", help="The run directory to make.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Train on real handwritten digits, export every format, and verify every file: the whole road in minutes."""
    from keras_inception.export import FORMATS, export_run

    from ..training.train import train
    from .demo import SETTINGS, digits

    dataset = digits()
    run = train(dataset, out=out_path, **SETTINGS)
    files = export_run(run, list(FORMATS), images=dataset.train)
    _report(_verified(files, run, dataset.val), as_json)


# ------------------------------------------------------------------------------------------------------------ helpers


def _without_urls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a terminal is wide enough for."""
    return [{k: v for k, v in row.items() if k != "url"} for row in rows]


def _images(run: Run, images: Path | None) -> Split:
    """What to measure on: all of `images`, or what the run held out."""
    from ..data import load_images
    from ..evaluation.predictor import held_out

    return held_out(run) if images is None else load_images(images, run.labels)


def _verified(files: Iterable[Path], run: Run, images: Split, cross_check: str | None = None) -> list[Agreement]:
    """Of every file its exits in its own runtime, and its last in the other."""
    from keras_inception.export import agreement, agreements

    model, found = run.model(), []
    for file in files:
        found += agreements(file, model, images)
        if cross_check:
            found.append(agreement(file, model, images, runtime=cross_check))
    return found


def _report(agreements: list[Agreement], as_json: bool) -> None:
    """Print what was measured; exit with 1 if a file misses its bar."""
    from keras_inception.export import misses

    if as_json:
        _show([a.to_dict() for a in agreements], as_json)
    else:
        keras_top1 = _cell("top1", agreements[0].keras_top1)
        out.print(f"{agreements[0].n:,} images; the Keras model gets {keras_top1} of them right", highlight=False)
        exits = any(a.exit for a in agreements)
        columns = {
            "format": "format",
            **({"exit": "exit"} if exits else {}),
            "bytes": "bytes",
            "top1": "top-1",
            "agreement": "agreement",
            "max_difference": "largest difference",
            "milliseconds": "ms per image",
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
