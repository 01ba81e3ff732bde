"""Every network by name: its description, and the look-up. One dictionary; nothing else keeps a list.

A family file in `models/` describes its networks; `builder.register` makes a builder of each description and enters it
here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import keras

from . import weights as published
from .arguments import Argument, checked
from .facts import look_up, matching
from .layers import TF, Numerics, Tensor, average_head
from .preprocessing import Preprocessing, scaled

Backbone: TypeAlias = Callable[..., Tensor]  # (x, **own) -> the last feature map
Head: TypeAlias = Callable[..., Tensor]  # (x, classes, **own) -> logits
SideHead: TypeAlias = Callable[..., Tensor]  # (endpoint, classes, *, name) -> logits


class Builder(Protocol):
    """A function that builds a network; `help()` of it lists its arguments."""

    __name__: str

    def __call__(self, **kwargs: Any) -> keras.Model:
        """Build the network as a flat functional model."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a network was published."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network as its family file describes it.

    `parameters` (trainable) and `macs` (multiply-adds of convolutions and dense layers, one image) are those of the
    default arguments; the tests recompute both. `smallest` is the smallest legal height and width in pixels.
    """

    name: str
    builder: str
    alias: str | None = None  # another common name of the builder
    paper: Paper
    backbone: Backbone
    head: Head = average_head
    aux_heads: Mapping[str, SideHead] = field(default_factory=dict)  # endpoint -> auxiliary head after it
    exits: Mapping[str, SideHead] = field(default_factory=dict)  # endpoint -> early exit after it
    own_arguments: Mapping[str, Argument] = field(default_factory=dict)  # beside those that every builder has
    fixed: Mapping[str, Any] = field(default_factory=dict)  # the arguments that make this variant of the family
    numerics: Mapping[str, Numerics] = field(default_factory=lambda: {"tf": TF})  # the first is the default
    preprocessing: Callable[[tuple[int, int], int], Preprocessing] = scaled
    input_shape: tuple[int, int, int]
    classes: int = 1000
    smallest: int
    parameters: int | None
    macs: int | None
    build: Builder = field(repr=False, compare=False)

    @property
    def own(self) -> dict[str, Any]:
        """The network's own arguments and their defaults."""
        return {name: argument.default for name, argument in self.own_arguments.items()}

    @property
    def weights(self) -> tuple[published.Checkpoint, ...]:
        """The published checkpoints, the preferred one first: tags, accuracies, licences."""
        return published.checkpoints(self.name)

    def source(self, weights: published.Weights, arguments: Mapping[str, Any]) -> published.WeightsSource:
        """Where the weights of `build(weights=weights, **arguments)` come from.

        Raises:
            InputError: there are no such weights, or they were trained with other arguments.
        """
        return published.choose(self.name, weights, arguments, own=self.own, numerics=self.numerics)

    def preprocessing_for(self, input_shape: tuple[int, int, int] | None = None) -> Preprocessing:
        """How images are prepared for training this network from scratch, for an (H, W, C) input."""
        height, width, channels = input_shape or self.input_shape
        return self.preprocessing((height, width), channels)


ARCHITECTURES: dict[str, Architecture] = {}


# ------------------------------------------------------------------------------------------------------------ look-up


def architectures() -> list[Architecture]:
    """All networks, in the order of their families."""
    importlib.import_module(".models", __package__)  # importing a family registers its networks
    return list(ARCHITECTURES.values())


def get(name: str) -> Architecture:
    """The architecture of that name, "inception_v3" or "InceptionV3".

    Raises:
        InputError: no network has that name; the message suggests the nearest names.
    """
    return look_up(name, ((a.name, a.alias, a) for a in architectures()))


@checked
def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """The names that match a shell pattern, sorted; with `pretrained`, only those that have published weights.

    >>> list_models("inception_v?")
    ['inception_v1', 'inception_v2', 'inception_v3', 'inception_v4']

    Raises:
        InputError: the pattern is no string, or `pretrained` is neither True nor False.
    """
    return matching(pattern, (a.name for a in architectures() if a.weights or not pretrained))


@checked
def create_model(name: str, **kwargs: Any) -> keras.Model:
    """Build a network by its name; `kwargs` are its builder's arguments.

    >>> create_model("lenet5").output_shape
    (None, 10)

    Raises:
        InputError: no network has that name, or an argument is not allowed; the message says what is.
    """
    return get(name).build(**kwargs)


@checked
def model_info(name: str) -> Architecture:
    """A network's description by its name: paper, input, parameters, multiply-adds, own arguments, `weights`.

    >>> known = model_info("InceptionV3")
    >>> known.name, known.input_shape, known.parameters, known.paper.year
    ('inception_v3', (299, 299, 3), 23817352, 2015)

    Raises:
        InputError: no network has that name; the message suggests the nearest names.
    """
    return get(name)
