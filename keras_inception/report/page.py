"""A run as images: one self-contained HTML page."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence

import keras
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ..analysis.saliency import grad_cam, last_map
from ..data import Split
from ..run import Run

WORST = 12  # images to show
BINS = 10  # of certainty
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } svg { max-width: 100%; height: auto }
.images { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 16.4rem; font-size: .8rem }
figure img { width: 8rem; height: 8rem; object-fit: contain; background: #eee; margin-right: .2rem }
"""


def read_history(run: Run) -> list[dict[str, float]]:
    """The rows of `history.csv`, an epoch each."""
    with open(run.path / "history.csv", newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def page(
    run: Run,
    model: keras.Model,
    history: Sequence[dict[str, float]],
    held_out: Split,
    probabilities: np.ndarray,
    *,
    endpoint: str | None = None,
) -> str:
    """The page: curves, confusion, accuracy by class, calibration, worst mistakes and what the network looked at there.

    `held_out` are images that it was not trained on, `probabilities` its answers, (n, classes), and `endpoint` is as
    for `saliency.grad_cam`.

    Raises:
        InputError: the network has no such endpoint.
    """
    text = html.escape
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((len(run.labels),) * 2, int)
    np.add.at(confusion, (held_out.labels, answers), 1)
    height, width, _ = run.preprocessing.input_shape
    right = answers == held_out.labels
    certainty = probabilities.max(axis=1)
    if wrong := len(right) - int(right.sum()):
        title, order = "Worst mistakes", np.argsort(np.where(right, 2.0, -certainty), kind="stable")[:wrong]
    else:
        title, order = "No mistakes; least certain", np.argsort(certainty, kind="stable")
    shown = order[:WORST]
    endpoint = endpoint or last_map(model)
    looked = f", and where the network looked for its answer (Grad-CAM at {text(endpoint)})" if endpoint else ""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(run.path.name)}</title><style>{STYLE}</style>
<h1>{text(run.path.name)}</h1>
<p>{text(run.builder)}, {height} x {width} pixels, {len(run.labels)} classes; trained on {run.data["train"]:,} images,
measured on {len(held_out):,} held out: <b>top-1 {right.mean():.1%}</b>.</p>
{_exits(run)}{_near_duplicates(run)}
<h2>Training</h2>{curves(history)}
<h2>What was taken for what</h2>{confusion_matrix(confusion, run.labels)}
<h2>By class</h2>{_by_class(confusion, run.labels)}
<h2>How certain, and how often right</h2>{reliability(certainty, right)}
<h2>{title}</h2><p>The image{looked}.</p>
<div class="images">{_images(run, model, held_out, probabilities, shown, endpoint)}</div>
</html>
"""


def _exits(run: Run) -> str:
    """The early exits, for a network that has some."""
    found = {k.removesuffix("_top1"): v for k, v in run.metrics.items() if k.startswith("exit")}
    rows = "".join(f"<tr><td>{name}<td>{value:.1%}" for name, value in found.items())
    return f"<table><tr><th>exit<th>top-1</tr>{rows}</table>" if found else ""


def _near_duplicates(run: Run) -> str:
    """The warning that images are on both sides of the split."""
    pairs = run.data.get("near_duplicates") or []
    if not pairs:
        return ""
    some = "".join(f"<li>{html.escape(a)} and {html.escape(b)}" for a, b in pairs[:WORST])
    return (
        f"<p>{len(pairs)} pairs of images in training and held out are nearly the same, so the accuracy may flatter:"
        f"</p><ul>{some}</ul>"
    )


def _by_class(confusion: np.ndarray, labels: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(label)}<td>{confusion[c].sum()}<td>{_percent(confusion[c, c], confusion[c].sum())}"
        f"<td>{_percent(confusion[c, c], confusion[:, c].sum())}"
        for c, label in enumerate(labels)
    )
    head = "<tr><th>class<th>images<th>found (recall)<th>right when named (precision)</tr>"
    return f"<table>{head}{rows}</table>"


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


def calibration_error(certainty: np.ndarray, right: np.ndarray) -> float:
    """The mean difference between certainty and accuracy over bins of certainty, weighted by their images.

    Guo et al., 2017, arXiv 1706.04599, equation 3, in 10 bins; both are (n,).
    """
    bins = _bin(certainty)
    return sum(abs(certainty[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))


def reliability(certainty: np.ndarray, right: np.ndarray) -> str:
    """Accuracy by certainty beside the line where they are equal, and how many images there are, as SVG."""
    bins, edges = _bin(certainty), np.arange(BINS) / BINS
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, other = figure.subplots(1, 2)
    accuracy = [right[bins == b].mean() if (bins == b).any() else 0 for b in range(BINS)]
    left.bar(edges, accuracy, 0.9 / BINS, align="edge", label="accuracy")
    left.plot((0, 1), (0, 1), color="black", linewidth=1, linestyle="--", label="as certain as right")
    left.set(xlabel="certainty", title=f"calibration error {calibration_error(certainty, right):.1%}", ylim=(0, 1))
    left.legend(loc="upper left")
    other.bar(edges, np.bincount(bins, minlength=BINS), 0.9 / BINS, align="edge", color="grey")
    other.set(xlabel="certainty", title="images")
    return _svg(figure)


def _bin(certainty: np.ndarray) -> np.ndarray:
    return np.minimum((certainty * BINS).astype(int), BINS - 1)


def _images(
    run: Run, model: keras.Model, held_out: Split, probabilities: np.ndarray, shown: np.ndarray, endpoint: str | None
) -> str:
    """Images with their labels and answers, and over each what the network looked at."""
    answers = probabilities.argmax(axis=1)
    images = [held_out.image(i) for i in shown]
    looked_at = _looked_at(run, model, images, answers[shown], endpoint) if endpoint and images else []
    figures = []
    for place, i in enumerate(shown):
        label, answer = run.labels[held_out.labels[i]], run.labels[answers[i]]
        thumbnails = [_thumbnail(images[place]), *map(_thumbnail, looked_at[place : place + 1])]
        shows = "".join(f'<img src="{thumbnail}" alt="">' for thumbnail in thumbnails)
        says = html.escape(f"{label}, taken for {answer}" if label != answer else label)
        figures.append(f"<figure>{shows}<figcaption>{says} ({probabilities[i].max():.0%})</figcaption></figure>")
    return "".join(figures)


def _looked_at(
    run: Run, model: keras.Model, images: list[np.ndarray], answers: np.ndarray, endpoint: str
) -> list[np.ndarray]:
    """What the network saw of images, under the colours of Grad-CAM: (H, W, 3) uint8 each."""
    seen = [run.preprocessing.resize(image).numpy() for image in images]
    heat = grad_cam(model, np.stack([run.preprocessing(p) for p in images]), answers, endpoint=endpoint)
    overlaid = []
    for pixels, map_ in zip(seen, heat, strict=True):
        large = Image.fromarray(map_.astype(np.float32)).resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
        colours = matplotlib.colormaps["turbo"](np.clip(np.asarray(large), 0, 1))[..., :3] * 255
        overlaid.append(np.round(0.5 * pixels + 0.5 * colours).astype(np.uint8))
    return overlaid


def _thumbnail(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((256, 256))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
