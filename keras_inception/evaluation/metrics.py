"""What is measured of predictions: accuracies, loss, and those of early exits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arguments import checked
from ..outputs import MAIN, exits_among


@checked
def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0..1), mean cross-entropy and n, of probabilities (n, classes) and labels (n,).

    Several classes may be equally probable, as rounded outputs often are. A tie counts as the chance that the right
    class comes first. NaN is never right.
    """
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
    """`scores` of the main output, and the top-1 of each early exit as "exit_1_top1", ..."""
    early = {f"{k}_top1": scores(outputs[k], labels)["top1"] for k in exits_among(outputs)}
    return scores(outputs[MAIN], labels) | early
