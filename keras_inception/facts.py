"""What is known of every network without building it: facts.json, so that nobody waits for TensorFlow to read it.

`python -m docs.generate` writes the file from the registry, and a test compares every record with its network. Here
too is what the registry shares with the file: how a name is looked up, and the table of a network.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from rich import box
from rich.table import Table

from .errors import InputError

T = TypeVar("T")
Fact = Mapping[str, Any]  # a network's record, as `analysis.described` makes it

FILE = Path(__file__).with_suffix(".json")


@cache
def facts() -> dict[str, Fact]:
    """The record of every network, by name."""
    return {record["name"]: record for record in json.loads(FILE.read_text(encoding="utf-8"))}


def fact(name: str) -> Fact:
    """The record of a network, by any spelling of its name.

    Raises:
        InputError: no network has that name; the message suggests the nearest names.
    """
    return look_up(name, ((r["name"], r["alias"], r) for r in facts().values()))


def look_up(name: str, networks: Iterable[tuple[str, str | None, T]]) -> T:
    """The network of that name, "inception_v3" or "InceptionV3", among (name, alias, network).

    Raises:
        InputError: no network has that name; the message suggests the nearest names.
    """
    known = {_key(label): (own, network) for own, alias, network in networks for label in (own, alias) if label}
    if (found := known.get(_key(name))) is None:
        near = difflib.get_close_matches(_key(name), known, n=3, cutoff=0.5)
        nearest = " or ".join(known[key][0] for key in near)
        hint = f"did you mean {nearest}?" if near else "`keras-inception models` lists them"
        raise InputError(f"unknown model {name!r}: {hint}")
    return found[1]


def _key(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(names, pattern))


def info_table(record: Fact) -> Table:
    """A row for each endpoint of a network with its default arguments, and the totals."""
    paper = record["paper"]
    table = Table(
        title=f'{record["builder"]}: {paper["authors"]}, {paper["year"]}, "{paper["title"]}"',
        caption=(
            f"{record['trainable']:,} parameters are trainable. MACs: multiply-adds of convolutions and dense layers, "
            f"one image. Field: receptive field in pixels. {paper['url']}"
        ),
        box=box.SIMPLE_HEAD,
        show_footer=True,
        padding=(0, 1, 0, 0),
    )
    table.add_column("name", "total", no_wrap=True)
    table.add_column("kind")
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("parameters", f"{record['parameters']:,}", justify="right", no_wrap=True)
    table.add_column("MACs", f"{record['macs']:,}", justify="right", no_wrap=True)
    table.add_column("field", justify="right", no_wrap=True)
    for row in record["rows"]:
        table.add_row(
            row["name"],
            row["kind"],
            by(row["output_shape"]),
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['macs']:,}" if row["macs"] else "",
            by(tuple(dict.fromkeys(row["receptive_field"]))),  # once if it is square
        )
    return table


def by(sizes: Sequence[int]) -> str:
    """Sizes as text, "224×224×3"."""
    return "×".join(map(str, sizes))
