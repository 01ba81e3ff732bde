"""Kernels rounded to int8 so that a layer's outputs change least, not each weight by itself.

Frantar et al., "GPTQ" (2022): one input's weights after the other are rounded, and those that are left make up for the
error as well as the inputs' covariance allows; in the form of Chee et al., "QuIP" (2023), section 3.1, which needs no
inverse. AdaRound (Nagel et al., 2020) learns this by descent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ..optimize.fold import is_linear_map, kernels_and_bias, with_weights
from ..optimize.graph import Graph, Node
from .bias_correction import bias_corrected, kernel_steps

POSITIONS = 8_192  # of each layer's maps, over all images
LARGEST = 2_304  # inputs of an output, 3 x 3 x 256; the cost grows with their cube
IN_MEMORY = 2**26  # numbers in the covariances that are measured at once
DAMPING = 0.01  # of the mean variance
BLOCK = 64  # inputs whose errors reach the others together


def prepared(model: keras.Model, inputs: Sequence[Any], leave: Collection[str] = ()) -> keras.Model:
    """What becomes int8: a network with rounded kernels, and with corrected biases where kernels are not on the grid.

    The arguments are those of `rounded`.
    """
    return bias_corrected(rounded(model, inputs, leave), inputs, leave)


def rounded(model: keras.Model, inputs: Sequence[Any], leave: Collection[str] = ()) -> keras.Model:
    """The network with kernels that are multiples of a step for each output channel, which a converter to int8 keeps.

    The step is 1/127 of the channel's largest weight, which stays as it is: from it a converter finds the same step.
    Biases make up for the change of the mean. Separable and transposed convolutions stay as they are, and so do layers
    of more than 2,304 inputs an output.

    Args:
        model: a functional model, which is not changed.
        inputs: typical inputs of the model, batches of any size.
        leave: layers that are not rounded.
    """
    graph = Graph(model)
    nodes = [node for node in graph.nodes() if node.name not in leave and _takes(node)]
    found = {name: new for group in _groups(nodes) for name, new in _rounded(model, group, inputs).items()}

    def rule(node: Node) -> Node | None:
        if node.name not in found:
            return None
        kernel, bias = found.pop(node.name)
        return with_weights(node, [kernel], bias, node.sources, node.name)

    list(graph.apply(rule))
    return graph.model()


def _takes(node: Node) -> bool:
    kinds = layers.Conv2D, layers.DepthwiseConv2D, layers.Dense
    return is_linear_map(node) and type(node.layer) in kinds and _inputs(node) <= LARGEST


def _inputs(node: Node) -> int:
    """The number of inputs of an output."""
    kernel = node.values()[0]
    return int(np.prod(kernel.shape[:2] if isinstance(node.layer, layers.DepthwiseConv2D) else kernel.shape[:-1]))


def _groups(nodes: list[Node]) -> Iterator[list[Node]]:
    """The layers in portions whose covariances fit in memory."""
    group: list[Node] = []
    total = 0
    for node in nodes:
        size = _inputs(node) ** 2 * _parts(node)
        if group and total + size > IN_MEMORY:
            yield group
            group, total = [], 0
        group.append(node)
        total += size
    if group:
        yield group


def _parts(node: Node) -> int:
    """How many parts of the input are mapped separately."""
    if isinstance(node.layer, layers.DepthwiseConv2D):
        return node.sources[0].channels
    return int(getattr(node.layer, "groups", 1))


def _rounded(model: keras.Model, nodes: list[Node], inputs: Sequence[Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The kernel and the bias of each of these layers."""
    found = {}
    for node, (mean, covariance) in zip(nodes, _moments(model, nodes, inputs), strict=True):
        if not np.isfinite(covariance).all():
            continue  # the network overflows on these inputs
        kernel, bias = kernels_and_bias(node)
        matrix = _as_matrices(node, kernel)
        new = on_grid(matrix, covariance)
        shift = np.einsum("pi,pio->po", mean, matrix - new)
        found[node.name] = _as_kernel(node, new).astype(np.float32), bias + shift.ravel()
    return found


def on_grid(matrix: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Multiples of each output's step that change `x @ matrix` little for inputs x of this covariance.

    Args:
        matrix: (parts, inputs, outputs) float64.
        covariance: (parts, inputs, inputs) float64.
    """
    count = matrix.shape[1]
    size, step = np.abs(matrix), kernel_steps(matrix, (0, 2))
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    order = np.argsort(-variance, axis=1, kind="stable")  # inputs with much effect first: the others make up for them
    damped = covariance + np.eye(count) * (DAMPING * variance.mean(axis=1) + 1e-12)[:, np.newaxis, np.newaxis]
    damped = np.take_along_axis(np.take_along_axis(damped, order[:, :, np.newaxis], 1), order[:, np.newaxis], 2)
    # damped = U D U', U with 1 in its diagonal and 0 below: its columns say what an input makes up for.
    factor = np.linalg.cholesky(damped[:, ::-1, ::-1])[:, ::-1, ::-1]
    factor = factor / np.diagonal(factor, axis1=1, axis2=2)[:, np.newaxis]
    exact = np.take_along_axis(matrix, order[:, :, np.newaxis], 1)
    largest = np.take_along_axis(size == size.max(axis=1, keepdims=True), order[:, :, np.newaxis], 1)
    wanted, result = exact.copy(), np.empty_like(exact)
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        for i in range(start, end):
            grid = np.clip(np.round(wanted[:, i] / step[:, 0]), -127, 127) * step[:, 0]
            result[:, i] = np.where(largest[:, i], exact[:, i], grid)
            error = exact[:, i] - result[:, i]
            wanted[:, i + 1 : end] += factor[:, i, i + 1 : end, np.newaxis] * error[:, np.newaxis]
        errors = exact[:, start:end] - result[:, start:end]
        wanted[:, end:] += factor[:, start:end, end:].transpose(0, 2, 1) @ errors
    new = np.empty_like(result)
    np.put_along_axis(new, np.broadcast_to(order[:, :, np.newaxis], new.shape), result, 1)
    return new


def _as_matrices(node: Node, kernel: np.ndarray) -> np.ndarray:
    """A kernel as (parts, inputs, outputs), outputs in the layer's order."""
    if isinstance(node.layer, layers.Dense):
        return kernel[np.newaxis]
    if isinstance(node.layer, layers.DepthwiseConv2D):
        return kernel.reshape(-1, *kernel.shape[2:]).transpose(1, 0, 2)
    parts = _parts(node)
    return kernel.reshape(-1, parts, kernel.shape[-1] // parts).transpose(1, 0, 2)


def _as_kernel(node: Node, matrices: np.ndarray) -> np.ndarray:
    """The reverse of `_as_matrices`."""
    return matrices.transpose(1, 0, 2).reshape(node.values()[0].shape)


def _moments(model: keras.Model, nodes: list[Node], inputs: Sequence[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each layer mean (parts, inputs) and covariance (parts, inputs, inputs) of what its kernel multiplies."""
    probe = keras.Model(model.input, [model.get_layer(node.name).input for node in nodes])
    images = sum(len(x) for x in inputs)

    def sums(x: tf.Tensor, first: tf.Tensor, origins: list[tf.Tensor]) -> list[tuple[tf.Tensor, ...]]:
        found = []
        maps = keras.tree.flatten(probe(x, training=False))
        for node, map_, origin in zip(nodes, maps, origins, strict=True):
            rows = _patches(node, map_)
            every = -(-images * (tf.shape(rows)[0] // tf.shape(x)[0]) // POSITIONS)
            rows = tf.transpose(rows[first % every :: every] - origin, (1, 0, 2))
            count = tf.cast(tf.shape(rows)[1], tf.float32)
            found.append((count, tf.reduce_sum(rows, 1), tf.matmul(rows, rows, transpose_a=True)))
        return found

    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    origins = [np.zeros((_parts(node), _inputs(node)), np.float32) for node in nodes]
    points = [tf.TensorSpec(origin.shape) for origin in origins]
    run = tf.function(sums, [spec, tf.TensorSpec((), tf.int32), points], autograph=False)

    def summed(x: Any, first: int) -> Any:
        return run(tf.cast(x, spec.dtype), tf.constant(first), [tf.constant(origin) for origin in origins])

    # Seen from 0, numbers that vary little have no variance in float32.
    origins = [sum_.numpy() / float(count) for count, sum_, _ in summed(inputs[0], 0)]
    totals: Any = None
    for first, x in enumerate(inputs):
        made = summed(x, first)
        totals = made if totals is None else tf.nest.map_structure(tf.add, totals, made)
    for origin, (count, sum_, square) in zip(origins, totals, strict=True):
        n, mean = float(count), sum_.numpy().astype(np.float64) / float(count)
        covariance = square.numpy().astype(np.float64) / n - mean[:, :, np.newaxis] * mean[:, np.newaxis]
        yield origin + mean, _shrunk(covariance, n)


def _shrunk(covariance: np.ndarray, n: float) -> np.ndarray:
    """A covariance from n samples, moved to its diagonal the more, the fewer they are beside the inputs.

    Directions that the samples lack are not free: a dense layer of 256 inputs, rounded by 100 samples as they are,
    loses 1 dB on other images; with this it gains 1.5.
    """
    count = covariance.shape[-1]
    return covariance * np.where(np.eye(count, dtype=bool), 1, n / (n + count))


def _patches(node: Node, map_: tf.Tensor) -> tf.Tensor:
    """The inputs of the kernel at each position: (positions, parts, inputs)."""
    layer, channels = node.layer, map_.shape[-1]
    if isinstance(layer, layers.Dense):
        return tf.reshape(map_, (-1, 1, channels))
    height, width = layer.kernel_size
    windows = tf.image.extract_patches(
        map_, (1, height, width, 1), (1, *layer.strides, 1), (1, *layer.dilation_rate, 1), layer.padding.upper()
    )
    parts = _parts(node)
    windows = tf.reshape(windows, (-1, height * width, parts, channels // parts))
    return tf.reshape(tf.transpose(windows, (0, 2, 1, 3)), (-1, parts, height * width * channels // parts))
