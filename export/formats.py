"""The formats of an export, and the bar that each one's file must reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_inception.data import Split
from keras_inception.errors import InputError
from keras_inception.run import Run

from .agreement import Agreement
from .onnx import to_onnx
from .openvino import to_openvino
from .quantization.qat import fine_tune
from .quantization.qat.fine_tune import Compressed
from .saved_model import to_saved_model
from .tflite.convert import Quantization, to_tflite

FORMATS: dict[
    str, tuple[str, Quantization | None]
] = {  # name -> the file in a run's exports/, and how TFLite quantises it
    "saved_model": ("saved_model", None),
    "tflite": ("float32.tflite", "none"),
    "tflite-float16": ("float16.tflite", "float16"),
    "tflite-dynamic": ("dynamic.tflite", "dynamic"),
    "tflite-int8": ("int8.tflite", "int8"),
}
EXTRAS = {"onnx": ("model.onnx", to_onnx), "openvino": ("openvino", to_openvino)}  # when asked for by name
_FILES = {name: file for name, (file, _) in [*FORMATS.items(), *EXTRAS.items()]}
MAX_DROP = 0.005  # of top-1, from the Keras model to any file
MIN_AGREEMENT = 0.9  # with the Keras model, where images have no labels
MAX_DIFFERENCE = 1e-3  # of a probability, in a file that is not quantised


def export_run(
    run: Run,
    formats: Sequence[str],
    folder: Path | None = None,
    *,
    calibration: Split | None = None,
    qat: Path | None = None,
    prune: str | None = None,
    cluster: int | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Export a run in several formats into `folder`, its own `exports/` by default.

    `calibration` is images to quantise by; by default those that the run was trained on. With `qat`, a folder of
    images, tflite-int8 is fine-tuned on them by `quantize_aware`, behind `prune` to a share of zeros ("0.5") or to
    "2:4", and behind `cluster` to so many values a kernel, where these are asked for.

    Raises:
        InputError: an unknown format, or a file that exists and `overwrite` is not set; nothing is written.
    """
    if unknown := [name for name in formats if name not in _FILES]:
        raise InputError(f"unknown format {unknown[0]!r}; there are {', '.join(_FILES)}")
    if qat is not None and "tflite-int8" not in formats:
        raise InputError("quantisation-aware training makes tflite-int8: ask for that format too, or leave qat out")
    if qat is None and (prune or cluster):
        raise InputError("pruning and clustering are in front of quantisation-aware training: say qat too")
    pruning = _pruning(prune)
    folder = folder or run.path / "exports"
    paths = {name: folder / _FILES[name] for name in formats}
    if not overwrite and (existing := [path for path in paths.values() if path.exists()]):
        raise InputError(f"{existing[0]} exists; give --overwrite to replace it, or another --out")
    made: Run | Compressed = run
    if pruning:
        made = fine_tune.prune(made, qat, checkpoints=folder / "prune.training", **pruning)
    if cluster:
        made = fine_tune.cluster(made, qat, clusters=cluster, checkpoints=folder / "cluster.training")
    about: dict[str, Any] = {
        "labels": run.labels,
        "preprocessing": run.preprocessing,
        "overwrite": overwrite,
    }
    model = run.model()  # once: a network of a few hundred layers takes seconds to load
    for name, path in paths.items():
        if name in EXTRAS:
            EXTRAS[name][1](model, path, **about)
            continue
        quantization = FORMATS[name][1]
        if quantization is None:
            to_saved_model(model, path, **about)
        elif quantization == "int8" and qat is not None:
            fine_tune.quantize_aware(made, qat, path, overwrite=overwrite)
        elif quantization == "int8":
            to_tflite(model, path, quantization=quantization, calibration=calibration or run, **about)
        else:
            to_tflite(model, path, quantization=quantization, **about)
    return list(paths.values())


def _pruning(share: str | None) -> dict[str, Any] | None:
    """The arguments of `prune`."""
    if share is None:
        return None
    try:
        return {"pattern": share} if share == "2:4" else {"sparsity": float(share)}
    except ValueError:
        raise InputError(f"prune takes a share of zeros such as 0.5, or 2:4; got {share!r}") from None


def exported(run: Run) -> list[Path]:
    """The files that `export_run` left in a run directory.

    Raises:
        InputError: there are none.
    """
    paths = [run.path / "exports" / file for file in _FILES.values()]
    if not (found := [path for path in paths if path.exists()]):
        raise InputError(f"{run.path} has no exports; `keras-inception export {run.path}` makes them")
    return found


def misses(agreement: Agreement) -> list[str]:
    """What is wrong with a file, a line each: too much accuracy lost, or a difference that no rounding explains."""
    a, lines = agreement, []
    name = f"{a.format} {a.exit}" if a.exit else a.format
    where = ", ".join(f"{layer} ({decibels:.0f} dB)" for layer, decibels in a.worst_layers.items())
    if a.top1 is not None and a.keras_top1 is not None:
        lost = round((a.keras_top1 - a.top1) * a.n)
        if lost > max(1, MAX_DROP * a.n):  # below 200 images a single one is no evidence
            lines.append(f"{name} gets {lost} of {a.n} images less right (at most {100 * MAX_DROP} %)")
    elif a.agreement < MIN_AGREEMENT:
        lines.append(f"{name} agrees on {a.agreement:.1%} of {a.n} images (at least {100 * MIN_AGREEMENT:.0f} %)")
    plain = a.format.removesuffix(" in openvino") in ("saved_model", "tflite float32", "onnx", "openvino")
    if plain and a.max_difference > MAX_DIFFERENCE:
        lines.append(f"{name} differs by {a.max_difference:.1e} from the Keras model (at most {MAX_DIFFERENCE:.0e})")
    return [f"{line}; most is lost in {where}" if where else line for line in lines]
