"""Rules for .tflite files: operators in a form that GPU accelerators compute rightly."""

from __future__ import annotations

from keras import layers

from .graph import Node
from .integer import pool_as_convolution


def padded_pool_as_convolution(node: Node) -> Node | None:
    """An average pool over a zero padding as a depthwise convolution with equal weights.

    LiteRT's GPU accelerator (2.3.0) takes the padding into the pool, which then leaves the zeros out of its means: a
    ShuffleNet v1 in float32 had nothing but noise at its outputs.
    """
    return pool_as_convolution(node) if any(source.is_a(layers.ZeroPadding2D) for source in node.sources) else None
