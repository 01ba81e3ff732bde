"""A training where memory runs out: the epoch is repeated with fewer images at a time, and ends as it would have."""

import json
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data import from_arrays
from keras_inception.errors import InputError
from keras_inception.training import feature_cache, loop, train
from keras_inception.training.memory import in_parts, out_of_memory
from keras_inception.training.recipes import Recipe, Steps
from keras_inception.training.recipes.apply import attach, compile_for, fitting
from keras_inception.training.state import TrainingState

from ..crossings.networks import registered

SETTINGS = {"model": "lenet5", "batch_size": 16, "augmentation": None, "epochs": 2, "weights": None}
OOM = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[16,28,28,6]")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))


@pytest.fixture
def small():
    """Networks of two convolutions with batch norm."""
    with registered():
        yield


def images(kinds: int = 3):
    """Two and a half batches to train on, so that the last one is smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (16 * kinds, 20, 20, 1), np.uint8)
    return from_arrays(noise, np.repeat(range(kinds), 16), list("abc")[:kinds])


@pytest.fixture
def short(monkeypatch):
    """Makes memory run out `times` times at a step of an epoch, both counted from 0."""

    def runs_out(epoch: int, step: int, times: int = 1, error: Exception = OOM) -> None:
        end, train_epoch, now, left = loop._Steps.on_train_batch_end, loop.NetworkTrainer.train, [0], [times]

        def on_train_batch_end(self, batch, logs=None):
            if (now[0], batch) == (epoch, step) and left[0]:
                left[0] -= 1
                raise error
            end(self, batch, logs)

        def train(self, epoch):
            now[0] = epoch
            return train_epoch(self, epoch)

        monkeypatch.setattr(loop._Steps, "on_train_batch_end", on_train_batch_end)
        monkeypatch.setattr(loop.NetworkTrainer, "train", train)

    return runs_out


def assert_same(ours, theirs, **tolerance) -> None:
    for a, b in zip(ours.model().get_weights(), theirs.model().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


# ------------------------------------------------------------------------------------------------------- steps in parts


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_parts_step_as_the_whole_batch_does(policy) -> None:
    """With what must count batches, not parts: schedule, average, momentum, clipping, penalty, loss scale."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(43, 5)).astype("float32"), rng.integers(0, 3, 43)
    recipe = Recipe(optimizer="SGD", arguments={"momentum": 0.9}, learning_rate=0.3, schedule=Steps((0.5,)), ema=0.9,
                    clip_norm=0.5, weight_decay=0.1)  # fmt: skip
    found = {}
    for size in (None, 3):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4, "relu", dtype=policy), keras.layers.Dense(3, "softmax", dtype="float32")]
        model = keras.Sequential([keras.Input((5,)), *layers])
        compile_for(model, recipe, steps=15)
        attach(model, recipe)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        with fitting(model), in_parts(model, size) if size else nullcontext():
            logs = model.fit(data, epochs=5, shuffle=False, verbose=0, class_weight={0: 1.0, 1: 2.0, 2: 0.5}).history
        found[size] = [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)], logs, model
    whole, parts = found[None], found[3]
    assert int(parts[2].optimizer.iterations) == 15
    close = {"rtol": 1e-4, "atol": 1e-6} if policy == "float32" else {"rtol": 2e-2, "atol": 2e-3}
    for a, b in zip(whole[0], parts[0], strict=True):
        np.testing.assert_allclose(a, b, **close)
    for name, values in whole[1].items():
        np.testing.assert_allclose(values, parts[1][name], **close)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OOM, True),
        (MemoryError(), True),
        (tf.errors.ResourceExhaustedError(None, None, "/runs/x; No space left on device"), False),
        (tf.errors.InternalError(None, None, "Failed to allocate scratch buffer"), True),
        (tf.errors.NotFoundError(None, None, "No algorithm worked! Error messages: ..."), True),
        (tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"), False),
        (ValueError("allocate"), False),
    ],
)
def test_errors_that_mean_too_little_memory(error, expected) -> None:
    assert out_of_memory(error) is expected


# ------------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(images(), out=tmp_path_factory.mktemp("whole") / "run", **SETTINGS)


@pytest.mark.parametrize(("epoch", "step", "error"), [(0, 0, OOM), (1, 2, MemoryError())])
def test_it_ends_as_an_undisturbed_one(whole, short, tmp_path, capfd, epoch, step, error) -> None:
    short(epoch, step, error=error)
    run = train(images(), out=tmp_path / "run", **SETTINGS)
    assert [line for line in capfd.readouterr().err.splitlines() if "memory" in line] == [
        "memory ran out with 16 images at a time: the epoch is repeated with 8 at a time, "
        "the gradients of a batch of 16 added up"
    ]
    assert_same(run, whole, rtol=1e-3, atol=1e-6)
    assert (run.training["batch_size"], run.training["micro_batch"]) == (16, 8)
    assert "micro_batch" not in whole.training


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Fine-tuned without a disturbance: on features and on images; and how."""
    place = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_INCEPTION_HOME", str(place / "home"))
        start = train(images(), out=place / "start", **SETTINGS | {"epochs": 1}).path
        settings = {**SETTINGS, "epochs": 4, "freeze_epochs": 2, "weights": start, "backbone_rate": 0.3}
        del settings["model"]
        made = {cached: train(images(2), out=place / str(cached), cache_features=cached, **settings)
                for cached in (True, False)}  # fmt: skip
    return made, settings


@pytest.mark.parametrize(
    ("cached", "epoch", "step"),
    [
        (False, 0, 0),
        (True, 3, 1),
        pytest.param(True, 1, 1, marks=pytest.mark.slow),
        pytest.param(True, 2, 0, marks=pytest.mark.slow),
    ],
)
def test_in_either_stage_of_fine_tuning(tuned, short, tmp_path, capfd, cached, epoch, step) -> None:
    made, settings = tuned
    short(epoch, step)
    run = train(images(2), out=tmp_path / "run", cache_features=cached, **settings)
    assert capfd.readouterr().err.count("memory ran out") == 1
    assert_same(run, made[cached], rtol=1e-3, atol=1e-6)


def test_while_features_are_computed(tuned, tmp_path, monkeypatch, capfd) -> None:
    made, settings = tuned
    compute, sizes = feature_cache.features, []

    def features(*args, batch_size):
        sizes.append(batch_size)
        if len(sizes) == 1:
            raise OOM
        return compute(*args, batch_size=batch_size)

    monkeypatch.setattr(loop, "features", features)
    run = train(images(2), out=tmp_path / "run", **settings)
    assert sizes == [16, 8]
    assert_same(run, made[True], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_one_image_too_many(short, tmp_path, capfd) -> None:
    short(1, 0, times=99)
    with pytest.raises(InputError, match=r"^memory ran out with one image of 32 x 32 at a time: give a smaller --size"):
        train(images(), out=tmp_path / "run", **SETTINGS)
    said = [line.split(":")[0] for line in capfd.readouterr().err.splitlines() if "memory" in line]
    assert said == [f"memory ran out with {n} images at a time" for n in (16, 8, 4, 2)]
    state = json.loads((tmp_path / "run" / "training_state" / "state.json").read_text())
    assert (len(state["history"]), state["found"]) == (1, {"micro_batch": 1})


@pytest.mark.slow
def test_a_resumption_keeps_what_was_found(small, short, tmp_path, monkeypatch, capfd) -> None:
    """To the bit, with batch norms, whose batches are whole in the first epoch, auxiliary heads and smoothing."""
    settings = SETTINGS | {
        "model": "crossed_heads", "options": {"aux_heads": True}, "label_smoothing": 0.1, "epochs": 3
    }  # fmt: skip
    short(1, 1)
    undisturbed = train(images(), out=tmp_path / "a", **settings)
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        if len(self.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", cut)
    short(1, 1)
    with pytest.raises(KeyboardInterrupt):
        train(images(), out=tmp_path / "b", **settings)
    monkeypatch.setattr(TrainingState, "save", save)
    capfd.readouterr()
    resumed = train(images(), out=tmp_path / "b", **settings)
    assert "memory" not in capfd.readouterr().err
    assert resumed.training["micro_batch"] == 8
    assert_same(resumed, undisturbed, rtol=0, atol=0)


def test_other_errors_end_the_training(short, tmp_path) -> None:
    short(0, 1, error=tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        train(images(), out=tmp_path / "run", jit=False, **SETTINGS)
