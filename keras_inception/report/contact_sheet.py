"""A contact sheet of training images: each as evaluation sees it, and as its augmentation changes it."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from PIL import Image

from ..data import Split
from ..data.augmentation import from_record
from ..errors import InputError
from ..run import Run
from .charts import shortened

ROWS, COLUMNS = 6, 5  # images, and changed ones of each
SIDE = 160  # of a thumbnail at most, in pixels
STYLE = """
.sheet { table-layout: fixed; width: 100% }
.sheet td, .sheet th { padding: 0 .2rem .4rem; border: 0; text-align: center; vertical-align: top; font-weight: normal;
  font-size: .75rem; line-height: 1.3 }
.sheet tr > :first-child { width: 5rem; padding-left: 0; text-align: left; vertical-align: middle }
.sheet img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #eee }
.sheet td:nth-child(2) img { outline: 2px solid #222 }
"""


def contact_sheet(run: Run, training: Split) -> str:
    """Return a section of the page, as HTML; nothing for a run without augmentation, or with one of somebody's own."""
    record = run.training.get("augmentation") or {}
    try:
        changes = from_record(record)
    except InputError:
        return ""
    if not changes:
        return ""
    seed = int(run.training.get("seed", 0))
    split = training.sample(ROWS, seed)
    preprocessing = run.preprocessing.unnormalized
    [(plain, labels)] = split.batches(preprocessing, ROWS).as_numpy_iterator()
    changed = split.batches(preprocessing, ROWS, augmentation=changes, seed=seed)
    columns = [next(changed.as_numpy_iterator()) for _ in range(COLUMNS)]
    grey = run.preprocessing.channels == "L"
    rows = "".join(
        f"<tr><th>{_name(run, labels[i])}<td>{_image(plain[i], grey)}"
        + "".join(f"<td>{_image(x[i], grey)}{_shares(run, y[i])}" for x, y in columns)
        for i in range(len(split))
    )
    settings = ", ".join(
        name if value is True else f"{name} {value:g}" for name, value in record.items() if name != "kind" and value
    )
    return f"""<h2>Training images</h2>
<p>Some of them as evaluation sees them, and as training changed them ({settings}).
Epochs on cached features of a frozen backbone see them unchanged.</p>
<table class="sheet"><tr><th><th>unchanged<th colspan="{COLUMNS}">in training</tr>{rows}</table>
"""


def thumbnail(pixels: np.ndarray, side: int = 256, kind: str = "PNG") -> str:
    """Return an image, (H, W, 3) or (H, W) uint8, as a data URL of at most `side` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _image(pixels: np.ndarray, grey: bool) -> str:
    image = Image.fromarray(np.rint(pixels).astype(np.uint8)).convert("L" if grey else "RGB")
    return f'<img src="{thumbnail(np.asarray(image), SIDE, "WEBP")}" alt="">'


def _name(run: Run, label: Any) -> str:
    return html.escape(shortened(run.labels[label], int(label)))


def _shares(run: Run, label: np.ndarray) -> str:
    """The classes of an image that is mixed of several, the largest share first."""
    if not label.ndim or label.max() >= 0.995:
        return ""
    order = np.argsort(-label, kind="stable")
    return ", ".join(f"{_name(run, c)} {label[c]:.0%}" for c in order if label[c] >= 0.005)
