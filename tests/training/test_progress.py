"""The line of an epoch."""

import time

import pytest

from keras_inception.terminal import progress_bar, progress_shown, tell_progress
from keras_inception.training.limits import Limits
from keras_inception.training.progress import duration, epoch_line
from keras_inception.training.recipes import Recipe

ROW = {"loss": 0.4, "accuracy": 0.875, "val_accuracy": 0.9, "learning_rate": 7.85e-4, "seconds": 10.0}


def line(done: int, *, epochs: int = 10, frozen: int = 0, limit: float | None = None) -> str:
    recipe = Recipe(epochs=epochs, freeze_epochs=frozen)
    limits = Limits(limit, None, frozen, time.monotonic() - 10 * done)
    return epoch_line([ROW] * done, recipe, 3000, limits)


def test_what_is_in_it() -> None:
    shown = "epoch 1/10  loss 0.400  accuracy 87.5%  validation 90.0%  rate 0.00078  300 images/s  1 min 30 s left"
    assert line(1) == shown


@pytest.mark.parametrize(
    ("ending", "given"),
    [
        ("300 images/s", {"done": 10}),
        ("10 s left", {"done": 9}),
        ("30 s to the second stage", {"done": 2, "frozen": 5}),
        ("300 images/s", {"done": 5, "frozen": 5}),  # whose speed is not known yet
        ("40 s left", {"done": 6, "frozen": 5}),
        ("50 s left", {"done": 5, "frozen": 10}),
        ("25 s left", {"done": 1, "limit": 35}),
    ],
)
def test_the_time_left(ending, given) -> None:
    assert line(**given).endswith(f"  {ending}")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (7300, "2 h 1 min")])
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


def test_progress_that_is_not_shown(capfd) -> None:
    with progress_shown(False), progress_bar("first", 1) as advance:
        tell_progress("nothing")
        advance(1)
    tell_progress("something")
    assert capfd.readouterr() == ("", "something\n")
