"""A network drawn as its paper draws it: the whole as a column, and each kind of module once, filters bottom to top.

matplotlib draws, because it is a dependency already and installs everywhere; Graphviz would need its `dot` program,
which no package index has. `layout` finds the places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Outline

from .errors import InputError
from .graph import CONVOLUTIONS, POOLS, Box, boxes
from .layout import HEIGHT, Drawing, Item, Spot, place
from .run import publish

FORMATS = (".svg", ".pdf", ".png")
LETTER = 0.078  # inches, the width of an average letter at 9 points
MARGIN = 0.4  # inches around and between drawings
PAGE = 15.0  # inches; modules that would go beyond start a new row
INK, GREY = "#222222", "#666666"
COLOURS = (  # GoogLeNet's figure 3
    ((*CONVOLUTIONS, layers.Dense), "#cfe2f9"),
    (POOLS, "#f8cfcb"),
    ((layers.Concatenate, layers.Add, layers.Multiply, layers.BatchNormalization), "#d3ebcd"),
    ((layers.Activation, layers.Softmax), "#fdeeb5"),
)


@dataclass
class Module:
    """Boxes that stand in the network once or more: with other endpoints, other inputs, other numbers of filters."""

    title: str  # "A", "B", ...
    uses: list[Sequence[Box]]


@dataclass
class Stage:
    """A piece of the column: a box that stands alone, or modules of one kind that follow each other."""

    endpoints: list[str]
    sources: tuple[int, ...]
    last: Box
    module: Module | None


def draw(model: keras.Model, path: str | Path) -> Path:
    """Draw a functional model into a new .svg, .pdf or .png file.

    Endpoints whose boxes differ in nothing but numbers of filters are one module, drawn once with all its numbers.

    Raises:
        InputError: the file exists, its folder does not, it is of another kind, or the model is not functional.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"a diagram is a file ending in {', '.join(FORMATS)}; got {path.name!r}")
    if path.exists():
        raise InputError(f"{path} exists already: choose another name, or delete it first")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")
    # Text stays text, and the same network makes the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "keras_inception"}):
        figure = _page(model)
        options: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix.lower() == ".svg" else {}
        publish(path, lambda part: figure.savefig(part, dpi=120, **options))
    return path


# ------------------------------------------------------------------------------------------------ the network in parts


def _parts(drawn: Sequence[Box]) -> tuple[list[Stage], list[Module]]:
    """The column from bottom to top, and its kinds of modules in the order of their first use."""
    by_endpoint: dict[str, list[int]] = {}
    for i, box in enumerate(drawn):
        by_endpoint.setdefault(box.endpoint, []).append(i)
    modules: dict[Any, Module] = {}
    stages: list[Stage] = []
    stage_of: dict[int, int] = {}  # by box
    for endpoint, inner in by_endpoint.items():
        use = [drawn[i] for i in inner]
        sources = tuple(dict.fromkeys(stage_of[s] for box in use for s in box.sources if s not in inner))
        module = None
        if len(use) > 1:
            module = modules.setdefault(_shape(use, inner), Module(_letters(len(modules)), []))
            module.uses.append(_relative(use, inner))
        stages.append(Stage([endpoint], sources, use[-1], module))
        stage_of |= dict.fromkeys(inner, len(stages) - 1)
    return _runs(stages), list(modules.values())


def _relative(use: Sequence[Box], positions: Sequence[int]) -> list[Box]:
    """The boxes of one endpoint with sources counted in it; those from outside are -1, -2, ... as they come."""
    local = {position: i for i, position in enumerate(positions)}
    outside = [s for box in use for s in box.sources if s not in local]
    local |= {s: -1 - i for i, s in enumerate(dict.fromkeys(outside))}
    return [Box(**vars(box) | {"sources": tuple(local[s] for s in box.sources)}) for box in use]


def _shape(use: Sequence[Box], positions: Sequence[int]) -> tuple[Any, ...]:
    """What boxes have in common with others that are drawn alike."""
    return tuple((box.template, box.sources) for box in _relative(use, positions))
