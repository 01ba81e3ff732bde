"""Exported files, in their own runtimes, compared with the Keras model that they were made from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_inception.arguments import checked
from keras_inception.data import Split
from keras_inception.errors import InputError
from keras_inception.evaluation import scores
from keras_inception.model_graph import fits
from keras_inception.preprocessing import Preprocessing

from .comparison import by_class, same_class, snr
from .exits import exit_networks
from .inputs import Exportable, ModelOrRun, compiled
from .optimize.graph import is_integer
from .quantization.calibration import to_pixels
from .runtimes.runners import OpenFile, open_file
from .tflite.layer_errors import IMAGES, layer_errors, worst
from .tflite.metadata import Input

# Labelled images; or inputs of the network, (n, *input_shape), without or with their labels, (n,).
ComparisonData: TypeAlias = Split | np.ndarray | tuple[np.ndarray, np.ndarray]

_Pair: TypeAlias = tuple[np.ndarray, np.ndarray]  # the inputs of the Keras model and of the file, batches of one

CHUNK = 16  # images in memory at a time
WARM_UP = 3  # runs that are not timed
BAD = 0.9  # agreement below which the layers are examined


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported file compares with its Keras model over `n` images.

    `format` is what the file itself shows: "saved_model", alone or with "float16", "bfloat16" or "int8"; or "tflite "
    and "float32", "float16", "dynamic", "int8" or "int16x8". `exit` is the early exit that was compared, None for the
    main output.

    `top1` and `keras_top1` are the top-1 accuracies of the file and of the Keras model, as `evaluate` counts them; None
    without labels. `agreement` is the share of images, or of positions if outputs are maps, for which both predict the
    same class; a single sigmoid agrees with the two classes that it was exported as. The differences are
    absolute and of single outputs; `snr` is the signal-to-noise ratio of all outputs in decibels.

    `milliseconds` is the median time of one image after a warm-up, on at most 4 threads for a .tflite file. For a
    SavedModel that takes images it includes crop and resize, which other files leave to the caller. `worst_layers` are
    the layers of an integer file with little agreement at which most is lost, and their ratios in decibels.
    """

    format: str
    exit: str | None
    bytes: int
    n: int
    top1: float | None
    keras_top1: float | None
    agreement: float
    max_difference: float
    mean_difference: float
    snr: float
    milliseconds: float
    worst_layers: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


@checked
def agreement(
    path: str | Path,
    model_or_run: ModelOrRun,
    data: ComparisonData | None = None,
    *,
    limit: int | None = None,
    runtime: str | None = None,
) -> Agreement:
    """Run an exported file in its own runtime and compare it with the Keras model.

    The file's record tells which input it takes; the file and the model get the same images, each in its own form. Of
    a file with early exits the main output is compared; `agreements` compares all of them.

    Args:
        path: a SavedModel, a .tflite or .onnx file, or an OpenVINO folder.
        model_or_run: what the file was made from: a functional model, a run or a run directory.
        data: labelled images; or the network's inputs as an array (n, *input_shape), alone or with labels (n,). The
            default is the run's test images, or its validation images where there are no test images.
        limit: the most images to compare on: a sample of all classes of a split, the first images of an array.
        runtime: "openvino" runs a file of any format in OpenVINO, as a cross-check; `format` then ends in it.

    Raises:
        InputError: there is no such file, or its runtime refuses it; data does not fit; or outputs are NaN.
    """
    file = open_file(Path(path), runtime)
    source = _source(model_or_run, file)
    return _measured(file, None, source, source.model, data, limit)


@checked
def agreements(
    path: str | Path, model_or_run: ModelOrRun, data: ComparisonData | None = None, *, limit: int | None = None
) -> list[Agreement]:
    """`agreement` for each exit of a file, the earliest first; one entry for a file without early exits.

    Raises:
        InputError: as `agreement`; or the model does not have the exits that the file has.
    """
    file = open_file(Path(path))
    source = _source(model_or_run, file)
    networks = exit_networks(source.given, exits=True) if file.exits else {}
    if len(networks) != len(file.exits):
        raise InputError(
            f"{path} has {len(file.exits)} exits, the model {len(networks)}: the file was made from another network"
        )
    if not networks:
        return [_measured(file, None, source, source.model, data, limit)]
    return [_measured(file, key, source, network, data, limit) for key, network in networks.items()]


def _source(model_or_run: ModelOrRun, file: OpenFile) -> Exportable:
    """The network; one that takes integers takes floats, as the file does, if the file normalises images itself."""
    source = Exportable.of(model_or_run)
    if source.preprocessing is None and file.record.preprocessing and is_integer(source.input_dtype):
        return Exportable.of(model_or_run, preprocessing=file.record.preprocessing)
    return source


def _measured(
    file: OpenFile,
    key: str | None,
    source: Exportable,
    model: keras.Model,
    data: ComparisonData | None,
    limit: int | None,
) -> Agreement:
    """Compare one exit of the file, or with None its main output, with the model's output."""
    if data is None:
        if source.run is None:
            raise InputError("give data to compare on: labelled images, or an array of the network's inputs")
        data = source.run.images("held_out")
    kind, pairs, labels = _pairs(data, limit, file, source)
    run = file.exits[key] if key else file.runners[kind]
    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    network = tf.function(lambda x: model(x, training=False), [spec], autograph=False).get_concrete_function()
    want: list[np.ndarray] = []
    got: list[np.ndarray] = []
    seconds: list[float] = []
    while chunk := list(islice(pairs, CHUNK)):
        inputs = np.concatenate([prepared for prepared, _ in chunk]).astype(spec.dtype.as_numpy_dtype)
        want += list(np.asarray(network(tf.constant(inputs)), np.float32))
        for _ in range(0 if seconds else WARM_UP):
            run(chunk[0][1])
        for i in range(0, len(chunk), file.batch):
            given = np.concatenate([given for _, given in chunk[i : i + file.batch]])
            start = time.perf_counter()
            got += list(run(given))
            seconds.append((time.perf_counter() - start) / len(given))
    if not want:
        raise InputError("there are no images to compare on")
    result = _compared(file, key, np.stack(got), np.stack(want), labels, seconds)
    if result.agreement < BAD and result.format in ("tflite int8", "tflite int16x8") and key is None:
        _, again, _ = _pairs(data, IMAGES, file, source)
        with suppress(InputError):  # a file made from another network has no layer in common
            errors = layer_errors(file.path, source.given, (given for _, given in again))
            return replace(result, worst_layers=worst(errors))
    return result


def _compared(
    file: OpenFile,
    key: str | None,
    got: np.ndarray,
    want: np.ndarray,
    labels: np.ndarray | None,
    seconds: list[float],
) -> Agreement:
    if want.shape[1:] == (1,) and got.shape[1:] == (2,):  # exported with two labels
        want = by_class(want)
    if got.shape != want.shape:
        raise InputError(
            f"{file.path} has outputs {got.shape[1:]}, the model {want.shape[1:]}: the file was made from another "
            "network"
        )
    for name, outputs in {"the Keras model": want, str(file.path): got}.items():
        if bad := sum(not np.isfinite(output).all() for output in outputs):
            raise InputError(f"{name} gives NaN or infinite values for {bad} of {len(outputs)} images")
    difference = np.abs(got - want)
    return Agreement(
        format=file.format,
        exit=key,
        bytes=file.bytes,
        n=len(want),
        top1=None if labels is None else scores(by_class(got), labels)["top1"],
        keras_top1=None if labels is None else scores(by_class(want), labels)["top1"],
        agreement=same_class(by_class(want), by_class(got)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        snr=snr(want, got),
        milliseconds=1000 * statistics.median(seconds),
    )


# ------------------------------------------------------------------------------------------------------------ images


def _pairs(
    data: ComparisonData, limit: int | None, file: OpenFile, source: Exportable
) -> tuple[Input, Iterator[_Pair], np.ndarray | None]:
    """Which of the file's inputs to use, the inputs of both sides, and the labels."""
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more; got {limit}")
    if isinstance(data, Split):
        split = data if limit is None else data.sample(limit)
        own = source.preprocessing or file.record.preprocessing
        if own is None:
            raise InputError("neither the model nor the file knows its preprocessing: give an array of network inputs")
        return file.rawest, _from_images(split, own, file), split.labels
    inputs, labels = data if isinstance(data, tuple) else (data, None)
    inputs, labels = np.asarray(inputs)[:limit], None if labels is None else np.asarray(labels)[:limit]
    if not fits(inputs.shape, source.model.input_shape):
        raise InputError(f"the network takes {source.model.input_shape}; data has the shape {inputs.shape}")
    if labels is not None and labels.shape != inputs.shape[:1]:
        raise InputError(f"{len(inputs)} inputs need labels of the shape ({len(inputs)},); got {labels.shape}")
    if not {"input", "pixels"} & set(file.runners):
        raise InputError(f"{file.path} takes images only: give labelled images, as data.load_folder makes them")
    kind: Input = "input" if "input" in file.runners else "pixels"
    return kind, _from_inputs(inputs, file.record.preprocessing if kind == "pixels" else None), labels


def _from_images(split: Split, own: Preprocessing, file: OpenFile) -> Iterator[_Pair]:
    prepare, given = compiled(own), file.from_image(file.record.preprocessing or own)
    for i in range(len(split)):
        image = split.image(i)
        yield prepare(image)[np.newaxis], given(image)


def _from_inputs(inputs: np.ndarray, normalised: Preprocessing | None) -> Iterator[_Pair]:
    """Pairs of network inputs, and of the same or, for a file that normalises, of pixels."""
    for x in inputs[:, np.newaxis]:
        yield x, x if normalised is None else to_pixels(x, normalised)
