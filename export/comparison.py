"""How two sets of outputs are compared."""

from __future__ import annotations

import numpy as np


def snr(want: np.ndarray, got: np.ndarray) -> float:
    """The signal-to-noise ratio in decibels. 20 dB is an error of a tenth; 200, the most, is no difference."""
    signal, noise = np.square(want, dtype=np.float64).sum(), np.square(got - want, dtype=np.float64).sum()
    if not noise:
        return 200.0
    return float(min(200.0, 10 * np.log10(signal / noise))) if signal else 0.0


def by_class(outputs: np.ndarray) -> np.ndarray:
    """Outputs with one column per class: a single sigmoid (n, 1) becomes (n, 2), all others stay as they are."""
    return np.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def same_class(want: np.ndarray, got: np.ndarray) -> float:
    """The share of images with the same most probable class in both, each (n, classes).

    Classes that tie for the maximum share it: equal outputs agree fully, whether they tie or not, and an output that is
    the same for all classes agrees with a single class as often as chance does.
    """
    return float(np.minimum(_most_probable(want), _most_probable(got)).sum(axis=-1).mean())


def _most_probable(outputs: np.ndarray) -> np.ndarray:
    best = outputs == outputs.max(axis=-1, keepdims=True)
    return best / best.sum(axis=-1, keepdims=True)
