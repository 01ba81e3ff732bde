"""A Keras network as a list of units in order of execution, random weights for it, and what it then answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers as kl

from .pairing import Arrays

Variables = dict[str, tuple[keras.Variable, tuple[int, ...]]]  # a unit's, each with the shape that `pairing` gives it


@dataclass
class Unit:
    """A layer with weights; a SeparableConv2D is two of them."""

    name: str
    variables: Variables
    linear: bool = False  # one of the network's last: no nonlinearity follows
    damped: bool = False  # the last of a residual path

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {k: shape for k, (_, shape) in self.variables.items()}


# ------------------------------------------------------------------------------------------------------ the graph walk


def units(model: keras.Model, order: Mapping[str, Sequence[int]] | None = None) -> list[Unit]:
    """Every layer with weights, in the order of a depth-first walk from the outputs, auxiliary outputs first.

    `order` maps a layer's class, or a regular expression of its name, to the order in which to walk its inputs.
    """
    outputs = model.output
    if isinstance(outputs, dict):
        outputs = [outputs[k] for k in sorted(outputs, key=lambda k: (k == "predictions", len(k), k))]
    outputs = keras.tree.flatten(outputs)
    found: dict[str, list[Unit]] = {}
    depth: dict[int, int] = {}  # of a tensor: layers with weights on the longest way to it
    last: dict[int, list[Unit]] = {}  # of a tensor: the unit that made it, perhaps with weightless layers behind
    adds: list[Sequence[keras.KerasTensor]] = []
    for tensor, layer, inputs in _walk(outputs, order or {}):
        own = found.setdefault(layer.name, _units_of(layer, inputs))
        depth[id(tensor)] = max((depth[id(x)] for x in inputs), default=0) + bool(own)
        merges = isinstance(layer, (kl.Add, kl.Concatenate, kl.InputLayer))
        last[id(tensor)] = own[-1:] if own or merges else last[id(inputs[0])]
        if isinstance(layer, kl.Add):
            adds.append(inputs)
    for inputs in adds:
        for unit in last[id(max(inputs, key=lambda x: depth[id(x)]))]:
            unit.damped = True
    for tensor in outputs:
        for unit in last[id(tensor)]:
            unit.linear = True
    return [unit for own in found.values() for unit in own]


def _walk(
    outputs: Sequence[keras.KerasTensor], order: Mapping[str, Sequence[int]]
) -> Iterator[tuple[keras.KerasTensor, keras.layers.Layer, list[keras.KerasTensor]]]:
    """(tensor, the layer that made it, the layer's inputs), each after its inputs."""
    seen: set[int] = set()
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in seen:
            continue
        history = tensor._keras_history
        layer = history.operation
        inputs = list(layer._inbound_nodes[history.node_index].input_tensors)
        if ready:
            seen.add(id(tensor))
            yield tensor, layer, inputs
            continue
        stack.append((tensor, True))
        stack.extend((x, False) for x in reversed(_ordered(layer, inputs, order)))


def _ordered(
    layer: keras.layers.Layer, inputs: list[keras.KerasTensor], order: Mapping[str, Sequence[int]]
) -> list[keras.KerasTensor]:
    for pattern, permutation in order.items():
        if pattern == type(layer).__name__ or re.fullmatch(pattern, layer.name):
            return [inputs[i] for i in permutation]
    return inputs


def _units_of(layer: keras.layers.Layer, inputs: Sequence[keras.KerasTensor]) -> list[Unit]:
    if not layer.weights:
        return []
    if isinstance(layer, kl.BatchNormalization):
        named = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.moving_mean, "variance": layer.moving_variance}
        return [Unit(layer.name, {k: (v, tuple(v.shape)) for k, v in named.items() if v is not None})]
    if isinstance(layer, kl.SeparableConv2D):
        own: Variables = {"kernel": (layer.pointwise_kernel, tuple(layer.pointwise_kernel.shape))}
        return [
            Unit(f"{layer.name}_depthwise", _depthwise(layer.depthwise_kernel)),
            Unit(layer.name, own | _bias(layer)),
        ]
    if isinstance(layer, kl.DepthwiseConv2D):
        return [Unit(layer.name, _depthwise(layer.kernel) | _bias(layer))]
    if isinstance(layer, kl.Conv2D):
        return [Unit(layer.name, {"kernel": (layer.kernel, tuple(layer.kernel.shape))} | _bias(layer))]
    if isinstance(layer, kl.Dense):
        shape = (*_grid(inputs[0]), layer.kernel.shape[-1])
        return [Unit(layer.name, {"kernel": (layer.kernel, shape)} | _bias(layer))]
    raise TypeError(
        f"parity knows no weights of a {type(layer).__name__} ({layer.name}): add it to tests/parity/units.py"
    )


def _depthwise(kernel: keras.Variable) -> Variables:
    height, width, channels, multiplier = kernel.shape
    return {"kernel": (kernel, (height, width, 1, channels * multiplier))}


def _bias(layer: keras.layers.Layer) -> Variables:
    return {"bias": (layer.bias, tuple(layer.bias.shape))} if layer.use_bias else {}


def _grid(tensor: keras.KerasTensor) -> tuple[int, int, int]:
    """(height, width, channels) of the map that a dense layer's input was flattened from; 1 x 1 if from none."""
    history = tensor._keras_history
    inputs = history.operation._inbound_nodes[history.node_index].input_tensors
    if isinstance(history.operation, kl.Flatten) and len(inputs[0].shape) == 4:
        return tuple(inputs[0].shape[1:])
    if isinstance(history.operation, (kl.Dropout, kl.Activation, kl.ReLU)):
        return _grid(inputs[0])
    return 1, 1, tensor.shape[-1]


# ----------------------------------------------------------------------------------------------------- random weights


def seeded(network: Sequence[Unit], seed: int, gain: float = 1.0) -> list[Arrays]:
    """Weights that keep activations of order one through any depth: the same for the same network and seed.

    Kernels are He et al.'s. Batch norm's E[gamma^2] E[1 / variance] is 1. The last unit of each of n residual paths is
    divided by sqrt(n), so that their sum does not grow.
    """
    rng = np.random.default_rng(seed)
    damping = 1 / np.sqrt(max(1, sum(unit.damped for unit in network)))
    return [
        {k: _random(k, shape, unit, gain, damping, rng).astype("float32") for k, shape in unit.shapes.items()}
        for unit in network
    ]


def _random(
    kind: str, shape: tuple[int, ...], unit: Unit, gain: float, damping: float, rng: np.random.Generator
) -> np.ndarray:
    scale = damping if unit.damped else 1.0
    if kind == "kernel":
        fan_in = np.prod(shape[:3])
        return rng.standard_normal(shape) * np.sqrt((1 if unit.linear else 2) / fan_in) * gain * scale
    if kind == "gamma":
        return rng.uniform(0.75, 1.25, shape) * scale
    if kind == "variance":
        return rng.uniform(0.6, 1.6, shape)
    return rng.normal(0, 0.1, shape)  # bias, beta, mean


def assign(network: Sequence[Unit], weights: Sequence[Arrays]) -> None:
    for unit, arrays in zip(network, weights, strict=True):
        for kind, (variable, _) in unit.variables.items():
            variable.assign(arrays[kind].reshape(variable.shape))


# ------------------------------------------------------------------------------------------------------------ answers


def image(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """One image of standard normal noise, 1 x H x W x C float32."""
    return np.random.default_rng(seed).standard_normal((1, *shape)).astype("float32")


def answers(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Output name -> logits of the one image."""
    outputs = model(x, training=False)
    outputs = outputs if isinstance(outputs, dict) else {"predictions": outputs}
    return {k: keras.ops.convert_to_numpy(v)[0] for k, v in outputs.items()}
