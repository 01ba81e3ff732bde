"""Weights that were trained for one task, in a network for another: other classes, channels, auxiliary heads."""

from __future__ import annotations

import keras
import numpy as np
from keras.layers import Dense

from ..errors import InputError
from .names import Adapt
from .names.frameworks import grid
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


def without_side_heads(model: keras.Model) -> keras.Model:
    """The model's path to its last classifier, of the same layers."""
    return keras.Model(model.input, model.output["predictions"], name=model.name)


def start_anew(model: keras.Model) -> None:
    """Initialise the classifiers: what they told apart is not what they are to learn."""
    for layer in classifiers(model):
        layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))
        if layer.use_bias:
            layer.bias.assign(layer.bias_initializer(layer.bias.shape))


def classifiers(model: keras.Model) -> list[keras.layers.Layer]:
    """What makes the classes of each output, the first layer with weights on the way back; none without a top."""
    makers = {id(layer.output): layer for layer in model.layers}

    def weighted(layer: keras.layers.Layer) -> keras.layers.Layer:
        while not layer.weights:
            layer = makers[id(layer.input)]
        return layer

    ends = [makers[id(output)] for output in keras.tree.flatten(model.output)]
    return [weighted(end) for end in ends if end.name.startswith(("predictions", "aux_", "exit_"))]


def copy_weights(source, target, *, name):
    ours = {layer.name: layer for layer in target.layers}
    heads = classifiers(target)
    for layer in source.layers:
        if layer.weights:
            own = ours.get(layer.name)
            if own is None or [w.shape for w in layer.weights] != [w.shape for w in own.weights]:
                if own in heads:
                    continue
                raise InputError(f"{name}: {layer.name}")
            own.set_weights(layer.get_weights())
