"""Ways of quantising after training that the package does not use, for benchmarks/ptq.py to compare.

- `clipped`: each output's kernel is clipped where that gives the least mean square of rounding and clipping.
- `equalized`: the channels of a map are scaled to more equal ranges, through ReLU and depthwise convolutions.
- `at_percentile`: ranges of activations that leave a share of the values out.
- `sequentially_corrected`: biases of the int8 file, one layer after the other, by what the file itself computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from keras_inception.export.optimize.fold import is_linear_map, kernels_and_bias, with_weights
from keras_inception.export.optimize.graph import Graph, Node
from keras_inception.export.quantization import bias_correction
from keras_inception.export.tflite import ranges
from keras_inception.export.tflite.flatbuffer import packed
from keras_inception.export.tflite.tensors import dequantize, plain_interpreter

# ------------------------------------------------------------------------------------------------------ clipped kernels


def clipped(model: keras.Model, inputs: Sequence[Any]) -> keras.Model:
    """The network with clipped kernels on int8's grid, and biases corrected for both."""
    with mock.patch.object(bias_correction, "kernel_codes", _clipped):
        corrected = bias_correction.bias_corrected(model, inputs)

    def rule(node: Node) -> Node | None:
        if not is_linear_map(node):
            return None
        *kernels, bias = kernels_and_bias(node)
        axes = bias_correction.output_axes(node.layer)
        new = [np.multiply(*_clipped(kernel, own)) for kernel, own in zip(kernels, axes, strict=True)]
        return with_weights(node, new, bias, node.sources, node.name)

    graph = Graph(corrected)
    list(graph.apply(rule))
    return graph.model()


def _clipped(kernel: np.ndarray, output_axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """As `kernel_codes`."""
    others = tuple(axis for axis in range(kernel.ndim) if axis not in output_axes)
    whole = bias_correction.kernel_steps(kernel, output_axes)
    steps, least = whole, np.full_like(whole, np.inf)
    for share in np.linspace(1, 0.5, 51):
        new = np.clip(np.round(kernel / (share * whole)), -127, 127) * share * whole
        error = np.square(new - kernel).sum(axis=others, keepdims=True)
        steps, least = np.where(error < least, share * whole, steps), np.minimum(error, least)
    return np.clip(np.round(kernel / steps), -127, 127), steps


# ------------------------------------------------------------------------------------------------------- equal channels

POWERS = 0.25, 0.5, 0.75, 1.0  # of the factor that gives a channel the whole range
MOST = 64.0  # the largest factor
MARGIN = 1.25  # what a channel may exceed its range on the inputs by before a ReLU6 caps it
HOMOGENEOUS = layers.MaxPooling2D, layers.AveragePooling2D, layers.ZeroPadding2D, layers.GlobalAveragePooling2D


@dataclass(frozen=True)
class _Link:
    """A layer whose output channels can be scaled: where its map is, up to which cap, and the layers that read it."""

    writer: Node
    map: Node
    cap: float
    readers: list[Node]


def equalized(model: keras.Model, inputs: Sequence[Any]) -> keras.Model:
    """The network with the same outputs, and maps whose channels have more equal ranges.

    A factor goes through ReLU and pools into the layers that read the map. ReLU6 stays: only channels that do not reach
    its cap are made larger, up to it. How far is chosen for each map by the noise that is to be expected of rounding
    the map and the kernels that read it.
    """
    graph = Graph(model)
    links = [link for node in graph.nodes() if (link := _link(node))]
    if not links:
        return model
    factors = [_factors(link, *found) for link, found in zip(links, _channels(model, links, inputs), strict=True)]
    written = {link.writer.name: scale for link, scale in zip(links, factors, strict=True)}
    read = {node.name: scale for link, scale in zip(links, factors, strict=True) for node in link.readers}

    def rule(node: Node) -> Node | None:
        outer, inner = written.pop(node.name, None), read.pop(node.name, None)
        if outer is None and inner is None:
            return None
        kernel, bias = kernels_and_bias(node)
        if inner is not None:
            kernel = kernel / _by_input(node, inner)
        if outer is not None:
            kernel = kernel * (outer.reshape(kernel.shape[2:]) if _is_depthwise(node) else outer)
            bias = bias * outer
        return with_weights(node, [kernel], bias, node.sources, node.name)

    list(graph.apply(rule))
    return graph.model()


def _link(node: Node) -> _Link | None:
    if not _scales(node) or (cap := _cap(node.layer)) is None or (found := _reached(node, cap)) is None:
        return None
    cap, readers = found
    [only] = node.readers if len(node.readers) == 1 else [node]
    return _Link(node, only if only.is_a(layers.ReLU, layers.Activation) else node, cap, readers)


def _scales(node: Node) -> bool:
    """Whether it is a layer with one kernel, whose inputs and outputs can be scaled by channels."""
    return is_linear_map(node) and type(node.layer) in (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def _reached(node: Node, cap: float) -> tuple[float, list[Node]] | None:
    """The lowest cap on the way to the linear layers that read a map, and these; None if others read it, too."""
    readers: list[Node] = []
    for reader in node.readers:
        if _scales(reader):
            readers.append(reader)
            continue
        own = np.inf if reader.layer is not None and reader.is_a(*HOMOGENEOUS) else _cap_of_activation(reader)
        if own is None or (found := _reached(reader, min(cap, own))) is None:
            return None
        cap = found[0]
        readers += found[1]
    return cap, readers


def _cap_of_activation(node: Node) -> float | None:
    return _cap(node.layer) if node.layer is not None and node.is_a(layers.ReLU, layers.Activation) else None


def _cap(layer: Any) -> float | None:
    """The largest value that a layer's activation lets through, if it is otherwise a ReLU or nothing; else None."""
    if isinstance(layer, layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        return (np.inf if layer.max_value is None else float(layer.max_value)) if plain else None
    caps: dict[Callable[..., Any], float] = {
        keras.activations.linear: np.inf,
        keras.activations.relu: np.inf,
        keras.activations.relu6: 6.0,
    }
    return caps.get(layer.activation)


def _channels(model: keras.Model, links: list[_Link], inputs: Sequence[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each map the largest absolute value and the mean square of its channels: (C,) each."""
    probe = keras.Model(model.input, [model.get_layer(link.map.name).output for link in links])

    def measured(x: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        maps = [tf.reshape(m, (-1, m.shape[-1])) for m in keras.tree.flatten(probe(x, training=False))]
        return [(tf.reduce_max(tf.abs(m), 0), tf.reduce_mean(tf.square(m), 0)) for m in maps]

    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    run = tf.function(measured, [spec], autograph=False).get_concrete_function()
    found = [[(a.numpy(), b.numpy()) for a, b in run(tf.cast(x, spec.dtype))] for x in inputs]
    for each in zip(*found, strict=True):
        largest, square = zip(*each, strict=True)
        yield np.max(largest, axis=0).astype(np.float64), np.mean(square, axis=0, dtype=np.float64)


def _factors(link: _Link, largest: np.ndarray, square: np.ndarray) -> np.ndarray:
    """The factor of each channel with the least noise."""
    whole = largest.max()
    ones = np.ones_like(largest)
    if not whole:
        return ones
    full = whole / np.maximum(largest, whole / MOST)
    if np.isfinite(link.cap):
        full = np.maximum(1, np.minimum(full, link.cap / MARGIN / np.maximum(largest, link.cap / MOST)))
    options = [ones, *(full**power for power in POWERS)]
    noises = [sum(_noise(node, scale, whole, square) for node in link.readers) for scale in options]
    return options[int(np.argmin(noises))]


def _noise(node: Node, scale: np.ndarray, whole: float, square: np.ndarray) -> float:
    """The mean square that rounding a map of scaled channels, and the kernel that reads it, add to its outputs.

    A step of size d adds d^2 / 12.
    """
    kernel = kernels_and_bias(node)[0]
    by_input = _by_input(node, np.ones_like(scale)) * kernel / _by_input(node, scale)
    map_noise = (whole / 255) ** 2 * np.square(by_input).sum()
    if _is_depthwise(node):  # a step for each channel, which is scaled with it
        return float(map_noise)
    axes = tuple(range(kernel.ndim - 1))
    steps = np.abs(by_input).max(axis=axes) / 127
    squares = _by_input(node, square * scale**2) * np.ones_like(kernel)
    return float(map_noise + (steps**2 * squares.sum(axis=axes)).sum())


def _by_input(node: Node, values: np.ndarray) -> np.ndarray:
    """One value for each input channel, in a shape that goes with the kernel."""
    if not isinstance(node.layer, layers.Conv2D) or node.layer.groups == 1:
        return values[:, np.newaxis]
    groups = node.layer.groups  # the outputs of a group read the channels of that group
    return np.repeat(values.reshape(groups, -1), node.channels // groups, axis=0).T


def _is_depthwise(node: Node) -> bool:
    return isinstance(node.layer, layers.DepthwiseConv2D)


# ------------------------------------------------------------------------------------------- ranges by their percentile


def at_percentile(values: ranges.Values) -> tuple[float, float]:
    """A range that holds all but one in 10,000 of the values other than 0 on each side of it."""
    edges = np.linspace(values.low, values.high, ranges.BINS + 1)
    below = np.cumsum(values.counts) / max(1, values.counts.sum())
    low, high = (edges[np.searchsorted(below, share)] for share in (1e-4, 1 - 1e-4))
    return min(low, 0), max(high + edges[1] - edges[0], 0)


# ----------------------------------------------------------------------------------------- biases corrected in the file

LINEAR = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"


def sequentially_corrected(quantised: bytes, exact: bytes, examples: Sequence[np.ndarray]) -> bytes:
    """The int8 file with the mean output, before its activation, of each linear layer of the float file.

    A layer's mean output follows from its mean input, which the int8 file computes with all earlier layers corrected:
    one run of the file for each layer.
    """
    content, reference = (schema.ModelT.InitFromPackedBuf(model, 0) for model in (quantised, exact))
    wanted = {name: op for name, _, op in _linear(reference)}
    want = _mean_inputs(exact, examples, list(wanted.values()))
    for name, kind, op in _linear(content):
        if name not in wanted:
            continue
        got = _mean_inputs(packed(content), examples, [op])[op.inputs[0]]
        outputs = []
        for model, own, mean in ((reference, wanted[name], want[wanted[name].inputs[0]]), (content, op, got)):
            kernel, bias = (_constant(model, i) for i in own.inputs[1:3])
            outputs.append(_mean_output(kind, own.builtinOptions, mean, kernel) + bias)
        tensor = content.subgraphs[0].tensors[op.inputs[2]]
        scale = np.asarray(tensor.quantization.scale, np.float64)
        change = np.round((outputs[0] - outputs[1]) / scale).astype("<i4")
        data = np.asarray(content.buffers[tensor.buffer].data, np.uint8).view("<i4") + change
        content.buffers[tensor.buffer].data = data.view(np.uint8)
    return packed(content)


def _linear(content: Any) -> Iterator[tuple[str, str, Any]]:
    """The name of the output, the kind and the operator of each layer with a kernel and a bias."""
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if name in LINEAR}
    [graph] = content.subgraphs
    for op in graph.operators:
        kind = kinds.get(content.operatorCodes[op.opcodeIndex].builtinCode)
        if kind is not None and len(op.inputs) > 2 and op.inputs[2] >= 0:
            yield graph.tensors[op.outputs[0]].name.decode(), kind, op


def _mean_inputs(model: bytes, examples: Sequence[np.ndarray], operators: list[Any]) -> dict[int, np.ndarray]:
    interpreter = plain_interpreter(model)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    [given] = interpreter.get_input_details()
    totals = {op.inputs[0]: np.zeros(1) for op in operators}
    for x in examples:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        totals = {i: sum_ + dequantize(interpreter.get_tensor(i), details[i]) for i, sum_ in totals.items()}
    return {i: total / len(examples) for i, total in totals.items()}


def _constant(content: Any, index: int) -> np.ndarray:
    """A constant tensor as real numbers."""
    tensor = content.subgraphs[0].tensors[index]
    kinds = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.INT8: "i1", schema.TensorType.INT32: "<i4"}
    data = np.frombuffer(np.asarray(content.buffers[tensor.buffer].data, np.uint8), kinds[tensor.type])
    values = data.reshape(tensor.shape).astype(np.float64)
    if tensor.type == schema.TensorType.FLOAT32:
        return values
    scale, shape = np.asarray(tensor.quantization.scale, np.float64), [1] * values.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    return values * scale.reshape(shape)


def _mean_output(kind: str, options: Any, mean: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The output of a layer without bias for one input, as the mean over positions: (channels,)."""
    if kind == "FULLY_CONNECTED":
        return (mean.reshape(-1, kernel.shape[1]) @ kernel.T).mean(0)
    padding = "SAME" if options.padding == schema.Padding.SAME else "VALID"
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    if kind == "DEPTHWISE_CONV_2D":
        kernel = kernel[0].reshape(*kernel.shape[1:3], mean.shape[-1], -1)
        maps = [tf.nn.depthwise_conv2d(mean, kernel, (1, *strides, 1), padding, dilations=dilations)]
    else:
        groups = mean.shape[-1] // kernel.shape[3]
        pairs = zip(np.split(mean, groups, -1), np.split(kernel.transpose(1, 2, 3, 0), groups, -1), strict=True)
        maps = [tf.nn.conv2d(x, part, strides, padding, dilations=dilations) for x, part in pairs]
    return np.concatenate(maps, -1).mean((0, 1, 2))
