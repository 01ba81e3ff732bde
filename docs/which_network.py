"""Which network: accuracy against what it costs, as a chart and a page, docs/which_network.md.

`python -m docs.which_network` writes both, from the registry, facts.json and benchmarks/which_network.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from keras_inception.facts import fact
from keras_inception.registry import get

from .generate import DOCS, GENERATED, ROOT, markdown, slim, table_of

PAGE, CHART = DOCS / "which_network.md", DOCS / "diagrams" / "which_network.svg"
MEASURED = ROOT / "benchmarks" / "which_network.md"
INK, GRID = "#222222", "#d9d9d9"
COLOURS = {"mobile": "#0072b2", "general": "#007a55", "large": "#b5490a"}  # apart for the colour-blind, and on white
COSTS = {  # field -> title of its axis
    "parameters": "parameters, millions",
    "macs": "multiply-adds, billions",
    "milliseconds": "int8 on one core, ms",
    "megabytes": "int8 file, MB",
}
# Where a label may be, in points from its marker, and how it is aligned there; the nearest first.
PLACES = [
    (x * d, y * d, {1: "left", 0: "center", -1: "right"}[x], {1: "bottom", 0: "center", -1: "top"}[y])
    for d in (5, 9, 14, 20, 28)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
]


@dataclass(frozen=True)
class Point:
    """A network with its published accuracy and its costs, in the units of `COSTS`."""

    name: str
    top1: float
    best: float
    parameters: float
    macs: float
    milliseconds: float
    megabytes: float

    @property
    def use(self) -> str:
        """Which of `COLOURS` it is, by its multiply-adds."""
        return "mobile" if self.macs < 1 else "general" if self.macs < 10 else "large"


def points() -> list[Point]:
    """The networks that are measured and have weights for ImageNet, the fastest first."""
    found = []
    for row in table_of(MEASURED):
        if "," in row["file"]:
            continue  # float32, for the page of claims
        name = row["file"]
        accuracies = [c.top1 for c in get(name).weights if c.top1 and c.dataset == "imagenet"]
        found.append(
            Point(
                name,
                accuracies[0],
                max(accuracies),
                fact(name)["trainable"] / 1e6,
                fact(name)["macs"] / 1e9,
                float(row["ms"]),
                int(row["bytes"]) / 1e6,
            )
        )
    return sorted(found, key=lambda point: point.milliseconds)


def unbeaten(all_: Iterable[Point], cost: str) -> list[Point]:
    """Those for which no network is as accurate at a lower cost."""
    front: list[Point] = []
    for point in sorted(all_, key=lambda p: (getattr(p, cost), -p.top1)):
        if not front or point.top1 > front[-1].top1:
            front.append(point)
    return front


# ------------------------------------------------------------------------------------------------------- the chart


def figure(all_: Sequence[Point]) -> tuple[Figure, list[list[Annotation]]]:
    """Four charts, and the labels of each."""
    made = Figure(figsize=(12.5, 11), facecolor="white", layout="constrained")
    FigureCanvasAgg(made)
    labels = []
    charts = list(made.subplots(2, 2, sharey=True).flat)
    for axes, cost in zip(charts, COSTS, strict=True):
        front = unbeaten(all_, cost)
        axes.plot([getattr(p, cost) for p in front], [p.top1 for p in front], color="#999999", lw=1, zorder=1)
        for use, colour in COLOURS.items():
            mine = [p for p in all_ if p.use == use]
            axes.scatter(
                [getattr(p, cost) for p in mine], [p.top1 for p in mine], s=26, color=colour, label=use, zorder=2
            )
        axes.set_xscale("log")
        axes.margins(x=0.16, y=0.06)
        axes.set_xlabel(COSTS[cost], color=INK)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(colors=INK, which="both", labelsize=9)
    for axes in charts[::2]:
        axes.set_ylabel("published top-1 on ImageNet, %", color=INK)
    made.legend(*charts[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(COLOURS), frameon=False)
    made.draw_without_rendering()
    for axes, cost in zip(charts, COSTS, strict=True):
        labels.append(_labelled(axes, [(p, getattr(p, cost)) for p in all_]))
    return made, labels


def _labelled(axes: Axes, placed: Sequence[tuple[Point, float]]) -> list[Annotation]:
    """Write each name beside its marker, where it covers no other name, marker or frame."""
    markers = [axes.transData.transform((x, point.top1)) for point, x in placed]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in markers]
    labels = []
    for point, x in placed:
        for dx, dy, across, along in PLACES:
            label = axes.annotate(
                point.name,
                (x, point.top1),
                (dx, dy),
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=8.5,
                color=COLOURS[point.use],
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "#999999"} if max(abs(dx), abs(dy)) > 9 else None,
            )
            box = extent(label)
            frame = axes.bbox
            inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
            label.remove()
        else:
            raise ValueError(f"there is no room for the label of {point.name} on {axes.get_xlabel()}: add to PLACES")
        taken.append(box)
        labels.append(label)
    return labels


def extent(label: Annotation) -> Bbox:
    """The box of a label's text, without its line."""
    label.update_positions(label.get_figure(root=True).canvas.get_renderer())
    return Text.get_window_extent(label)


def chart() -> str:
    """The chart as SVG, the same for the same numbers."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "keras_inception"}), tempfile.TemporaryDirectory() as work:
        path = Path(work) / CHART.name
        figure(points())[0].savefig(path, metadata={"Date": None})
        return slim(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------------- the page


def page() -> str:
    """The chart, the advice that follows from it, and the numbers."""
    all_ = points()
    known = {point.name: point for point in all_}
    fronts = {cost: unbeaten(all_, cost) for cost in COSTS}
    rows = [
        (
            f"`{p.name}`",
            p.use,
            f"{p.top1:.1f}",
            f"{p.best:.1f}",
            *(f"**{getattr(p, cost):.3g}**" if p in fronts[cost] else f"{getattr(p, cost):.3g}" for cost in COSTS),
        )
        for p in all_
    ]
    machine = MEASURED.read_text(encoding="utf-8").splitlines()[2].split("; ")[1].removesuffix(", one thread")
    parts = [
        "# Which network",
        "[![Accuracy against parameters, multiply-adds, time and file size](diagrams/which_network.svg)]"
        "(diagrams/which_network.svg)",
        'Top-1 is what the publisher states for the checkpoint that `weights="imagenet"` loads, with one crop. Times '
        f"are of int8 files in LiteRT on one core of an {machine} ([how they were measured]"
        "(benchmarks.md#which-network-int8-files)); another processor has other ratios. The grey line joins the "
        "networks that no other beats: none is as accurate at a lower cost. The table has them in bold.",
        "## Advice",
        *_advice(known),
        "Accuracy on your images after fine-tuning follows ImageNet's only roughly: try two or three networks with "
        "`keras-inception train`, which is quick on frozen features, and measure their files on your own device.",
        "## The numbers",
        markdown(("network", "size", "top-1, %", "best, %", *COSTS.values()), "llrrrrrr", rows),
        "Size: by multiply-adds, mobile below 1 billion and large from 10. Best: the most accurate checkpoint of the "
        "same network, with another recipe and sometimes more data. The recipe matters as much as the architecture: a "
        "few points between two networks may be those of the years between them.",
    ]
    return GENERATED.replace("docs.generate", "docs.which_network") + "\n\n".join(parts) + "\n"


def _advice(known: dict[str, Point]) -> Iterable[str]:
    """What to take, with the figures of the table."""

    def said(name: str) -> str:
        p = known[name]
        return f"`{name}` ({p.top1:.1f} %, {p.milliseconds:.3g} ms, {p.megabytes:.3g} MB)"

    yield "ADVICE"
    yield said("mobilenet_v2")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CHART.write_text(chart(), encoding="utf-8")
