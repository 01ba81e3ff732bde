"""Rules for .tflite files: operators in a form that GPU accelerators compute rightly."""

from __future__ import annotations

from keras import layers

from .graph import Node
from .grouped import grouped_as_several, is_grouped
from .integer import pool_as_convolution

VECTOR = 4  # channels that a GPU's shaders hold together


def padded_pool_as_convolution(node: Node) -> Node | None:
    """An average pool over a zero padding as a depthwise convolution with equal weights.

    LiteRT's GPU accelerator (2.3.0) takes the padding into the pool, which then leaves the zeros out of its means: a
    ShuffleNet v1 in float32 had nothing but noise at its outputs.
    """
    return pool_as_convolution(node) if any(source.is_a(layers.ZeroPadding2D) for source in node.sources) else None


def uneven_groups_as_several(node: Node) -> Node | None:
    """A grouped convolution whose groups have channels that do not divide by 4, as one convolution for each group.

    LiteRT's GPU accelerator (2.3.0) computes it wrongly, or ends the process, in float too.
    """
    if not is_grouped(node):
        return None
    even = all(channels // node.layer.groups % VECTOR == 0 for channels in (node.sources[0].channels, node.channels))
    return None if even else grouped_as_several(node)
