"""The small language in which a table says how a file names our layers.

A table is {our word: their module}. A word's layers share its name but for their kind: `conv1` is the layers
`conv1_conv` and `conv1_bn`. Both sides are patterns:

    "conv{s}_block{b}_shortcut": "layer{s-1}.{b-1}.downsample.[0|1]"

On our side `{s}` stands for a run of digits and small letters, which `{s:2|3}` restricts. On theirs it is what it was,
or a number more or less than that; `[0|1]` is one name for what has a kernel and another for batch norm; `{#}` counts,
from 0, what the row and that kind have matched, in the order in which our network computes. The first row that matches
is the one that counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import TypeAlias

Table: TypeAlias = dict[str, str]

KINDS = ("conv", "bn")
PLACE = re.compile(r"\{(\w+)(?::([^}]*))?\}")
TERM = re.compile(r"\{(#|\w+?)([+-]\d+)?\}")
CHOICE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")


def translate(words: Iterable[tuple[str, str]], table: Table) -> dict[tuple[str, str], str | None]:
    """(Word, kind) -> their module's name, None where the table has no row for it."""
    counts: Counter[tuple[str, str]] = Counter()
    names: dict[tuple[str, str], str | None] = {}
    for word, kind in words:
        names[word, kind] = None
        for ours, theirs in table.items():
            if found := _pattern(ours).fullmatch(word):
                values = found.groupdict() | {"#": str(counts[ours, kind])}
                counts[ours, kind] += 1
                names[word, kind] = TERM.sub(partial(_value, values=values), _of_kind(theirs, kind))
                break
    return names


def matches(ours: str, word: str) -> bool:
    """Whether a row is about that word of ours."""
    return bool(_pattern(ours).fullmatch(word))


def anything(theirs: str) -> re.Pattern[str]:
    """What matches every module name that this side of a row can give."""
    sides = (_of_kind(theirs, kind) for kind in KINDS)
    return re.compile("|".join(r"[^./]+".join(map(re.escape, TERM.split(side)[::3])) for side in sides))


def _value(term: re.Match[str], values: Mapping[str, str]) -> str:
    value, more = values[term[1]], term[2]
    return str(int(value) + int(more)) if more else value


def _of_kind(theirs: str, kind: str) -> str:
    return CHOICE.sub(lambda choice: choice[1 + KINDS.index(kind)], theirs)


@cache
def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(PLACE.sub(lambda place: f"(?P<{place[1]}>{place[2] or '[0-9a-z]+'})", ours))
