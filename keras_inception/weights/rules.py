"""The small language in which a table maps our layer names to the module names in a published file.

A table is {our base name: their module}. The base name of a layer is its name without the kind: the layers `conv1_conv`
and `conv1_bn` have the base name `conv1` and the kinds "conv" and "bn". Both sides of a row are patterns:

    "conv{s}_block{b}_shortcut": "layer{s-1}.{b-1}.downsample.[0|1]"

On our side `{s}` matches a run of digits and lower-case letters; `{s:2|3}` restricts it to a regular expression. On
their side `{s}` is the matched text, and `{s-1}` that number minus one. `[0|1]` is the first name for a layer with a
kernel and the second for batch norm. `{#}` counts the layers of a kind that the row has matched, from 0, in our
network's order of computation. The first row that matches a layer is used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import TypeAlias

NameTable: TypeAlias = dict[str, str]

KINDS = ("conv", "bn")
PLACE = re.compile(r"\{(\w+)(?::([^}]*))?\}")
TERM = re.compile(r"\{(#|\w+?)([+-]\d+)?\}")
CHOICE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")


def translate(layers: Iterable[tuple[str, str]], table: NameTable) -> dict[tuple[str, str], str | None]:
    """Map each layer, given as (base name, kind), to the name of their module; None if no row matches it."""
    counts: Counter[tuple[str, str]] = Counter()
    modules: dict[tuple[str, str], str | None] = {}
    for base, kind in layers:
        modules[base, kind] = None
        for ours, theirs in table.items():
            if found := _pattern(ours).fullmatch(base):
                values = found.groupdict() | {"#": str(counts[ours, kind])}
                counts[ours, kind] += 1
                modules[base, kind] = TERM.sub(partial(_value, values=values), _of_kind(theirs, kind))
                break
    return modules


def matches(ours: str, base: str) -> bool:
    """Whether our side of a row matches a base name."""
    return bool(_pattern(ours).fullmatch(base))


def modules_of(theirs: str) -> re.Pattern[str]:
    """A regular expression for every module name that their side of a row can give."""
    sides = (_of_kind(theirs, kind) for kind in KINDS)
    return re.compile("|".join(r"[^./]+".join(map(re.escape, TERM.split(side)[::3])) for side in sides))


def _value(term: re.Match[str], values: Mapping[str, str]) -> str:
    value, offset = values[term[1]], term[2]
    return str(int(value) + int(offset)) if offset else value


def _of_kind(theirs: str, kind: str) -> str:
    return CHOICE.sub(lambda choice: choice[1 + KINDS.index(kind)], theirs)


@cache
def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(PLACE.sub(lambda place: f"(?P<{place[1]}>{place[2] or '[0-9a-z]+'})", ours))
