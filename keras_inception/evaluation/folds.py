"""What the networks of a cross-validation answered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data import Split


class Folds(NamedTuple):
    """What k networks answered, each for the images that it was not trained on.

    `images` are those for training and validation, numbered through. `fold` is (n,), from 0; `probabilities` is
    (n, classes). `measured` has the metrics of each network on its fold.
    """

    images: Split
    fold: np.ndarray
    probabilities: np.ndarray
    measured: tuple[dict[str, float], ...]
