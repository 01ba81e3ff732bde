"""A training where memory runs out: the epoch is repeated with fewer images at a time, and ends as it would have."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data import from_arrays
from keras_inception.errors import InputError
from keras_inception.training import feature_cache, loop, train
from keras_inception.training.memory import in_parts, out_of_memory
from keras_inception.training.state import TrainingState

SETTINGS = {"model": "lenet5", "batch_size": 16, "augmentation": None, "epochs": 2, "weights": None}
TUNING = {**SETTINGS, "epochs": 4, "freeze_epochs": 2, "learning_rate": 3e-3, "backbone_rate": 0.3}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))


def images(kinds: int = 3):
    """Two and a half batches to train on, so that the last one is smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (16 * kinds, 20, 20, 1), np.uint8)
    return from_arrays(noise, np.repeat(range(kinds), 16), list("abc")[:kinds])


@pytest.fixture
def short(monkeypatch):
    """Makes memory run out `times` times, at a step of an epoch, both counted from 0."""

    def runs_out(epoch: int, step: int, times: int = 1, error: Exception | None = None):
        left, end, train_epoch = [times], loop._Steps.on_train_batch_end, loop.NetworkTrainer.train
        now = []

        def on_train_batch_end(self, batch, logs=None):
            if now[-1] == epoch and batch == step and left[0]:
                left[0] -= 1
                raise error or tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            end(self, batch, logs)

        monkeypatch.setattr(loop._Steps, "on_train_batch_end", on_train_batch_end)
        monkeypatch.setattr(loop.NetworkTrainer, "train", lambda self, e: now.append(e) or train_epoch(self, e))

    return runs_out


def same(ours, theirs, **tolerance) -> None:
    for a, b in zip(ours.model().get_weights(), theirs.model().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(images(), out=tmp_path_factory.mktemp("whole") / "run", **SETTINGS)


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 2), (1, 1)])
def test_it_ends_as_an_undisturbed_one(whole, short, tmp_path, capfd, epoch, step) -> None:
    short(epoch, step)
    run = train(images(), out=tmp_path / "run", **SETTINGS)
    said = [line for line in capfd.readouterr().err.splitlines() if "memory" in line]
    assert said == [
        "memory ran out with 16 images at a time: the epoch is repeated with 8 at a time, "
        "the gradients of a batch of 16 added up"
    ]
    same(run, whole, rtol=1e-3, atol=1e-6)
    assert (run.training["batch_size"], run.training["micro_batch"]) == (16, 8)
    assert "micro_batch" not in whole.training
