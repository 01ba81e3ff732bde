"""Images whose label the other images doubt: a linear classifier on features predicts each from all others.

The features are those of a backbone that has not seen the labels. The classifier is ridge regression on the classes, of
which the prediction for each image without that image has a closed form (Allen's PRESS, Technometrics 16, 1974): it
costs one decomposition, while cross-validation costs a training for each fold and leaves out more than one image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LARGEST = 4096  # of the smaller of images and features, whose cube is the number of multiplications: seconds
PENALTIES = np.logspace(-4, 2, 13)  # over the mean square of a feature: the one with the smallest error is taken


class Doubt(NamedTuple):
    """An image, the class that it is labelled with, and the class that it looks like.

    `margin` is how much more it looks like that class, where a certain one has 1 and all others 0.
    """

    image: int
    label: int
    looks_like: int
    margin: float


def doubts(features: np.ndarray, labels: np.ndarray, classes: int) -> list[Doubt]:
    """Return the images that look like another class than that of their label, the most doubtful first.

    Args:
        features: (n, d) of a backbone, or maps (n, h, w, d), which are averaged over their pixels.
        labels: (n,) from 0 to `classes` - 1.
        classes: how many there are.

    There are none for fewer than three images, or for more than `LARGEST` images of more features than that.
    """
    n = len(features)
    if n < 3 or min(n, features.shape[-1]) > LARGEST:
        return []
    return doubted(leave_one_out(_vectors(features), np.eye(classes)[labels]), labels)


def doubted(scores: np.ndarray, labels: np.ndarray) -> list[Doubt]:
    """Return the images whose label does not have the best score, the most doubtful first.

    `scores` is (n, classes), from classifiers that have not learned the image's label.
    """
    scores, rows = scores.copy(), np.arange(len(labels))
    own = scores[rows, labels]
    scores[rows, labels] = -np.inf
    other = scores.argmax(axis=1)
    margins = scores[rows, other] - own
    order = np.argsort(-margins, kind="stable")
    return [Doubt(int(i), int(labels[i]), int(other[i]), float(margins[i])) for i in order if margins[i] > 0]


def leave_one_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Predict each row of y (n, k) from x (n, d) by ridge regression on the other rows.

    The penalty is the one of `PENALTIES` whose predictions have the smallest squared error.
    """
    centred = x - x.mean(axis=0)
    mean = y.mean(axis=0)
    # Eigenvectors of the images, or of the features, whichever are fewer, give the same projections.
    if x.shape[0] <= x.shape[1]:
        squares, basis = np.linalg.eigh(centred @ centred.T)
    else:
        squares, directions = np.linalg.eigh(centred.T @ centred)
        basis = centred @ directions / np.sqrt(np.maximum(squares, np.finfo(float).eps * max(squares[-1], 1.0)))
    squares = np.maximum(squares, 0.0)
    projected = basis.T @ (y - mean)
    scale = squares.sum() / min(x.shape) or 1.0
    best, least = y, np.inf
    for penalty in PENALTIES * scale:
        shrunk = squares / (squares + penalty)
        fitted = mean + basis @ (shrunk[:, np.newaxis] * projected)
        influence = 1 / len(x) + np.square(basis) @ shrunk  # of each row on its own prediction
        without = y + (fitted - y) / np.maximum(1 - influence, 1e-6)[:, np.newaxis]
        error = float(np.square(without - y).sum())
        if error < least:
            best, least = without, error
    return best


def _vectors(features: np.ndarray) -> np.ndarray:
    """Features of an image as a vector, (n, d) float64: maps are averaged over their pixels."""
    x = np.asarray(features, np.float64)
    return x.mean(axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x
