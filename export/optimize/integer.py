"""Rules for int8 files only: operators in a form that has a fast kernel and a quantisation range of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from .fold import affine_of
from .graph import Node


def norm_as_convolution(node: Node) -> Node | None:
    """A norm or scale that could not be folded, as a 1x1 depthwise convolution with a bias.

    As a product and a sum it would be two operators, rounded in between, whose factors share one scale. A kernel has a
    scale for each channel, and a bias has 32 bits. This module raised a DenseNet 121 with
    random weights from 14 to 24 dB.
    """
    if len(node.shape) != 4 or (affine := affine_of(node)) is None:
        return None
    scale, shift = (values.astype(np.float32) for values in affine)
    return Node(layers.DepthwiseConv2D(1), node.sources, node.shape, node.name, [scale.reshape(1, 1, -1, 1), shift])


def strided_projection_as_two(node: Node) -> Node | None:
    """A 1x1 convolution with a stride, as a max pool of single positions and the convolution without a stride.

    The same values. LiteRT's GPU accelerator (2.3.0) computes the one operator wrongly in int8, and the shortcuts of
    every ResNet are such.
    """
    if not node.is_a(layers.Conv2D) or node.layer.data_format != "channels_last":
        return None
    conv, [source] = node.layer, node.sources
    if conv.kernel_size != (1, 1) or conv.strides == (1, 1):
        return None
    taken = Node(
        layers.MaxPooling2D(1, conv.strides), [source], (*node.shape[:3], source.channels), f"{node.name}_positions"
    )
    plain = layers.Conv2D.from_config(conv.get_config() | {"strides": 1})
    return Node(plain, [taken], node.shape, node.name, node.values())


def sum_of_single_positions(node: Node) -> Node | None:
    """A sum of maps of one position, as a sum of maps of two positions with half the channels.

    TensorFlow's converter takes a map of shape (1, 1, 1, channels) for a bias and makes a vector without a batch of it,
    which LiteRT's GPU accelerator (2.3.0) adds wrongly in int8. A ResNet at 32 pixels ends with such sums.
    """
    if type(node.layer) is not layers.Add or node.shared:
        return None
    if node.shape[1:] != (1, 1, node.channels) or node.channels % 2:
        return None
    shape = 1, 2, node.channels // 2
    halves = [
        Node(layers.Reshape(shape), [source], (node.shape[0], *shape), f"{node.name}_halves_{i}")
        for i, source in enumerate(node.sources)
    ]
    total = Node(layers.Add(), halves, (node.shape[0], *shape), f"{node.name}_sum")
    return Node(layers.Reshape(node.shape[1:]), [total], node.shape, node.name)


def activation_in_convolution(node: Node) -> Node | None:
    """A convolution and the ReLU or ReLU6 that alone reads it, as one layer: TensorFlow's int8 kernels have both."""
    if (activation := _rectifier(node)) is None:
        return None
    [before] = node.sources
    if not before.is_a(layers.Conv2D) or len(before.readers) > 1:
        return None
    if before.layer.activation is not keras.activations.linear:
        return None
    layer = layers.Conv2D.from_config(before.layer.get_config() | {"activation": activation})
    return Node(layer, before.sources, node.shape, node.name, before.values())


def _rectifier(node: Node) -> Any:
    if node.is_a(layers.ReLU) and not (node.layer.negative_slope or node.layer.threshold):
        return {None: keras.activations.relu, 6: keras.activations.relu6}.get(node.layer.max_value)
    if node.is_a(layers.Activation) and node.layer.activation in (keras.activations.relu, keras.activations.relu6):
        return node.layer.activation
    return None


def separable_as_two(node: Node) -> Node | None:
    """A separable convolution as its depthwise and its 1x1 convolution, of which only the second has an int8 kernel."""
    if not node.is_a(layers.SeparableConv2D) or node.layer.data_format != "channels_last":
        return None
    both, [source], [kernel, *pointwise] = node.layer, node.sources, node.values()
    depthwise = layers.DepthwiseConv2D(
        both.kernel_size,
        both.strides,
        both.padding,
        both.depth_multiplier,
        dilation_rate=both.dilation_rate,
        use_bias=False,
    )
    shape = (*node.shape[:3], source.channels * both.depth_multiplier)
    mixed = layers.Conv2D(both.filters, 1, use_bias=both.use_bias, activation=both.activation)
    return Node(
        mixed, [Node(depthwise, [source], shape, f"{node.name}_depthwise", [kernel])], node.shape, node.name, pointwise
    )


def pool_as_convolution(node: Node) -> Node | None:
    """An average pool as a depthwise convolution with equal weights, which int8 represents exactly.

    XNNPACK leaves int8 average pools to LiteRT, whose kernel is slow, and the map is copied before and after it. The
    format also gives a pool's output the range of its input, so the range of a concatenation spreads back through the
    pool. Padding does not count in a mean: the sum of a window that has padding is divided by less.
    """
    if not node.is_a(layers.AveragePooling2D) or node.layer.data_format != "channels_last":
        return None
    pool, [source] = node.layer, node.sources
    height, width = source.shape[1:3]
    if height is None or width is None:
        return None
    size = pool.pool_size
    kernel = np.full((*size, node.channels, 1), 1 / np.prod(size), np.float32)
    layer = layers.DepthwiseConv2D(size, pool.strides, pool.padding, use_bias=False)
    ones = np.pad(np.ones((1, height, width, 1), np.float32), [(0, 0), *_padding(pool, height, width), (0, 0)])
    present = np.asarray(ops.average_pool(ones, size, pool.strides))
    if (present == 1).all():
        return Node(layer, [source], node.shape, node.name, [kernel])
    means = Node(layer, [source], node.shape, f"{node.name}_sum", [kernel])
    return Node(partial(ops.multiply, (1 / present).astype(np.float32)), [means], node.shape, node.name)


def _padding(pool: layers.AveragePooling2D, height: int, width: int) -> list[tuple[int, int]]:
    """How many positions "same" pads before and after each side."""
    if pool.padding == "valid":
        return [(0, 0), (0, 0)]
    sides = zip((height, width), pool.strides, pool.pool_size, strict=True)
    counts = [max(0, (-(-side // stride) - 1) * stride + window - side) for side, stride, window in sides]
    return [(count // 2, count - count // 2) for count in counts]
