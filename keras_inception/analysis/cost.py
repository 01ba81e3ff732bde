"""What a network costs, layer by layer: parameters, multiply-adds, activations, receptive field."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from ..errors import InputError
from ..model_graph import Step, endpoints, steps
from .boxes import Box, boxes

Pair = tuple[Any, Any]  # of the vertical and the horizontal


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of a layer, or of all layers of one endpoint, for one image.

    `macs` are the multiply-adds of convolutions and dense layers: no bias, batch norm, pooling or nonlinearity.
    `activations` are output elements. `receptive_field` is how many input pixels, high and wide, one output element
    depends on, the most of all paths; it may exceed the image, and what hangs over is padding. `stride` is how many
    pixels lie between two neighbouring outputs.
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


def blueprint(build: Callable[..., keras.Model], **kwargs: Any) -> keras.Model:
    """The network that `build(**kwargs)` makes, its weights not allocated: shapes and costs, no predictions.

    Twice as fast as building, and 138 million parameters take no memory.
    """
    result: list[keras.Model] = []
    failure: list[BaseException] = []

    def draw() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False):
                result.append(build(**kwargs))
        except BaseException as error:
            failure.append(error)

    # Keras keeps a list of variables to initialise later, one a thread: with the thread it is forgotten.
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """The cost of each layer of a flat functional model, in the order of the network, branch by branch.

    Maps are NHWC. A layer that is called twice has a row for each call, and its parameters in the first. A layer that
    is no convolution, pool, dense or flattening layer is taken to work on each position of a map alone.

    Raises:
        InputError: a size is unknown, or a layer's multiply-adds are.
    """
    rows: list[LayerCost] = []
    seen: set[int] = set()
    calls = steps(model)
    for call in calls:
        if any(size is None for shape in call.shapes for size in shape):
            raise InputError(
                f"the size of {call.name!r} is unknown, {call.shape}: build the network with a fixed input_shape"
            )
        sources = [calls[i] for i in call.sources]
        field, stride = _see(call, sources, [rows[i] for i in call.sources])
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


def endpoint_costs(model: keras.Model) -> list[LayerCost]:
    """The rows of the network's table: `layer_costs` added up by endpoint, in the order of the network.

    Shape, receptive field and stride are the endpoint's own, its last layer's; `kind` says what a figure would draw.
    """
    costs = layer_costs(model)
    by_row: dict[str, list[LayerCost]] = {}
    for row, cost in zip(endpoints([cost.name for cost in costs]), costs, strict=True):
        by_row[row] = [*by_row.pop(row, []), cost]  # in the order in which they end
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


def total(costs: keras.Model | Iterable[LayerCost]) -> Total:
    """The sum over a model, or over rows."""
    rows = layer_costs(costs) if isinstance(costs, keras.Model) else list(costs)
    return Total(
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.trainable for row in rows),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
    )


def conv_macs(
    height: int, width: int, channels: int, filters: int, kernel: int | tuple[int, int], *, groups: int = 1
) -> int:
    """Multiply-adds of a convolution with a `height` x `width` output: arithmetic, no network."""
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height * width * high * wide * channels // groups * filters


# ------------------------------------------------------------------------------------------------------ multiply-adds


def _macs(call: Step, sources: Sequence[Step]) -> int:
    """Positions times weights: each weight of a kernel is multiplied once a position."""
    layer = call.layer
    if isinstance(layer, layers.Conv2DTranspose):  # it strides over its output, so its positions are the input's
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
    """The shape, whose sizes have been checked."""
    return tuple(size for size in shape if size is not None)


# ---------------------------------------------------------------------------------------------------- receptive field


def _see(call: Step, sources: Sequence[Step], rows: Sequence[LayerCost]) -> tuple[Pair, Pair]:
    """Receptive field and stride of a layer from those of what it reads. Araujo, Norris, Sim, 2019."""
    if not rows:
        return (1, 1), (1, 1)
    field = tuple(max(row.receptive_field[axis] for row in rows) for axis in (0, 1))
    stride = tuple(min(row.stride[axis] for row in rows) for axis in (0, 1))  # a gate's is that of one single position
    window, step = _window(call, sources[0].shape)
    field = tuple(math.ceil(f + (w - 1) * s) for f, w, s in zip(field, window, stride, strict=True))
    stride = tuple(_ratio(s * n, d) for s, (n, d) in zip(stride, step, strict=True))
    return (field[0], field[1]), (stride[0], stride[1])


def _window(call: Step, source: tuple[int | None, ...]) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
    """How many positions of its input an output depends on, and the stride as (numerator, denominator), by axis."""
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
        height, width, _ = _known(source)
        return (height, width), [(height, 1), (width, 1)]
    return (1, 1), [(1, 1), (1, 1)]


def _ratio(numerator: Any, denominator: int) -> Any:
    """A whole number where it is one."""
    return numerator // denominator if numerator % denominator == 0 else numerator / denominator


# --------------------------------------------------------------------------------------------------------------- kind


def _kind(drawn: Sequence[Box]) -> str:
    """An endpoint in a few words: "3x3 conv, 96", "4 branches", "residual: 1x1, 3x3, 1x1"."""
    if len(drawn) == 1:
        return drawn[0].label
    merges = {layers.Multiply: "squeeze-excite", layers.Add: "residual"}
    words = [text for kind, text in merges.items() if any(isinstance(box.layer, kind) for box in drawn)]
    concats = [len(box.sources) for box in drawn if isinstance(box.layer, layers.Concatenate)]
    if concats:
        return ", ".join([f"{concats[-1]} branches", *words])
    plain = [box.text.split(",")[0].removesuffix(" conv") for box in drawn if not isinstance(box.layer, tuple(merges))]
    chain = ", ".join(plain) if len(plain) <= 4 else f"{len(plain)} layers"
    return ": ".join(filter(None, [", ".join(words), chain]))
