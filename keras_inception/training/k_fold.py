"""Cross-validation: every image is predicted by a network that has not been trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data import Dataset, Split
from ..errors import InputError
from ..evaluation import KerasPredictor, summary
from ..evaluation.folds import Folds
from ..outputs import MAIN
from ..run import Run
from ..terminal import note


def folds_of(images: Split, k: int, seed: int) -> np.ndarray:
    """Deal out images to k folds with nearly equal shares of every class, (n,) int from 0; copies go to the same one.

    Contents and `seed` decide, not file names or their order.

    Raises:
        InputError: k is less than 2, or more than the different images of a class.
    """
    from sklearn.model_selection import StratifiedKFold

    _, first, place = np.unique(images.content_digests(), axis=0, return_index=True, return_inverse=True)
    labels = images.labels[first]
    counts = np.bincount(labels, minlength=len(images.classes))
    fewest = int(counts.argmin())
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= counts[fewest]:
        raise InputError(
            f"k_fold must be an integer from 2 to the {counts[fewest]} different images of the smallest class, "
            f"{images.classes[fewest]}; got {k!r}"
        )
    fold = np.empty(len(labels), int)
    for i, (_, members) in enumerate(StratifiedKFold(k, shuffle=True, random_state=seed).split(labels, labels)):
        fold[members] = i
    return fold[place.reshape(-1)]


def cross_validate(images: Split, fold: np.ndarray, out: Path, train: Callable[..., Run]) -> Folds:
    """Train a network for each fold, which `folds_of` dealt out, on all others, and predict that fold.

    The epoch of each is chosen on its fold. Every network leaves a run directory in `out`; those that are there already
    are not trained again.

    Raises:
        InputError: as of `train`.
    """
    k, measured = int(fold.max()) + 1, []
    answers = np.empty((len(images), len(images.classes)), np.float32)
    for i in range(k):
        part = Dataset(images.select(fold != i), images.select(fold == i))
        place = out / f"{i + 1}_of_{k}"
        note(f"fold {i + 1} of {k}", style="")
        run = Run.load(place) if (place / "run.json").exists() else train(part, out=place)
        predictor = KerasPredictor(model=run.model(), labels=run.labels, preprocessing=run.preprocessing)
        outputs = predictor.probabilities(part.val)
        answers[fold == i] = outputs[MAIN]
        measured.append(summary(outputs, part.val.labels))
    top1 = [found["top1"] for found in measured]
    note(f"{k} folds: accuracy {np.mean(top1):.2%}, standard deviation {np.std(top1, ddof=1):.2%}", style="")
    return Folds(images, fold, answers, tuple(measured))
