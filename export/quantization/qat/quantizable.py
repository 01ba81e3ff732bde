"""A plan prepared for int8, where TFLite's kernels require more than the same function."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .bridge import K2, Norm, Plan, Widen

# They only move, choose or average values; their int8 kernels keep the scale of the input.
KEEPS_SCALE = (
    K2.MaxPooling2D,
    K2.AveragePooling2D,
    K2.GlobalMaxPooling2D,
    K2.ZeroPadding2D,
    K2.Cropping2D,
    K2.Flatten,
    K2.Reshape,
    K2.Permute,
    Widen,
)


def quantizable(network: Plan) -> Plan:
    """The same network, with lone batch norms replaced, and averages rescaled before they are concatenated."""
    _fold_or_replace_norms(network)
    return _rescale_averages(network)


def _fold_or_replace_norms(network: Plan) -> None:
    """Replace each batch norm that would not fold into a convolution by a depthwise 1x1 one: its scale and shift.

    (A batch norm after an identity convolution would work too, but TensorFlow's converter merges equal kernels, and
    folds the scale of the first norm into all of them.)
    """
    readers = network.consumers()
    for node in network.nodes[1:]:
        norm = node.layer
        if not isinstance(norm, Norm):
            continue
        [source] = node.sources
        if isinstance(network.nodes[source].layer, K2.Conv2D | K2.DepthwiseConv2D) and len(readers[source]) == 1:
            continue
        node.weights = _scale_and_shift(norm, node.weights)
        node.restore = partial(_norm_weights, norm)
        node.layer = K2.DepthwiseConv2D(1, name=norm.name)


def _parts(norm: Norm, weights: list[np.ndarray]) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Scale, shift, mean and variance."""
    *trained, mean, variance = weights
    return trained[0] if norm.scale else 1.0, trained[-1] if norm.center else 0.0, mean, variance


def _scale_and_shift(norm: Norm, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Batch norm in inference as a depthwise kernel and a bias."""
    gamma, beta, mean, variance = _parts(norm, weights)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [scale.reshape(1, 1, -1, 1).astype(np.float32), (beta - mean * scale).astype(np.float32)]


def _norm_weights(norm: Norm, weights: list[np.ndarray], trained: list[np.ndarray]) -> list[np.ndarray]:
    """The weights with which batch norm computes what the trained kernel and bias compute."""
    _, _, mean, variance = _parts(norm, weights)
    scale, shift = trained[0].reshape(-1), trained[1]
    if not norm.scale:
        variance = 1 / scale**2 - norm.epsilon
    if not norm.center:
        mean = -shift / scale
    gamma, beta = scale * np.sqrt(variance + norm.epsilon), shift + mean * scale
    return [*([gamma] if norm.scale else []), *([beta] if norm.center else []), mean, variance]


def _rescale_averages(old: Plan) -> Plan:
    """Insert a depthwise identity convolution between an average pool and a concatenation after it.

    A concatenation has one scale for all inputs, and an average pool one scale for input and output. Without the
    convolution the converter would round the input of the pool to the scale of the concatenation, which is that of the
    averages and not of the values that are averaged.
    """
    new = Plan(old.name, old.nodes[0].shape, {node.layer.name for node in old.nodes[1:]})
    at = [0]
    for node in old.nodes[1:]:
        sources = node.sources
        node.sources = tuple(at[source] for source in sources)
        if isinstance(node.layer, K2.Concatenate):
            node.sources = tuple(
                new.scaled(at[i], 1.0, name=f"{old.nodes[i].layer.name}_rescaled") if _is_average(old, i) else at[i]
                for i in sources
            )
        new.nodes.append(node)
        at.append(len(new.nodes) - 1)
    return new


def _is_average(network: Plan, i: int) -> bool:
    node = network.nodes[i]
    while isinstance(node.layer, KEEPS_SCALE) and not isinstance(node.layer, K2.AveragePooling2D):
        node = network.nodes[node.sources[0]]
    return isinstance(node.layer, K2.AveragePooling2D)
