"""A run as one self-contained HTML page."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from typing import Any

import keras
import matplotlib
import numpy as np
from PIL import Image
from sklearn.metrics import confusion_matrix

from ..analysis.saliency import grad_cam, last_map
from ..data import Dataset, Split
from ..errors import InputError, first_line
from ..evaluation import scores
from ..run import CURVES, Run
from .charts import calibration_error, confusion_chart, curves, printable, reliability
from .contact_sheet import STYLE as SHEET_STYLE
from .contact_sheet import contact_sheet, thumbnail
from .doubts import contradictions
from .doubts import section as labels_in_doubt
from .folds import section as cross_validation

WORST = 12  # images to show
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; unicode-bidi: isolate }
svg { max-width: 100%; height: auto; overflow: visible; margin: 1rem 0 }
.images { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; width: 16.4rem; font-size: .8rem; overflow-wrap: anywhere }
figure img { width: 8rem; height: 8rem; object-fit: contain; background: #eee; margin-right: .2rem }
"""


def read_history(run: Run) -> list[dict[str, float]]:
    """Return the rows of `history.csv`, one per epoch.

    Raises:
        InputError: it is missing or damaged.
    """
    path = run.path / "history.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        if missing := [key for key in CURVES if not all(key in row for row in rows)]:
            raise ValueError(f"it has rows without {missing[0]}")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}): restore it from a copy") from error
    return rows


def figures(labels: Sequence[str], held_out: Split, probabilities: np.ndarray) -> dict[str, Any]:
    """Return what the page shows in numbers, as JSON values: metrics, calibration, the confusion matrix, each class.

    "measured_on" is the side of the split, None for other images. Rows of the confusion matrix are true classes,
    columns predicted ones. Recall is None for a class without images, precision for one that is never predicted.
    Arguments are as for `page`.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(held_out.labels, predicted, labels=range(len(labels)))
    true, found = confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "measured_on": held_out.side or None,
        **scores(probabilities, held_out.labels),
        "n": len(held_out),
        "calibration_error": float(calibration_error(probabilities.max(axis=1), predicted == held_out.labels)),
        "classes": [
            {
                "label": label,
                "images": int(true[c]),
                "recall": float(confusion[c, c] / true[c]) if true[c] else None,
                "precision": float(confusion[c, c] / found[c]) if found[c] else None,
            }
            for c, label in enumerate(labels)
        ],
        "confusion": confusion.tolist(),
    }


def page(
    run: Run,
    model: keras.Model,
    history: Sequence[dict[str, float]],
    held_out: Split,
    probabilities: np.ndarray,
    *,
    dataset: Dataset | None = None,
    endpoint: str | None = None,
) -> str:
    """Return the page: curves, confusion matrix, accuracy by class, calibration, and the worst mistakes with Grad-CAM.

    With the data set, it shows training images as their augmentation changes them, and labels in doubt.

    Args:
        run: the finished run.
        model: its network.
        history: one row per epoch, with loss, accuracy, val_loss and val_accuracy.
        held_out: images that the network was not trained on; the page says which side of the split they are.
        probabilities: (n, classes), predicted for these images.
        dataset: what the network was trained on, where it is at hand.
        endpoint: the layer for Grad-CAM, as for `saliency.grad_cam`.

    Raises:
        InputError: the network has no such endpoint.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(held_out.labels, predicted, labels=range(len(run.labels)))
    height, width, _ = run.preprocessing.input_shape
    correct = predicted == held_out.labels
    confidence = probabilities.max(axis=1)
    if wrong := len(correct) - int(correct.sum()):
        title, order = "Worst mistakes", np.argsort(np.where(correct, 2.0, -confidence), kind="stable")[:wrong]
    else:
        title, order = "No mistakes; least confident", np.argsort(confidence, kind="stable")
    endpoint = endpoint or last_map(model)
    looked = f", and where the network looked for its prediction (Grad-CAM at {_text(endpoint)})" if endpoint else ""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(run.path.name)}</title><style>{STYLE}{SHEET_STYLE}</style>
<h1>{_text(run.path.name)}</h1>
<p>{_text(run.builder)}, {height} x {width} pixels ({run.preprocessing.resize_mode}), {len(run.labels)} classes;
trained on {run.data["train"]:,} images,
measured on {held_out}: <b>top-1 {scores(probabilities, held_out.labels)["top1"]:.1%}</b>.{_chosen(run, held_out)}
{_taught(run)}</p>
{_exits(run)}{_near_duplicates(run)}
<h2>Training</h2>{curves(history)}
{contact_sheet(run, dataset.train) if dataset else ""}
<h2>Confusion matrix</h2>{confusion_chart(confusion, run.labels)}
<h2>By class</h2>{_by_class(confusion, run.labels)}
<h2>Calibration</h2>{reliability(confidence, correct)}
<h2>{title}</h2><p>The image{looked}.</p>
<div class="images">{_images(run, model, held_out, probabilities, order[:WORST], endpoint)}</div>
{cross_validation(run)}
{contradictions(dataset) + labels_in_doubt(run, dataset) if dataset else ""}
</html>
"""


def _text(text: str) -> str:
    return html.escape(printable(text))


def _chosen(run: Run, measured: Split) -> str:
    """What the epoch was chosen on."""
    if measured.side == "validation":
        return " The epoch was chosen on them, so others may be harder: there are no test images."
    if not (found := run.validation_metrics):
        return ""
    return f" The epoch was chosen on {found['n']:,} validation images: top-1 {found['top1']:.1%}."


def _taught(run: Run) -> str:
    """Who taught it, if it had a teacher."""
    if not (teacher := run.training.get("teacher")):
        return ""
    height, width = teacher["preprocessing"]["size"]
    who = f"{_text(teacher['network'])}, {height} x {width} pixels, of {_text(teacher['weights'])}"
    return f"Taught by {who}: weight {run.training['teacher_weight']:g}, temperature {run.training['temperature']:g}."


def _exits(run: Run) -> str:
    """The accuracy of early exits, if the network has some."""
    found = {k.removesuffix("_top1"): v for k, v in run.metrics.items() if k.startswith("exit")}
    rows = "".join(f"<tr><td>{name}<td>{value:.1%}" for name, value in found.items())
    return f"<table><tr><th>exit<th>top-1 on {run.measured_on} images</tr>{rows}</table>" if found else ""


def _near_duplicates(run: Run) -> str:
    """A warning of near-duplicates on different sides of the split."""
    pairs = run.data.get("near_duplicates") or []
    if not pairs:
        return ""
    some = "".join(
        f"<li>{_text(a)} and {_text(b)}{''.join(f' ({names})' for names in sides)}" for a, b, *sides in pairs[:WORST]
    )
    return (
        f"<p>{len(pairs):,} pairs of images on different sides of the split are nearly the same, so the accuracy may "
        f"be too high:</p><ul>{some}</ul>"
    )


def _by_class(confusion: np.ndarray, labels: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{_text(label)}<td>{confusion[c].sum()}<td>{_percent(confusion[c, c], confusion[c].sum())}"
        f"<td>{_percent(confusion[c, c], confusion[:, c].sum())}"
        for c, label in enumerate(labels)
    )
    return f"<table><tr><th>class<th>images<th>recall<th>precision</tr>{rows}</table>"


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _images(
    run: Run, model: keras.Model, held_out: Split, probabilities: np.ndarray, shown: np.ndarray, endpoint: str | None
) -> str:
    """Images with their labels and predictions, each next to its Grad-CAM."""
    predicted = probabilities.argmax(axis=1)
    images = [held_out.image(i) for i in shown]
    overlaid = _with_grad_cam(run, model, images, predicted[shown], endpoint) if endpoint and images else []
    figures = []
    for place, i in enumerate(shown):
        label, prediction = run.labels[held_out.labels[i]], run.labels[predicted[i]]
        thumbnails = [thumbnail(pixels) for pixels in (images[place], *overlaid[place : place + 1])]
        shows = "".join(f'<img src="{address}" alt="">' for address in thumbnails)
        caption = _text(label) if label == prediction else f"{_text(label)}, predicted as {_text(prediction)}"
        figures.append(f"<figure>{shows}<figcaption>{caption} ({probabilities[i].max():.0%})</figcaption></figure>")
    return "".join(figures)


def _with_grad_cam(
    run: Run, model: keras.Model, images: list[np.ndarray], classes: np.ndarray, endpoint: str
) -> list[np.ndarray]:
    """The images as the network sees them, under the colours of Grad-CAM: (H, W, 3) uint8 each."""
    seen = [run.preprocessing.resize(image).numpy() for image in images]
    heat = grad_cam(model, np.stack([run.preprocessing(image) for image in images]), classes, endpoint=endpoint)
    overlaid = []
    for pixels, map_ in zip(seen, heat, strict=True):
        large = Image.fromarray(map_.astype(np.float32)).resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
        colours = matplotlib.colormaps["turbo"](np.clip(np.asarray(large), 0, 1))[..., :3] * 255
        overlaid.append(np.round(0.5 * pixels + 0.5 * colours).astype(np.uint8))
    return overlaid
