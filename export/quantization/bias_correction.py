"""Biases corrected for the average shift that rounding a kernel to int8 adds to each channel.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2, with
measured means: a layer is linear, so the average shift of its output is the shift for its average input.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_inception.model_graph import times_called

from ..optimize.fold import LINEAR, is_linear_map, kernels_and_bias, with_weights
from ..optimize.graph import Graph, Node


def bias_corrected(model: keras.Model, inputs: Iterable[Any], leave: Collection[str] = ()) -> keras.Model:
    """The network with biases corrected for kernels that a converter will round to int8 with one scale per channel.

    Without, MobileNet v1 0.25 classifies 89 of 200 photographs correctly in int8, and 97 in float32;
    `benchmarks/export.py judge` prints the figure with the correction. In .tflite files `rounded` comes before, which
    leaves the separable and transposed convolutions and the largest kernels to this.

    Args:
        model: a functional model, which is not changed.
        inputs: typical inputs of the model, batches of any size.
        leave: layers that are not rounded.
    """
    means = _mean_inputs(model, inputs)

    def rule(node: Node) -> Node | None:
        if node.name not in means or node.name in leave or not is_linear_map(node):
            return None
        *kernels, bias = kernels_and_bias(node)
        shift = _lost(node.layer, kernels, means.pop(node.name))
        return with_weights(node, kernels, bias + shift, node.sources, node.name)

    graph = Graph(model)
    list(graph.apply(rule))
    return graph.model()


def _mean_inputs(model: keras.Model, inputs: Iterable[Any]) -> dict[str, np.ndarray]:
    """The mean input of each linear layer, by its name."""
    linear = [layer for layer in model.layers if type(layer) in LINEAR and times_called(layer) == 1]
    probe = keras.Model(model.input, [layer.input for layer in linear])
    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    run = tf.function(lambda x: probe(x, training=False), [spec], autograph=False).get_concrete_function()
    totals: list[Any] = [0.0] * len(linear)
    count = 0
    for x in inputs:
        maps = keras.tree.flatten(run(tf.cast(x, spec.dtype)))
        totals = [total + tf.reduce_sum(map_, 0) for total, map_ in zip(totals, maps, strict=True)]
        count += len(x)
    return {layer.name: total.numpy() / count for layer, total in zip(linear, totals, strict=True)}


def _lost(layer: Any, kernels: list[np.ndarray], mean: np.ndarray) -> np.ndarray:
    """The output that rounding the kernels takes away, as the mean over positions: (channels,)."""
    plain = type(layer).from_config(layer.get_config() | {"activation": "linear", "use_bias": False})
    plain.build((None, *mean.shape))
    nearest = [np.multiply(*rounded(kernel, axes)) for kernel, axes in zip(kernels, _output_axes(layer), strict=True)]
    outputs = []
    for values in (kernels, nearest):
        plain.set_weights(values)
        outputs.append(np.asarray(plain(mean[np.newaxis]), np.float64))
    return (outputs[0] - outputs[1]).mean(axis=tuple(range(mean.ndim)))


def _output_axes(layer: Any) -> list[tuple[int, ...]]:
    """For each kernel of a layer, the axes of its outputs; kernels have four axes, dense ones two."""
    depthwise = (2, 3)
    if isinstance(layer, layers.SeparableConv2D):
        return [depthwise, (3,)]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [depthwise]
    return [(1,) if isinstance(layer, layers.Dense) else (2,) if isinstance(layer, layers.Conv2DTranspose) else (3,)]


def rounded(kernel: np.ndarray, output_axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from -127 to 127, and the steps that they count, as TensorFlow Lite specifies.

    A step is 1/127 of each output's largest weight; its shape has ones in the axes that are not of outputs.
    """
    others = tuple(axis for axis in range(kernel.ndim) if axis not in output_axes)
    step = np.abs(kernel).max(axis=others, keepdims=True) / 127
    step = np.where(step > 0, step, 1)
    return np.round(kernel / step), step
