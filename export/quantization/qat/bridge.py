"""A Keras 2 copy of a Keras 3 network, which TFMOT requires, and the way back for its trained weights.

`plan` walks the functional graph and lists the same network as nodes: Keras 2 layers, one or a short chain for each
Keras 3 layer. The table `MAKERS` says how. A plan has only layers that TFMOT and the int8 kernels of TFLite support;
for any other layer the chain computes the same:

- Batch norm of vectors becomes batch norm of a 1x1 map.
- A product with a constant becomes a depthwise 1x1 convolution, a sum of several tensors several sums.
- Local response normalisation becomes a 1x1 convolution of the squares by a band matrix, a logarithm and an
  exponential.
- What acts in training only (dropout, stochastic depth, drop-path) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_inception import layers as specs
from keras_inception.errors import InputError
from keras_inception.model_graph import Step, steps
from keras_inception.models import fractalnet

from ...optimize.fold import scale_and_shift
from ...optimize.simplify import IN_TRAINING
from .tfmot import tf_keras

K2: Any = tf_keras.layers
Shape: TypeAlias = tuple[int, ...]


# ------------------------------------------------------------------------------------------- layers that Keras 2 lacks


class Norm(K2.BatchNormalization):
    """Batch norm whose statistics can be frozen while its scale and shift are still trained."""

    frozen = False

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """N x H x W x C -> the same."""
        return super().call(inputs, training=False if self.frozen else training)


class Elementwise(K2.Layer):
    """The logarithm or the exponential, which TFLite's int8 kernels look up in a table."""

    def __init__(self, function: Literal["log", "exp"], **kwargs: Any):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Any shape -> the same. The logarithm's argument is positive, but rounding may make it 0."""
        if self.function == "exp":
            return tf.math.exp(x)
        return tf.math.log(tf.maximum(x, 1e-6) if training is True else x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same."""
        return input_shape


class Widen(K2.Layer):
    """Appends channels of zeros."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """N x H x W x C -> N x H x W x channels."""
        return tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, self.channels - x.shape[-1]]])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The map's size, `channels`."""
        return (*input_shape[:-1], self.channels)


# ------------------------------------------------------------------------------------------------------------ the plan


@dataclass(eq=False)
class PlanNode:
    """One call of a Keras 2 layer on the outputs of other nodes. PlanNode 0 is the network's input and has no layer.

    `weights` are those of the Keras 3 layer named `origin`, from the position `first` on; without an origin they are
    constants. Where they are computed from that layer's weights, `restore` maps (the layer's weights, the trained ones)
    to the layer's new weights. `variables` exist after the plan is built.
    """

    layer: Any
    sources: tuple[int, ...]
    shape: Shape  # one image's: without the batch axis
    weights: list[np.ndarray] = field(default_factory=list)
    origin: str | None = None
    first: int = 0
    restore: Callable[[list[np.ndarray], list[np.ndarray]], list[np.ndarray]] | None = None
    variables: list[Any] = field(default_factory=list)


class Plan:
    """A network as a list of nodes, each after its sources."""

    def __init__(self, name: str, input_shape: Shape, taken: Iterable[str] = ()):
        self.name = name
        self.nodes = [PlanNode(None, (), input_shape)]
        self._names = set(taken)  # of layers

    def add(
        self,
        kind: Callable[..., Any],
        sources: int | Sequence[int],
        *,
        name: str,
        weights: Iterable[Any] = (),
        origin: str | None = None,
        first: int = 0,
        **config: Any,
    ) -> int:
        """Append a layer and return its position."""
        sources = (sources,) if isinstance(sources, int) else tuple(sources)
        base, n = name, 1
        while name in self._names:
            n += 1
            name = f"{base}_{n}"
        self._names.add(name)
        layer = kind(name=name, **config)
        shapes = [(None, *self.nodes[source].shape) for source in sources]
        shape = tuple(layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes))[1:]
        values = [np.asarray(value, np.float32) for value in weights]
        self.nodes.append(PlanNode(layer, sources, shape, values, origin, first))
        return len(self.nodes) - 1

    def consumers(self) -> list[list[int]]:
        """For each node the nodes that read it; -1 stands for the reader of the network's output."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in node.sources:
                readers[source].append(i)
        readers[-1].append(-1)
        return readers

    # Short chains that several layers share.

    def scaled(self, x: int, scale: Any, offset: Any = 0.0, *, name: str) -> int:
        """`x * scale + offset` with constants, one for all channels or one per channel."""
        *before, channels = self.nodes[x].shape
        if len(before) != 2:
            x = self.add(K2.Reshape, x, name=f"{name}_map", target_shape=(1, 1, channels) if not before else None)
        kernel = np.broadcast_to(np.reshape(np.asarray(scale, np.float32), (1, 1, -1, 1)), (1, 1, channels, 1))
        bias = np.broadcast_to(np.asarray(offset, np.float32).reshape(-1), (channels,))
        biased = bool(np.any(bias))
        x = self.add(
            K2.DepthwiseConv2D,
            x,
            name=name,
            weights=[kernel, bias] if biased else [kernel],
            kernel_size=1,
            use_bias=biased,
        )
        return x if before else self.add(K2.Reshape, x, name=f"{name}_vector", target_shape=(channels,))

    def merged(self, kind: Any, sources: Sequence[int], *, name: str) -> int:
        """A merge of any number of tensors, two at a time: sums and products have two operands in TFLite."""
        total = sources[0]
        for i, source in enumerate(sources[1:], 2):
            total = self.add(kind, (total, source), name=name if i == len(sources) else f"{name}_first{i}")
        return total

    def activated(self, x: int, kind: str, *, name: str) -> int:
        """A nonlinearity by its Keras name."""
        match kind:
            case "linear":
                return x
            case "relu" | "relu6":
                return self.add(K2.ReLU, x, name=name, max_value=6.0 if kind == "relu6" else None)
            case "sigmoid" | "tanh" | "softmax":
                return self.add(K2.Activation, x, name=name, activation=kind)
            case "silu" | "swish":
                gate = self.add(K2.Activation, x, name=f"{name}_gate", activation="sigmoid")
                return self.add(K2.Multiply, (x, gate), name=name)
            case "hard_sigmoid":
                return self._hard_sigmoid(x, name=name)
            case "hard_silu" | "hard_swish":
                return self.add(K2.Multiply, (x, self._hard_sigmoid(x, name=f"{name}_gate")), name=name)
        known = "linear, relu, relu6, sigmoid, tanh, softmax, silu, hard_sigmoid and hard_silu"
        raise InputError(f"{name} has the activation {kind!r}, which cannot be quantised; use one of {known}")

    def _hard_sigmoid(self, x: int, *, name: str) -> int:
        """That of Keras 3, relu6(x + 3) / 6; Keras 2 has another."""
        shifted = self.scaled(x, 1.0, 3.0, name=f"{name}_shift")
        return self.scaled(self.add(K2.ReLU, shifted, name=f"{name}_relu6", max_value=6.0), 1 / 6, name=name)


Maker: TypeAlias = Callable[[Plan, Any, tuple[int, ...]], int]  # plan, Keras 3 layer, sources -> position of its output


def _same(kind: Any, *arguments: str, **renamed: str) -> Maker:
    """A layer that Keras 2 has too, with these arguments and the renamed ones, `new=old`; its activation follows it."""

    def make(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise InputError(f"layer {layer.name} has channels first: build the network with channels last")
        if getattr(layer, "lora_enabled", False):
            raise InputError(f"layer {layer.name} has LoRA weights: build one without, with its kernel and bias")
        config = {name: getattr(layer, name) for name in arguments}
        config |= {new: getattr(layer, old) for new, old in renamed.items()}
        x = plan.add(kind, sources, name=layer.name, weights=layer.get_weights(), origin=layer.name, **config)
        return plan.activated(x, _activation(layer), name=f"{layer.name}_activation")

    return make


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def _identity(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    return sources[0]


def _merge(kind: Any) -> Maker:
    return lambda plan, layer, sources: plan.merged(kind, sources, name=layer.name)


def _mean(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    total = plan.merged(K2.Add, sources, name=f"{layer.name}_sum")
    return plan.scaled(total, 1 / len(sources), name=layer.name)


def _separable(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    depthwise, *pointwise = layer.get_weights()
    shared = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
    x = plan.add(
        K2.DepthwiseConv2D,
        sources,
        name=f"{layer.name}_depthwise",
        weights=[depthwise],
        origin=layer.name,
        kernel_size=layer.kernel_size,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        **shared,
    )
    x = plan.add(
        K2.Conv2D,
        x,
        name=layer.name,
        weights=pointwise,
        origin=layer.name,
        first=1,
        filters=layer.filters,
        kernel_size=1,
        use_bias=layer.use_bias,
    )
    return plan.activated(x, _activation(layer), name=f"{layer.name}_activation")


def _norm(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    [x] = sources
    shape = plan.nodes[x].shape
    if len(shape) not in (1, 3) or layer.axis not in (-1, len(shape)):
        raise InputError(f"batch norm {layer.name} is along the axis {layer.axis} of {shape}: it must be the last")
    if len(shape) == 1:
        x = plan.add(K2.Reshape, x, name=f"{layer.name}_map", target_shape=(1, 1, *shape))
    x = plan.add(
        Norm,
        x,
        name=layer.name,
        weights=layer.get_weights(),
        origin=layer.name,
        momentum=layer.momentum,
        epsilon=layer.epsilon,
        center=layer.center,
        scale=layer.scale,
    )
    plan.nodes[x].layer.frozen = not layer.trainable  # as in Keras 3
    return plan.add(K2.Reshape, x, name=f"{layer.name}_vector", target_shape=shape) if len(shape) == 1 else x


def _local_response(plan: Plan, layer: specs.LocalResponseNormalization, sources: tuple[int, ...]) -> int:
    [x], name = sources, layer.name
    channels = plan.nodes[x].shape[-1]
    distance = np.arange(channels)[:, None] - np.arange(channels)  # from the written channel to the read one
    before = layer.size // 2
    band = layer.alpha * ((-before <= distance) & (distance <= layer.size - 1 - before))
    squares = plan.add(K2.Multiply, (x, x), name=f"{name}_squares")
    total = plan.add(
        K2.Conv2D,
        squares,
        name=f"{name}_neighbours",
        weights=[band[None, None], np.full(channels, layer.bias)],
        filters=channels,
        kernel_size=1,
    )
    log = plan.add(Elementwise, total, name=f"{name}_log", function="log")
    power = plan.scaled(log, -layer.beta, name=f"{name}_power")
    return plan.add(K2.Multiply, (x, plan.add(Elementwise, power, name=f"{name}_exp", function="exp")), name=name)


def _scale(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    [x] = sources
    shape = plan.nodes[x].shape
    if (affine := scale_and_shift(layer, 1 + len(shape), shape[-1])) is None:
        raise InputError(f"layer {layer.name} differs within a channel of {shape}: give it one value per channel")
    return plan.scaled(x, *affine, name=layer.name)


def _map_like(plan: Plan, layer: Any, sources: tuple[int, ...]) -> int:
    pixels, like = (plan.nodes[source].shape for source in sources)
    return plan.add(K2.Reshape, sources[0], name=layer.name, target_shape=(*like[:2], pixels[1] * pixels[2]))


_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias")
_POOL = ("pool_size", "strides", "padding")

MAKERS: dict[type, Maker] = {
    keras.layers.Conv2D: _same(K2.Conv2D, "filters", "groups", *_CONV),
    keras.layers.DepthwiseConv2D: _same(K2.DepthwiseConv2D, "depth_multiplier", *_CONV),
    keras.layers.SeparableConv2D: _separable,
    keras.layers.Dense: _same(K2.Dense, "units", "use_bias"),
    keras.layers.BatchNormalization: _norm,
    specs.LocalResponseNormalization: _local_response,
    keras.layers.Activation: lambda plan, layer, s: plan.activated(s[0], _activation(layer), name=layer.name),
    keras.layers.Softmax: lambda plan, layer, s: plan.activated(s[0], "softmax", name=layer.name),
    keras.layers.ReLU: _same(K2.ReLU, "max_value", "negative_slope", "threshold"),
    keras.layers.LeakyReLU: _same(K2.LeakyReLU, alpha="negative_slope"),
    keras.layers.MaxPooling2D: _same(K2.MaxPooling2D, *_POOL),
    keras.layers.AveragePooling2D: _same(K2.AveragePooling2D, *_POOL),
    keras.layers.GlobalAveragePooling2D: _same(K2.GlobalAveragePooling2D, "keepdims"),
    keras.layers.GlobalMaxPooling2D: _same(K2.GlobalMaxPooling2D, "keepdims"),
    keras.layers.ZeroPadding2D: _same(K2.ZeroPadding2D, "padding"),
    keras.layers.Cropping2D: _same(K2.Cropping2D, "cropping"),
    specs.ChannelPadding: _same(Widen, "channels"),
    keras.layers.Flatten: _same(K2.Flatten),
    keras.layers.Reshape: _same(K2.Reshape, "target_shape"),
    keras.layers.Permute: _same(K2.Permute, "dims"),
    specs.MapLike: _map_like,
    keras.layers.Concatenate: _same(K2.Concatenate, "axis"),
    keras.layers.Add: _merge(K2.Add),
    keras.layers.Multiply: _merge(K2.Multiply),
    keras.layers.Average: _mean,
    fractalnet.FractalJoin: lambda plan, layer, sources: _mean(plan, layer, sources[1:]),
    keras.layers.Rescaling: _scale,
    keras.layers.Normalization: _scale,
    **dict.fromkeys(
        (
            *IN_TRAINING,
            keras.layers.Identity,
            fractalnet.ColumnChoice,
        ),
        _identity,
    ),
}


def plan(
    model: keras.Model, input_shape: tuple[int | None, ...] | None = None, normalisation: Sequence[np.ndarray] = ()
) -> Plan:
    """The nodes of a network with one input and one output, for images of one size.

    `normalisation`, the kernel (1, 1, 3, C) and bias (C,) of a 1x1 convolution, comes first: the plan then takes
    pixels.

    Raises:
        InputError: the network has a layer that is not in the table, or calls one with weights twice.
    """
    given = input_shape or model.input_shape[1:]
    shape = tuple(side for side in given if side is not None)
    if len(shape) < len(given):
        raise InputError(f"the network takes {given}: give input_shape, height and width in pixels")
    result, at = Plan(model.name, (*shape[:-1], 3) if normalisation else shape), list[int]()
    start = 0
    if normalisation:
        start = result.add(K2.Conv2D, 0, name="normalise", weights=normalisation, filters=shape[-1], kernel_size=1)
    calls = steps(model)
    seen: dict[int, str] = {}
    for call in calls:
        layer = call.layer
        if getattr(layer, "weights", None) and id(layer) in seen:
            raise InputError(f"layer {layer.name} is called twice: use a layer of its own for each call")
        seen[id(layer)] = layer.name
        if isinstance(layer, keras.layers.InputLayer):
            at.append(start)
        else:
            at.append(_maker(call)(result, layer, tuple(at[source] for source in call.sources)))
    if at[-1] != len(result.nodes) - 1:
        raise InputError(f"{model.name} returns the output of an inner layer: build a keras.Model that ends there")
    return result


def _maker(call: Step) -> Maker:
    for kind in type(call.layer).__mro__:
        if kind in MAKERS:
            return MAKERS[kind]
    known = ", ".join(sorted(kind.__name__ for kind in MAKERS if kind not in IN_TRAINING))
    raise InputError(
        f"layer {call.name} is a {type(call.layer).__name__}, which cannot be trained quantised: "
        f"replace it with layers of these types: {known}"
    )


# ----------------------------------------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class Keras2Copy:
    """The Keras 2 model of a plan, whose nodes map its variables to the weights of the Keras 3 model."""

    model: Any  # a tf_keras.Model with the input and output of the Keras 3 model
    logits: Any  # the same without a softmax or sigmoid at its end
    plan: Plan

    def weights_to(self, model: keras.Model) -> None:
        """Write the trained weights into a Keras 3 model with the same layers."""
        for node in self.plan.nodes:
            if node.origin is None or not node.variables:
                continue
            layer = model.get_layer(node.origin)
            weights, trained = layer.get_weights(), [variable.numpy() for variable in node.variables]
            if node.restore:
                weights = node.restore(weights, trained)
            else:
                weights[node.first : node.first + len(trained)] = trained
            layer.set_weights(weights)


def build(network: Plan, wrap: Callable[[int, PlanNode], Any] = lambda i, node: node.layer) -> Keras2Copy:
    """Build a plan's model. A plan can be built once, since its layers hold their weights.

    `wrap` returns what to call in place of a node's layer, which has its weights by then.
    """
    nodes = network.nodes
    inputs = K2.Input(nodes[0].shape, name="input")
    tensors = [inputs]
    first = wrap(0, nodes[0])
    if first is not None:
        tensors[0] = first(tensors[0])
    for i, node in enumerate(nodes[1:], 1):
        shapes = [tf.TensorShape((None, *nodes[source].shape)) for source in node.sources]
        node.layer.build(shapes[0] if len(shapes) == 1 else shapes)
        if node.weights:
            node.layer.set_weights(node.weights)
            node.layer.trainable = node.origin is not None
            node.variables = list(node.layer.weights)
        given = [tensors[source] for source in node.sources]
        tensors.append(wrap(i, node)(given[0] if len(given) == 1 else given))
    last, ends = nodes[-1], tensors[-1]
    if isinstance(last.layer, K2.Activation) and last.layer.activation.__name__ in ("softmax", "sigmoid"):
        ends = tensors[last.sources[0]]
    model = tf_keras.Model(inputs, tensors[-1], name=network.name)
    return Keras2Copy(model, tf_keras.Model(inputs, ends, name=f"{network.name}_logits"), network)
