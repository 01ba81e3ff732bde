"""Weights that were trained for one task, in a network for another: other classes, channels, auxiliary heads."""

from __future__ import annotations

import keras
import numpy as np
from keras.layers import Dense

from ..errors import InputError
from ..model_graph import grid
from ..outputs import classifiers
from .names import Adapt
from .record import Checkpoint


def adapter(model: keras.Model, checkpoint: Checkpoint) -> Adapt:
    """What becomes of a checkpoint's tensor that has another shape than the model's variable.

    A classifier of other classes stays as it was initialised. The first convolution takes other channels: the sum of
    the three for one, and for more the three over and over, scaled so that their sum stays.
    """
    heads = classifiers(model)

    def adapt(layer: keras.layers.Layer, variable: str, array: np.ndarray) -> np.ndarray | None:
        shape = tuple(getattr(layer, variable).shape)
        if layer in heads and array.shape[:-1] == shape[:-1]:
            return None
        if len(shape) == array.ndim == 4 and array.shape[2] == 3 != shape[2]:
            return _with_channels(array, shape[2])
        if isinstance(layer, Dense) and array.ndim == 2 and len(array) != shape[0] and grid(layer.input)[:2] != (1, 1):
            trained, ours = (
                f"{size[0]} x {size[1]}" for size in (checkpoint.preprocessing.size, model.input_shape[1:])
            )
            raise InputError(
                f"{layer.name} of {checkpoint.id} sees the whole map of an image of {trained} pixels, not of {ours}: "
                "leave input_shape out, or give include_top=False"
            )
        return array

    return adapt


def _with_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """height x width x 3 x filters -> height x width x channels x filters."""
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * np.float32(3 / channels)


def start_anew(model: keras.Model) -> None:
    """Initialise the classifiers: what they told apart is not what they are to learn."""
    for layer in classifiers(model):
        layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))
        if layer.use_bias:
            layer.bias.assign(layer.bias_initializer(layer.bias.shape))
