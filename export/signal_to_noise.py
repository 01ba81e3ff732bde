"""How much of a signal an error leaves."""

from __future__ import annotations

import numpy as np


def snr(want: np.ndarray, got: np.ndarray) -> float:
    """The signal-to-noise ratio in decibels: 20 is a tenth of error; at most 200, where float32 sees no difference."""
    signal, noise = np.square(want, dtype=np.float64).sum(), np.square(got - want, dtype=np.float64).sum()
    if not noise:
        return 200.0
    return float(min(200.0, 10 * np.log10(signal / noise))) if signal else 0.0
