"""Which layer of a network is which layer of another, by how their layers with weights are connected.

A network is reduced to these layers. Each reads the outputs of others, or the image, on one or more ways: what a way
passes (a pool, padding, an activation), and at which channel it arrives, for a concatenation puts outputs beside each
other. Two layers correspond if they are alike, and so are, as far as the network reaches, all layers before and after
them. Layers that nothing tells apart are not matched.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import keras
from keras.layers import (
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ReLU,
    Rescaling,
    ZeroPadding2D,
)

from ..errors import InputError
from ..model_graph import Step, steps
from ..outputs import classifiers, main_network

IMAGE = -1
MOST_WAYS = 100_000  # DenseNet-264 has 3,000 into a layer


class Way(NamedTuple):
    """From a layer, given by its position, or the image, to a tensor."""

    source: int
    passed: tuple[Hashable, ...] = ()
    channel: int = 0


Ways: TypeAlias = frozenset[Way]
NOTHING: Ways = frozenset()
FROM_IMAGE: Ways = frozenset({Way(IMAGE)})


@dataclass
class Wiring:
    """The layers with weights, each after those that it reads; what each is and reads, and what the output reads."""

    labels: list[tuple[Any, ...]] = field(default_factory=list)
    inputs: list[Ways] = field(default_factory=list)
    output: Ways = NOTHING

    def add(
        self,
        ways: Ways,
        kernel: Sequence[int],
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        *,
        size: tuple[int | None, ...] = (None, None),
        same: bool = True,
        depthwise: bool = False,
    ) -> Ways:
        """Add a layer with a kernel of (height, width, in, out), of a depthwise one (height, width, out, 1).

        `size` is that of the map that it reads, (height, width); zeros around the map, if they are those of SAME
        padding, count as that. Returns the way from it.
        """
        if not same and dilation == (1, 1) and (rest := _without_same_zeros(ways, size, kernel, strides)) is not None:
            ways, same = rest, True
        same = same or (tuple(kernel[:2]) == (1, 1))
        self.labels.append((tuple(kernel), strides, dilation, same, depthwise))
        self.inputs.append(ways)
        return frozenset({Way(len(self.labels) - 1)})

    def without_classifier(self) -> Wiring:
        """The same without the last layer, if the output reads no other."""
        last = len(self.labels) - 1
        if self.classifier != last:
            return self
        return Wiring(self.labels[:last], self.inputs[:last])

    @property
    def classifier(self) -> int | None:
        """The layer whose output, with or without a pool, is the network's."""
        sources = {way.source for way in self.output}
        return sources.pop() if len(sources) == 1 else None

    def kinds(self) -> list[tuple[Any, ...]]:
        """The labels without the number of classes, and without that of the image's channels."""
        kinds: list[tuple[Any, ...]] = []
        for i, ((kernel, *settings), ways) in enumerate(zip(self.labels, self.inputs, strict=True)):
            height, width, inputs, outputs = kernel
            first = all(way.source == IMAGE for way in ways)
            size = (height, width, None if first else inputs, None if i == self.classifier else outputs)
            kinds.append((size, *settings))
        return kinds

    def fingerprint(self) -> str:
        """A short name for networks with such layers, whatever the classes, the image and the connections are."""
        return hashlib.sha256("\n".join(sorted(map(repr, self.kinds()))).encode()).hexdigest()[:16]


def through(ways: Ways, passed: Hashable) -> Ways:
    """The ways after something that the layers' outputs pass."""
    return frozenset(way._replace(passed=(*way.passed, passed)) for way in ways)


def _without_same_zeros(
    ways: Ways, size: tuple[int | None, ...], kernel: Sequence[int], strides: tuple[int, int]
) -> Ways | None:
    """The ways before zeros that SAME padding would put there; None if they are others, or there are none."""
    lasts = {way.passed[-1] if way.passed else None for way in ways}
    last = lasts.pop() if len(lasts) == 1 else None
    if not isinstance(last, tuple) or last[0] != "pad":
        return None
    for (before, after), padded, length, stride in zip(last[1:], size, kernel, strides, strict=False):
        if padded is None:
            return None
        total = max(0, length - 1 - (padded - before - after - 1) % stride)
        if (before, after) != (total // 2, total - total // 2):
            return None
    return frozenset(way._replace(passed=way.passed[:-1]) for way in ways)


def joined(parts: Iterable[Ways]) -> Ways:
    """The ways after a sum, or anything else that keeps the channels in their places."""
    return _limited(frozenset().union(*parts))


def beside(parts: Iterable[tuple[Ways, int]]) -> Ways:
    """The ways after a concatenation of tensors with so many channels."""
    found: set[Way] = set()
    before = 0
    for ways, channels in parts:
        found |= {way._replace(channel=way.channel + before) for way in ways}
        before += channels
        _limited(found)
    return frozenset(found)


def is_direct(ways: Ways) -> bool:
    """Whether these are the outputs of one layer, before anything that they pass."""
    return len(ways) == 1 and all(way.source != IMAGE and not way.passed and not way.channel for way in ways)


def _limited(ways: frozenset[Way] | set[Way]) -> Ways:
    if len(ways) > MOST_WAYS:
        raise ValueError(f"more than {MOST_WAYS:,} connections lead to a layer")
    return frozenset(ways)


class Unlike(Exception):
    """Networks differ, or cannot be matched with certainty. The first such layers by position, None after the last."""

    def __init__(self, theirs: int | None, ours: int | None, *, alike: bool = False):
        super().__init__(theirs, ours)
        self.theirs, self.ours, self.alike = theirs, ours, alike  # alike: other layers are the same as these


def matched(theirs: Wiring, ours: Wiring) -> list[int]:
    """Our layer for each of theirs, by positions.

    Raises:
        Unlike: the networks differ, or have layers that nothing tells apart.
    """
    both, known = (theirs, ours), dict[Hashable, int]()
    colours = [[_colour(kind, known) for kind in wiring.kinds()] for wiring in both]
    colours = [_seen_from_image(wiring, own, known) for wiring, own in zip(both, colours, strict=True)]
    _compare(*colours)
    count = 0
    while count < (count := len(set(colours[0]))):
        colours = [_seen_from_output(wiring, own, known) for wiring, own in zip(both, colours, strict=True)]
        _compare(*colours)
        colours = [_seen_from_image(wiring, own, known) for wiring, own in zip(both, colours, strict=True)]
        _compare(*colours)
    if count < len(theirs.labels):
        several = next(colour for colour, number in Counter(colours[0]).items() if number > 1)
        raise Unlike(colours[0].index(several), colours[1].index(several), alike=True)
    return [colours[1].index(colour) for colour in colours[0]]


def _colour(described: Hashable, known: dict[Hashable, int]) -> int:
    """A number for what is described, the same for the same."""
    return known.setdefault(described, len(known))


def _seen_from_image(wiring: Wiring, colours: Sequence[int], known: dict[Hashable, int]) -> list[int]:
    """Colours that also tell apart what the layers read."""
    found: list[int] = []
    for colour, ways in zip(colours, wiring.inputs, strict=True):
        read = sorted((IMAGE if w.source == IMAGE else found[w.source], repr(w.passed), w.channel) for w in ways)
        found.append(_colour((colour, *read), known))
    return found


def _seen_from_output(wiring: Wiring, colours: Sequence[int], known: dict[Hashable, int]) -> list[int]:
    """Colours that also tell apart what reads the layers."""
    readers: list[list[tuple[int, str, int]]] = [[] for _ in colours]
    for way in wiring.output:
        readers[way.source].append((IMAGE, repr(way.passed), way.channel))
    found = [0] * len(colours)
    for i in reversed(range(len(colours))):
        found[i] = _colour((colours[i], *sorted(readers[i])), known)
        for way in wiring.inputs[i]:
            if way.source != IMAGE:
                readers[way.source].append((found[i], repr(way.passed), way.channel))
    return found


def _compare(theirs: Sequence[int], ours: Sequence[int]) -> None:
    """Raise an Unlike at the first layers that have no counterpart."""
    if Counter(theirs) != Counter(ours):
        raise Unlike(_first_left(theirs, ours), _first_left(ours, theirs))


def _first_left(these: Sequence[int], others: Sequence[int]) -> int | None:
    left = Counter(others)
    for i, colour in enumerate(these):
        left[colour] -= 1
        if left[colour] < 0:
            return i
    return None


# ------------------------------------------------------------------------------------------------------ a Keras network


class Network:
    """A functional model's layers with kernels by their positions in a `Wiring`, and the batch norm after each.

    `factors` are the numbers that the outputs of layers are multiplied with, where nothing else reads them.

    Raises:
        InputError: it has other layers with weights.
    """

    def __init__(self, model: keras.Model):
        self.model, self.wiring = model, Wiring()
        self.layers: list[keras.layers.Layer] = []
        self.norms: dict[int, BatchNormalization] = {}
        self.factors: list[float] = []
        calls = steps(main_network(model))
        readers = Counter(source for call in calls for source in call.sources)
        ways: list[Ways] = []
        for call in calls:
            sources = [ways[i] for i in call.sources]
            shared = any(readers[i] > 1 for i in call.sources)
            ways.append(self._after(call, sources, [calls[i].shape for i in call.sources], shared))
        self.wiring.output = ways[-1]

    @property
    def has_classifier(self) -> bool:
        """Whether it is one of this package's networks with its top."""
        return bool(classifiers(self.model))

    @property
    def classes(self) -> int | None:
        """The number of classes, if one layer makes the output."""
        last = self.wiring.classifier
        return None if last is None else self.wiring.labels[last][0][-1]

    def _after(self, call: Step, sources: list[Ways], shapes: list[tuple[int | None, ...]], shared: bool) -> Ways:
        """The ways to the output of a layer."""
        layer = call.layer
        if not sources:
            return FROM_IMAGE
        if isinstance(layer, Conv2D | DepthwiseConv2D | Dense):
            return _activated(self._add(layer, sources[0]), layer.activation)
        if isinstance(layer, BatchNormalization) and is_direct(sources[0]) and not shared:
            [way] = sources[0]
            self.norms[way.source] = layer
            return sources[0]
        if any(weight.shape for weight in layer.weights):  # a scalar is a counter of drop path
            raise InputError(
                f"from_tflite fills convolutions, dense layers and the batch norm after them, not {layer.name}"
            )
        if isinstance(layer, MaxPooling2D | AveragePooling2D):
            kind = "max" if isinstance(layer, MaxPooling2D) else "avg"
            size, strides, same = tuple(layer.pool_size), tuple(layer.strides), layer.padding == "same"
            whole = size == shapes[0][:2] and call.shape[:2] == (1, 1) and kind == "avg"
            return through(sources[0], "mean" if whole else (kind, size, strides, same))
        if isinstance(layer, GlobalAveragePooling2D):
            return through(sources[0], "mean")
        if isinstance(layer, Concatenate):
            return beside((ways, shape[-1] or 0) for ways, shape in zip(sources, shapes, strict=True))
        if isinstance(layer, ZeroPadding2D):
            return through(sources[0], ("pad", *map(tuple, layer.padding)))
        if isinstance(layer, Rescaling) and is_direct(sources[0]):
            if shared or layer.offset:
                return through(sources[0], "arithmetic")
            [way] = sources[0]
            self.factors[way.source] *= layer.scale
        if isinstance(layer, ReLU):
            plain = not (layer.negative_slope or layer.threshold)
            return through(
                sources[0], {None: "relu", 6: "relu6"}.get(layer.max_value, layer.name) if plain else layer.name
            )
        return _activated(joined(sources), getattr(layer, "activation", None))

    def _add(self, layer: keras.layers.Layer, ways: Ways) -> Ways:
        self.layers.append(layer)
        self.factors.append(1.0)
        shape = tuple(layer.kernel.shape)
        if isinstance(layer, Dense):
            return self.wiring.add(ways, (1, 1, *shape))
        depthwise = isinstance(layer, DepthwiseConv2D)
        kernel = (*shape[:2], shape[2] * shape[3], 1) if depthwise else shape
        strides, dilation, size = tuple(layer.strides), tuple(layer.dilation_rate), layer.input.shape[1:3]
        same = layer.padding == "same"
        return self.wiring.add(ways, kernel, strides, dilation, size=size, same=same, depthwise=depthwise)


def _activated(ways: Ways, activation: Any) -> Ways:
    """The ways after an activation function; only ReLUs count."""
    name = getattr(activation, "__name__", "")
    return through(ways, name) if name in ("relu", "relu6") else ways
