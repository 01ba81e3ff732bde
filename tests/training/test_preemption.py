"""A process that is asked to end writes where it is within the epoch, and ends in an undisturbed training's weights."""

import csv
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.data import Augmentation
from keras_inception.errors import InputError
from keras_inception.run import STATE, Run
from keras_inception.terminal import interruptible, preemptible
from keras_inception.training import loop, train
from keras_inception.training.request import TrainingRequest
from keras_inception.training.state import PAUSED

from .images import images
from .worker_run import normalised

# 80 images to train on, in 5 batches: dropout, averages, MixUp, batch norms that learn, a smaller last batch.
RANDOM = {
    "model": "lenet5",
    "epochs": 2,
    "batch_size": 17,
    "ema": 0.9,
    "augmentation": Augmentation(mixup=0.2),
    "label_smoothing": 0.1,
    "balance": True,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingRequest, "build", normalised(0.5))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRequest, "build", normalised(0.5))
        return train(images(100), out=tmp_path_factory.mktemp("undisturbed") / "run", **RANDOM)


@contextmanager
def after(batches: int, does: Callable[[], Any]) -> Iterator[None]:
    """Within the block something happens after so many batches, and after they are counted."""
    count, end = 0, loop._Steps.on_train_batch_end

    def batch_end(self, batch, logs=None) -> None:
        nonlocal count
        count += 1
        if count == batches:
            does()
        end(self, batch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Steps, "on_train_batch_end", batch_end)
        yield


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@interruptible()
def trained(out: Path, **changes: Any) -> Run:
    """As the command line trains."""
    return train(images(100), out=out, **RANDOM | changes)


def equal(run: Run, other: Run) -> None:
    for ours, theirs in zip(run.model().get_weights(), other.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with open(run.path / "history.csv") as a, open(other.path / "history.csv") as b:
        for row, expected in zip(csv.DictReader(a), csv.DictReader(b), strict=True):
            assert row | {"seconds": ""} == expected | {"seconds": ""}
    assert not (run.path / STATE).exists()


def state(out: Path) -> dict[str, Any]:
    return json.loads((out / STATE / "state.json").read_text())


@pytest.mark.parametrize(
    "moments", [[2], *(pytest.param(other, marks=pytest.mark.slow) for other in ([4], [5], [6, 1, 1]))], ids=str
)
def test_it_ends_as_an_undisturbed_training(undisturbed, tmp_path, moments, capfd) -> None:
    """Ended after these batches, counted from where it began or resumed; there are 5 in an epoch."""
    out = tmp_path / "x"
    for moment in moments:
        with after(moment, terminate), pytest.raises(KeyboardInterrupt) as raised:
            trained(out)
        assert raised.value.args == (signal.SIGTERM,)
        assert len([name for name in PAUSED if (out / STATE / name).exists()]) == 1
    paused = state(out)
    keras.utils.set_random_seed(99)
    capfd.readouterr()
    equal(trained(out), undisturbed)
    place = f"{paused['paused']['batches']} batches of epoch {len(paused['history']) + 1}\n"
    assert f"resuming {out} after {place}" in capfd.readouterr().err


def test_while_it_measures(undisturbed, tmp_path, monkeypatch) -> None:
    """All batches are trained, so they are not trained again; the weights are averages at that moment."""
    measure = loop.NetworkTrainer.measure
    monkeypatch.setattr(loop.NetworkTrainer, "measure", lambda self: (measure(self), terminate()))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "x")
    assert state(tmp_path / "x")["paused"]["batches"] == 5
    monkeypatch.undo()
    monkeypatch.setattr(TrainingRequest, "build", normalised(0.5))
    fitted = []
    monkeypatch.setattr(loop.NetworkTrainer, "_fit", counted(loop.NetworkTrainer._fit, fitted))
    equal(trained(tmp_path / "x"), undisturbed)
    assert len(fitted) == 1


def counted(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        calls.append(1)
        return function(*arguments)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_waits_for_the_state(undisturbed, tmp_path, monkeypatch, number) -> None:
    save = keras.Model.save

    def signalled(self, path, **kwargs) -> None:
        if "paused" in str(path):
            signal.raise_signal(number)
        save(self, path, **kwargs)

    monkeypatch.setattr(keras.Model, "save", signalled)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with after(2, terminate), pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "x")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert state(tmp_path / "x")["paused"]["batches"] == 3
    equal(trained(tmp_path / "x"), undisturbed)


@pytest.mark.slow
def test_a_state_that_cannot_be_written_leaves_the_one_before(undisturbed, tmp_path, monkeypatch) -> None:
    """As a process that is killed while it writes, or a full disk: in the second pause, and of what the first names."""
    with after(2, terminate), pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "x")
    first, write = state(tmp_path / "x"), loop.TrainingState._save

    def full(self) -> None:
        if self.paused and self.paused.batches > 3:
            raise OSError(28, "No space left on device")
        write(self)

    monkeypatch.setattr(loop.TrainingState, "_save", full)
    with after(1, terminate), pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "x")
    assert state(tmp_path / "x") == first
    monkeypatch.undo()
    monkeypatch.setattr(TrainingRequest, "build", normalised(0.5))
    equal(trained(tmp_path / "x"), undisturbed)


def test_ctrl_c_does_not_wait(tmp_path) -> None:
    with after(2, lambda: signal.raise_signal(signal.SIGINT)), pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "x")
    assert state(tmp_path / "x")["paused"] is None


@pytest.fixture(scope="module")
def paused(tmp_path_factory) -> Path:
    """The folder of a training that is paused in its first epoch."""
    out = tmp_path_factory.mktemp("paused") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRequest, "build", normalised(0.5))
        with after(2, terminate), pytest.raises(KeyboardInterrupt):
            trained(out)
    return out


@pytest.mark.parametrize(
    "change", [{"values": []}, {"values": [[1]]}, {"file": "../run.json"}, {"batches": "2"}, {"row": {}}, {"x": 1}]
)
def test_a_damaged_place_is_one_line(paused, tmp_path, change) -> None:
    shutil.copytree(paused, tmp_path / "x")
    found = state(tmp_path / "x")
    found["paused"] |= change
    (tmp_path / "x" / STATE / "state.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"is damaged|neither empty nor an unfinished run"):
        trained(tmp_path / "x")


@pytest.mark.slow
def test_both_stages_of_fine_tuning(undisturbed, tmp_path) -> None:
    """Ended in the first epoch of each: on features, and of the whole network."""
    how = RANDOM | {"weights": undisturbed.path, "freeze_epochs": 1, "augmentation": None, "optimizer": "Adam"}
    whole = train(images(100), out=tmp_path / "whole", **how)
    for _ in range(2):
        with after(3, terminate), pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "x", **how)
    paused = state(tmp_path / "x")
    assert (len(paused["history"]), paused["paused"]["batches"]) == (1, 3)
    equal(trained(tmp_path / "x", **how), whole)


@pytest.mark.slow
def test_time_counts_what_was_trained_before_the_pause(tmp_path, monkeypatch) -> None:
    with after(2, lambda: (time.sleep(1), terminate())), pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "x")
    assert state(tmp_path / "x")["paused"]["seconds"] > 1
    run = trained(tmp_path / "x", time="1s")
    with open(run.path / "history.csv") as file:
        [row] = csv.DictReader(file)
    assert float(row["seconds"]) > 1


def test_signals_that_somebody_else_handles_are_theirs() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with preemptible() as received:
            terminate()
            assert (heard, received) == ([signal.SIGTERM], [])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_is_not_lost_where_the_work_fails() -> None:
    @interruptible()
    @preemptible()
    def fails() -> None:
        terminate()
        raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fails()
