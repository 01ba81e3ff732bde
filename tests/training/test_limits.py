"""When a training ends before its last epoch, and with what."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data import Dataset, from_arrays
from keras_inception.errors import InputError
from keras_inception.training import limits, train
from keras_inception.training.limits import Limits, in_seconds
from keras_inception.training.loop import NetworkTrainer
from keras_inception.training.request import published

SETTINGS = {"model": "lenet5", "epochs": 4, "batch_size": 8, "augmentation": None}


def row(accuracy: float, loss: float = 1.0, seconds: float = 10.0) -> dict[str, float]:
    return {"val_accuracy": accuracy, "val_loss": loss, "seconds": seconds}


@pytest.fixture(scope="module")
def images() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.integers(0, 256, (24, 20, 20), dtype=np.uint8), np.repeat([0, 1], 12), ["a", "b"])


def epochs(folder: Path) -> int:
    with open(folder / "history.csv") as file:
        return len(list(csv.DictReader(file)))


def test_patience_counts_epochs_of_the_last_stage_without_a_better_one(monkeypatch) -> None:
    ends = Limits(seconds=None, patience=2, first=1, began=0.0).reached
    assert ends([row(0.9)]) is None
    assert ends([row(0.9), row(0.5), row(0.4)]) is None
    assert ends([row(0.9), row(0.5), row(0.4), row(0.5, loss=0.9), row(0.5)]) is None  # of equal accuracy, a lower loss
    assert ends([row(0.9), row(0.5), row(0.4), row(0.5)]) == "no better epoch in 2"


def test_an_epoch_that_would_not_fit_into_the_time_is_not_begun(monkeypatch) -> None:
    monkeypatch.setattr(limits.time, "monotonic", lambda: 130.0)
    assert Limits(seconds=40.0, patience=None, first=0, began=100.0).reached([row(0.5)]) is None
    found = Limits(seconds=39.0, patience=None, first=0, began=100.0).reached([row(0.5)])
    assert found == "30 of 39 s are used, and an epoch takes 10 s"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), (20, 20), ("20", 20), (None, None)]
)
def test_times(text, seconds) -> None:
    assert in_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-3m", 0, "3d"])
def test_times_that_are_none(text) -> None:
    with pytest.raises(InputError, match=r"time is a number of seconds, or a text such as 90s, 30m or 1\.5h; got"):
        in_seconds(text)


def test_a_training_ends_by_patience_and_keeps_the_best_epoch(images, tmp_path, monkeypatch, capfd) -> None:
    accuracies = iter([0.5, 0.75, 0.5, 0.5])
    monkeypatch.setattr(NetworkTrainer, "measure", lambda self: {"val_accuracy": next(accuracies), "val_loss": 1.0})
    run = train(images, out=tmp_path / "x", patience=1, **SETTINGS)
    assert epochs(run.path) == 3
    assert run.training["patience"] == 1
    assert "no better epoch in 1: the training ends" in capfd.readouterr().err


def test_a_training_ends_when_its_time_is_used_up(images, tmp_path, capfd) -> None:
    run = train(images, out=tmp_path / "x", time=0.1, **SETTINGS)
    assert epochs(run.path) == 1
    assert "of 0 s are used, and an epoch takes" in capfd.readouterr().err


def test_ctrl_c_twice_finishes_with_the_best_epoch_so_far(images, tmp_path, monkeypatch) -> None:
    """Only at a terminal, and only if there is an epoch; another interruption, or one alone, can be resumed."""
    out, measure, pressed = tmp_path / "x", NetworkTrainer.measure, []

    def interrupted(self: NetworkTrainer) -> dict[str, float]:
        if self.job.state.history:
            raise KeyboardInterrupt(signal.SIGINT)
        return measure(self)

    def again(seconds: float) -> None:
        pressed.append(seconds)
        if len(pressed) > 1:
            raise KeyboardInterrupt(signal.SIGINT)

    monkeypatch.setattr(NetworkTrainer, "measure", interrupted)
    monkeypatch.setattr(limits.time, "sleep", again)
    with pytest.raises(KeyboardInterrupt):  # no terminal
        train(images, out=out, **SETTINGS)
    assert not pressed
    monkeypatch.setattr(limits.sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):  # once
        train(images, out=out, **SETTINGS)
    assert not (out / "run.json").exists()
    run = train(images, out=out, **SETTINGS)
    assert len(pressed) == 2
    assert epochs(run.path) == 1
    assert json.loads((out / "run.json").read_text())["metrics"]["n"] == len(images.val)


# -------------------------------------------------------------------------------------------------- published weights


@pytest.mark.parametrize(("asked", "tag"), [
    ({"model": "mobilenet_v2"}, "keras_in1k"),
    ({"model": "mobilenet_v2", "recipe": "fine_tune"}, "keras_in1k"),
    ({"model": "mobilenet_v2", "changes": {"options": {"alpha": 0.123}}}, None),  # nobody has published these
    ({"recipe": "mobilenet_v1"}, None),  # a paper trains from scratch
    ({"model": "lenet5"}, None),
])  # fmt: skip
def test_trainings_start_from_published_weights_where_there_are_some(asked, tag) -> None:
    found = published(**{"recipe": None, "model": None, "size": None, "changes": {}} | asked)
    assert (found and found.tag) == tag


def test_without_a_connection_nothing_is_written(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    with pytest.raises(InputError, match=r"not in the cache, and .*: put .* at .*; or start from random weights"):
        train(images, out=tmp_path / "x", model="mobilenet_v2")
    assert not (tmp_path / "x").exists()
