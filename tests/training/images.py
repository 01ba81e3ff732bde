"""What trainings on several devices learn from, and how far they end from one another."""

from pathlib import Path

import numpy as np

from keras_inception.data import Dataset, from_arrays
from keras_inception.run import Run


def images(n: int) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    noise = rng.normal(size=(n, 24, 24, 3))
    pixels = np.clip(40 * noise + 80 + 60 * labels[:, None, None, None], 0, 255).astype(np.uint8)
    return from_arrays(pixels, labels, ["a", "b", "c"])


def apart(one: Path, other: Path) -> float:
    """The largest difference of a weight of two runs."""
    pairs = zip(Run.load(one).model().get_weights(), Run.load(other).model().get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
