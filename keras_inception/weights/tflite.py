"""Copy trained weights from a `.tflite` file into the float network that it was converted from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.schema_py_generated import BuiltinOperator, Model, SubGraph, TensorType
from keras.layers import BatchNormalization, DepthwiseConv2D

from ..arguments import checked
from ..errors import InputError
from ..outputs import auxiliary_names
from ..preprocessing import Preprocessing, scaled
from ..terminal import note
from .matching import Adapt
from .readers import LARGEST
from .record import Prepared, loaded
from .wiring import FROM_IMAGE, NOTHING, Network, Unlike, Ways, Wiring, beside, is_direct, joined, matched, through

# Operators with weights -> how to convert a kernel to (height, width, in, out); depthwise (height, width, out, 1).
WEIGHTED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    BuiltinOperator.CONV_2D: lambda kernel: kernel.transpose(1, 2, 3, 0),
    BuiltinOperator.DEPTHWISE_CONV_2D: lambda kernel: kernel.transpose(1, 2, 3, 0),
    BuiltinOperator.FULLY_CONNECTED: lambda kernel: kernel.T[None, None],
}
POOLS = {BuiltinOperator.MAX_POOL_2D: "max", BuiltinOperator.AVERAGE_POOL_2D: "avg"}
OPTIONS: dict[int, Any] = {
    BuiltinOperator.CONV_2D: schema.Conv2DOptions,
    BuiltinOperator.DEPTHWISE_CONV_2D: schema.DepthwiseConv2DOptions,
    BuiltinOperator.FULLY_CONNECTED: schema.FullyConnectedOptions,
    BuiltinOperator.MAX_POOL_2D: schema.Pool2DOptions,
    BuiltinOperator.AVERAGE_POOL_2D: schema.Pool2DOptions,
    BuiltinOperator.CONCATENATION: schema.ConcatenationOptions,
    BuiltinOperator.ADD: schema.AddOptions,
    BuiltinOperator.MUL: schema.MulOptions,
}
ACTIVATIONS = {schema.ActivationFunctionType.RELU: "relu", schema.ActivationFunctionType.RELU6: "relu6"}
ALONE = {BuiltinOperator.RELU: "relu", BuiltinOperator.RELU6: "relu6", BuiltinOperator.MEAN: "mean"}
ARITHMETIC = (BuiltinOperator.MUL, BuiltinOperator.ADD, BuiltinOperator.SUB, BuiltinOperator.DIV)
SAME = schema.Padding.SAME
TYPES = {
    TensorType.FLOAT32: np.float32,
    TensorType.FLOAT16: np.float16,
    TensorType.INT8: np.int8,
    TensorType.UINT8: np.uint8,
    TensorType.INT16: np.int16,
    TensorType.INT32: np.int32,
    TensorType.INT64: np.int64,
}
TFLITE = ".tflite"
KNOWN = Path(__file__).with_name("hosted.json")
BACKGROUND = 1001  # classes of the networks whose first class is no class of ImageNet


@dataclass(frozen=True, kw_only=True)
class TFLiteNetwork:
    """The network in a `.tflite` file: `create_model(found.network, **found.arguments)` builds it.

    `network` is its name in the registry. `arguments` are those of its builder, `input_shape`, `classes` and `numerics`
    among them. With `background` the file has a class before these, which is none of ImageNet's.
    """

    network: str
    arguments: Mapping[str, Any]
    background: bool


@checked
def recognise_tflite(path: str | Path) -> TFLiteNetwork:
    """Find which network a `.tflite` file holds: TensorFlow's hosted MobileNet v1 and v2, Inception v1 to v4, or
    Inception-ResNet v2, float or quantised, at any size of images and for any classes.

    Raises:
        InputError: there is no such file, it is damaged, or it holds none of these.
    """
    file = _File(path)
    known = _known().get(file.wiring.fingerprint())
    if known is None:
        names = ", ".join(dict.fromkeys(network for network, _ in _known().values()))
        raise InputError(
            f"{path} holds none of the networks that are recognised ({names}): build its network, and give that to "
            "weights.from_tflite"
        )
    network, arguments = known
    *_, classes = file.wiring.labels[file.wiring.classifier or 0][0]
    background = classes == BACKGROUND
    found = {"input_shape": file.image, "classes": classes - background, **arguments}
    return TFLiteNetwork(network=network, arguments=found, background=background)


@checked
def from_tflite(model: keras.Model, path: str | Path) -> None:
    """Fill `model` with the weights of a `.tflite` file of the same network, float or quantised.

    The CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED operators of the file are copied to the convolutions and dense
    layers of the model, dequantised with the scales of the tensor or its channels. Which operator is which layer is
    decided by how they are connected, from the image to the output; sizes, strides, padding, pools, activations and the
    places in concatenations must agree. The converter has folded each batch norm into the layer before it, so a batch
    norm gets gamma 1, beta = the bias, mean 0 and variance 1 - epsilon. It is not trainable: these are not statistics
    of images, and updating them would destroy the network. Batch norm may only follow such a layer. If the file has one
    class more than the model, its class 0 is the background, as in TensorFlow's networks, and is dropped.

    `preprocess_input` and `decode_predictions` then take the model. A file whose input is uint8 states how pixels are
    scaled; for others it is as in TensorFlow's hosted networks, [-1, 1]. A thousand classes are those of ImageNet.

    Raises:
        InputError: there is no such file, it is damaged, it holds another network, or the layers cannot be matched with
            certainty. The model is unchanged.
    """
    fill_tflite(model, path)


def fill_tflite(model: keras.Model, path: str | Path, *, adapt: Adapt | None = None) -> None:
    """As `from_tflite`. With `adapt` the model may lack the classifier, and `adapt` is asked about other shapes."""
    file, network = _File(path), Network(model)
    theirs, ours = file.wiring, network.wiring
    if adapt and not network.has_classifier:
        theirs, ours = theirs.without_classifier(), replace(ours, output=NOTHING)
    try:
        places = matched(theirs, ours)
    except Unlike as unlike:
        raise InputError(_difference(network, file, unlike.theirs, unlike.ours, alike=unlike.alike)) from unlike
    values: list[tuple[keras.Variable, np.ndarray]] = []
    norms: list[BatchNormalization] = []
    for i, place in enumerate(places):
        stored, layer, norm = file.layers[i], network.layers[place], network.norms.get(place)
        kernel, bias = file.weights(stored)
        shape = tuple(layer.kernel.shape)
        if place == ours.classifier and kernel.shape[-1] == shape[-1] + 1:
            kernel, bias = kernel[..., 1:], bias[1:]  # without the background
        if isinstance(layer, DepthwiseConv2D):
            kernel = kernel.reshape(*kernel.shape[:2], shape[2], -1)
        elif len(shape) == 2:
            kernel = kernel[0, 0]
        if kernel.shape != shape and adapt:
            if (adapted := adapt(layer, "kernel", kernel)) is None:
                continue
            kernel = adapted
        if kernel.shape != shape:
            raise InputError(_difference(network, file, i, place))
        factor = np.float32(file.factors[i] / network.factors[place])
        values.append((layer.kernel, kernel * factor))
        bias = bias * factor
        if layer.use_bias:
            values.append((layer.bias, bias))
            bias = np.zeros_like(bias)
        if norm is not None:
            values += _only_bias(norm, bias)
            norms.append(norm)
        elif bias.any():
            raise InputError(
                f"{path} has a bias in {stored.name}, and {layer.name} of {model.name} has no place for it"
            )
    for variable, value in values:
        variable.assign(value)
    for norm in norms:
        norm.trainable = False
    if heads := auxiliary_names(model):
        note(f"{path} has no auxiliary heads: {' and '.join(heads)} start untrained")
    if network.classes == 1000 and model.input_shape[-1] in (1, 3):
        loaded[model] = Prepared(preprocessing=_preprocessing(file.graph, model.input_shape[1:]))


@cache
def _known() -> dict[str, tuple[str, dict[str, Any]]]:
    """The networks that are recognised, by their fingerprints: name in the registry, arguments."""
    return {key: (network, arguments) for key, (network, arguments) in json.loads(KNOWN.read_text("utf-8")).items()}


def _only_bias(norm: BatchNormalization, bias: np.ndarray) -> list[tuple[keras.Variable, np.ndarray]]:
    """The values with which a batch norm adds `bias` and nothing else."""
    values = [
        (norm.beta, bias),
        (norm.moving_mean, np.zeros_like(bias)),
        (norm.moving_variance, np.full_like(bias, 1 - norm.epsilon)),
    ]
    return [*values, (norm.gamma, np.ones_like(bias))] if norm.scale else values


def _preprocessing(graph: SubGraph, input_shape: tuple[int | None, int | None, int]) -> Preprocessing:
    """How a hosted file takes images: (pixel - zero point) * scale, where it takes bytes."""
    tensor = graph.Tensors(graph.Inputs(0))
    height, width = (own or int(stated) for own, stated in zip(input_shape, tensor.ShapeAsNumpy()[1:3], strict=False))
    channels = input_shape[2]
    prepared = scaled((height, width), channels)
    quantization = tensor.Quantization()
    if tensor.Type() != TensorType.UINT8 or quantization is None or not quantization.ScaleLength():
        return prepared
    mean, std = float(quantization.ZeroPoint(0)), 1 / float(quantization.Scale(0))
    return replace(prepared, mean=(mean,) * channels, std=(std,) * channels)


def _difference(network: Network, file: _File, their: int | None, our: int | None, *, alike: bool = False) -> str:
    """An error message with the first layers that differ, or that are alike."""
    theirs, ours = file.layers, network.layers
    there = "nothing" if their is None else f"{theirs[their].name} {file.wiring.labels[their][0]}"
    here = "nothing" if our is None else f"{ours[our].name} {network.wiring.labels[our][0]}"
    if alike:
        return f"{file.path} cannot be matched with certainty: it has several layers that are as {there}"
    same = their is not None and our is not None and file.wiring.labels[their] == network.wiring.labels[our]
    reason = " (connected otherwise, or with other pools, activations or padding before or after it)" if same else ""
    number = len(theirs) + 1 if their is None else their + 1
    return (
        f"{file.path} holds another network: its layer {number} of {len(theirs)} is {there}, "
        f"{network.model.name}'s of {len(ours)} is {here}{reason}"
    )


# ------------------------------------------------------------------------------------------------------------- the file


@dataclass(frozen=True)
class StoredLayer:
    """An operator with weights: its name, and the tensors of its kernel and bias."""

    name: str
    kind: int
    kernel: int
    bias: int | None


class _File:
    """The layers with weights in a `.tflite` file, and how they are connected.

    Raises:
        InputError: there is no such file, or it is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"no .tflite file at {self.path}")
        if (size := self.path.stat().st_size) > LARGEST:
            raise InputError(f"{self.path} has {size:,} bytes; more than {LARGEST:,} are not read")
        content = self.path.read_bytes()
        if content[4:8] != b"TFL3":
            raise InputError(f"{self.path} is not a .tflite file: it does not have the identifier TFL3")
        self.wiring, self.layers = Wiring(), list[StoredLayer]()
        self.factors: list[float] = []
        try:
            self.model = Model.GetRootAs(content, 0)
            self.graph = self.model.Subgraphs(0)
            self._read()
            self.image = self._shape(self.graph.Inputs(0))[1:]
        except Exception as error:  # a wrong offset can raise anything
            raise self._damaged(error) from error

    def weights(self, layer: StoredLayer) -> tuple[np.ndarray, np.ndarray]:
        """A layer's kernel, (height, width, in, out), and bias, as float32."""
        try:
            kernel = WEIGHTED[layer.kind](self._constant(layer.kernel))
            channels = kernel.shape[2 if layer.kind == BuiltinOperator.DEPTHWISE_CONV_2D else 3]
            bias = np.zeros(channels, np.float32) if layer.bias is None else self._constant(layer.bias)
            if bias.shape != (channels,) or not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise ValueError(f"the bias of {layer.name} does not fit, or its weights are not finite")
            return kernel, bias
        except Exception as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return InputError(f"{self.path} is damaged, or has weights that are not plain constants: {reason}")

    def _read(self) -> None:
        graph = self.graph
        ways: dict[int, Ways] = {int(i): FROM_IMAGE for i in graph.InputsAsNumpy()}
        operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
        readers = Counter(int(i) for operator in operators for i in operator.InputsAsNumpy())
        source: dict[int, int] = {}  # in a float16 file each constant passes a DEQUANTIZE
        for operator in operators:
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files have only the latter
            inputs = [source.get(int(i), int(i)) for i in operator.InputsAsNumpy()]
            if kind == BuiltinOperator.DEQUANTIZE and inputs[0] not in ways:
                source[operator.Outputs(0)] = inputs[0]
                continue
            options = OPTIONS[kind]() if kind in OPTIONS else None
            if options is not None and (table := operator.BuiltinOptions()) is not None:
                options.Init(table.Bytes, table.Pos)
            made = self._after(kind, options, inputs, int(operator.Outputs(0)), ways, readers)
            if options is not None and (activation := ACTIVATIONS.get(options.FusedActivationFunction())):
                made = through(made, activation)
            ways |= dict.fromkeys(map(int, operator.OutputsAsNumpy()), made)
        self.wiring.output = joined(ways.get(int(i), NOTHING) for i in graph.OutputsAsNumpy())

    def _after(
        self, kind: int, options: Any, inputs: list[int], output: int, ways: Mapping[int, Ways], readers: Counter
    ) -> Ways:
        """The ways to the output of an operator, before its activation."""
        first, shape = ways.get(inputs[0], NOTHING), self._shape(inputs[0])
        if kind in WEIGHTED:
            return self._add(kind, options, inputs, output, first)
        if kind in POOLS:
            size = options.FilterHeight(), options.FilterWidth()
            strides = options.StrideH(), options.StrideW()
            whole = size == shape[1:3] and self._shape(output)[1:3] == (1, 1) and POOLS[kind] == "avg"
            return through(first, "mean" if whole else (POOLS[kind], size, strides, options.Padding() == SAME))
        if kind in ALONE:
            return through(first, ALONE[kind])
        if kind == BuiltinOperator.CONCATENATION and options.Axis() in (-1, len(shape) - 1):
            return beside((ways.get(i, NOTHING), self._shape(i)[-1]) for i in inputs)
        if kind in (BuiltinOperator.PAD, BuiltinOperator.PADV2) and len(shape) == 4:
            _, height, width, channels = self._constant(inputs[1]).astype(int).tolist()
            return first if channels[0] or channels[1] else through(first, ("pad", tuple(height), tuple(width)))
        constants = [i for i in inputs if i not in ways]
        rest = [i for i in inputs if i in ways]
        if kind in ARITHMETIC and len(constants) == len(rest) == 1 and is_direct(ways[rest[0]]):
            value = self._constant(constants[0])
            if kind != BuiltinOperator.MUL or value.size != 1 or readers[rest[0]] > 1:
                return through(ways[rest[0]], "arithmetic")
            [way] = ways[rest[0]]
            self.factors[way.source] *= float(value.reshape(()))
        return joined(ways[i] for i in rest)

    def _add(self, kind: int, options: Any, inputs: list[int], output: int, ways: Ways) -> Ways:
        """Add a layer with weights."""
        weights, *bias = inputs[1:]
        shape = self._shape(weights)
        self.layers.append(
            StoredLayer(
                self.graph.Tensors(output).Name().decode(), kind, weights, next((i for i in bias if i >= 0), None)
            )
        )
        self.factors.append(1.0)
        if kind == BuiltinOperator.FULLY_CONNECTED:
            return self.wiring.add(ways, (1, 1, shape[1], shape[0]))
        strides, dilation = (
            (options.StrideH(), options.StrideW()),
            (options.DilationHFactor(), options.DilationWFactor()),
        )
        kernel = tuple(shape[i] for i in (1, 2, 3, 0))
        depthwise, same = kind == BuiltinOperator.DEPTHWISE_CONV_2D, options.Padding() == SAME
        size = self._shape(inputs[0])[1:3]
        return self.wiring.add(ways, kernel, strides, dilation, size=size, same=same, depthwise=depthwise)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(map(int, self.graph.Tensors(tensor).ShapeAsNumpy()))

    def _constant(self, index: int) -> np.ndarray:
        """A constant tensor, dequantised to float32."""
        tensor = self.graph.Tensors(index)
        content = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        array = np.frombuffer(content, TYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
        quantization = tensor.Quantization()
        if quantization is None or not quantization.ScaleLength():
            return array.astype(np.float32)
        along = [1] * array.ndim
        if quantization.ScaleLength() > 1:
            along[quantization.QuantizedDimension()] = -1
        scale = quantization.ScaleAsNumpy().reshape(along)
        zero = quantization.ZeroPointAsNumpy().reshape(along) if quantization.ZeroPointLength() else 0
        return ((array.astype(np.int64) - zero) * scale).astype(np.float32)
