"""What a training says after each epoch, in one line."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .limits import Limits
from .recipes import Recipe
from .state import Row


def epoch_line(history: Sequence[Row], recipe: Recipe, images: int, limits: Limits) -> str:
    """The last epoch of a history; `images` is how many are trained on.

    Their speed is over the whole epoch, which ends with the validation images. How long an epoch of the second stage
    takes is not known before its first, so in the first stage the time to the second is said.
    """
    row, done = history[-1], len(history)
    parts = [
        f"epoch {done}/{recipe.epochs}",
        f"loss {row['loss']:.3f}",
        f"accuracy {row['accuracy']:.1%}",
        f"validation {row['val_accuracy']:.1%}",
        f"rate {row['learning_rate']:.2g}",
        f"{images / row['seconds']:,.0f} images/s",
    ]
    frozen = recipe.freeze_epochs or 0
    if done < frozen < recipe.epochs:
        parts.append(f"{_time(history, frozen, limits)} to the second stage")
    elif done != frozen and done < recipe.epochs:
        parts.append(f"{_time(history, recipe.epochs, limits)} left")
    return "  ".join(parts)


def _time(history: Sequence[Row], end: int, limits: Limits) -> str:
    """The time to an epoch within the limits, if each takes as long as the last."""
    seconds = (end - len(history)) * history[-1]["seconds"]
    if limits.seconds is not None:
        seconds = min(seconds, max(0.0, limits.seconds - (time.monotonic() - limits.began)))
    return duration(seconds)


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min 5 s", "3 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
