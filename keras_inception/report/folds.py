"""`folds.csv` of a run, what cross-validation answered for every image, and the page's section about it."""

from __future__ import annotations

import csv
import io

import numpy as np
from sklearn.metrics import confusion_matrix

from ..evaluation.folds import Folds
from ..run import Run
from .charts import confusion_chart
from .doubts import hashes, name_of

NAME = "folds.csv"
COLUMNS = "image", "fold", "label", "predicted", "probability", "of_label", "sha256"


def table(found: Folds) -> str:
    """Return the content of `folds.csv`: "probability" is of the predicted class, "of_label" of the image's own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    images, classes = found.images, found.images.classes
    for i, (row, digest) in enumerate(zip(found.probabilities, hashes(images), strict=True)):
        label, best = images.labels[i], int(row.argmax())
        numbers = f"{row[best]:.4f}", f"{row[label]:.4f}"
        writer.writerow([name_of(images, i), found.fold[i] + 1, classes[label], classes[best], *numbers, digest])
    return text.getvalue()


def section(run: Run) -> str:
    """Return the page's section, as HTML; nothing for a run without cross-validation."""
    path = run.path / NAME
    if not (run.folds and path.is_file()):
        return ""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = {label: i for i, label in enumerate(run.labels)}
    true, predicted = ([places[row[name]] for row in rows] for name in ("label", "predicted"))
    confusion = confusion_matrix(true, predicted, labels=range(len(run.labels)))
    top1 = [fold["top1"] for fold in run.folds]
    each = "".join(f"<tr><td>{i}<td>{fold['n']:,}<td>{fold['top1']:.1%}" for i, fold in enumerate(run.folds, 1))
    return f"""<h2>Cross-validation</h2>
<p>{len(run.folds)} networks were trained as this one was, each without another part of the images:
top-1 <b>{np.mean(top1):.1%}</b>, standard deviation {np.std(top1, ddof=1):.1%}. The epoch of each was chosen on its
part. <a href="{NAME}">{NAME}</a> has the answer for every image.</p>
<table><tr><th>part<th>images<th>top-1</tr>{each}</table>
{confusion_chart(confusion, run.labels)}
"""
