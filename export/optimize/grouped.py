"""Rules for converters that read TensorFlow's graph: grouped convolutions in a form that they know."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf
from keras import layers

from .graph import Node


class GroupedConv2D(layers.Conv2D):
    """A grouped convolution that is one operator of a graph. TensorFlow does not run it on a CPU."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """As of Conv2D; Keras would call a function there that XLA compiles, which converters do not read."""
        return tf.nn.convolution(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


def is_grouped(node: Node) -> bool:
    """Whether it is a grouped convolution of channels-last maps."""
    return node.is_a(layers.Conv2D) and node.layer.groups > 1 and node.layer.data_format == "channels_last"


def grouped_as_operator(node: Node) -> Node | None:
    """Write a grouped convolution as `GroupedConv2D`."""
    if not is_grouped(node):
        return None
    layer = GroupedConv2D.from_config(node.layer.get_config())
    return Node(layer, node.sources, node.shape, node.name, node.values())


def grouped_as_several(node: Node) -> Node | None:
    """Write a grouped convolution as one for each group."""
    if not is_grouped(node):
        return None
    kernel, *bias = node.values()
    [source], groups, rows = node.sources, node.layer.groups, kernel.shape[2]
    columns = node.channels // groups
    own = node.layer.get_config() | {"groups": 1, "filters": columns}
    parts = []
    for group in range(groups):
        first, last = slice(group * rows, (group + 1) * rows), slice(group * columns, (group + 1) * columns)
        part = Node(partial(_channels, which=first), [source], (*source.shape[:3], rows), f"{node.name}_in{group}")
        weights = [kernel[..., last], *(values[last] for values in bias)]
        parts.append(
            Node(layers.Conv2D.from_config(own), [part], (*node.shape[:3], columns), f"{node.name}_{group}", weights)
        )
    return Node(layers.Concatenate(), parts, node.shape, node.name)


def _channels(x: Any, which: slice) -> Any:
    return x[..., which]
