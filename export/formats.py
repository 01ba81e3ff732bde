"""Exports of a run in several formats, and the bar that each file must reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from keras_inception.arguments import Count, checked
from keras_inception.data import Split
from keras_inception.data.split import content_digest
from keras_inception.errors import InputError
from keras_inception.files import need_writable, new_outputs
from keras_inception.run import Run
from keras_inception.terminal import note

from .agreement import Agreement
from .npu import chips, path_of, to_npu
from .onnx import need_onnx, to_onnx
from .openvino import need_openvino, to_openvino
from .quantization.calibration import CalibrationSet
from .quantization.for_servers import ServerQuantization, need_nncf
from .quantization.qat import fine_tune
from .quantization.qat.fine_tune import Compressed
from .quantization.search import QuantizationSearch, quantize_to_target
from .runtimes.processor import multiplies_bfloat16, sums_exactly
from .saved_model import Precision, signature_of, to_saved_model
from .tflite.convert import Edge, Quantization, to_tflite
from .weights_files import check_layout, to_keras_h5, to_torch

# Format -> the file in a run's exports/, and its TFLite quantisation.
FORMATS: dict[str, tuple[str, Quantization | None]] = {
    "saved_model": ("saved_model", None),
    "tflite": ("float32.tflite", "none"),
    "tflite-float16": ("float16.tflite", "float16"),
    "tflite-dynamic": ("dynamic.tflite", "dynamic"),
    "tflite-int8": ("int8.tflite", "int8"),
}
# The same for those that are made only if they are asked for.
RARE: dict[str, tuple[str, Quantization | None]] = {"tflite-int16x8": ("int16x8.tflite", "int16x8")}
# SavedModels of fewer bits, made only if they are asked for -> the folder, the precision, whether this processor is one
# that it is for, and what to say if not.
SAVED_MODELS: dict[str, tuple[str, Precision, Callable[[], bool], str]] = {
    "saved_model-bfloat16": (
        "saved_model_bfloat16",
        "bfloat16",
        multiplies_bfloat16,
        "this processor has neither AVX512-BF16 nor AMX: bfloat16 is slower than float32 on it",
    ),
    "saved_model-int8": (
        "saved_model_int8",
        "int8",
        sums_exactly,
        "this processor has neither VNNI nor AMX: on it TensorFlow needs TF_ENABLE_ONEDNN_OPTS=1, and loses accuracy",
    ),
}
# Formats that need an extra -> the file, what checks that the extra is installed, what exports, its quantisation.
EXTRAS: dict[str, tuple[str, Callable[[], None], Callable[..., Path], ServerQuantization]] = {
    "onnx": ("model.onnx", need_onnx, to_onnx, "none"),
    "onnx-int8": ("int8.onnx", need_onnx, to_onnx, "int8"),
    "openvino": ("openvino", need_openvino, to_openvino, "none"),
    "openvino-int8": ("openvino_int8", need_nncf, to_openvino, "int8"),
}
# Weights for other libraries -> the file, the layout. The library opens such a file, so it is not run here.
WEIGHTS = {
    "timm": ("timm.safetensors", "timm"),
    "torchvision": ("torchvision.pth", "torchvision"),
    "keras-h5": ("keras.h5", "keras"),
}
_FILES = {name: row[0] for rows in (FORMATS, RARE, SAVED_MODELS, EXTRAS) for name, row in rows.items()}
_ALL = _FILES | {name: row[0] for name, row in WEIGHTS.items()}
CALIBRATED = "tflite-int8", "tflite-int16x8", "saved_model-int8", "onnx-int8", "openvino-int8"
MAX_DROP = 0.005  # of top-1 accuracy, from the Keras model to a file
MIN_AGREEMENT = 0.9  # with the Keras model, for images without labels
MAX_DIFFERENCE = 1e-3  # of a probability, for a file that is not quantised


@dataclass(frozen=True, kw_only=True)
class Target:
    """What tflite-int8 must keep: the arguments of `quantize_to_target`. `found` is called with what it found."""

    max_drop: float | None = None
    min_agreement: float | None = None
    held_out: Split | None = None
    frontier: str | Path | None = None
    found: Callable[[QuantizationSearch], object] = lambda search: None


@checked
def export_run(
    run: Run,
    formats: Sequence[str],
    folder: Path | None = None,
    *,
    images: Split | str | Path | None = None,
    serving_default: str | None = None,
    qat: str | Path | None = None,
    prune: str | None = None,
    cluster: int | None = None,
    teacher: str | Path | Run | None = None,
    batch: Count = 1,
    edge: Edge = "float32",
    float_layers: Sequence[str] = (),
    target: Target | None = None,
    npu: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Export a run in several formats. Everything is checked before anything is written.

    After a process was killed, or the disk was full, the same call keeps the files that were complete and makes the
    others.

    Args:
        run: a finished run.
        formats: keys of `FORMATS`, `RARE`, `SAVED_MODELS`, `EXTRAS` or `WEIGHTS`.
        folder: where the files go; the run's `exports/` by default.
        images: what files in int8 and tflite-int16x8 are calibrated with: a split, or a folder of labelled images in
            place of a recorded one that moved. The default is the run's training images. Formats in float need none.
        serving_default: the default signature of SavedModels, as in `to_saved_model`.
        qat: a folder of labelled images on which `quantize_aware` fine-tunes tflite-int8.
        prune: before that, `prune` to a share of zeros ("0.5") or to the pattern "2:4".
        cluster: before that, `cluster` to this many values per kernel.
        teacher: of all of these, as of `quantize_aware`.
        batch: how many images a .tflite file takes at once.
        edge: the type at the edges of tflite-int8.
        float_layers: layers that tflite-int8 computes in float32, as in `to_tflite`.
        target: tflite-int8 is what `quantize_to_target` finds, with `qat` if that is given.
        npu: targets of `to_npu` that every .tflite file is compiled for too; one that is refused leaves the others.
        overwrite: replace files that exist.

    Raises:
        TargetMissed: no file in int8 holds the target; nothing is written but the frontier.
        InputError: no format or an unknown one, images that cannot be read, an extra or an NPU's SDK that is not
            installed, a folder that cannot be written, or a file that exists without `overwrite`; nothing is written.
    """
    if serving_default and not {"saved_model", *SAVED_MODELS} & {*formats}:
        raise InputError("serving_default is of a SavedModel: ask for the format saved_model too, or leave it out")
    signature = signature_of(serving_default or "image")
    _check_formats(formats, qat, prune or cluster)
    if teacher is not None and qat is None:
        raise InputError("a teacher is for quantisation-aware training: give qat too, or leave the teacher out")
    _check_file_options(formats, batch, edge, npu)
    _check_int8_options(formats, qat, prune or cluster, edge, float_layers, target)
    pruning = _pruning(prune)
    folder = folder or run.beside("exports")
    need_writable(folder)
    paths = {name: folder / _ALL[name] for name in formats}
    for_npus = {path: _for_npus(path, npu) for name, path in paths.items() if name.startswith("tflite")}
    for name in paths.keys() & WEIGHTS.keys():
        check_layout(run, WEIGHTS[name][1])
    frontier = Path(target.frontier) if target is not None and target.frontier else None
    outputs = [*paths.values(), *chain(*for_npus.values()), *([frontier] if frontier else [])]
    request = (
        *(content_digest(run.path / "model.keras"), run.labels, run.preprocessing),
        *(sorted(formats), serving_default, prune, cluster, batch, edge, tuple(float_layers), tuple(npu)),
        *(_place(images), _place(qat), _place(teacher)),
        *((target.max_drop, target.min_agreement) if target else ()),
    )
    with new_outputs(outputs, request, overwrite=overwrite) as kept:
        left = {name: path for name, path in paths.items() if path not in kept}
        if frontier and frontier not in kept:
            left["tflite-int8"] = paths["tflite-int8"]  # the search writes both
        if names := [path.name for name, path in paths.items() if name not in left]:
            note(f"keeping {', '.join(names)} of the same command, which was stopped", style="")
        overwrite = overwrite or bool(kept)  # what else was made before is this command's too
        calibration = _calibration(run, images) if is_calibrated([*left], qat, target) else None
        made: Run | Compressed = run
        if pruning and "tflite-int8" in left:
            state = folder / "prune.training"
            made = fine_tune.prune(made, qat, teacher=teacher, checkpoints=state, **pruning)
        if cluster and "tflite-int8" in left:
            state = folder / "cluster.training"
            made = fine_tune.cluster(made, qat, clusters=cluster, teacher=teacher, checkpoints=state)
        model = run.model()  # once: a network of some hundred layers takes seconds to load
        about: dict[str, Any] = {"labels": run.labels, "preprocessing": run.preprocessing, "overwrite": overwrite}
        # First what may fail late: a target may be missed, and only the converter knows the names of layers.
        for name, path in sorted(left.items(), key=lambda row: row[0] != "tflite-int8"):
            more: dict[str, Any] = {"calibration": calibration} if name in CALIBRATED else {}
            if name == "saved_model":
                to_saved_model(model, path, serving_default=signature, **about)
            elif name in SAVED_MODELS:
                _, precision, is_for_here, remark = SAVED_MODELS[name]
                to_saved_model(model, path, serving_default=signature, precision=precision, **more, **about)
                if not is_for_here():
                    note(f"{name}: {remark}")
            elif name in EXTRAS:
                _, _, to_file, quantization = EXTRAS[name]
                to_file(model, path, quantization=quantization, **more, **about)
            elif name == "keras-h5":
                to_keras_h5(model, path, network=run.builder, overwrite=overwrite)
            elif name in WEIGHTS:
                to_torch(model, path, layout=WEIGHTS[name][1], network=run.builder, overwrite=overwrite)
            elif name == "tflite-int8" and target is not None:
                search = quantize_to_target(
                    run,
                    path,
                    max_drop=target.max_drop,
                    min_agreement=target.min_agreement,
                    calibration=calibration,
                    held_out=target.held_out,
                    qat=qat,
                    teacher=teacher,
                    batch=batch,
                    frontier=frontier,
                    overwrite=overwrite,
                )
                target.found(search)
            elif name == "tflite-int8" and qat is not None:
                fine_tune.quantize_aware(made, qat, path, teacher=teacher, batch=batch, edge=edge, overwrite=overwrite)
            else:
                more |= {"edge": edge, "float_layers": float_layers} if name == "tflite-int8" else {}
                to_tflite(model, path, quantization=(FORMATS | RARE)[name][1] or "none", batch=batch, **more, **about)
        compiled = [file for path in for_npus for chip in npu for file in to_npu(path, chip, overwrite=overwrite)]
    return [*paths.values(), *compiled]


def _place(given: Split | Run | str | Path | None) -> object:
    """What tells one export's images or teacher from another's."""
    if isinstance(given, Split):
        return given.content_digests().tobytes()
    if isinstance(given, Run):
        return given.path.absolute()
    return None if given is None else Path(given).absolute()


def _check_formats(formats: Sequence[str], qat: str | Path | None, compress: str | int | None) -> None:
    if not formats:
        raise InputError(f"no format was asked for; give one or more of {', '.join(_ALL)}")
    if unknown := [name for name in formats if name not in _ALL]:
        raise InputError(f"unknown format {unknown[0]!r}; give one of {', '.join(_ALL)}")
    for name in formats:
        if name in EXTRAS:
            EXTRAS[name][1]()
    if qat is not None and "tflite-int8" not in formats:
        raise InputError("quantisation-aware training makes tflite-int8: ask for that format too, or leave qat out")
    if qat is None and compress:
        raise InputError("pruning and clustering come before quantisation-aware training: give qat too")
    if qat is not None:
        fine_tune.need_tfmot()


def _check_file_options(formats: Sequence[str], batch: int, edge: str, npu: Sequence[str]) -> None:
    if npu and not any(name.startswith("tflite") for name in formats):
        raise InputError(f"npu={npu[0]!r} is for .tflite files: ask for one of these formats too, or leave npu out")
    if batch != 1 and not any(name.startswith("tflite") for name in formats):
        raise InputError(f"batch={batch} is for .tflite files; the others take any number of images: leave it out")
    if edge != "float32" and "tflite-int8" not in formats:
        raise InputError(f"edge={edge!r} is for tflite-int8: ask for that format too, or leave edge out")


def _check_int8_options(
    formats: Sequence[str],
    qat: str | Path | None,
    compress: str | int | None,
    edge: str,
    float_layers: Sequence[str],
    target: Target | None,
) -> None:
    given = {"a target": target, "float_layers": float_layers}
    if (found := [what for what, value in given.items() if value]) and "tflite-int8" not in formats:
        raise InputError(f"{found[0]} is for tflite-int8: ask for that format too, or leave {found[0]} out")
    if float_layers and qat is not None:
        raise InputError("quantisation-aware training rounds every layer: leave float_layers out, or qat")
    if target is None:
        return
    if float_layers:
        raise InputError("the search for a target chooses the layers in float: leave float_layers out, or the target")
    if compress:
        raise InputError("the search for a target does not prune or cluster: leave these out, or the target")
    if edge != "float32":
        raise InputError(f"the search for a target tries files with float32 at their edges: leave edge={edge!r} out")


def is_calibrated(formats: Sequence[str], qat: str | Path | None, target: Target | None) -> bool:
    """Whether an export needs calibration images; training quantised has its own, a search calibrates before it."""
    plainly = {*CALIBRATED} - {"tflite-int8"}
    return bool(plainly & {*formats}) or ("tflite-int8" in formats and (qat is None or target is not None))


def _calibration(run: Run, images: Split | str | Path | None) -> CalibrationSet:
    source = f"the training images of {run.path.name}"
    if isinstance(images, Split):
        split = images
    else:
        split = run.images("train", images)
        source = f"the folder {Path(images).name}" if images else source
    return replace(CalibrationSet.of(split, run.preprocessing), source=source)


def _for_npus(path: Path, npu: Sequence[str]) -> list[Path]:
    """What a .tflite file becomes for these NPUs, after a check that all can be compiled for."""
    found = [path_of(path, backend, path.parent) for target in npu for backend in chips(target)]
    if len(set(found)) < len(found):
        raise InputError(f"npu={', '.join(npu)} names a chip twice: leave one out")
    return found


def _pruning(share: str | None) -> dict[str, Any] | None:
    """The arguments of `prune`."""
    if share is None:
        return None
    try:
        return {"pattern": share} if share == "2:4" else {"sparsity": float(share)}
    except ValueError:
        raise InputError(f"prune takes a share of zeros such as 0.5, or 2:4; got {share!r}") from None


@checked
def exported(run: Run) -> list[Path]:
    """The files that `export_run` wrote into a run directory.

    Raises:
        InputError: there are no exports.
    """
    paths = [run.path / "exports" / file for file in _FILES.values()]
    if not (found := [path for path in paths if path.exists()]):
        raise InputError(f"{run.path} has no exports; `keras-inception export {run.path}` writes them")
    return found


def is_measured(path: Path) -> bool:
    """Whether a file that `export_run` wrote is run here; weights for other libraries are not."""
    return path.name in _FILES.values()


def allowed_losses(n: int) -> int:
    """How many of `n` labelled images a file may get wrong beyond the Keras model; a single one is no evidence."""
    return max(1, int(MAX_DROP * n))


@checked
def misses(agreement: Agreement) -> list[str]:
    """Why a file misses its bar, one line each: it loses accuracy, or differs by more than rounding explains.

    Raises:
        InputError: it is no `Agreement`.
    """
    a, lines = agreement, []
    name = f"{a.format} {a.exit}" if a.exit else a.format
    where = ", ".join(f"{layer} ({decibels:.0f} dB)" for layer, decibels in a.worst_layers.items())
    if a.top1 is not None and a.keras_top1 is not None:
        lost = round((a.keras_top1 - a.top1) * a.n)
        if lost > (allowed := allowed_losses(a.n)):
            lines.append(f"{name} gets {lost} of {a.n} images fewer right (at most {allowed})")
    elif a.agreement < MIN_AGREEMENT:
        lines.append(f"{name} agrees on {a.agreement:.1%} of {a.n} images (at least {100 * MIN_AGREEMENT:.0f} %)")
    plain = a.format.removesuffix(" in openvino") in ("saved_model", "tflite float32", "onnx", "openvino")
    if plain and a.max_difference > MAX_DIFFERENCE:
        lines.append(f"{name} differs by {a.max_difference:.1e} from the Keras model (at most {MAX_DIFFERENCE:.0e})")
    return [f"{line}; most is lost in {where}" if where else line for line in lines]
