"""What is measured of predictions: accuracies, loss, and those of early exits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arguments import checked, shown
from ..errors import InputError
from ..outputs import MAIN, exits_among


@checked
def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0..1), mean cross-entropy and n, of probabilities (n, classes) and labels (n,).

    Several classes may be equally probable, as rounded outputs often are. A tie counts as the chance that the right
    class comes first. NaN is never right.

    Raises:
        InputError: the arrays have other shapes, or a label is of no class.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        raise InputError(
            f"scores are of probabilities (n, classes) and labels (n,); got {probabilities.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
        raise InputError(f"labels are whole numbers from 0 to {probabilities.shape[1] - 1}; got {shown(labels)}")
    own = probabilities[np.arange(len(labels)), labels]
    ahead = (~(probabilities <= own[:, None])).sum(axis=1)  # comparisons with NaN are False: all classes are ahead
    equal = np.maximum((probabilities == own[:, None]).sum(axis=1), 1)  # itself included
    return {
        "top1": float(np.clip((1 - ahead) / equal, 0, 1).mean()),
        "top5": float(np.clip((5 - ahead) / equal, 0, 1).mean()),
        "loss": float(-np.log(np.clip(own, 1e-7, 1)).mean()),
        "n": len(labels),
    }


@checked
def summary(outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """`scores` of the main output, and the top-1 of each early exit as "exit_1_top1", ...

    Raises:
        InputError: there is no main output, or as of `scores`.
    """
    if MAIN not in outputs:
        raise InputError(f"the outputs must have {MAIN!r}, the main one; got {shown(list(outputs))}")
    early = {f"{k}_top1": scores(outputs[k], labels)["top1"] for k in exits_among(outputs)}
    return scores(outputs[MAIN], labels) | early
