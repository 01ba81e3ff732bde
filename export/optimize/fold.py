"""Batch norms and constant scales, folded into the convolution or dense layer next to them.

Each multiplies a channel by a number and adds another, and so do the columns of a kernel and its bias.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

from .graph import Node

Affine: TypeAlias = tuple[np.ndarray, np.ndarray]  # scale and shift of each channel, (C,) float64

LINEAR = layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose, layers.Dense


def into_layer_before(node: Node) -> Node | None:
    """`(x * kernel + bias) * scale + shift` as one layer, which takes the name of the scale."""
    if (affine := affine_of(node)) is None:
        return None
    [before] = node.sources
    if len(before.readers) > 1 or not is_linear_map(before) or before.layer.activation is not keras.activations.linear:
        return None
    scale, shift = affine
    *kernels, bias = kernels_and_bias(before)
    if isinstance(before.layer, layers.Conv2DTranspose):
        kernels[-1] = kernels[-1] * scale[:, np.newaxis]
    else:  # a depthwise kernel ends in (channels, multiplier), the order of its outputs
        kernels[-1] = kernels[-1] * scale.reshape(kernels[-1].shape[-2:] if _is_depthwise(before.layer) else -1)
    return with_weights(before, kernels, bias * scale + shift, before.sources, node.name)


def into_layer_after(node: Node) -> Node | None:
    """`(x * scale + shift) * kernel + bias` as one layer, unless that pads a shifted map: zeros have no shift."""
    if not is_linear_map(node) or isinstance(node.layer, layers.Conv2DTranspose):
        return None
    [before] = node.sources
    if len(before.readers) > 1 or (affine := affine_of(before)) is None:
        return None
    scale, shift = affine
    kernel, *pointwise, bias = kernels_and_bias(node)
    padded = getattr(node.layer, "padding", "valid") != "valid" and max(node.layer.kernel_size) > 1
    if padded and shift.any():
        return None
    if isinstance(node.layer, layers.Conv2D):  # the outputs of a group read the channels of that group
        groups = node.layer.groups
        scale, shift = (np.repeat(v.reshape(groups, -1), kernel.shape[-1] // groups, axis=0).T for v in (scale, shift))
        shift = (kernel * shift).sum((0, 1, 2))
    elif isinstance(node.layer, layers.Dense):
        scale, shift = scale[:, np.newaxis], shift @ kernel
    else:
        scale, shift = scale[:, np.newaxis], (kernel * shift[:, np.newaxis]).sum((0, 1)).ravel()
    for matrix in pointwise:
        shift = shift @ matrix[0, 0]
    return with_weights(node, [kernel * scale, *pointwise], bias + shift, before.sources, node.name)


def affine_of(node: Node) -> Affine | None:
    """The factor and the summand of each channel in inference; None if the layer does anything else."""
    if not node.is_a(layers.BatchNormalization, layers.Rescaling, layers.Normalization):
        return None
    return scale_and_shift(node.layer, len(node.shape), node.channels)


def scale_and_shift(layer: Any, rank: int, channels: int) -> Affine | None:
    """The factor and the summand of each channel of a norm or scale in inference; None if they differ within one."""
    scale: Any = 1.0
    shift: Any = 0.0
    if isinstance(layer, layers.Rescaling):
        scale, shift = layer.scale, layer.offset
    elif layer.axis not in (-1, rank - 1, (-1,), (rank - 1,)) or getattr(layer, "invert", False):
        return None
    elif isinstance(layer, layers.Normalization):
        scale = 1 / np.maximum(np.sqrt(_float64(layer.variance)), keras.config.epsilon())
        shift = -_float64(layer.mean) * scale
    else:
        scale = 1 / np.sqrt(_float64(layer.moving_variance) + layer.epsilon)
        if layer.scale:
            scale = scale * _float64(layer.gamma)
        shift = -_float64(layer.moving_mean) * scale + (_float64(layer.beta) if layer.center else 0)
    if {np.size(scale), np.size(shift)} - {1, channels}:
        return None
    whole = np.ones(channels)
    return np.ravel(_float64(scale)) * whole, np.ravel(_float64(shift)) * whole


def is_linear_map(node: Node) -> bool:
    """Whether it multiplies by kernels and adds a bias; it may have an activation too."""
    if not node.is_a(*LINEAR) or getattr(node.layer, "data_format", "channels_last") != "channels_last":
        return False
    plain = 1 + isinstance(node.layer, layers.SeparableConv2D) + node.layer.use_bias
    return len(node.values()) == plain  # a quantised layer, or one with LoRA, has more


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D)


def kernels_and_bias(node: Node) -> list[np.ndarray]:
    """The weights of a linear map, float64; the bias is 0 if it has none."""
    values = [_float64(value) for value in node.values()]
    return values if node.layer.use_bias else [*values, np.zeros(1)]


def with_weights(node: Node, kernels: list[np.ndarray], bias: np.ndarray, sources: list[Node], name: str) -> Node:
    """A node with the layer of another, with a bias, and with other weights."""
    layer = type(node.layer).from_config(node.layer.get_config() | {"use_bias": True})
    weights = [values.astype(np.float32) for values in (*kernels, np.broadcast_to(bias, node.channels))]
    return Node(layer, sources, node.shape, name, weights)


def _float64(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)
