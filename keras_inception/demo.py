"""The whole road in minutes, on scikit-learn's 1,797 real handwritten digits: no download, no pictures of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from .data import Augmentation, Dataset, from_arrays

SETTINGS: dict[str, Any] = {  # of `training.train`; digits are not mirrored, and nearly all of one is needed to tell it
    "model": "mobilenet_v2",
    "options": {"alpha": 0.5},
    "size": 64,
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "augmentation": Augmentation(area=0.7, flip=False),
}


def digits() -> Dataset:
    """The digits as 8 x 8 grey pictures, white on black, a fifth of them held out."""
    sample = load_digits()
    pictures = np.round(sample.images * (255 / 16)).astype(np.uint8)  # 17 shades, 0..16
    return from_arrays(pictures, sample.target, [str(name) for name in sample.target_names])
