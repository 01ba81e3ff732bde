"""Places the boxes of a drawing: inputs at the bottom, branches side by side in their order.

Made for networks, whose graphs are nearly series-parallel. A drawing is a tree seen from its output: the sources of a
box are in a row below it. Edges outside of the tree, such as shortcuts, run on a track beside the boxes that they skip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Edge: TypeAlias = tuple[int, int]  # source, reader

# In inches.
HEIGHT = 0.34  # of a box
RISE = 0.6  # from one row of boxes to the next
SPACE = 0.14  # between two columns
LETTER = 0.078  # the width of an average letter at 9 points
TRACK = 0.24  # for a line that passes boxes


@dataclass(frozen=True)
class Item:
    """A box to place. `sources` are positions of earlier items; a `wide` box spans all boxes that it joins."""

    label: str
    sources: tuple[int, ...]
    width: float
    wide: bool = False
    colour: str = "white"
    note: str = ""


@dataclass(frozen=True)
class Spot:
    """A placed box, given by its centre."""

    item: Item
    x: float
    y: float
    width: float
    wide: bool

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width / 2

    def dock(self, x: float) -> float:
        """Return where a line from `x` meets the box: vertically above if it is wide enough, else at its centre."""
        return min(max(x, self.left + 0.1), self.right - 0.1) if self.wide else self.x


@dataclass(frozen=True)
class Drawing:
    """Placed boxes, and the lines from source to reader."""

    spots: list[Spot]
    lines: list[list[Point]]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        corners = [x for line in self.lines for x, _ in line]
        return (
            min([spot.left for spot in self.spots] + corners),
            min(spot.y for spot in self.spots) - HEIGHT / 2,
            max([spot.right for spot in self.spots] + corners),
            max(spot.y for spot in self.spots) + HEIGHT / 2,
        )


def place(items: Sequence[Item]) -> Drawing:
    """Place items, each of which comes after its sources."""
    rank: list[int] = []
    for item in items:
        rank.append(1 + max((rank[source] for source in item.sources), default=-1))
    edges = [(source, reader) for reader, item in enumerate(items) for source in item.sources]
    reads = [sum(source == i for source, _ in edges) for i in range(len(items))]
    shared = [i for i, item in enumerate(items) if not item.sources and reads[i] > 1]  # inputs of several branches

    parent: dict[int, int] = {}
    skips: list[Edge] = []
    for source, reader in edges:
        if source not in parent and source not in shared:
            parent[source] = reader
        elif rank[reader] - rank[source] > 1:
            skips.append((source, reader))
    straight = [edge for edge in edges if edge not in skips]

    xs = _columns(items, parent, shared, straight, skips)
    tracks = _tracks(items, parent, rank, xs, skips)
    if _overlap(items, rank, xs):  # a mesh, not a tree
        xs, tracks = _rows(items, rank), {}
    spots = []
    for i, item in enumerate(items):
        above = [r for s, r in straight if s == i] if shared == [i] and rank.count(0) == 1 else []
        below = [s for s, r in straight if r == i] if item.wide else []
        reach = [x + side * items[j].width / 2 for j in above + below for x in [xs[j]] for side in (-1, 1)]
        reach += [x - SPACE for (s, r), x in tracks.items() if (above and s == i) or (below and r == i)]
        left, right = min([xs[i] - item.width / 2, *reach]), max([xs[i] + item.width / 2, *reach])
        spots.append(Spot(item, (left + right) / 2, rank[i] * RISE, right - left, bool(above or below)))
    return Drawing(spots, [_line(spots[s], spots[r], tracks.get((s, r))) for s, r in edges])


def _columns(
    items: Sequence[Item], parent: Mapping[int, int], shared: Sequence[int], straight: Sequence[Edge], skips: list[Edge]
) -> list[float]:
    """Return the x of each item's centre: above the middle of its sources, or below that of several readers."""
    children: list[list[int]] = [[] for _ in items]
    for child, reader in parent.items():
        children[reader].append(child)
    offset = [0.0] * len(items)
    reach: list[tuple[float, float]] = []  # of an item and all items below it, to the left and to the right
    for i, item in enumerate(items):
        start, end = _row(children[i], offset, reach)
        tracks = TRACK * sum(reader == i for _, reader in skips)
        reach.append((max(item.width / 2, start) + tracks, max(item.width / 2, end)))
    _row([i for i in range(len(items)) if i not in parent and i not in shared], offset, reach)

    xs = offset
    for i in reversed(range(len(items))):
        readers = [reader for source, reader in straight if source == i]
        if i in shared:
            readers = readers or [reader for source, reader in skips if source == i]
            xs[i] = (min(xs[r] for r in readers) + max(xs[r] for r in readers)) / 2
        elif len(readers) > 1:
            xs[i] = sum(xs[r] for r in readers) / len(readers)
        elif i in parent:
            xs[i] += xs[parent[i]]
    at = -math.inf
    for i in sorted(shared, key=lambda i: xs[i]):
        xs[i] = max(xs[i], at + items[i].width / 2)
        at = xs[i] + items[i].width / 2 + SPACE
    return xs


def _row(row: Sequence[int], offset: list[float], reach: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Set the offsets of items in a row around its middle; return how far the row reaches to each side."""
    at = 0.0
    for i in row:
        offset[i] = at + reach[i][0]
        at = offset[i] + reach[i][1] + SPACE
    middle = (offset[row[0]] + offset[row[-1]]) / 2 if row else 0.0
    for i in row:
        offset[i] -= middle
    return middle, at - SPACE - middle


def _overlap(items: Sequence[Item], rank: Sequence[int], xs: Sequence[float]) -> bool:
    in_order = sorted(range(len(items)), key=lambda i: (rank[i], xs[i]))
    return any(
        rank[i] == rank[j] and xs[j] - xs[i] < (items[i].width + items[j].width) / 2
        for i, j in itertools.pairwise(in_order)
    )


def _rows(items: Sequence[Item], rank: Sequence[int]) -> list[float]:
    """Place each item above the middle of its sources, as closely as its neighbours in the row allow."""
    xs = [0.0] * len(items)
    for row in range(max(rank) + 1):
        members = [i for i in range(len(items)) if rank[i] == row]
        wish = {i: sum(xs[s] for s in items[i].sources) / max(1, len(items[i].sources)) for i in members}
        at = -math.inf
        for i in sorted(members, key=lambda i: wish[i]):
            xs[i] = max(wish[i], at + items[i].width / 2)
            at = xs[i] + items[i].width / 2 + SPACE
        shift = sum(xs[i] - wish[i] for i in members) / len(members)
        for i in members:
            xs[i] -= shift
    return xs


def _tracks(
    items: Sequence[Item], parent: Mapping[int, int], rank: Sequence[int], xs: Sequence[float], skips: Sequence[Edge]
) -> dict[Edge, float]:
    """Return the x of each line that skips rows: left of all boxes below its reader in these rows."""
    tracks: dict[Edge, float] = {}

    def under(i: int, reader: int) -> bool:
        while i in parent and i != reader:
            i = parent[i]
        return i == reader

    for source, reader in sorted(skips, key=lambda edge: rank[edge[1]] - rank[edge[0]]):
        rows = range(rank[source] + 1, rank[reader])
        beside = [xs[i] - items[i].width / 2 for i in range(len(items)) if rank[i] in rows and under(i, reader)]
        beside += [x for (s, r), x in tracks.items() if rank[s] < rows.stop and rank[r] > rows.start]
        tracks[source, reader] = min([*beside, xs[reader] - items[reader].width / 2]) - TRACK
    return tracks


def _line(source: Spot, reader: Spot, track: float | None) -> list[Point]:
    """Route a line from source to reader. A track meets the side of a box that does not reach over it."""
    top, bottom = source.y + HEIGHT / 2, reader.y - HEIGHT / 2
    if track is None:
        x = source.dock(reader.x)
        return [(x, top), (x, bottom - (RISE - HEIGHT)), (reader.dock(source.x), bottom)]
    start = [(track, top)] if source.wide and source.left < track else [(source.left, source.y), (track, source.y)]
    end = [(track, bottom)] if reader.wide and reader.left < track else [(track, reader.y), (reader.left, reader.y)]
    return start + end
