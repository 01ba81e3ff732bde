"""Average pools and 1x1 convolutions in the order that computes less.

A mean over positions and a product over channels commute, and so does a bias if the mean leaves padding out, as Keras'
does.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from .fold import is_linear_map
from .graph import Node


def pool_after_projection(node: Node) -> Node | None:
    """A pool with stride 1 moves after the 1x1 convolution that follows it, if that leaves fewer channels to pool."""
    if not _is_pointwise(node):
        return None
    [pool] = node.sources
    if not _is_pool(pool) or math.prod(pool.layer.strides) > 1 or len(pool.readers) > 1:
        return None
    if node.channels >= pool.channels:
        return None
    projection = _again(node, pool.sources[0], f"{pool.name}_projection", activation=None)
    pooled = Node(pool.layer, [projection], node.shape, node.name)
    if node.layer.activation is keras.activations.linear:
        return pooled
    pooled.name = f"{node.name}_pool"
    return Node(layers.Activation(node.layer.activation), [pooled], node.shape, node.name)


def pool_before_projection(node: Node) -> Node | None:
    """A pool with strides moves before a 1x1 convolution, which then has fewer positions; DenseNet's transitions."""
    if not _is_pool(node) or math.prod(node.layer.strides) == 1:
        return None
    [before] = node.sources
    if not _is_pointwise(before) or before.layer.activation is not keras.activations.linear or len(before.readers) > 1:
        return None
    shape = (*node.shape[:-1], before.sources[0].shape[-1])
    pool = Node(node.layer, before.sources, shape, f"{node.name}_pool")
    return _again(before, pool, node.name)


def _again(node: Node, source: Node, name: str, **changes: Any) -> Node:
    """The convolution of a node on another map."""
    layer = type(node.layer).from_config(node.layer.get_config() | changes)
    return Node(layer, [source], (*source.shape[:-1], node.shape[-1]), name, node.values())


def _is_pointwise(node: Node) -> bool:
    """Whether it is a 1x1 convolution with stride 1."""
    if not node.is_a(layers.Conv2D) or not is_linear_map(node):
        return False
    return set(node.layer.kernel_size) == set(node.layer.strides) == {1}


def _is_pool(node: Node) -> bool:
    return node.is_a(layers.AveragePooling2D) and node.layer.data_format == "channels_last"
