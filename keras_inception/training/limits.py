"""When a training ends before its last epoch: nothing becomes better, the time is used up, or somebody says so."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..terminal import note
from .distribution import from_chief
from .recipes import Recipe
from .state import Row, rank

UNITS = {"s": 1, "m": 60, "h": 3600}
GRACE = 5  # seconds in which a second Ctrl-C finishes a training


@dataclass(frozen=True)
class Limits:
    """Ends a training after `patience` epochs without a better one, or before one that would not fit into `seconds`.

    Patience counts from the epoch `first` on. The clock runs from `began`: what comes before the first epoch, as the
    features of a frozen backbone, takes time too.
    """

    seconds: float | None
    patience: int | None
    first: int
    began: float

    @classmethod
    def of(cls, recipe: Recipe, seconds: float | None, spent: float) -> Limits:
        """Those of a training that begins or resumes now: the seconds that its epochs took before count."""
        return cls(seconds, recipe.patience, recipe.freeze_epochs or 0, time.monotonic() - spent)

    def reached(self, history: Sequence[Row]) -> str | None:
        """Why the training ends after these epochs, in words; None to continue. Another takes as long as the last.

        Of several workers the chief decides by its clock.
        """
        return from_chief(self._reached(history))

    def _reached(self, history: Sequence[Row]) -> str | None:
        rows = history[self.first :]
        if rows and self.patience is not None:
            best = min(range(len(rows)), key=lambda i: rank(rows[i]))
            if len(rows) - 1 - best >= self.patience:
                return f"no better epoch in {self.patience}"
        if history and self.seconds is not None:
            elapsed, another = time.monotonic() - self.began, history[-1]["seconds"]
            if elapsed + another > self.seconds:
                return f"{elapsed:.0f} of {self.seconds:.0f} s are used, and an epoch takes {another:.0f} s"
        return None


def in_seconds(text: float | str | None) -> float | None:
    """A number of seconds, or a text such as "90s", "30m" or "1.5h", as seconds.

    Raises:
        InputError: it is neither, or not above 0.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smh]?)\s*", str(text))
    seconds = float(match[1]) * UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise InputError(f"time is a number of seconds, or a text such as 90s, 30m or 1.5h; got {text!r}")
    return seconds


def finishes(interrupt: KeyboardInterrupt) -> bool:
    """Whether somebody at a terminal answers Ctrl-C with another one: then the training finishes with what it has."""
    number = interrupt.args[0] if interrupt.args else signal.SIGINT
    if number != signal.SIGINT or not (sys.stderr and sys.stderr.isatty()):
        return False
    note(f"interrupted; Ctrl-C again within {GRACE} s: finish with the best epoch so far", style="")
    try:
        time.sleep(GRACE)
    except KeyboardInterrupt:
        return True
    return False
