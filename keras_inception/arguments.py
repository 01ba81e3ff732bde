"""Arguments as data, and their checks: those of the builders with range, default and meaning of each, stated once.

A network's function annotates its own arguments: `alpha: Annotated[float, Argument("Width multiplier.", ...)] = 1.0`.
The builder's signature, its checks, its docstring, the editor's stub and the pages of docs/ are made from that. An
argument that several families share is an alias here.

Other public functions say `@checked`, and dataclasses call `check_fields`: the annotations are what is allowed.
"""

from __future__ import annotations

import inspect
import math
import numbers
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial, wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias, TypeVar, Union

import keras
import numpy as np

from .errors import InputError

INDENT = " " * 4
CHOICES = Union, UnionType, Literal
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Argument:
    """What an argument means and which values of its type are allowed.

    The bounds apply to every number in the value. `name`, `type` and `default` are those of the signature that the
    argument annotates. `states` replaces the derived description of what is allowed.
    """

    meaning: str = ""
    at_least: float | None = field(default=None, kw_only=True)
    above: float | None = field(default=None, kw_only=True)
    at_most: float | None = field(default=None, kw_only=True)
    below: float | None = field(default=None, kw_only=True)
    states: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)
    type: Any = field(default=None, kw_only=True)
    default: Any = field(default=None, kw_only=True)

    @property
    def allowed(self) -> str:
        """The allowed values in words: "a number in [0, 1)", "'avg', 'max' or None"."""
        return self.states or self._describe(self.type)

    @property
    def doc(self) -> str:
        """The argument's entry in a docstring, in lines of at most 116 characters."""
        states = self.allowed[0].upper() + self.allowed[1:]
        text = f"{self.name}: {self.meaning} {states}; {self.default!r} by default."
        return textwrap.fill(text, 116, initial_indent=INDENT, subsequent_indent=2 * INDENT, break_on_hyphens=False)

    def check(self, value: Any) -> Any:
        """Return the value as plain Python: NumPy scalars become numbers, JSON's lists become tuples.

        Raises:
            InputError: the value is not allowed; the message has the argument, the value and what is allowed.
        """
        try:
            return self._convert(value, self.type)
        except _NotAllowed:
            raise InputError(f"{self.name} must be {self.allowed}; got {shown(value)}") from None

    def _convert(self, value: Any, kind: Any) -> Any:
        if type(value) is kind and kind not in (int, float):
            return value  # the usual case, first
        origin = typing.get_origin(kind)
        if origin in CHOICES:
            for option in _options(kind):
                try:
                    return self._convert(value, option)
                except _NotAllowed:
                    continue
        elif origin is tuple:
            kinds = typing.get_args(kind)
            if isinstance(value, (list, tuple)):
                if kinds[-1] is ...:
                    return tuple(self._convert(each, kinds[0]) for each in value)
                if len(value) == len(kinds):
                    return tuple(map(self._convert, value, kinds))
        elif origin:
            # What can be read once only is taken as it is; a text is none of several texts.
            if isinstance(value, origin) and not isinstance(value, (str, bytes)):
                if isinstance(value, (list, tuple)):
                    for each in value:
                        self._convert(each, typing.get_args(kind)[0])
                return value
        elif kind is Any or kind is object:
            return value
        elif kind in (int, float):
            abstract = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, abstract) and not isinstance(value, bool) and self._in_range(value):
                return kind(value)
        elif kind is bool:
            if isinstance(value, (bool, np.bool_)):
                return bool(value)
        elif isinstance(kind, type):
            if isinstance(value, kind):
                return value
        elif not isinstance(value, bool) and isinstance(value, (str, numbers.Integral)) and value == kind:
            return kind  # one value of a Literal
        raise _NotAllowed

    def _in_range(self, value: Any) -> bool:
        return bool(
            abs(value) < math.inf
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def _describe(self, kind: Any) -> str:
        if options := _options(kind):
            *first, last = map(self._describe, options)
            return f"{', '.join(first)} or {last}" if first else last
        if container := typing.get_origin(kind):
            kinds = [each for each in typing.get_args(kind) if each is not ...]
            if container is tuple and len(kinds) > 1:
                return f"{len(kinds)} values, each {self._describe(kinds[0])}"
            if issubclass(container, Mapping):
                return "a dict"
            if container is Callable:
                return "a function"
            name = "an iterable" if container is Iterable else "a list"
            return name if kinds[0] is Any else f"{name} (each {self._describe(kinds[0])})"
        unbounded = self.at_least is self.above is None
        if kind is int:
            bounds = f" from {self.at_least} to {self.at_most}" if self.at_most else f" of at least {self.at_least}"
            return "a whole number" + ("" if unbounded else bounds)
        if kind is float:
            if self.at_most is self.below is None:
                least = f" of at least {self.at_least}" if self.above is None else f" above {self.above}"
                return "a number" + ("" if unbounded else least)
            left = f"({self.above}" if self.at_least is None else f"[{self.at_least}"
            right = f"{self.below})" if self.at_most is None else f"{self.at_most}]"
            return f"a number in {left}, {right}"
        names = {NoneType: "None", bool: "True or False", str: "a string", Path: "a path"}
        names |= {keras.Model: "a Keras model", np.ndarray: "an array"}
        return names.get(kind) or (kind.__name__ if isinstance(kind, type) else repr(kind))


class _NotAllowed(Exception):
    """The value is not of this type, or out of range."""


def _options(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union or a Literal, flat; empty for any other type."""
    if typing.get_origin(kind) not in CHOICES:
        return ()
    return tuple(inner for option in typing.get_args(kind) for inner in (_options(option) or (option,)))


def shown(value: Any) -> str:
    """A value for a message: one line, of at most 80 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def keyword_only(function: Callable[..., Any]) -> Mapping[str, Any]:
    """A function's keyword-only parameters: name -> default."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@cache
def annotated(function: Callable[..., Any]) -> Mapping[str, Argument]:
    """The keyword-only parameters of a network's function that are annotated with an `Argument`."""
    hints = typing.get_type_hints(function.func if isinstance(function, partial) else function, include_extras=True)
    found = {}
    for name, default in keyword_only(function).items():
        kind, *extras = typing.get_args(hints.get(name)) or [None]
        if extras and isinstance(extras[-1], Argument):
            found[name] = replace(extras[-1], name=name, type=kind, default=default)
    return found


# ------------------------------------------------------------------------------------------- functions and dataclasses

Count: TypeAlias = Annotated[int, Argument(at_least=1)]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that first checks what it is given by its annotations; `Annotated` with an `Argument` has bounds.

    Raises:
        InputError: a value is not of the annotated type, or out of range; the message says what is allowed.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python says best what is missing or unknown
        for name, argument in _by_annotation(function).items():
            if name in given:
                argument.check(given[name])
        return function(*args, **kwargs)

    return checking


def check_fields(record: Any) -> None:
    """Check a dataclass's values by the annotations of its fields, as `checked` does.

    Raises:
        InputError: a value is not of the annotated type, or out of range; the message says what is allowed.
    """
    for name, argument in _by_annotation(record.__class__).items():
        argument.check(getattr(record, name))


@cache
def _by_annotation(thing: Any) -> Mapping[str, Argument]:
    """The annotations of a function's parameters or a class's fields, of which names are looked up only when needed."""
    found = {}
    for name, kind in typing.get_type_hints(thing, include_extras=True).items():
        plain, *extras = typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind,)
        bounds = next((extra for extra in extras if isinstance(extra, Argument)), Argument())
        found[name] = replace(bounds, name=name, type=plain)
    found.pop("return", None)
    return found


# ------------------------------------------------------------------------------------------- what several families have


def se_argument(place: str) -> Argument:
    """The reduction ratio of squeeze-and-excitation modules at that place."""
    return Argument(
        f"Reduction ratio of the squeeze-and-excitation modules (Hu et al., 2018) {place}; None adds none. "
        "The paper's ratio is 16.",
        at_least=1,
    )


def dropout_argument(place: str) -> Argument:
    """The rate of the dropout layers at that place."""
    return Argument(f"Dropout rate in training {place}.", at_least=0, below=1)


DropPer: TypeAlias = Literal["batch", "sample"]

StochasticDepth: TypeAlias = Annotated[
    float,
    Argument(
        "Probability that a training step skips the last block's residual path (Huang et al., 2016). It grows linearly "
        "from the first block to the last. Surviving paths are scaled up in training, where the paper scales all paths "
        "down at test time.",
        at_least=0,
        below=1,
    ),
]
StochasticDepthPer: TypeAlias = Annotated[
    DropPer,
    Argument("Whether one random decision holds for a whole batch, as in the paper, or for one sample."),
]
