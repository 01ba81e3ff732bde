"""A network as the boxes of a paper's figure: padding, batch norm and nonlinearity belong to the layer before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from ..layers import DropPath, LocalResponseNormalization
from ..model_graph import Step, endpoints, steps

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
MERGES = {layers.Concatenate: "filter concat", layers.Add: "+", layers.Multiply: "×"}
NORMS = (layers.BatchNormalization, LocalResponseNormalization)
UNDRAWN = (layers.ZeroPadding2D, layers.Reshape, layers.Flatten)  # they compute nothing
IN_TRAINING = (layers.Dropout, DropPath)  # drawn only where they are a row of their own


@dataclass
class Box:
    """What a paper's figure draws as one box.

    `text` has "{}" where the `number` of filters goes, so that boxes of one kind and different widths compare equal.
    """

    text: str
    number: int | None
    layer: Any  # the one that gives the box its name
    sources: tuple[int, ...]  # positions of boxes
    endpoint: str
    shape: tuple[int | None, ...]
    activation: str | None = None
    normed: bool = field(default=False, compare=False)

    @property
    def template(self) -> str:
        """The label with a hole for the number of filters."""
        if isinstance(self.layer, CONVOLUTIONS):  # ReLU is the default of the figures, so it is not written
            return self.text + {"relu": "", None: ", linear"}.get(self.activation, f", {self.activation}")
        return self.text + (f", {self.activation}" if self.activation else "")

    @property
    def label(self) -> str:
        """ "3x3 conv, 96"."""
        return self.template.format(self.number)


def boxes(model: keras.Model) -> list[Box]:
    """The model in boxes, each after its sources."""
    calls = steps(model)
    rows = endpoints([call.name for call in calls])
    readers = Counter(source for call in calls for source in set(call.sources))
    layers_in = Counter(rows)
    drawn: list[Box] = []
    box_of: list[int] = []  # for each step
    for call, row in zip(calls, rows, strict=True):
        sources = tuple(dict.fromkeys(box_of[source] for source in call.sources))
        before = drawn[sources[0]] if len(sources) == 1 else None
        if before and _is_undrawn(call, row):
            if row == before.endpoint:
                before.shape = call.shape
            box_of.append(sources[0])
        elif (
            before
            and readers[call.sources[0]] == 1
            and (row == before.endpoint or layers_in[before.endpoint] == 1)  # what ends a row stays in it
            and _joins(call.layer, before)
        ):
            before.activation, before.normed = _activation(call.layer), True
            before.endpoint, before.shape = row, call.shape
            box_of.append(sources[0])
        else:
            text, number = describe(call.layer)
            drawn.append(Box(text, number, call.layer, sources, row, call.shape, _inner_activation(call.layer)))
            box_of.append(len(drawn) - 1)
    return drawn


def _is_undrawn(call: Step, row: str) -> bool:
    is_own_row = row == call.name
    identity = isinstance(call.layer, layers.Activation) and _activation(call.layer) == "linear"
    return isinstance(call.layer, UNDRAWN) or identity or (isinstance(call.layer, IN_TRAINING) and not is_own_row)


def _joins(layer: Any, before: Box) -> bool:
    """Whether a layer is drawn in the box before it."""
    activation = _activation(layer)
    if before.activation or activation == "softmax":
        return False
    if isinstance(layer, layers.BatchNormalization):
        return isinstance(before.layer, (*CONVOLUTIONS, layers.Dense)) and not before.normed
    drawable = (*CONVOLUTIONS, layers.Dense, layers.BatchNormalization, *MERGES)
    return activation is not None and isinstance(before.layer, drawable)


def _inner_activation(layer: Any) -> str | None:
    """The name of the activation inside a convolution or dense layer; None if it is linear."""
    function = getattr(layer, "activation", None) if isinstance(layer, (*CONVOLUTIONS, layers.Dense)) else None
    name = getattr(function, "__name__", "linear")
    return None if name == "linear" else name


def _activation(layer: Any) -> str | None:
    """The name of the activation that a layer is; None for every other layer."""
    if isinstance(layer, layers.ReLU):
        return "relu" if layer.max_value is None else f"relu{layer.max_value:g}"
    if isinstance(layer, layers.Activation):
        return layer.activation.__name__
    return "softmax" if isinstance(layer, layers.Softmax) else None


def describe(layer: Any) -> tuple[str, int | None]:
    """How a figure labels a layer, with "{}" for its number of filters, and that number."""
    if isinstance(layer, layers.InputLayer):
        return "input", None
    if activation := _activation(layer):
        return activation, None
    if isinstance(layer, layers.DepthwiseConv2D):
        return f"{_by(layer.kernel_size)} depthwise conv{_over(layer.strides)}", None
    if isinstance(layer, CONVOLUTIONS):
        names = {layers.SeparableConv2D: "separable conv", layers.Conv2DTranspose: "transposed conv"}
        name = next((name for kind, name in names.items() if isinstance(layer, kind)), "conv")
        groups = f", {layer.groups} groups" if getattr(layer, "groups", 1) > 1 else ""
        return f"{_by(layer.kernel_size)} {name}, {{}}{_over(layer.strides)}{groups}", layer.filters
    if isinstance(layer, layers.Dense):
        return "fully connected, {}", layer.units
    if isinstance(layer, POOLS):
        kind = "max" if isinstance(layer, (layers.MaxPooling2D, layers.GlobalMaxPooling2D)) else "average"
        window = getattr(layer, "pool_size", None)
        return (f"{_by(window)} {kind} pool{_over(layer.strides)}" if window else f"global {kind} pool"), None
    if isinstance(layer, layers.Rescaling):
        return f"× {layer.scale:g}", None
    if isinstance(layer, layers.BatchNormalization):
        return "batch norm", None
    if isinstance(layer, layers.Dropout):
        return f"dropout {layer.rate:.0%}", None
    if isinstance(layer, layers.Permute) and tuple(layer.dims) == (1, 3, 2):
        return "channel shuffle", None
    if isinstance(layer, LocalResponseNormalization):
        return "local response norm", None
    merge = next((text for kind, text in MERGES.items() if isinstance(layer, kind)), None)
    return merge or _spaced(type(layer).__name__), None


def _by(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _over(strides: tuple[int, ...]) -> str:
    """The way ResNet's figure writes a stride of 2."""
    return "" if set(strides) == {1} else f", /{strides[0] if len(set(strides)) == 1 else _by(strides)}"


def _spaced(name: str) -> str:
    """ "UpSampling2D" as "up sampling"."""
    name = name.removesuffix("2D")
    return "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
