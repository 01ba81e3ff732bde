"""What a training builds and traces: nothing twice, in however many epochs."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_inception.data import from_arrays
from keras_inception.training import feature_cache, loop, train
from keras_inception.training.state import TrainingState

SETTINGS = {"model": "lenet5", "batch_size": 16, "augmentation": None}
TUNING = {**SETTINGS, "epochs": 4, "freeze_epochs": 2, "augmentation": "strong"}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))


def images(kinds: int):
    """Two and a half batches, so that the last one is smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (20 * kinds, 20, 20, 1), np.uint8)
    return from_arrays(noise, np.repeat(range(kinds), 20), list("abc")[:kinds])


@pytest.fixture
def counts(monkeypatch) -> Counter[str]:
    """How often Python ran a step of training or prediction, which is when it is traced, and an epoch was loaded."""
    seen: Counter[str] = Counter()
    for name in ("train_step", "predict_step"):
        monkeypatch.setattr(keras.Model, name, counted(getattr(keras.Model, name), seen))
    load = loop.Job.load

    def loaded(job: loop.Job, path: Path, **how: bool) -> keras.Model:
        seen["resumed"] += path.name.startswith("epoch_")
        return load(job, path, **how)

    monkeypatch.setattr(loop.Job, "load", loaded)
    return seen


def counted(method: Callable[..., Any], seen: Counter[str]) -> Callable[..., Any]:
    @wraps(method)  # Keras reads the signature
    def count(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen[method.__name__] += 1
        return method(self, *args, **kwargs)

    return count


def test_a_step_is_traced_once(counts, tmp_path) -> None:
    """The kept network is loaded at the end, and measured."""
    train(images(3), out=tmp_path / "run", epochs=3, **SETTINGS)
    assert counts == {"train_step": 1, "predict_step": 2, "resumed": 0}


@pytest.mark.parametrize(
    "options",
    [
        {"label_smoothing": 0.1},
        {"ema": 0.9},
        {"balance": True},
        {"weight_decay": 1e-4},
        {"label_smoothing": 0.1, "balance": True, "augmentation": "strong"},
    ],
)
def test_a_step_is_traced_once_with_what_recipes_add(counts, tmp_path, options) -> None:
    train(images(2), out=tmp_path / "run", epochs=2, **SETTINGS | options)
    assert counts["train_step"] == 1


def test_a_step_is_traced_once_with_a_teacher(counts, tmp_path) -> None:
    teacher = train(images(2), out=tmp_path / "teacher", epochs=1, **SETTINGS)
    counts.clear()
    train(images(2), out=tmp_path / "run", epochs=2, teacher=teacher, balance=True, **SETTINGS)
    assert counts["train_step"] == 1


@pytest.mark.parametrize("cached", [True, False])
def test_fine_tuning_traces_a_step_for_each_stage(counts, tmp_path, monkeypatch, cached) -> None:
    """A resumption loads what it continues with, and the second stage takes the network of the first.

    Features are those of images as they are, with a label each; images are mixed, and have shares of classes.
    """
    start = train(images(3), out=tmp_path / "start", epochs=1, **SETTINGS).path
    counts.clear()
    traced, inner = [], feature_cache._frozen
    monkeypatch.setattr(feature_cache, "_frozen", lambda backbone: traced.append(backbone) or inner(backbone))
    settings = {**TUNING, "weights": start, "cache_features": cached}
    whole = train(images(2), out=tmp_path / "whole", **settings)
    assert counts == {"train_step": 2, "predict_step": 3, "resumed": 0}
    assert len(traced) == cached  # for both sides of the images
    save = TrainingState.save

    def interrupted(state: TrainingState, *args, **kwargs) -> None:
        save(state, *args, **kwargs)
        if len(state.history) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images(2), out=tmp_path / "cut", **settings)
    monkeypatch.setattr(TrainingState, "save", save)
    counts.clear()
    resumed = train(images(2), out=tmp_path / "cut", **settings)
    assert counts == {"train_step": 1, "predict_step": 2, "resumed": 1}
    for a, b in zip(whole.model().get_weights(), resumed.model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
