"""`doubts.csv` of a run, the images whose label the others doubt, and the page's section about them."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Dataset, Split, decode
from ..evaluation.doubts import Doubt
from ..run import Run
from .charts import printable
from .contact_sheet import thumbnail

NAME = "doubts.csv"
COLUMNS = "image", "side", "label", "looks_like", "margin", "sha256"
SHOWN = 12  # images on the page


def table(dataset: Dataset, found: Sequence[Doubt]) -> str:
    """Return the content of `doubts.csv`: of images that are numbered through the training and the validation side."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    digests = [hashes(split) for split in (dataset.train, dataset.val)]
    for doubt in found:
        side = int(doubt.image >= len(dataset.train))
        place = doubt.image - side * len(dataset.train)
        split = (dataset.train, dataset.val)[side]
        label, other = split.classes[doubt.label], split.classes[doubt.looks_like]
        writer.writerow([name_of(split, place), split.side, label, other, f"{doubt.margin:.3f}", digests[side][place]])
    return text.getvalue()


def section(run: Run, dataset: Dataset) -> str:
    """Return the page's section, as HTML; nothing for a run that has no doubts."""
    path = run.path / NAME
    if not path.is_file():
        return ""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = {digest: (split, i) for split in (dataset.train, dataset.val) for i, digest in enumerate(hashes(split))}
    shown = [row for row in rows if row["sha256"] in places][:SHOWN]
    if not shown:
        return ""
    figures = "".join(_figure(row, *places[row["sha256"]]) for row in shown)
    n = len(dataset.train) + len(dataset.val)
    judge = (
        "a network that was trained without them (cross-validation)"
        if run.folds
        else "a linear classifier on the features that the network had before, which predicts each from all others"
    )
    return f"""<h2>Labels in doubt</h2>
<p>{len(rows):,} of {n:,} images look more like another class than like the one that they are labelled with, to {judge}.
Some of these labels may be wrong. <a href="{NAME}">{NAME}</a> lists all.</p>
<div class="images">{figures}</div>
"""


def contradictions(dataset: Dataset) -> str:
    """Return the page's section about images that are nearly the same but labelled differently; nothing without any."""
    pairs = dataset.contradictions
    if not pairs:
        return ""
    figures = "".join(
        f'<figure><img src="{thumbnail(decode(pair.first))}" alt=""><img src="{thumbnail(decode(pair.second))}" alt="">'
        f"<figcaption>{_label(pair.classes[0])} ({pair.sides[0]}) and {_label(pair.classes[1])} ({pair.sides[1]}): "
        f"{_label(str(pair.first))} and {_label(str(pair.second))}</figcaption></figure>"
        for pair in pairs[:SHOWN]
    )
    return f"""<h2>Nearly the same, labelled differently</h2>
<p>{len(pairs):,} pairs. One of the two labels may be wrong, or the images show both classes.</p>
<div class="images">{figures}</div>
"""


def name_of(split: Split, place: int) -> Any:
    """Return what tables call an image: its file, or the place of an array."""
    source = split.sources[place]
    return place if isinstance(source, np.ndarray | bytes) else source


def hashes(split: Split) -> list[str]:
    """Return the SHA-256 hashes of the contents, in hexadecimal."""
    return [digest.tobytes().hex() for digest in split.content_digests()]


def _figure(row: dict[str, str], split: Split, place: int) -> str:
    label, other = (_label(row[name]) for name in ("label", "looks_like"))
    return (
        f'<figure><img src="{thumbnail(split.image(place))}" alt=""><figcaption>labelled {label}, '
        f"looks like {other} ({html.escape(row['side'])})</figcaption></figure>"
    )


def _label(text: str) -> str:
    return html.escape(printable(text))
