"""What a network costs, layer by layer: parameters, multiply-adds, activations, receptive field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from ..arguments import checked
from ..errors import InputError
from ..model_graph import Step, endpoints, steps
from .boxes import Box, boxes

Pair = tuple[Any, Any]  # vertical, horizontal


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of a layer, or of all layers of one endpoint, for one image.

    `macs` are the multiply-adds of convolutions and dense layers, without bias, batch norm, pooling and activation.
    `activations` is the number of output elements. `receptive_field` is the height and width in input pixels that one
    output element depends on, the maximum over all paths; it may exceed the image, where the rest is padding. `stride`
    is the distance in pixels between neighbouring outputs.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch axis
    parameters: int
    trainable: int
    macs: int
    activations: int
    receptive_field: Pair
    stride: Pair


@dataclass(frozen=True, kw_only=True)
class Total:
    """The sum over a network, for one image."""

    parameters: int
    trainable: int
    macs: int
    activations: int


@checked
def blueprint(build: Callable[..., keras.Model], **kwargs: Any) -> keras.Model:
    """The network that `build(**kwargs)` makes, without memory for its weights: shapes and costs, no predictions.

    This takes half the time of building. Numerics and dtype policy are those of the caller.

    Raises:
        InputError: `build` is no function, or refuses the arguments.
    """
    policy = keras.config.dtype_policy()

    def plan() -> keras.Model:
        keras.config.set_dtype_policy(policy)  # Keras keeps one for each thread
        with keras.StatelessScope(initialize_variables=False):
            return build(**kwargs)

    # Keras collects the variables to initialise later in a list for each thread: it is dropped with this thread.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(copy_context().run, plan).result()


@checked
def layer_costs(model: keras.Model) -> list[LayerCost]:
    """The cost of each layer of a flat functional model, in the order of the network, branch by branch.

    Maps are NHWC. A layer that is called twice has a row for each call, with its parameters in the first. Layers other
    than convolutions, pools, dense and flattening layers are assumed to treat each position of a map separately.

    Raises:
        InputError: a size or a layer's multiply-adds are unknown.
    """
    rows: list[LayerCost] = []
    seen: set[int] = set()
    calls = steps(model)
    distances = strides(calls)
    for call, stride in zip(calls, distances, strict=True):
        if any(size is None for shape in call.shapes for size in shape):
            raise InputError(
                f"the size of {call.name!r} is unknown, {call.shape}: build the network with a fixed input_shape"
            )
        sources = [calls[i] for i in call.sources]
        field = _field(call, calls, rows)
        weights = [] if id(call.layer) in seen else getattr(call.layer, "weights", [])
        seen.add(id(call.layer))
        rows.append(
            LayerCost(
                name=call.name,
                kind=type(call.layer).__name__,
                output_shape=_known(call.shape),
                parameters=_elements(weights),
                trainable=_elements(w for w in weights if w.trainable),
                macs=_macs(call, sources),
                activations=sum(math.prod(_known(shape)) for shape in call.shapes),
                receptive_field=field,
                stride=stride,
            )
        )
    return rows


@checked
def endpoint_costs(model: keras.Model) -> list[LayerCost]:
    """The rows of the network's table: the sums of `layer_costs` by endpoint, in the order of the network.

    Shape, receptive field and stride are those of the endpoint's last layer; `kind` is what a figure would show.

    Raises:
        InputError: as of `layer_costs`.
    """
    costs = layer_costs(model)
    by_row: dict[str, list[LayerCost]] = {}
    for row, cost in zip(endpoints([cost.name for cost in costs]), costs, strict=True):
        by_row[row] = [*by_row.pop(row, []), cost]  # ordered by where they end
    drawn: dict[str, list[Box]] = {}
    for box in boxes(model):
        drawn.setdefault(box.endpoint, []).append(box)
    return [
        LayerCost(
            name=row,
            kind=_kind(drawn[row]) if row in drawn else inner[-1].kind.lower(),
            output_shape=inner[-1].output_shape,
            **vars(total(inner)),
            receptive_field=inner[-1].receptive_field,
            stride=inner[-1].stride,
        )
        for row, inner in by_row.items()
    ]


@checked
def total(costs: keras.Model | Iterable[LayerCost]) -> Total:
    """The sum over a model, or over rows.

    Raises:
        InputError: as of `layer_costs`, or a row is no `LayerCost`.
    """
    rows = layer_costs(costs) if isinstance(costs, keras.Model) else list(costs)
    return Total(
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.trainable for row in rows),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
    )


# ------------------------------------------------------------------------------------------------------ multiply-adds


def _macs(call: Step, sources: Sequence[Step]) -> int:
    """Positions times weights: each weight of a kernel is multiplied once at each position."""
    layer = call.layer
    if isinstance(layer, layers.Conv2DTranspose):  # each input position is multiplied by the whole kernel
        return math.prod(_known(sources[0].shape)[:-1]) * _elements([layer.kernel])
    if isinstance(layer, layers.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
        kernels = [layer.kernel]
    elif any(len(w.shape) > 1 for w in getattr(layer, "weights", [])) and not isinstance(layer, layers.PReLU):
        raise InputError(
            f"the multiply-adds of {type(layer).__name__} {call.name!r} are unknown: only those of Conv2D, "
            "DepthwiseConv2D, SeparableConv2D, Conv2DTranspose and Dense are counted"
        )
    else:
        return 0
    return math.prod(_known(call.shape)[:-1]) * _elements(kernels)


def _elements(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _known(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape without unknown sizes, which have been refused before."""
    return tuple(size for size in shape if size is not None)


# ---------------------------------------------------------------------------------------------------- receptive field


def _field(call: Step, calls: Sequence[Step], rows: Sequence[LayerCost]) -> Pair:
    """Receptive field of a layer from those of its inputs. Araujo, Norris, Sim, 2019."""
    if not (read := _read(call, calls)):
        return 1, 1
    window, _ = _window(call, calls[read[0]].shape)
    height, width = (
        math.ceil(max(rows[i].receptive_field[axis] for i in read) + (window[axis] - 1) * stride)
        for axis, stride in enumerate(_finest([rows[i].stride for i in read]))
    )
    return height, width


def strides(calls: Sequence[Step]) -> list[Pair]:
    """For each step the distance in pixels between neighbouring outputs; infinite after pooling a map of unknown size.

    It follows from the layers alone, so it holds for any input size.
    """
    found: list[Pair] = []
    for call in calls:
        read = _read(call, calls)
        moves = _window(call, calls[read[0]].shape)[1] if read else [(1, 1), (1, 1)]
        vertical, horizontal = (
            _ratio(s * n, d) for s, (n, d) in zip(_finest([found[i] for i in read]), moves, strict=True)
        )
        found.append((vertical, horizontal))
    return found


def _read(call: Step, calls: Sequence[Step]) -> list[int]:
    """The positions of the steps that a step reads, without FractalNet's random draws: a number has no stride."""
    return [i for i in call.sources if calls[i].shape]


def _finest(strides: Sequence[Pair]) -> Pair:
    """The stride of a layer's input: a squeeze-excite gate has that of the whole map, its other input the map's own."""
    return (min(s[0] for s in strides), min(s[1] for s in strides)) if strides else (1, 1)


def _window(call: Step, source: tuple[int | None, ...]) -> tuple[Sequence[Any], Sequence[tuple[Any, Any]]]:
    """For each axis the input positions that one output depends on, and the stride as (numerator, denominator)."""
    layer = call.layer
    if isinstance(layer, layers.Conv2DTranspose):
        window = [math.ceil(k / s) for k, s in zip(layer.kernel_size, layer.strides, strict=True)]
        return window, [(1, s) for s in layer.strides]
    if isinstance(layer, layers.UpSampling2D):
        return [1 if layer.interpolation == "nearest" else 2] * 2, [(1, s) for s in layer.size]
    if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return layer.pool_size, [(s, 1) for s in layer.strides]
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)):
        window = [1 + (k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        return window, [(s, 1) for s in layer.strides]
    whole_map = isinstance(layer, (layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D))
    if len(source) == 3 and (whole_map or len(call.shape) == 1):
        height, width = (math.inf if side is None else side for side in source[:2])
        return (height, width), [(height, 1), (width, 1)]
    return (1, 1), [(1, 1), (1, 1)]


def _ratio(numerator: Any, denominator: int) -> Any:
    """The quotient, an int if it is whole."""
    return numerator // denominator if numerator % denominator == 0 else numerator / denominator


# --------------------------------------------------------------------------------------------------------------- kind


def _kind(drawn: Sequence[Box]) -> str:
    """An endpoint in a few words: "3x3 conv, 96", "4 branches", "residual: 1x1, 3x3, 1x1"."""
    if len(drawn) == 1:
        return drawn[0].label
    merges = {layers.Multiply: "squeeze-excite", layers.Add: "residual"}
    merged = [text for kind, text in merges.items() if any(isinstance(box.layer, kind) for box in drawn)]
    concats = [len(box.sources) for box in drawn if isinstance(box.layer, layers.Concatenate)]
    if concats:
        return ", ".join([f"{concats[-1]} branches", *merged])
    plain = [box.text.split(",")[0].removesuffix(" conv") for box in drawn if not isinstance(box.layer, tuple(merges))]
    chain = ", ".join(plain) if len(plain) <= 4 else f"{len(plain)} layers"
    return ": ".join(filter(None, [", ".join(merged), chain]))
