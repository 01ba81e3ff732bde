"""Copy trained weights from a `.tflite` file into the float network that it was converted from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, Model, SubGraph, TensorType
from keras.layers import BatchNormalization, Conv2D, Dense, DepthwiseConv2D

from ..errors import InputError
from ..preprocessing import Preprocessing, scaled
from .record import Prepared, loaded

WEIGHTED: dict[
    int, Callable[[np.ndarray], np.ndarray]
] = {  # operator -> how to convert its kernel to Keras' (height, width, in, out)
    BuiltinOperator.CONV_2D: lambda kernel: kernel.transpose(1, 2, 3, 0),
    BuiltinOperator.DEPTHWISE_CONV_2D: lambda kernel: kernel.transpose(1, 2, 3, 0),
    BuiltinOperator.FULLY_CONNECTED: lambda kernel: kernel.T[None, None],
}
TYPES = {
    TensorType.FLOAT32: np.float32,
    TensorType.FLOAT16: np.float16,
    TensorType.INT8: np.int8,
    TensorType.UINT8: np.uint8,
    TensorType.INT16: np.int16,
    TensorType.INT32: np.int32,
    TensorType.INT64: np.int64,
}


@dataclass(frozen=True)
class StoredLayer:
    """A convolution or dense layer in a file: a kernel of (height, width, in, out), and a bias."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray


def from_tflite(model: keras.Model, path: str | Path) -> None:
    """Fill `model` with the weights of a `.tflite` file of the same network, float or quantised.

    The CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED operators of the file are copied in order to the convolutions and
    dense layers of the model, dequantised with the scales of the tensor or its channels. The converter has folded each
    batch norm into the layer before it, so a batch norm gets gamma 1, beta = the bias, mean 0 and variance 1 - epsilon.
    It is not trainable: these are not statistics of images, and updating them would destroy the network. If the file
    has one class more than the model, its class 0 is the background, as in TensorFlow's networks, and is dropped.

    The model must be a single path of layers with weights, as MobileNet is, because only then the order is certain.
    Batch norm may only follow such a layer.

    `preprocess_input` and `decode_predictions` then take the model. A file whose input is uint8 states how pixels are
    scaled; for others it is as in TensorFlow's hosted networks, [-1, 1]. A thousand classes are those of ImageNet.

    Raises:
        InputError: there is no such file, it is damaged, or it holds another network. The model is unchanged.
    """
    theirs, ours = read(path), _path_of(model)
    norms = {id(layer.input): layer for layer in model.layers if isinstance(layer, BatchNormalization)}
    filled = {layer: norms.get(id(layer.output)) for layer in ours}
    if left := [x.name for x in model.layers if x.weights and x not in filled and x not in filled.values()]:
        raise InputError(f"from_tflite fills convolutions, dense layers and the batch norm after them, not {left[0]}")
    if theirs and ours and theirs[-1].kernel.shape[-1] == ours[-1].kernel.shape[-1] + 1:
        last = theirs.pop()
        theirs.append(StoredLayer(last.name, last.kernel[..., 1:], last.bias[1:]))
    fitting = [_fits(our, their) for our, their in zip(ours, theirs, strict=False)]
    if not all(fitting) or len(ours) != len(theirs):
        raise InputError(_two_sides(model, ours, path, theirs, [*fitting, False].index(False)))
    for layer, their in zip(ours, theirs, strict=True):
        layer.kernel.assign(their.kernel.reshape(layer.kernel.shape))
        norm, bias = filled[layer], their.bias
        if layer.use_bias:
            layer.bias.assign(bias)
            bias = np.zeros_like(bias)
        if norm is not None:
            _make_bias(norm, bias)
    if ours and ours[-1].kernel.shape[-1] == 1000 and model.input_shape[-1] in (1, 3):
        loaded[model] = Prepared(preprocessing=_preprocessing(path, model.input_shape[1:]))


def read(path: str | Path) -> list[StoredLayer]:
    """The convolutions and dense layers of a `.tflite` file in order, as float32.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no .tflite file at {path}")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(f"{path} is not a .tflite file: it does not have the identifier TFL3")
    try:
        return list(_layers(Model.GetRootAs(content, 0)))
    except Exception as error:  # a wrong offset can raise anything
        raise InputError(f"{path} is damaged, or has weights that are not plain constants: {error}") from error


def _preprocessing(path: str | Path, input_shape: tuple[int | None, int | None, int]) -> Preprocessing:
    """How a hosted file takes images: (pixel - zero point) * scale, where it takes bytes."""
    graph = Model.GetRootAs(Path(path).read_bytes(), 0).Subgraphs(0)
    tensor = graph.Tensors(graph.Inputs(0))
    height, width = (own or int(stated) for own, stated in zip(input_shape, tensor.ShapeAsNumpy()[1:3], strict=False))
    channels = input_shape[2]
    prepared = scaled((height, width), channels)
    quantization = tensor.Quantization()
    if tensor.Type() != TensorType.UINT8 or quantization is None or not quantization.ScaleLength():
        return prepared
    mean, std = float(quantization.ZeroPoint(0)), 1 / float(quantization.Scale(0))
    return replace(prepared, mean=(mean,) * channels, std=(std,) * channels)


def _layers(model: Model) -> Iterator[StoredLayer]:
    graph = model.Subgraphs(0)
    source: dict[int, int] = {}  # in a float16 file each constant passes a DEQUANTIZE
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files have only the latter
        inputs = [source.get(int(index), int(index)) for index in operator.InputsAsNumpy()]
        if kind == BuiltinOperator.DEQUANTIZE:
            source[operator.Outputs(0)] = inputs[0]
        elif kind in WEIGHTED:
            _, weights, *bias = inputs
            kernel = WEIGHTED[kind](_constant(model, graph, weights))
            output = graph.Tensors(operator.Outputs(0))
            has_bias = bias and bias[0] >= 0
            channels = output.ShapeAsNumpy()[-1]
            yield StoredLayer(
                output.Name().decode(),
                kernel,
                _constant(model, graph, bias[0]) if has_bias else np.zeros(channels, np.float32),
            )


def _constant(model: Model, graph: SubGraph, index: int) -> np.ndarray:
    """A constant tensor, dequantised to float32."""
    tensor = graph.Tensors(index)
    content = model.Buffers(tensor.Buffer()).DataAsNumpy()
    array = np.frombuffer(content, TYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return array.astype(np.float32)
    along = [1] * array.ndim
    along[quantization.QuantizedDimension()] = -1 if quantization.ScaleLength() > 1 else 1
    scale = quantization.ScaleAsNumpy().reshape(along)
    zero = quantization.ZeroPointAsNumpy().reshape(along) if quantization.ZeroPointLength() else 0
    return ((array.astype(np.int64) - zero) * scale).astype(np.float32)


def _path_of(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers with kernels, from the input to the output."""
    path: list[keras.layers.Layer] = []
    depth: dict[int, int] = {}  # tensor -> the number of layers of the path before it
    for layer in model.layers:  # each comes after its inputs
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        before = max((depth.get(id(x), 0) for x in inputs), default=0)
        if isinstance(layer, Conv2D | DepthwiseConv2D | Dense):
            if before != len(path):
                raise InputError(f"{model.name} is not one path: {layer.name} does not follow {path[-1].name}")
            path.append(layer)
            before += 1
        depth[id(layer.output)] = before
    return path


def _fits(layer: keras.layers.Layer, their: StoredLayer) -> bool:
    return _shape(layer) == their.kernel.shape and (layer.output.shape[-1],) == their.bias.shape


def _shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """A kernel's (height, width, in, out); that of a dense layer counts as 1 x 1."""
    shape = tuple(layer.kernel.shape)
    return shape if len(shape) == 4 else (1, 1, *shape)


def _make_bias(norm: BatchNormalization, bias: np.ndarray) -> None:
    """Make a batch norm add `bias` and nothing else."""
    if norm.scale:
        norm.gamma.assign(np.ones_like(bias))
    norm.beta.assign(bias)
    norm.moving_mean.assign(np.zeros_like(bias))
    norm.moving_variance.assign(np.full_like(bias, 1 - norm.epsilon))
    norm.trainable = False


def _two_sides(
    model: keras.Model, ours: list[keras.layers.Layer], path: str | Path, theirs: list[StoredLayer], at: int
) -> str:
    """An error message with the first layers that differ."""
    our = f"{ours[at].name} {_shape(ours[at])}" if at < len(ours) else "nothing"
    their = f"{theirs[at].name} {theirs[at].kernel.shape}" if at < len(theirs) else "nothing"
    return (
        f"{path} holds another network: its layer {at + 1} of {len(theirs)} is {their}, "
        f"{model.name}'s of {len(ours)} is {our}"
    )
