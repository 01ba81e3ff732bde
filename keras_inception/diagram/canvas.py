"""Draws placed boxes with Matplotlib: a column on the left of a page, and the modules beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from .placement import HEIGHT, LETTER, Drawing

MARGIN = 0.4  # inches around and between drawings
PAGE = 15.0  # inches; a drawing that would exceed this starts a new row
LINE = 0.15  # inches between small lines of text
INK, GREY = "#222222", "#666666"


@dataclass(frozen=True)
class Block:
    """A drawing and its caption."""

    title: str
    names: str  # a second line, small
    drawing: Drawing

    @property
    def width(self) -> float:
        """In inches."""
        left, _, right, _ = self.drawing.bounds
        return max(right - left, len(self.title) * LETTER * 1.4, min(len(self.names), 44) * LETTER)

    @property
    def lines(self) -> list[str]:
        """The names, wrapped to the width."""
        return textwrap.wrap(self.names, max(1, int(self.width / LETTER)))

    @property
    def height(self) -> float:
        """In inches."""
        _, bottom, _, top = self.drawing.bounds
        return 0.3 + LINE * len(self.lines) + top - bottom


def page(column: Block, blocks: Sequence[Block]) -> Figure:
    """Draw the column on the left and the blocks beside it, from the top."""
    left = start = column.width + 3 * MARGIN
    top, tallest = MARGIN, 0.0
    corners = [(MARGIN, MARGIN)]
    for block in blocks:
        if left > start and left + block.width > start + PAGE:
            left, top, tallest = start, top + tallest + MARGIN, 0.0
        corners.append((left, top))
        left += block.width + MARGIN
        tallest = max(tallest, block.height)
    width = max(x + block.width for (x, _), block in zip(corners, (column, *blocks), strict=True)) + MARGIN
    height = max(y + block.height for (_, y), block in zip(corners, (column, *blocks), strict=True)) + MARGIN

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    for (x, y), block in zip(corners, (column, *blocks), strict=True):
        _ink(axes, block, x, height - y)
    return figure


def _ink(axes: Axes, block: Block, left: float, top: float) -> None:
    """Draw a block with its top left corner at this position."""
    axes.text(left, top, block.title, fontsize=12, fontweight="bold", va="top", color=INK)
    for i, line in enumerate(block.lines):
        axes.text(left, top - 0.26 - LINE * i, line, fontsize=8, va="top", color=GREY)
    x0, y0, x1, _ = block.drawing.bounds
    x, y = left + (block.width - (x1 - x0)) / 2 - x0, top - block.height - y0
    for points in block.drawing.lines:
        outline = Path([(x + a, y + b) for a, b in points])
        axes.add_patch(FancyArrowPatch(path=outline, arrowstyle="-|>", mutation_scale=7, lw=0.8, color=INK))
    for spot in block.drawing.spots:
        corner = (x + spot.left, y + spot.y - HEIGHT / 2)
        style = "round,pad=0,rounding_size=0.06"
        axes.add_patch(FancyBboxPatch(corner, spot.width, HEIGHT, boxstyle=style, lw=0.8, ec=INK, fc=spot.item.colour))
        raised = 0.06 if spot.item.note else 0.0
        axes.text(x + spot.x, y + spot.y + raised, spot.item.label, fontsize=9, color=INK, ha="center", va="center")
        axes.text(x + spot.x, y + spot.y - 0.09, spot.item.note, fontsize=6.5, color=GREY, ha="center", va="center")
