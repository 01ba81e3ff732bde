"""The charts of a report, as SVG elements whose text the browser draws: any script, and no mathematics."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BINS = 10  # of confidence
WIDTH = 20  # of a label in a chart, in columns; Chinese, Japanese and Korean characters take two
JOINERS = "\u200c\u200d"  # of Arabic and Indic scripts, and of emoji
MOST_LABELS = 30  # classes; with more, numbers and names in a confusion matrix would not be legible


def curves(history: Sequence[dict[str, float]]) -> str:
    """Draw loss and accuracy by epoch; `history` is as for `page`."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((measure, "training"), (f"val_{measure}", "validation")):
            axes.plot(epochs, [row[key] for row in history], marker=".", label=label)
        axes.set(xlabel="epoch", title=measure)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return _svg(figure)


def confusion_chart(confusion: np.ndarray, labels: Sequence[str]) -> str:
    """Draw counts (classes, classes), with true classes as rows and predicted classes as columns."""
    side = float(np.clip(0.45 * len(labels), 3, 14))
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= MOST_LABELS:
        for (row, column), count in np.ndenumerate(confusion):
            shade = "white" if count > confusion[row].sum() / 2 else "black"
            axes.text(column, row, str(count) if count else "", ha="center", va="center", color=shade, fontsize=8)
        names = [shortened(label, i) for i, label in enumerate(labels)]
        axes.set_xticks(range(len(labels)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(labels)), names, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    return _svg(figure)


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error: the mean difference of confidence and accuracy over bins of confidence.

    Guo et al., 2017, arXiv 1706.04599, equation 3, with 10 bins. Both arguments are (n,).
    """
    bins = _bin(confidence)
    members = [bins == b for b in np.unique(bins)]
    return sum(abs(confidence[m].mean() - correct[m].mean()) * m.mean() for m in members)


def reliability(confidence: np.ndarray, correct: np.ndarray) -> str:
    """Draw accuracy by confidence next to the diagonal of a calibrated network, and the number of images per bin."""
    bins, edges = _bin(confidence), np.arange(BINS) / BINS
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    accuracy = [correct[bins == b].mean() if (bins == b).any() else 0 for b in range(BINS)]
    left.bar(edges, accuracy, 0.9 / BINS, align="edge", label="accuracy")
    left.plot((0, 1), (0, 1), color="black", linewidth=1, linestyle="--", label="perfectly calibrated")
    left.set(xlabel="confidence", title=f"calibration error {calibration_error(confidence, correct):.1%}", ylim=(0, 1))
    left.legend(loc="upper left")
    right.bar(edges, np.bincount(bins, minlength=BINS), 0.9 / BINS, align="edge", color="grey")
    right.set(xlabel="confidence", title="images")
    return _svg(figure)


def printable(label: str) -> str:
    """Return a label on one line, with U+FFFD for characters that cannot be printed; joiners of scripts stay."""
    line = " ".join(label.split())
    return "".join(c if c.isprintable() or c in JOINERS else "\ufffd" for c in line) or "(empty)"


def shortened(label: str, number: int) -> str:
    """Return a label for a chart; a long one is cut, and gets its number, which tells it from its like."""
    columns = np.cumsum([1 + (unicodedata.east_asian_width(c) in "WF") for c in printable(label)])
    if columns[-1] <= WIDTH:
        return printable(label)
    return f"{printable(label)[: int((columns < WIDTH - 4).sum())]}… ({number})"


def _bin(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(confidence) * BINS, 0, BINS - 1).astype(int)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        # Matplotlib measures the text in its own font, which lacks most scripts. The browser has others.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(file, format="svg")
    return "".join(file.getvalue().partition("<svg")[1:])
