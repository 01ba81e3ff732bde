"""Saliency maps by Grad-CAM (Selvaraju et al., 2017, arXiv 1610.02391)."""

from __future__ import annotations

import difflib

import keras
import numpy as np
import tensorflow as tf

from ..arguments import checked
from ..backend import need_tensorflow
from ..errors import InputError
from ..layers import deep_graph
from ..model_graph import call_of, layer_of
from ..outputs import main_network, main_output


@checked
def last_map(model: keras.Model) -> str | None:
    """The name of the last layer before the main output whose output is a feature map; None without such a layer.

    Raises:
        InputError: it is no functional model.
    """
    with deep_graph():
        layers = main_network(model).layers
    return next((layer.name for layer in reversed(layers) if _is_map(layer)), None)


@checked
def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, endpoint: str | None = None) -> np.ndarray:
    """How much each position of a feature map supports a class.

    The map's channels are weighted by the mean gradient of the class's logit and added up; negative sums become 0.

    Args:
        model: a functional classifier.
        images: preprocessed images, (n, H, W, C).
        classes: the class index for each image, (n,).
        endpoint: the layer whose output is the map; None is the last one before the main output.

    Returns:
        (n, h, w), the size of the map, each scaled to a maximum of 1.

    Raises:
        InputError: the network has no such endpoint, or its output is not a feature map.
        ImportError: Keras uses another backend than TensorFlow.
    """
    need_tensorflow("grad_cam")
    layer = _endpoint(model, endpoint)
    end = main_output(model)
    logits = end if layer_of(end).weights else call_of(end).inputs[0]  # before the softmax, if that is a layer
    with deep_graph():
        taps = keras.Model(model.input, [layer.output, logits])
    with tf.GradientTape() as tape:
        pixels = tf.convert_to_tensor(images)
        tape.watch(pixels)
        maps, logits = taps(pixels, training=False)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    gradient = tape.gradient(score, maps)
    support = tf.nn.relu(tf.reduce_sum(tf.reduce_mean(gradient, (1, 2), keepdims=True) * maps, -1)).numpy()
    return support / np.maximum(support.max(axis=(1, 2), keepdims=True), 1e-12)


def _endpoint(model: keras.Model, name: str | None) -> keras.layers.Layer:
    maps = [layer.name for layer in model.layers if _is_map(layer)]
    chosen = last_map(model) if name is None else name
    if chosen not in maps:
        near = difflib.get_close_matches(str(chosen), maps, n=3, cutoff=0.4) or maps[-3:]
        raise InputError(f"{model.name} has no endpoint {chosen!r} that is a map; near ones are {', '.join(near)}")
    return model.get_layer(chosen)


def _is_map(layer: keras.layers.Layer) -> bool:
    shape = tuple(getattr(layer.output, "shape", ()))
    return len(shape) == 4 and not isinstance(layer, keras.layers.InputLayer) and shape[1:3] != (1, 1)
