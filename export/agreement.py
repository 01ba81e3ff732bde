"""An exported file, in its own runtime, against the Keras model that it came from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, get_args

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data import Split
from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing

from .exits import exit_networks
from .inputs import ModelOrRun, Source, fits
from .quantization.calibration import compiled, to_pixels
from .runtimes.opening import File, open_file
from .signal_to_noise import snr
from .tflite.layer_errors import IMAGES, layer_errors, worst
from .tflite.metadata import Input, Record

# Labelled images; or inputs of the network, (n, *input_shape), without or with their labels, (n,).
Data: TypeAlias = Split | np.ndarray | tuple[np.ndarray, np.ndarray]

_Pair: TypeAlias = tuple[np.ndarray, np.ndarray]  # what the Keras model and what the file is given, batches of one

CHUNK = 16  # images in memory at a time
WARM_UP = 3  # runs that are not timed
BAD = 0.9  # agreement, below which one wants to know where it was lost


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported file compares with its Keras model over `n` images.

    `format` is what the file itself shows: "saved_model", or "tflite " and "float32", "float16", "dynamic", "int8" or
    "int16x8". `exit` is which answer of a network with early exits, None where it has one or the last is meant. `top1`
    and `keras_top1` are the shares of images that the file and the Keras model get right, None without labels;
    `agreement` is the share where both give the same answer. The differences are of single outputs, absolute; `snr` is
    the signal-to-noise ratio of all of them in decibels. `milliseconds` is the median of one image at a time after a
    warm-up, on at most 4 threads for a .tflite file; a SavedModel that takes images spends part of them on crop and
    resize, which the others have behind them. Where an integer file agrees badly, `worst_layers` are those behind which
    most is lost, and their decibels there.
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


def agreement(
    path: str | Path,
    model_or_run: ModelOrRun,
    data: Data | None = None,
    *,
    limit: int | None = None,
    runtime: str | None = None,
) -> Agreement:
    """Run an exported file in its own runtime, TensorFlow or LiteRT, and compare it with the Keras model.

    The file's record says what it takes; each side gets the same images in its own way. Of a file with early exits
    it is the last that is compared; `agreements` compares them all.

    Args:
        path: a SavedModel or a .tflite file.
        model_or_run: where it came from: a functional model, a run or a run directory.
        data: labelled images; or the network's inputs as an array (n, *input_shape), alone or with labels (n,). By
            default the images that the run held out.
        limit: at most so many images: of a split a sample of all classes, of an array the first.
        runtime: "openvino" runs a file of any format there, as a cross-check; the format then ends in it.

    Raises:
        InputError: no such file, or one that its runtime refuses; data that does not fit; or outputs that are NaN.
    """
    source, file = Source.of(model_or_run), open_file(Path(path), runtime)
    return _measured(file, None, source, source.model, data, limit)


def agreements(
    path: str | Path, model_or_run: ModelOrRun, data: Data | None = None, *, limit: int | None = None
) -> list[Agreement]:
    """`agreement` of every exit of a file, the soonest first; of a file that has none, the one.

    Raises:
        InputError: as `agreement`; or the model has not the exits that the file has.
    """
    source, file = Source.of(model_or_run), open_file(Path(path))
    networks = exit_networks(source.given, exits=True) if file.exits else {}
    if len(networks) != len(file.exits):
        raise InputError(f"{path} has {len(file.exits)} exits, the model {len(networks)}: it is another network's")
    if not networks:
        return [_measured(file, None, source, source.model, data, limit)]
    return [_measured(file, key, source, network, data, limit) for key, network in networks.items()]


def _measured(
    file: File, key: str | None, source: Source, model: keras.Model, data: Data | None, limit: int | None
) -> Agreement:
    """Compare one exit of the file, None its only answer or the last, with the model's."""
    if data is None:
        if source.run is None:
            raise InputError("give data to compare on: labelled images, or an array of the network's inputs")
        data = source.run.images("held_out")
    kind, pairs, labels = _pairs(data, limit, file, source)
    run = file.exits[key] if key else file.entries[kind]
    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    network = tf.function(lambda x: model(x, training=False), [spec], autograph=False).get_concrete_function()
    want: list[np.ndarray] = []
    got: list[np.ndarray] = []
    seconds: list[float] = []
    while chunk := list(islice(pairs, CHUNK)):
        own = tf.constant(np.concatenate([prepared for prepared, _ in chunk]), spec.dtype)
        want += list(np.asarray(network(own), np.float32))
        for _ in range(0 if seconds else WARM_UP):
            run(chunk[0][1])
        for _, given in chunk:
            start = time.perf_counter()
            got.append(run(given)[0])
            seconds.append(time.perf_counter() - start)
    if not want:
        raise InputError("there are no images to compare on")
    result = _compared(file, key, np.stack(got), np.stack(want), labels, seconds)
    if result.agreement < BAD and result.format in ("tflite int8", "tflite int16x8") and key is None:
        _, again, _ = _pairs(data, IMAGES, file, source)
        with suppress(InputError):  # another network's file has no layer in common
            errors = layer_errors(file.path, source.given, (given for _, given in again))
            return replace(result, worst_layers=worst(errors))
    return result


def _compared(
    file: File,
    key: str | None,
    got: np.ndarray,
    want: np.ndarray,
    labels: np.ndarray | None,
    seconds: list[float],
) -> Agreement:
    if got.shape != want.shape:
        raise InputError(
            f"{file.path} gives {got.shape[1:]} outputs, the model {want.shape[1:]}: it is another network's"
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
        top1=None if labels is None else float((_answers(got) == labels).mean()),
        keras_top1=None if labels is None else float((_answers(want) == labels).mean()),
        agreement=float((_answers(got) == _answers(want)).mean()),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        snr=snr(want, got),
        milliseconds=1000 * statistics.median(seconds),
    )


def _answers(outputs: np.ndarray) -> np.ndarray:
    """The class of each image; of one sigmoid, whether it is above a half."""
    return outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else (outputs[..., 0] > 0.5).astype(int)


# ------------------------------------------------------------------------------------------------------------ images


def _pairs(
    data: Data, limit: int | None, file: File, source: Source
) -> tuple[Input, Iterator[_Pair], np.ndarray | None]:
    """Which of the file's inputs to use, what to give both sides, and the labels."""
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more; got {limit}")
    if isinstance(data, Split):
        split = data if limit is None else data.sample(limit)
        own = source.preprocessing or file.record.preprocessing
        if own is None:
            raise InputError("neither the model nor the file knows its preprocessing: give an array of network inputs")
        kind: Input = next(kind for kind in get_args(Input) if kind in file.entries)  # the rawest that it takes
        return kind, _from_images(split, own, file.record, kind), split.labels
    inputs, labels = data if isinstance(data, tuple) else (data, None)
    inputs, labels = np.asarray(inputs)[:limit], None if labels is None else np.asarray(labels)[:limit]
    if not fits(inputs.shape, source.model.input_shape):
        raise InputError(f"the network takes {source.model.input_shape}; data has the shape {inputs.shape}")
    if labels is not None and labels.shape != inputs.shape[:1]:
        raise InputError(f"{len(inputs)} inputs need labels of the shape ({len(inputs)},); got {labels.shape}")
    if not {"input", "pixels"} & set(file.entries):
        raise InputError(f"{file.path} takes images only: give labelled images to compare on, as data.load_folder")
    kind = "input" if "input" in file.entries else "pixels"
    return kind, _from_inputs(inputs, file.record, kind), labels


def _from_images(split: Split, own: Preprocessing, record: Record, kind: Input) -> Iterator[_Pair]:
    prepare, resize = compiled(own), compiled((record.preprocessing or own).resize)
    for i in range(len(split)):
        image = split.image(i)
        prepared = prepare(image)
        given = image if kind == "image" else resize(image) if kind == "pixels" else prepared
        yield prepared[np.newaxis], given[np.newaxis]


def _from_inputs(inputs: np.ndarray, record: Record, kind: Input) -> Iterator[_Pair]:
    for x in inputs[:, np.newaxis]:
        if kind == "pixels":
            assert record.preprocessing is not None  # a file that takes pixels says how it normalises them
            yield x, to_pixels(x, record.preprocessing)
        else:
            yield x, x
