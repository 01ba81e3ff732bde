"""`doubts.csv` of a run, the images whose label the others doubt, and the page's section about them."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence

import numpy as np

from ..data import Dataset, Split
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
    hashes = [_hashes(split) for split in (dataset.train, dataset.val)]
    for doubt in found:
        side = int(doubt.image >= len(dataset.train))
        place = doubt.image - side * len(dataset.train)
        split = (dataset.train, dataset.val)[side]
        source = split.sources[place]
        name = place if isinstance(source, np.ndarray | bytes) else source
        label, other = split.classes[doubt.label], split.classes[doubt.looks_like]
        writer.writerow([name, split.side, label, other, f"{doubt.margin:.3f}", hashes[side][place]])
    return text.getvalue()


def section(run: Run, dataset: Dataset) -> str:
    """Return the page's section, as HTML; nothing for a run that has no doubts."""
    path = run.path / NAME
    if not path.is_file():
        return ""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = {digest: (split, i) for split in (dataset.train, dataset.val) for i, digest in enumerate(_hashes(split))}
    shown = [row for row in rows if row["sha256"] in places][:SHOWN]
    if not shown:
        return ""
    figures = "".join(_figure(row, *places[row["sha256"]]) for row in shown)
    n = len(dataset.train) + len(dataset.val)
    return f"""<h2>Labels in doubt</h2>
<p>{len(rows):,} of {n:,} images look more like another class than like the one that they are labelled with: a linear
classifier on the features of the network before this training predicts each from all others. Some of these labels may
be wrong. <a href="{NAME}">{NAME}</a> lists all.</p>
<div class="images">{figures}</div>
"""


def _hashes(split: Split) -> list[str]:
    return [digest.tobytes().hex() for digest in split.content_digests()]


def _figure(row: dict[str, str], split: Split, place: int) -> str:
    label, other = (html.escape(printable(row[name])) for name in ("label", "looks_like"))
    return (
        f'<figure><img src="{thumbnail(split.image(place))}" alt=""><figcaption>labelled {label}, '
        f"looks like {other} ({html.escape(row['side'])})</figcaption></figure>"
    )
