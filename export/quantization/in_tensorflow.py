"""A network in TensorFlow's own quantised kernels, which oneDNN computes on x86.

Convolutions and dense layers multiply in int8, with a scale for each output channel. Maps between convolutions, max
pools and concatenations stay in 8 bits, unsigned where they are never negative; what other layers read or compute is
float32. So every network can be carried. `benchmarks/saved_model_int8.md` says how much of one is in int8: depthwise
convolutions are not, for which TensorFlow has one scale for the whole kernel, nor are grouped ones. Ranges of maps are
from the smallest to the largest value of the calibration images.

Kernels that add a shortcut too end the process (TensorFlow 2.21), so sums are in float32; the convolutions before them
return float32: 1x1 convolutions from a matrix product that scales its sums itself, others from sums that are scaled
after it, which costs three passes over the map.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import op_def_library

from ..inputs import Exportable
from ..optimize import TENSORFLOW_INT8_RULES, Graph, Node, optimize, rewrite
from ..optimize.fold import is_linear_map, kernels_and_bias
from .bias_correction import kernel_codes
from .calibration import CalibrationSet
from .for_servers import network_inputs
from .rounding import prepared

Range: TypeAlias = tuple[float, float]  # the smallest and the largest value of a map

LARGEST = {tf.quint8: 255, tf.qint8: 127}  # the code of the highest value; 0 is the code of 0
PRODUCT_DEFAULTS = dict.fromkeys((  # None: the operator's own
    *("Tbias", "U", "transpose_a", "transpose_b", "leakyrelu_alpha"),
    *("is_weight_const", "is_bias_const", "input_quant_mode", "output_quant_mode"),
))  # fmt: skip
RELUS = {keras.activations.relu: "Relu", keras.activations.relu6: "Relu6"}


def int8_network(source: Exportable, images: CalibrationSet) -> Int8Network:
    """The network for inference with rounded kernels, corrected biases and calibrated maps."""
    network = rewrite(optimize(source.model), TENSORFLOW_INT8_RULES)[0]
    floats = [node.name for node in Graph(network).nodes() if is_linear_map(node) and not in_int8(node)]
    inputs = network_inputs(source, images)
    graph = Graph(prepared(network, inputs, leave=floats))
    return Int8Network(graph, _ranges(graph, inputs))


def in_int8(node: Node) -> bool:
    """Whether a layer multiplies in int8."""
    if not is_linear_map(node) or not node.is_a(layers.Conv2D, layers.Dense):
        return False
    return len(node.shape) == 2 if isinstance(node.layer, layers.Dense) else node.layer.groups == 1


@dataclass(frozen=True)
class _Codes:
    """A map in 8 bits: (n, ...) of type quint8 or qint8, and the values of the lowest and the highest code."""

    tensor: tf.Tensor
    low: float
    high: float

    @property
    def step(self) -> float:
        """The value of one."""
        return self.high / LARGEST[self.tensor.dtype]

    def values(self) -> tf.Tensor:
        """float32 of the same shape."""
        return tf.raw_ops.Dequantize(input=self.tensor, min_range=self.low, max_range=self.high, mode="SCALED")

    def like(self, range_: Range) -> bool:
        """Whether they are the codes that this range gives."""
        return (self.tensor.dtype, self.low, self.high) == _code_range(range_)


@dataclass(frozen=True)
class _Weights:
    """A kernel in int8, and for each output channel its step and the bias, float32 (C,)."""

    codes: np.ndarray
    steps: np.ndarray
    bias: np.ndarray


def _weights(node: Node) -> _Weights:
    kernel, bias = kernels_and_bias(node)
    codes, steps = kernel_codes(kernel, (kernel.ndim - 1,))
    bias = np.broadcast_to(bias, node.channels)
    return _Weights(codes.astype(np.int8), steps.ravel().astype(np.float32), bias.astype(np.float32))


class _Map:
    """What a node gives: in float32, in 8 bits, or converted when it is asked for."""

    def __init__(self, given: Any, range_: Range | None):
        self.given, self.range = given, range_
        self.known: list[_Codes] = [given] if isinstance(given, _Codes) else []

    @cached_property
    def values(self) -> Any:
        """In float32; whatever a layer gives that does not give one map of floats."""
        return self.given.values() if isinstance(self.given, _Codes) else self.given

    def codes(self, range_: Range | None = None) -> _Codes:
        """In 8 bits, by this range or by whatever they have."""
        for known in self.known:
            if range_ is None or known.like(range_):
                return known
        wanted = range_ or self.range
        assert wanted
        dtype, low, high = _code_range(wanted)
        self.known.append(_Codes(quantize(self.values, low, high, dtype), low, high))
        return self.known[-1]


def quantize(x: tf.Tensor, low: Any, high: Any, dtype: tf.DType) -> tf.Tensor:
    """Codes of any shape of float32, the nearest; `low` and `high` are what the lowest and the highest are worth.

    With round_mode="HALF_TO_EVEN" oneDNN scales signed numbers wrongly (TensorFlow 2.21). The operator would widen
    ranges below 0.01.
    """
    kernel = tf.raw_ops.QuantizeV2
    return kernel(input=x, min_range=low, max_range=high, T=dtype, mode="SCALED", ensure_minimum_range=0.0)[0]


def _code_range(range_: Range) -> tuple[tf.DType, float, float]:
    """The type of codes for values of a range, and what its lowest and its highest code are worth."""
    low, high = range_
    largest = max(-low, high) or 1.0
    return (tf.quint8, 0.0, largest) if low >= 0 else (tf.qint8, -largest, largest)


class Int8Network:
    """A graph of layers with the ranges of their maps; called within a graph function it adds the operators to that."""

    def __init__(self, graph: Graph, ranges: dict[Node, Range]):
        self.nodes, self.ranges = graph.nodes(), ranges
        [self.start], [self.output] = graph.inputs, graph.end.sources
        self.input = self.start.layer.output  # its shape and dtype
        self.weights = {node: _weights(node) for node in self.nodes if in_int8(node)}
        self.eight_bits = _in_eight_bits(self.nodes)
        # Sums -> the convolution whose kernel adds the other summand.
        self.sums = {node: summand for node in self.nodes if (summand := _adds_itself(node)) in self.weights}

    @property
    def float_variables(self) -> list[Any]:
        """The weights that are not rounded."""
        kept = [node.layer for node in self.nodes if node not in self.weights and isinstance(node.layer, keras.Layer)]
        return [variable for layer in dict.fromkeys(kept) for variable in layer.variables]

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, *input_shape) -> the network's output in float32."""
        maps: dict[Node, _Map] = {self.start: _Map(inputs, self.ranges.get(self.start))}
        within_sums = {self.start, *self.sums.values()}
        for node in [node for node in self.nodes if node not in within_sums]:
            if convolution := self.sums.get(node):
                [x], [other] = convolution.sources, [source for source in node.sources if source is not convolution]
                weights = self.weights[convolution]
                result = _pointwise(convolution.layer, weights, maps[x].codes(), maps[other].values)
            else:
                result = self._computed(node, [maps[source] for source in node.sources])
            maps[node] = _Map(result, self.ranges.get(node))
        return maps[self.output].values

    def _computed(self, node: Node, given: list[_Map]) -> Any:
        if weights := self.weights.get(node):
            [x] = given
            if isinstance(node.layer, layers.Dense):
                return _product(node.layer.activation, weights, x.codes())
            if node in self.eight_bits:
                return _convolution(node.layer, weights, x.codes(), self._range_of_codes(node))
            if _is_pointwise(node):
                return _pointwise(node.layer, weights, x.codes())
            return _convolution_sums(node.layer, weights, x.codes())
        if node in self.eight_bits:
            if isinstance(node.layer, layers.MaxPooling2D):
                return _max_pool(node.layer, given[0].codes())
            return _concatenation([source.codes(self.ranges[node]) for source in given])
        return call(node, [source.values for source in given])

    def _range_of_codes(self, node: Node) -> Range:
        """Of a convolution; that of a concatenation that alone reads it, where both have codes of the same type."""
        own = self.ranges[node]
        if len(node.readers) == 1 and _is_concatenation(node.readers[0]):
            shared = self.ranges[node.readers[0]]
            return shared if _code_range(shared)[0] == _code_range(own)[0] else own
        return own


def call(node: Node, tensors: list[Any]) -> Any:
    """What a node computes in float32."""
    return node.apply(node.layer, tensors) if isinstance(node.layer, keras.Operation) else node.layer(*tensors)


def _in_eight_bits(nodes: list[Node]) -> set[Node]:
    """The nodes that give maps in 8 bits: a kernel makes them, and another reads them."""
    asked: set[Node] = set()
    for node in reversed(nodes):
        # Layers of a DenseNet join what others joined, each time in a new scale: that is done in float32.
        joins = _is_concatenation(node)
        readers = [reader for reader in node.readers if not (joins and _is_concatenation(reader))]
        if any(in_int8(reader) or (reader in asked and _takes_codes(reader)) for reader in readers):
            asked.add(node)
    found: set[Node] = set()
    for node in nodes:
        convolution = in_int8(node) and isinstance(node.layer, layers.Conv2D) and _requantises(node)
        if node in asked and (convolution or (_takes_codes(node) and any(source in found for source in node.sources))):
            found.add(node)
    return found


def _takes_codes(node: Node) -> bool:
    """Whether it is a layer that may take codes and give them as they are."""
    pool = node.is_a(layers.MaxPooling2D) and node.layer.data_format == "channels_last"
    return pool or (_is_concatenation(node) and len(node.shape) == 4 and node.layer.axis in (-1, 3))


def _is_concatenation(node: Node) -> bool:
    return type(node.layer) is layers.Concatenate and not node.shared


def _is_pointwise(node: Node) -> bool:
    return node.is_a(layers.Conv2D) and node.layer.kernel_size == (1, 1)


def _adds_itself(node: Node) -> Node | None:
    """The 1x1 convolution among two summands that only this sum reads, as it is."""
    if type(node.layer) is not layers.Add or node.shared or len(node.sources) != 2:
        return None
    for summand in node.sources:
        linear = _is_pointwise(summand) and summand.layer.activation is keras.activations.linear
        if linear and summand.readers == [node] and node.shape == node.sources[0].shape == node.sources[1].shape:
            return summand
    return None


def _requantises(node: Node) -> bool:
    return node.layer.activation in (keras.activations.linear, *RELUS)


def _ranges(graph: Graph, inputs: Iterable[tf.Tensor]) -> dict[Node, Range]:
    """The smallest and the largest value of each map of floats over some inputs of the network."""
    [given] = graph.inputs
    nodes: list[Node] = []

    def extremes(x: tf.Tensor) -> tf.Tensor:
        maps = {given: x}
        for node in graph.nodes():
            if node is not given:
                maps[node] = call(node, [maps[source] for source in node.sources])
        nodes[:] = [node for node, map_ in maps.items() if tf.is_tensor(map_) and map_.dtype == tf.float32]
        return tf.stack([(tf.reduce_min(maps[node]), tf.reduce_max(maps[node])) for node in nodes])

    spec = tf.TensorSpec(given.shape, given.layer.dtype)
    run = tf.function(extremes, [spec], autograph=False).get_concrete_function()
    found = np.stack([run(tf.cast(x, spec.dtype)).numpy() for x in inputs])
    lows, highs = found[..., 0].min(0).tolist(), found[..., 1].max(0).tolist()
    return {node: (low, high) for node, low, high in zip(nodes, lows, highs, strict=True)}


# ----------------------------------------------------------------------------------------------------------- operators


def _convolution(layer: layers.Conv2D, weights: _Weights, x: _Codes, range_: Range) -> _Codes:
    """A convolution with its bias and ReLU, (n, H, W, C) -> (n, H', W', C'), rounded to 8 bits again."""
    dtype, low, high = _code_range(range_)
    kernels = tf.raw_ops.QuantizedConv2DWithBiasAndRequantize, tf.raw_ops.QuantizedConv2DWithBiasAndReluAndRequantize
    tensor, _, _ = kernels[layer.activation in RELUS](
        input=x.tensor,
        filter=_constant(weights.codes),
        bias=tf.constant(weights.bias),
        min_input=x.low,
        max_input=x.high,
        min_filter=tf.constant(-127 * weights.steps),
        max_filter=tf.constant(127 * weights.steps),
        min_freezed_output=low,
        max_freezed_output=high,
        out_type=dtype,
        **_windows(layer),
    )
    return _Codes(tensor, low, high)


def _convolution_sums(layer: layers.Conv2D, weights: _Weights, x: _Codes) -> tf.Tensor:
    """A convolution, (n, H, W, C) -> (n, H', W', C') in float32, whose sums are not rounded."""
    sums, _, _ = tf.raw_ops.QuantizedConv2DWithBias(  # without a bias it has no signed form
        input=x.tensor,
        filter=_constant(weights.codes),
        bias=tf.zeros(weights.bias.shape),
        min_input=x.low,
        max_input=x.high,
        min_filter=-1.0,
        max_filter=1.0,
        out_type=tf.qint32,
        **_windows(layer),
    )
    values = tf.cast(tf.bitcast(sums, tf.int32), tf.float32)
    return layer.activation(values * tf.constant(x.step * weights.steps) + tf.constant(weights.bias))


def _pointwise(layer: layers.Conv2D, weights: _Weights, x: _Codes, summand: tf.Tensor | None = None) -> tf.Tensor:
    """A 1x1 convolution, (n, H, W, C) -> (n, H', W', C') in float32; a summand has this shape."""
    if layer.strides != (1, 1):
        x = _max_pool(layers.MaxPooling2D(1, layer.strides), x)  # three times as fast as slices
    flat = _Codes(tf.reshape(x.tensor, [-1, x.tensor.shape[-1]]), x.low, x.high)
    channels = len(weights.bias)
    summands = [] if summand is None else [tf.reshape(summand, [-1, channels])]
    values = _product(layer.activation, weights, flat, *summands)
    return tf.reshape(values, tf.concat([tf.shape(x.tensor)[:-1], [channels]], 0))


def _product(activation: Any, weights: _Weights, x: _Codes, *summands: tf.Tensor) -> tf.Tensor:
    """A dense layer, (n, C) -> (n, C') in float32, plus at most one summand.

    Kernels for it that tf.raw_ops has know no scale for each channel.
    """
    relu = [] if summands else [RELUS[activation]] if activation in RELUS else []
    [[values], _] = op_def_library.apply_op(
        "_QuantizedMatMul",
        name="product",
        device_inputs=[
            *(x.tensor, _constant(weights.codes.reshape(-1, len(weights.bias))), tf.constant(weights.bias)),
            *summands,
        ],
        host_inputs=[x.low, x.high, tf.constant(-127 * weights.steps), tf.constant(127 * weights.steps)],
        Tdevice_outputs=[tf.float32],
        Thost_outputs=[],
        T1=x.tensor.dtype,
        T2=tf.qint8,
        Tout=tf.float32,
        fused_ops=["BiasAdd", *("Add" for _ in summands), *relu, "Dequantize"],
        **PRODUCT_DEFAULTS,
    )
    return values if relu else activation(values)


def _max_pool(pool: layers.MaxPooling2D, x: _Codes) -> _Codes:
    tensor, _, _ = tf.raw_ops.QuantizedMaxPool(
        input=x.tensor,
        min_input=x.low,
        max_input=x.high,
        ksize=[1, *pool.pool_size, 1],
        strides=[1, *pool.strides, 1],
        padding=pool.padding.upper(),
    )
    return _Codes(tensor, x.low, x.high)


def _concatenation(given: list[_Codes]) -> _Codes:
    """Maps of one scale, (n, H, W, C) each, joined by channels. TensorFlow's own kernel for it has no signed form."""
    [first, *_] = given
    plain = tf.uint8 if first.tensor.dtype == tf.quint8 else tf.int8
    joined = tf.concat([tf.bitcast(codes.tensor, plain) for codes in given], -1)
    return _Codes(tf.bitcast(joined, first.tensor.dtype), first.low, first.high)


def _windows(layer: layers.Conv2D) -> dict[str, Any]:
    return {
        "strides": [1, *layer.strides, 1],
        "dilations": [1, *layer.dilation_rate, 1],
        "padding": layer.padding.upper(),
    }


def _constant(codes: np.ndarray) -> tf.Tensor:
    """int8 as a constant of type qint8, as kernels need it; of an array of qint8 a file would hold 5 bytes a number."""
    content = tf.make_tensor_proto(codes)
    content.dtype = tf.qint8.as_datatype_enum
    return tf.constant(content)
