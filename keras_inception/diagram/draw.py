"""Draws a network as papers do: the whole network as a column, and each kind of module once, with inputs at the bottom.

Matplotlib draws, because it is a dependency already and installs everywhere. Graphviz needs its `dot` program, which
pip does not install. This module chooses what to draw; `placement` computes positions, and `canvas` draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
from keras import layers
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..analysis.boxes import CONVOLUTIONS, NORMS, POOLS, Box, boxes
from ..arguments import checked
from ..errors import InputError
from ..files import need_folder, write_file
from .canvas import Block, page
from .placement import LETTER, Drawing, Item, place

FORMATS = (".svg", ".pdf", ".png")
MODULE = "#eeeeee"
COLOURS = (  # GoogLeNet's figure 3
    ((*CONVOLUTIONS, layers.Dense), "#cfe2f9"),
    (POOLS, "#f8cfcb"),
    ((layers.Concatenate, layers.Add, layers.Multiply, *NORMS), "#d3ebcd"),
    ((layers.Activation, layers.ReLU, layers.Softmax), "#fdeeb5"),
)


@dataclass
class Module:
    """Boxes that occur in the network once or more, with different endpoints, inputs and numbers of filters."""

    title: str  # "A", "B", ...
    uses: list[Sequence[Box]]
    inputs: list[tuple[str, ...]]  # the endpoints that each use reads


@dataclass
class Stage:
    """A part of the column: a single box, or consecutive modules of one kind."""

    endpoints: list[str]
    sources: tuple[int, ...]
    last: Box
    module: Module | None
    count: int = 1


@checked
def draw(model: keras.Model, path: str | Path) -> Path:
    """Draw a functional model into a new .svg, .pdf or .png file.

    Endpoints whose boxes differ only in their numbers of filters are one module, drawn once with all its numbers.

    Raises:
        InputError: the file exists, its folder does not, its format is not supported, or the model is not functional.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"a diagram is a file ending in {', '.join(FORMATS)}; got {path.name!r}")
    if path.exists():
        raise InputError(f"{path} exists already: choose another name, or delete it first")
    need_folder(path)
    # Text stays text, and the same network gives the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "keras_inception"}):
        figure = _figure(model)
        options: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix.lower() == ".svg" else {}
        write_file(path, lambda part: figure.savefig(part, dpi=120, **options))
    return path


# ------------------------------------------------------------------------------------------------ the network in parts


def _parts(drawn: Sequence[Box]) -> tuple[list[Stage], list[Module]]:
    """Return the column from bottom to top, and its kinds of modules in the order of their first use."""
    by_endpoint: dict[str, list[int]] = {}
    for i, box in enumerate(drawn):
        by_endpoint[box.endpoint] = [*by_endpoint.pop(box.endpoint, []), i]  # ordered by their last box
    modules: dict[Any, Module] = {}
    stages: list[Stage] = []
    stage_of: dict[int, int] = {}  # by box
    for inner in (part for endpoint in by_endpoint.values() for part in _repeats(drawn, endpoint)):
        outside = tuple(dict.fromkeys(s for i in inner for s in drawn[i].sources if s not in inner))
        sources = tuple(dict.fromkeys(stage_of[s] for s in outside))
        last = drawn[inner[-1]]
        module = None
        if len(inner) > 1:
            use = _relative(drawn, inner)
            module = modules.setdefault(_look(use), Module(_letters(len(modules)), [], []))
            module.uses.append(use)
            module.inputs.append(tuple(drawn[s].endpoint for s in outside))
        stages.append(Stage([last.endpoint], sources, last, module))
        stage_of |= dict.fromkeys(inner, len(stages) - 1)
    return _runs(stages), list(modules.values())


def _repeats(drawn: Sequence[Box], inner: list[int]) -> list[list[int]]:
    """Split an endpoint's boxes where equal parts follow each other, as the layers of a dense block do."""
    parts: list[list[int]] = [[]]
    for n, i in enumerate(inner):
        parts[-1].append(i)
        rest = inner[n + 1 :]
        if rest and all(s >= i for j in rest for s in drawn[j].sources):  # all later boxes read through this one
            parts.append([])
    looks = [_look(_relative(drawn, part)) for part in parts]
    cut: list[list[int]] = []
    was_repeated = True
    for n, part in enumerate(parts):
        repeated = len(part) > 1 and looks[n] in (*looks[:n][-1:], *looks[n + 1 :][:1])
        if repeated or was_repeated:
            cut.append([])
        cut[-1] += part
        was_repeated = repeated
    return cut


def _relative(drawn: Sequence[Box], inner: Sequence[int]) -> list[Box]:
    """Return some boxes with sources numbered among them; outside sources are -1, -2, ... in order."""
    local = {i: n for n, i in enumerate(inner)}
    outside = dict.fromkeys(s for i in inner for s in drawn[i].sources if s not in local)
    local |= {s: -1 - n for n, s in enumerate(outside)}
    return [replace(drawn[i], sources=tuple(local[s] for s in drawn[i].sources)) for i in inner]


def _look(use: Sequence[Box]) -> tuple[Any, ...]:
    """Return a key that is equal for boxes that are drawn alike."""
    return tuple((box.template, box.sources) for box in use)


def _runs(stages: Sequence[Stage]) -> list[Stage]:
    """Join consecutive modules of one kind and one map size into one stage."""
    readers = Counter(source for stage in stages for source in stage.sources)
    runs: list[Stage] = []
    run_of: list[int] = []
    for i, stage in enumerate(stages):
        before = stages[i - 1]
        alike = stage.module is before.module is not None and stage.last.shape[:-1] == before.last.shape[:-1]
        if i and alike and stage.sources == (i - 1,) and readers[i - 1] == 1:
            runs[-1].endpoints = list(dict.fromkeys(runs[-1].endpoints + stage.endpoints))
            runs[-1].last = stage.last
            runs[-1].count += 1
        else:
            sources = tuple(run_of[source] for source in stage.sources)
            runs.append(Stage(list(stage.endpoints), sources, stage.last, stage.module))
        run_of.append(len(runs) - 1)
    return runs


def _letters(n: int) -> str:
    """0 is "A", 25 is "Z", 26 is "AA"."""
    return (_letters(n // 26 - 1) if n >= 26 else "") + chr(ord("A") + n % 26)


# ------------------------------------------------------------------------------------------------------------ drawings


def _column(stages: Sequence[Stage]) -> Drawing:
    """Draw the whole network."""
    items = []
    for stage in stages:
        label = stage.last.label
        if stage.module:
            label = f"{stage.count} × {stage.module.title}" if stage.count > 1 else stage.module.title
        note = f"{_some(stage.endpoints)}   {_size(stage.last.shape)}"
        width = max(len(label) * LETTER, len(note) * LETTER * 0.75) + 0.2
        items.append(
            Item(label, stage.sources, width, colour=MODULE if stage.module else _colour(stage.last), note=note)
        )
    width = max(item.width for item in items)
    return place([replace(item, width=width) for item in items])


def _panel(module: Module) -> Drawing:
    """Draw one module, with the numbers of filters of all its uses."""
    kept = _flat(module.uses[0])
    names = [sorted(set(column)) for column in zip(*module.inputs, strict=True)]
    outside = len(names)
    items = []
    for n, sources_of in enumerate(names, 1):
        label = "previous layer" if outside == 1 else sources_of[0] if len(sources_of) == 1 else f"input {n}"
        items.append(Item(label, (), len(label) * LETTER + 0.2))
    position = {-1 - i: i for i in range(outside)} | {i: outside + n for n, (i, _) in enumerate(kept)}
    for i, sources in kept:
        box = module.uses[0][i]
        numbers = sorted({number for use in module.uses if (number := use[i].number) is not None})
        label = box.template.format("/".join(map(str, numbers)) if len(numbers) <= 3 else f"{numbers[0]}–{numbers[-1]}")
        wide = isinstance(box.layer, layers.Concatenate)
        width = len(label) * LETTER + 0.2
        items.append(Item(label, tuple(position[s] for s in sources), width, wide, _colour(box)))
    return place(items)


def _flat(use: Sequence[Box]) -> list[tuple[int, tuple[int, ...]]]:
    """Return positions and sources of the boxes to draw; a nested concatenation is drawn as part of the outer one."""
    sources = {i: box.sources for i, box in enumerate(use)}
    joins = [i for i, box in enumerate(use) if isinstance(box.layer, layers.Concatenate)]
    for inner in joins:
        readers = [i for i, read in sources.items() if inner in read]
        if readers and all(i in joins for i in readers):
            for i in readers:
                sources[i] = tuple(s for j in sources[i] for s in (sources[inner] if j == inner else (j,)))
            del sources[inner]
    return list(sources.items())


def _colour(box: Box) -> str:
    return next((colour for kinds, colour in COLOURS if isinstance(box.layer, kinds)), "white")


def _size(shape: Sequence[int | None]) -> str:
    return " × ".join("?" if size is None else f"{size:,}" for size in shape)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} … {names[-1]}"


def _figure(model: keras.Model) -> Figure:
    stages, modules = _parts(boxes(model))
    blocks = []
    for module in modules:
        uses = [stage for stage in stages if stage.module is module]
        names = ", ".join(dict.fromkeys(_some(stage.endpoints) for stage in uses))
        sizes = ", ".join(dict.fromkeys(_size(stage.last.shape[:-1]) for stage in uses))
        blocks.append(Block(f"{module.title}   {sizes}", names, _panel(module)))
    return page(Block(model.name, "", _column(stages)), blocks)
