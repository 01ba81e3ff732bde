"""Local response normalisation in operators that every runtime has, in int8 too."""

from __future__ import annotations

import numpy as np
from keras import layers, ops

from keras_inception.layers import LocalResponseNormalization

from .graph import Node


def lrn_as_convolution(node: Node) -> Node | None:
    """`x * exp(-beta * log(bias + alpha * sum of squares))`, with a 1x1 convolution for the sum over channels.

    Its band matrix costs multiply-adds, but is one operator instead of many slices. A power has no int8 kernel. That of
    rsqrt took 19 ms; the logarithm and the exponential, which are tables in int8, took 0.7 ms (55 x 55 x 96, two x86
    cores).
    """
    if not node.is_a(LocalResponseNormalization):
        return None
    layer, shape, name, channels = node.layer, node.shape, node.name, node.channels
    offsets = np.arange(channels)[:, np.newaxis] - np.arange(channels) + layer.size // 2
    band = layer.alpha * ((offsets >= 0) & (offsets < layer.size))
    weights = [band.astype(np.float32)[np.newaxis, np.newaxis], np.full(channels, layer.bias, np.float32)]
    [x] = node.sources
    squares = Node(layers.Multiply(), [x, x], shape, f"{name}_square")  # the operator SQUARE has no int8 kernel
    total = Node(layers.Conv2D(channels, 1), [squares], shape, f"{name}_sum", weights)
    log = Node(ops.log, [total], shape, f"{name}_log")
    power = Node(layers.Rescaling(-layer.beta), [log], shape, f"{name}_power")
    return Node(layers.Multiply(), [x, Node(ops.exp, [power], shape, f"{name}_exp")], shape, name)
