"""The whole road in minutes, on scikit-learn's 1,797 real handwritten digits: no download, no images of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from ..data import Augmentation, Dataset, from_arrays

SETTINGS: dict[str, Any] = {  # of `training.train`; digits are not mirrored, and more than half of one tells it
    "model": "inception_v1_bn",
    "weights": None,  # nothing is downloaded
    "options": {"dropout": 0.4},
    "size": 32,
    "epochs": 10,
    "learning_rate": 2e-3,
    "augmentation": Augmentation(area=0.6, flip=False),
}


def digits() -> Dataset:
    """The digits as 8 x 8 grey images, white on black, a fifth of them for validation."""
    sample = load_digits()
    images = np.round(sample.images * (255 / 16)).astype(np.uint8)  # 17 shades, 0..16
    return from_arrays(images, sample.target, [str(name) for name in sample.target_names])
