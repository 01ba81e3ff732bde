"""A run as pictures: one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from .data import Split
from .run import Run

WORST = 12  # mistakes to show
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } svg { max-width: 100%; height: auto }
.mistakes { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 8rem; font-size: .8rem }
figure img { width: 8rem; height: 8rem; object-fit: contain; background: #eee; image-rendering: auto }
"""


def page(run: Run, history: Sequence[dict[str, float]], held_out: Split, probabilities: np.ndarray) -> str:
    """The page of a run: curves, confusion, accuracy by class, worst mistakes. `probabilities` is (n, classes)."""
    text = html.escape
    answers = probabilities.argmax(axis=1)
    classes = range(len(run.labels))
    confusion = np.zeros((len(run.labels),) * 2, int)
    np.add.at(confusion, (held_out.labels, answers), 1)
    by_class = "".join(
        f"<tr><td>{text(run.labels[c])}<td>{confusion[c].sum()}<td>{_percent(confusion[c, c], confusion[c].sum())}"
        f"<td>{_percent(confusion[c, c], confusion[:, c].sum())}"
        for c in classes
    )
    height, width, _ = run.preprocessing.input_shape
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(run.path.name)}</title><style>{STYLE}</style>
<h1>{text(run.path.name)}</h1>
<p>{text(run.builder)}, {height} x {width} pixels, {len(run.labels)} classes; trained on {run.data["train"]:,} pictures,
measured on {len(held_out):,} held out: <b>top-1 {run.metrics["top1"]:.1%}</b>, loss {run.metrics["loss"]:.3f}.</p>
<h2>Training</h2>{curves(history)}
<h2>What was taken for what</h2>{confusion_matrix(confusion, run.labels)}
<h2>By class</h2>
<table><tr><th>class<th>pictures<th>found (recall)<th>right when named (precision)</tr>{by_class}</table>
<h2>Worst mistakes</h2><div class="mistakes">{_mistakes(run, held_out, probabilities)}</div>
</html>
"""


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def curves(history: Sequence[dict[str, float]]) -> str:
    """Loss and accuracy by epoch, as SVG."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((measure, "training"), (f"val_{measure}", "held out")):
            axes.plot(epochs, [row[key] for row in history], marker=".", label=label)
        axes.set(xlabel="epoch", title=measure)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return _svg(figure)


def confusion_matrix(confusion: np.ndarray, labels: Sequence[str]) -> str:
    """Counts, true class by row, answer by column, as SVG; `confusion` is (classes, classes)."""
    side = float(np.clip(0.45 * len(labels), 3, 14))
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= 30:  # beyond, numbers and names could not be read
        for (row, column), count in np.ndenumerate(confusion):
            shade = "white" if count > confusion[row].sum() / 2 else "black"
            axes.text(column, row, str(count) if count else "", ha="center", va="center", color=shade, fontsize=8)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer", ylabel="true class")
    return _svg(figure)


def _mistakes(run: Run, held_out: Split, probabilities: np.ndarray) -> str:
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != held_out.labels)
    if not len(wrong):
        return "<p>None.</p>"
    certainty = probabilities[wrong, answers[wrong]]
    return "".join(
        f'<figure><img src="{_thumbnail(held_out.picture(i))}" alt=""><figcaption>'
        f"{html.escape(run.labels[held_out.labels[i]])}, taken for {html.escape(run.labels[answers[i]])} "
        f"({probabilities[i, answers[i]]:.0%})</figcaption></figure>"
        for i in wrong[np.argsort(-certainty, kind="stable")[:WORST]]
    )


def _thumbnail(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((256, 256))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
