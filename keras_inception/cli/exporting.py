"""`export`, `web`, `phone`, `verify`, `doctor` and `benchmark`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import InputError
from .app import Images, Json, RunPath, app, fail
from .output import cell, say, show

if TYPE_CHECKING:
    from ..data import Split
    from ..export import Agreement, QuantizationSearch
    from ..export.tflite.convert import Edge, Quantization
    from ..run import Run


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[list[str] | None, typer.Option(help="A format; repeat for several.", show_default="all five")] = None,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="RUN/exports")
    ] = None,
    images: Images = None,
    serving_default: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNATURE",
            help="What a SavedModel takes if a request names no signature: image, encoded or preprocessed.",
            show_default="image",
        ),
    ] = None,
    qat: Annotated[
        str | None, typer.Option(metavar="IMAGES", help="Fine-tune tflite-int8 on these images, rounded to int8.")
    ] = None,
    prune: Annotated[
        str | None, typer.Option(metavar="SHARE", help="With --qat: first make this share of the weights 0, or 2:4.")
    ] = None,
    cluster: Annotated[
        int | None, typer.Option(metavar="VALUES", help="With --qat: first let a kernel have so many values.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="With --qat: learn its probabilities too; RUN itself, or as of `train`."),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="IMAGES", help="Images that a .tflite file takes at once.")] = 1,
    edge: Annotated[
        str, typer.Option(metavar="TYPE", help="Of tflite-int8's input and output: float32, uint8 or int8.")
    ] = "float32",
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES", help="Calibrate with these.", show_default="the training images of RUN or --images"
        ),
    ] = None,
    float_layers: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A layer of tflite-int8 to leave in float; repeatable."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Of top-1 that tflite-int8 may lose: worse layers stay in float."),
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Instead: of images that keep their predicted class.")
    ] = None,
    frontier: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With either: keep each file that no other beats, a table and a plot."),
    ] = None,
    npu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VENDOR[:CHIP]",
            help="Compile the .tflite files too, for qualcomm, mediatek, google_tensor, samsung or intel; repeatable.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Json = False,
) -> None:
    """Export a run for servers (saved_model) and phones (tflite, tflite-float16, tflite-dynamic, tflite-int8).

    Others are tflite-int16x8; for servers with newer x86 processors saved_model-int8 and saved_model-bfloat16; for
    servers without TensorFlow onnx, onnx-int8, openvino and openvino-int8; and weights for other libraries (timm,
    torchvision, keras-h5).
    """
    from keras_inception.export import FORMATS, Target, TargetMissed, export_run
    from keras_inception.export.formats import CALIBRATED, is_calibrated, is_measured
    from keras_inception.export.tflite.flatbuffer import is_tflite
    from keras_inception.export.tflite.npu import compiled

    from ..run import Run

    run, formats = Run.load(run_path), to or list(FORMATS)
    searches: list[QuantizationSearch] = []
    target = None
    if max_drop is not None or min_agreement is not None:
        target = Target(max_drop=max_drop, min_agreement=min_agreement, frontier=frontier, found=searches.append)
    elif frontier:
        raise InputError("--frontier keeps what a search tried: give --max-drop or --min-agreement too")
    if calibration and not is_calibrated(formats, qat, target):
        raise InputError(f"--calibration is for {', '.join(CALIBRATED)}, without --qat: leave it out")
    held_out, missing = _held_out(run, images, needed=images is not None or bool({*formats} & {*CALIBRATED}))
    try:
        files = export_run(
            run,
            formats,
            out_path,
            images=calibration or images,
            serving_default=serving_default,
            qat=qat,
            prune=prune,
            cluster=cluster,
            teacher=teacher,
            batch=batch,
            edge=cast("Edge", edge),  # is checked there
            float_layers=float_layers or (),
            target=replace(target, held_out=held_out) if target else None,
            npu=npu or (),
            overwrite=overwrite,
        )
    except TargetMissed as missed:
        report_search(missed.search, as_json)
        raise
    searched = [search.path for search in searches]  # and measured on all held-out images
    if qat and not searched:
        from keras_inception.export.quantization.qat.fine_tune import zipped

        file = next(file for file in files if file.name == FORMATS["tflite-int8"][0])
        typer.echo(f"{file} is {zipped(file.read_bytes()):,} bytes in a zip archive", err=True)
    measured = [file for file in files if is_measured(file) and file not in searched]
    for file in files:
        if file not in measured:
            program = compiled(file.read_bytes()) if is_tflite(file) else None
            typer.echo(f"wrote {file}" + (f" {program}" if program else ""), err=as_json)
    [search] = searches or [None]
    if search and not (as_json and measured):
        report_search(search, as_json)
    if not measured:
        return
    if held_out is None:
        for file in measured:
            say(f"wrote {file}")
        typer.echo(f"the files were not measured: {missing}", err=True)
        return
    sample = held_out.sample(50)
    report_agreement(verified(measured, run, sample), sample, as_json, search)


@app.command()
def web(
    run_path: RunPath,
    out_path: Annotated[Path, typer.Option("--out", help="Folder for the page.", show_default=False)],
    quantization: Annotated[
        str, typer.Option(metavar="KIND", help="Of the network: none, float16, dynamic or int8.")
    ] = "float16",
    images: Images = None,
    title: Annotated[str | None, typer.Option(help="The page's heading.", show_default="the run's name")] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="LiteRT.js, as npm installs it: node_modules/@litertjs/core.",
            show_default="a copy in the cache, which npm fetches",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
) -> None:
    """Write a web page that classifies in the browser: images, the clipboard and the camera; nothing is uploaded."""
    from keras_inception.export import to_web

    from ..run import Run

    run = Run.load(run_path)
    folder = to_web(
        run,
        out_path,
        quantization=cast("Quantization", quantization),  # is checked there
        calibration=run.images("train", images) if quantization == "int8" else None,
        title=title,
        runtime=runtime,
        overwrite=overwrite,
    )
    say(f"wrote {folder}")
    say(f"to see it: python -m http.server --directory {folder}, and http://localhost:8000 in a browser")


@app.command()
def phone(
    run_path: RunPath,
    out_path: Annotated[Path, typer.Option("--out", help="Folder for the kit.", show_default=False)],
    images: Images = None,
    title: Annotated[str | None, typer.Option(help="The app's name.", show_default="the run's name")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a kit that exists, and its results.")] = False,
) -> None:
    """Write a kit for phones: .tflite files, a script that times them there, and apps for Android and iOS."""
    from keras_inception.export import to_phone

    from ..run import Run

    run = Run.load(run_path)
    folder = to_phone(run, out_path, calibration=run.images("train", images), title=title, overwrite=overwrite)
    say(f"wrote {folder}")
    say(f"what to do with it: {folder / 'README.md'}")


@app.command()
def verify(
    run_path: RunPath,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Exported files.", show_default="all in RUN/exports")
    ] = None,
    images: Images = None,
    cross_check: Annotated[
        str | None, typer.Option(metavar="openvino", help="Run every file in this runtime too.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run exported files in their own runtimes against the Keras model; exit with 1 if one misses its bar."""
    from keras_inception.export import exported

    from ..run import Run

    run = Run.load(run_path)
    held_out = run.images("held_out", images)
    report_agreement(verified(files or exported(run), run, held_out, cross_check), held_out, as_json)


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
        say(f"{found.path}: {found.format}, {found.bytes:,} bytes")
        for title, counts in (("operators", found.operators), ("tensors", found.types)):
            say(f"{title}: {', '.join(f'{n:,} {kind}' for kind, n in counts.items())}")
        needed = f" ({found.runtime.reason})" if found.runtime.reason else ""
        oldest = f"oldest runtime: TensorFlow Lite {found.runtime.release}{needed}"
        say(f"compiled {found.npu}" if found.npu else oldest)
        if found.gpu:
            say(f"GPU of this machine, by LiteRT: {found.gpu}")
        for name, ends in found.signatures.items():
            say(f"signature {name}: {ends}")
        for finding in found.findings:
            say(f"{finding.level}: {finding.problem}\n  {finding.cure}")
        if not found.findings:
            say("nothing is wrong with it")
    if not found.ready:
        fail(f"{file} does not run on a phone as it is")


@app.command()
def benchmark(
    files: Annotated[
        list[Path], typer.Argument(help="SavedModels, .tflite and .onnx files, OpenVINO's folders; or a phone kit.")
    ],
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
    """Time exported files side by side, in turns, beside the peak of the machine.

    Of a phone kit it shows what was timed on phones.
    """
    from keras_inception.export.phone import is_kit
    from keras_inception.export.runtimes.benchmark import benchmark

    if kits := [path for path in files if is_kit(path)]:
        if len(files) > 1:
            raise InputError(f"{kits[0]} is a phone kit, whose results are read, not timed: give it alone")
        _show_phones(kits[0], as_json)
        return
    result = benchmark(files, runtimes=runtime or (), threads=threads, seconds=seconds)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    peaks = f"{result.float32_peak / 1e9:.0f} (float32) and {result.int8_peak / 1e9:.0f} (int8)"
    say(f"{result.machine}, {result.threads} threads; peaks {peaks} GMAC/s")
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
    show(rows, as_json)


def _show_phones(kit: Path, as_json: bool) -> None:
    """Print what was timed on phones, a table for each."""
    from keras_inception.export import phone_results

    results = phone_results(kit)
    if as_json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
        return
    for result in results:
        say(result.phone)
        rows = [
            {
                "file": t.path,
                "runtime": f"litert {t.accelerator}" + (f", threads: {t.threads}" if t.threads else ""),
                "format": t.format,
                "ms": t.milliseconds,
                "5 % to 95 %": " to ".join(f"{p:.3g}" for p in t.percentiles) if t.percentiles else "-",
                "on it": "-" if t.on_it is None else f"{t.on_it} of {t.nodes}",
                "MB": t.bytes / 1e6,
                "memory, MB": None if t.memory is None else t.memory // 10**6,
            }
            for t in result.timings
        ]
        show(rows, as_json)
        for t in result.timings:
            if t.problem:
                say(f"{t.path} failed on the {t.accelerator}: {t.problem}")
            elif t.on_it == 0 and t.accelerator != "cpu":
                say(f"{t.path} was asked of the {t.accelerator}, but the CPU computed all of it")


def report_search(search: QuantizationSearch, as_json: bool) -> None:
    """Print what a search for a target tried."""
    if as_json:
        print(json.dumps(search.to_dict(), indent=2))
        return
    right = (
        "" if search.keras_top1 is None else f"; the Keras model gets {cell('top1', search.keras_top1)} of them right"
    )
    say(f"{search.n:,} held-out images, of which one is {100 / search.n:.2g} points{right}")
    rows = [
        {
            "tried": trial.file,
            "layers in float": len(trial.float_layers),
            f"points of {search.measure} lost": trial.loss,
            "agreement": trial.agreement,
            "bytes": trial.bytes,
            "ms per image": trial.milliseconds,
            "": "written" if trial == search.chosen else "holds" if trial.holds else "",
        }
        for trial in search.trials
    ]
    show(rows, as_json)
    if search.chosen and search.chosen.float_layers:
        say(f"in float: {', '.join(search.chosen.float_layers)}")


def _held_out(run: Run, images: str | None, *, needed: bool) -> tuple[Split | None, str]:
    """The images to measure on; where there are none and they are not `needed`, why."""
    try:
        return run.images("held_out", images), ""
    except InputError as error:
        if needed:
            raise
        return None, str(error)


def verified(files: Iterable[Path], run: Run, images: Split, cross_check: str | None = None) -> list[Agreement]:
    """Of every file its exits in its own runtime, and its last in the other."""
    from keras_inception.export import agreement, agreements

    model, found = run.model(), []
    for file in files:
        found += agreements(file, model, images)
        if cross_check:
            found.append(agreement(file, model, images, runtime=cross_check))
    return found


def report_agreement(
    agreements: list[Agreement], images: Split, as_json: bool, search: QuantizationSearch | None = None
) -> None:
    """Print what was measured on these images; exit with 1 if a file misses its bar. JSON has those of a search too."""
    from keras_inception.export import misses
    from keras_inception.export.formats import MAX_DROP, allowed_losses

    if as_json:
        rows = [a.to_dict() | {"measured_on": images.side or None} for a in agreements]
        print(json.dumps(search.to_dict() | {"files": rows} if search else rows, indent=2))
    else:
        keras_top1 = cell("top1", agreements[0].keras_top1)
        say(f"{images}; the Keras model gets {keras_top1} of them right")
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
        show([{title: getattr(a, name) for name, title in columns.items()} for a in agreements], as_json)
        if agreements[0].top1 is not None:
            share = f"{100 * MAX_DROP:g} %, but at least 1 image"
            say(f"a file may get {allowed_losses(agreements[0].n)} of them fewer right ({share})")
    if failures := [m for a in agreements for m in misses(a)]:
        fail("; ".join(failures))
