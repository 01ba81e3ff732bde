"""The pictures by which activations are quantised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_inception.data import Split, load_folder
from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

from ._source import Source

# Pictures as the Keras model takes them, (n, H, W, C); or labelled pictures, as a split, a folder, or a run's own.
Calibration: TypeAlias = np.ndarray | Sequence[np.ndarray] | Split | Run | str | Path

PICTURES = 200  # taken of a split, each class in proportion
EMPTY = "calibration is empty: give some hundred typical pictures"


def calibration_inputs(calibration: Calibration | None, source: Source) -> np.ndarray:
    """Representative inputs of the .tflite file: (n, H, W, C) float32, pixels where it normalises them itself.

    Raises:
        InputError: there are none, or they are not what the network takes.
    """
    if calibration is None:
        calibration = _own_pictures(source)
    elif isinstance(calibration, str | Path):
        path = Path(calibration)
        calibration = Run.load(path) if (path / "run.json").exists() else load_folder(path).train
    if isinstance(calibration, Run):
        calibration = training_pictures(calibration)
    if isinstance(calibration, Split):
        inputs = _from_split(calibration, source)
    else:
        inputs = _from_array(np.asarray(calibration), source).astype(source.input_dtype)
    if source.preprocessing:
        # A black and a white corner, so that the scale of the input is one level a step whatever the pictures hold.
        inputs[0, 0, 0], inputs[0, -1, -1] = 0, 255
    return inputs


def compiled(prepare: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """A step of a preprocessing as a graph, uint8 (H, W, 3) -> float32: the same bits, many times as fast."""
    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    graph = tf.function(prepare, [spec], autograph=False).get_concrete_function()
    return lambda picture: graph(tf.constant(picture)).numpy()


def training_pictures(run: Run) -> Split:
    """The pictures that a run was trained on.

    Raises:
        InputError: it was trained on arrays, or its folder is gone.
    """
    folder = run.data.get("folder")
    if folder is None:
        raise InputError(f"{run.path} was trained on arrays, which it does not keep: give calibration=")
    if not Path(folder).is_dir():
        raise InputError(f"the pictures of {run.path} are no longer at {folder}: give calibration=")
    return load_folder(folder, validation=run.data["validation"]).train


def to_pixels(inputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo the normalisation: the network's inputs (n, H, W, C) -> RGB pixels (n, H, W, 3) float32, 0..255.

    Raises:
        InputError: the pixels are outside 0..255, so the inputs were not preprocessed so.
    """
    std, mean = np.asarray(preprocessing.std, np.float32), np.asarray(preprocessing.mean, np.float32)
    pixels = np.asarray(inputs, np.float32) * std + mean
    low, high = pixels.min(), pixels.max()
    if low < -1 or high > 256:
        raise InputError(
            f"the inputs range over {inputs.min():g} to {inputs.max():g}, by the preprocessing pixels from {low:.0f} "
            f"to {high:.0f} and not 0 to 255: pass pictures through the preprocessing, once"
        )
    if preprocessing.channels == "BGR":
        pixels = pixels[..., ::-1]
    return np.broadcast_to(np.clip(pixels, 0, 255), (*pixels.shape[:-1], 3))


def _own_pictures(source: Source) -> Run:
    if source.run is None:
        shape = ", ".join(map(str, source.input_shape))
        raise InputError(
            f"full-integer quantisation needs calibration=: some hundred typical pictures as the network takes them, "
            f"an array (n, {shape}), or a folder of labelled pictures"
        )
    return source.run


def _from_split(split: Split, source: Source) -> np.ndarray:
    if source.preprocessing is None:
        raise InputError("to calibrate with pictures give preprocessing= too, or an array as the network takes it")
    sample = split.sample(PICTURES)
    if not len(sample):
        raise InputError(EMPTY)
    resize = compiled(source.preprocessing.resize)
    return np.stack([resize(sample.picture(i)) for i in range(len(sample))])


def _from_array(array: np.ndarray, source: Source) -> np.ndarray:
    if array.shape[1:] != source.input_shape:
        shape = ", ".join(map(str, source.input_shape))
        raise InputError(f"calibration has the shape {array.shape}; the network takes (n, {shape})")
    if not len(array):
        raise InputError(EMPTY)
    if not np.isfinite(array).all():
        raise InputError("calibration holds NaN or infinite values: give pictures as the network takes them")
    return to_pixels(array, source.preprocessing) if source.preprocessing else array
