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

from .generate import DOCS, GENERATED, ROOT, conformance, markdown, slim, table_of

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
    """A network with its published accuracy and its costs, in the units of `COSTS`; no time if it is not measured."""

    name: str
    top1: float
    best: float
    parameters: float
    macs: float
    megabytes: float
    milliseconds: float | None

    @property
    def use(self) -> str:
        """Which of `COLOURS` it is, by its multiply-adds."""
        return "mobile" if self.macs < 1 else "general" if self.macs < 10 else "large"


def points() -> list[Point]:
    """The networks of the measurements, by multiply-adds."""
    found = []
    sizes = {row["network"]: row["int8 bytes"] for row in conformance("tflite")}  # those of any input size, nearly
    for row in table_of(MEASURED):
        name = row["file"]
        if "float32" in name:
            continue  # for the page of claims
        accuracies = [c.top1 for c in get(name).weights if c.top1 and c.dataset == "imagenet"]
        measured = row["ms"] != "-"
        found.append(
            Point(
                name=name,
                top1=accuracies[0],
                best=max(accuracies),
                parameters=fact(name)["trainable"] / 1e6,
                macs=fact(name)["macs"] / 1e9,
                milliseconds=float(row["ms"]) if measured else None,
                megabytes=int(row["bytes"] if measured else sizes[name]) / 1e6,
            )
        )
    return sorted(found, key=lambda point: point.macs)


def with_cost(all_: Iterable[Point], cost: str) -> list[tuple[Point, float]]:
    """The networks whose cost is known, and the cost."""
    return [(point, value) for point in all_ if (value := getattr(point, cost)) is not None]


def unbeaten(all_: Iterable[Point], cost: str) -> list[tuple[Point, float]]:
    """Those for which no network is as accurate at a lower cost, and the cost."""
    front: list[tuple[Point, float]] = []
    for point, value in sorted(with_cost(all_, cost), key=lambda pair: (pair[1], -pair[0].top1)):
        if not front or point.top1 > front[-1][0].top1:
            front.append((point, value))
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
        axes.plot([x for _, x in front], [p.top1 for p, _ in front], color="#999999", lw=1, zorder=1)
        for use, colour in COLOURS.items():
            mine = with_cost((p for p in all_ if p.use == use), cost)
            axes.scatter([x for _, x in mine], [p.top1 for p, _ in mine], s=26, color=colour, label=use, zorder=2)
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
        labels.append(_labelled(axes, with_cost(all_, cost)))
    return made, labels


def _labelled(axes: Axes, placed: Sequence[tuple[Point, float]]) -> list[Annotation]:
    """Write each name beside its marker, where it covers no other name, marker or frame."""
    markers = [axes.transData.transform((x, point.top1)) for point, x in placed]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in markers]
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
    fronts = {cost: [p for p, _ in unbeaten(all_, cost)] for cost in COSTS}
    rows = [
        (
            f"`{p.name}`",
            p.use,
            f"{p.top1:.1f}",
            f"{p.best:.1f}",
            *(f"**{_digits(p, cost)}**" if p in fronts[cost] else _digits(p, cost) for cost in COSTS),
        )
        for p in all_
    ]
    machine = MEASURED.read_text(encoding="utf-8").splitlines()[2].split("; ")[1].removesuffix(", one thread;")
    parts = [
        "# Which network",
        "[![Accuracy against parameters, multiply-adds, time and file size](diagrams/which_network.svg)]"
        "(diagrams/which_network.svg)",
        'Top-1 is what the publisher states for the checkpoint that `weights="imagenet"` loads, with one crop. Times '
        f"are of int8 files in LiteRT on one core of an {machine} ([how they were measured]"
        "(benchmarks.md)); another processor has other ratios. The grey line joins the "
        "networks that no other beats: none is as accurate at a lower cost. The table has them in bold.",
        "## Advice",
        *_advice(known),
        "Accuracy on your images after fine-tuning follows ImageNet's only roughly: try two or three networks with "
        "`keras-inception train`, which is quick on frozen features, and measure their files on your own device.",
        "## The numbers",
        markdown(("network", "size", "top-1, %", "best, %", *COSTS.values()), "llrrrrrr", rows),
        "Size: by multiply-adds, mobile below 1 billion and large from 10. Best: the most accurate checkpoint of the "
        "same network, with another recipe and sometimes more data. The recipe matters as much as the architecture: a "
        "few points between two networks may be those of the years between them. A dash: not timed yet; the size is "
        "then that of tests/conformance/tflite.md.",
    ]
    return GENERATED.replace("docs.generate", "docs.which_network") + "\n\n".join(parts) + "\n"


def _digits(point: Point, cost: str) -> str:
    value = getattr(point, cost)
    return "-" if value is None else f"{value:.3g}"


def _advice(known: dict[str, Point]) -> Iterable[str]:
    """What to take, with the figures of the table."""

    def said(name: str) -> str:
        p = known[name]
        cost = f"{p.macs:.3g} G" if p.milliseconds is None else f"{p.milliseconds:.3g} ms"
        return f"`{name}` ({p.top1:.1f} %, {cost}, {p.megabytes:.3g} MB)"

    yield (
        f"**In general**: {said('resnet50')}. Every library and accelerator runs it, and a newer recipe takes the same "
        f"network to {known['resnet50'].best:.1f} %. {said('densenet121')} is as accurate with a third of the weights. "
        f"{said('inception_v3')} and {said('xception')} are three to four points more accurate, on larger images. Not "
        f"{said('vgg16')}: all of these beat it, at about half of its cost or less."
    )
    yield (
        f"**Large**, where accuracy is all that counts: {said('inception_v4')} or {said('inception_resnet_v2')}. The "
        f"next point or two cost as much again: {said('senet154')}, {said('nasnet_large')}."
    )
    yield (
        f"**Mobile**: {said('mobilenet_v2')}, which no network here beats in any of the four charts, or "
        f"{said('shufflenet_v2')} where time or size must be smaller still; both have narrower and wider versions. "
        f"{said('mobilenet_v1')} is the plainest, for runtimes and chips with few operators. Not "
        f"{said('squeezenet1_1')}, unless the file is what must be smallest, nor {said('alexnet')}: networks that are "
        "ten points more accurate are faster than either."
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CHART.write_text(chart(), encoding="utf-8")
