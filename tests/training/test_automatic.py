"""What a training decides by itself: precision, batch size, XLA. A machine with an accelerator is pretended."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception.data import from_arrays
from keras_inception.errors import InputError
from keras_inception.training import automatic, device, loop, train
from keras_inception.training.device import Device
from keras_inception.training.recipes import RECIPES, Recipe
from keras_inception.training.request import resolve
from keras_inception.training.state import TrainingState

from ..crossings.networks import registered

SETTINGS = {"model": "crossed", "epochs": 2, "augmentation": None, "weights": None}
CPU, TPU = Device("cpu", "a CPU"), Device("tpu", "a TPU")
GPU, OLD_GPU = Device("gpu", "a GPU", (7, 0)), Device("gpu", "an old GPU", (6, 1))
OOM = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """The network "crossed", of two convolutions with batch norm; and an empty cache."""
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))
    with registered():
        yield


@pytest.fixture
def on(monkeypatch):
    """Pretends a device. XLA stays off, which compiles for seconds."""

    def on(device_: Device) -> None:
        monkeypatch.setattr(device, "device", lambda: device_)
        monkeypatch.setattr(automatic, "jit_for", lambda device_: False)

    return on


def images(each: int = 16):
    noise = np.random.default_rng(0).integers(0, 256, (3 * each, 20, 20, 3), np.uint8)
    return from_arrays(noise, np.repeat(range(3), each), list("abc"))


def request_of(dataset, recipe=None, model="crossed", **changes):
    return resolve(dataset, images=dataset, validation=0.2, test=0.0, recipe=recipe, model=model, weights=None,
                   size=None, resize=None, fill=None, seed=0, changes=changes)  # fmt: skip


def interrupt_after_an_epoch(monkeypatch) -> None:
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", cut)


# ----------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("there", "expected"),
    [(CPU, "float32"), (OLD_GPU, "float32"), (GPU, "mixed_float16"), (TPU, "mixed_bfloat16"),
     (Device("gpu", "of another make"), "float32")],
)  # fmt: skip
def test_the_precision_of_a_device(there, expected) -> None:
    assert automatic.fast_precision(there) == expected


def test_this_machine_is_known() -> None:
    assert device.device().kind in ("cpu", "gpu", "tpu")
    assert device.available_memory() > 2**20


def test_recipes_of_papers_keep_what_they_say() -> None:
    assert {name for name, recipe in RECIPES.items() if recipe.precision == "auto"} == {"fine_tune", "from_scratch"}


def test_a_gpu_trains_in_16_bits_and_a_resumption_elsewhere_too(on, tmp_path, monkeypatch, capfd) -> None:
    on(GPU)
    with monkeypatch.context() as patch:
        interrupt_after_an_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(images(), out=tmp_path / "x", **SETTINGS)
    assert "float32" not in capfd.readouterr().err
    on(CPU)
    with pytest.raises(InputError, match="unfinished training with precision 'mixed_float16', not 'float32'"):
        train(images(), out=tmp_path / "x", precision="float32", **SETTINGS)
    run = train(images(), out=tmp_path / "x", **SETTINGS)
    assert (run.training["precision"], run.training["jit"]) == ("mixed_float16", False)
    assert {layer.dtype_policy.name for layer in run.model().layers} == {"float32"}


def test_a_cpu_trains_in_float32(tmp_path) -> None:
    run = train(images(), out=tmp_path / "x", **SETTINGS | {"epochs": 1})
    assert (run.training["precision"], run.training["jit"], run.training["batch_size"]) == ("float32", False, 32)


def test_a_network_that_16_bits_are_too_coarse_for(on, monkeypatch, capfd) -> None:
    dataset = images()
    request = request_of(dataset)
    assert automatic.precision_for(request, dataset, GPU) == "mixed_float16"
    assert automatic.precision_for(request, dataset, TPU) == "mixed_bfloat16"
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(automatic, "OUTPUTS", 0.0)
    assert automatic.precision_for(request, dataset, GPU) == "float32"
    said = capfd.readouterr().err
    assert said.startswith("mixed_float16 is too coarse for this network (its probabilities differ by ")
    assert said.count("\n") == 1


def test_a_network_that_overflows(monkeypatch) -> None:
    dataset = images()
    request = request_of(dataset)
    monkeypatch.setattr(automatic, "_normalise", lambda network, images: _enlarge(network, 1e5))
    assert automatic.departure(request, dataset, "mixed_float16") == "its outputs are not finite"
    assert automatic.departure(request, dataset, "mixed_bfloat16") is None  # of float32's range


def _enlarge(network: keras.Model, factor: float) -> None:
    """Maps between the batch norms become larger by this factor, and after them what they were."""
    norm = network.get_layer("first_bn")
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma * factor, beta, mean, variance])
    second = network.get_layer("second_bn")
    gamma, beta, mean, variance = second.get_weights()
    second.set_weights([gamma, beta, mean, variance * factor**2])


# ---------------------------------------------------------------------------------------------------------- batch size


@pytest.mark.parametrize(("fits", "expected"), [(1000, 64), (72, 64), (71, 32), (20, 16), (4, 8)])
def test_the_largest_that_fits_with_a_margin(fits, expected) -> None:
    def step(size: int) -> float:
        if size > fits:
            raise OOM
        return 1.0

    assert automatic.fitting(step, 64) == expected


def test_another_error_is_none_of_memory() -> None:
    def step(size: int) -> float:
        raise tf.errors.InvalidArgumentError(None, None, "Incompatible shapes")

    with pytest.raises(tf.errors.InvalidArgumentError):
        automatic.fitting(step, 64)


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({8: 100, 16: 103, 32: 104}, 8),
        ({8: 50, 16: 80, 32: 98, 64: 100, 128: 90}, 32),
        ({8: 10, 16: 20, 32: 40, 64: 80, 128: 160, 256: 320}, 256),
        ({8: 100, 16: 50, 32: 40}, 8),
    ],
)
def test_the_smallest_that_is_nearly_the_fastest(speeds, expected) -> None:
    tried = []
    assert automatic.fastest(lambda size: tried.append(size) or size / speeds[size], 256) == expected
    assert tried == list(speeds)  # and the search ends there


def test_main_memory_bounds_the_search(monkeypatch) -> None:
    monkeypatch.setattr(device, "available_memory", lambda: 64.0)
    assert automatic.fastest(lambda size: 1.0, 256, bytes_an_image=1.0) == 32  # half of it


def test_it_is_found_once_and_recorded(tmp_path, monkeypatch, capfd) -> None:
    """1200 images have at least 30 steps in an epoch with batches of up to 32."""
    tried, call = [], automatic.Trial.__call__
    monkeypatch.setattr(automatic.Trial, "__call__", lambda self, n: (tried.append(n), call(self, n), 1.0)[-1])
    dataset, settings = images(420), {**SETTINGS, "epochs": 2, "batch_size": "auto"}
    with monkeypatch.context() as patch:
        interrupt_after_an_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, out=tmp_path / "x", **settings)
    assert tried == [8, 16, 32]
    said = capfd.readouterr().err
    assert [line.split(" on this")[0] for line in said.splitlines() if "batch size" in line] == [
        "batch size 32 is nearly as fast as any"
    ]
    (file,) = (tmp_path / "home" / "batch_sizes").iterdir()
    assert json.loads(file.read_text()) == {"batch_size": 32}
    state = tmp_path / "x" / "training_state" / "state.json"
    assert json.loads(state.read_text())["request"]["recipe"]["batch_size"] == 32
    file.write_text("damaged")
    run = train(dataset, out=tmp_path / "x", **settings)  # resumes: neither searches nor looks it up
    assert (tried, run.training["batch_size"]) == ([8, 16, 32], 32)
    request = request_of(dataset)
    assert automatic.batch_size_for(request, dataset, CPU) == 32
    assert len(tried) == 6  # another device
    assert automatic.batch_size_for(request, dataset, CPU) == 32
    assert len(tried) == 6
    assert "batch size 32, as was found before on this device\n" in capfd.readouterr().err


def test_few_images_need_no_search(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(automatic, "Trial", None)
    run = train(images(), out=tmp_path / "x", **SETTINGS | {"batch_size": "auto", "epochs": 1})
    assert run.training["batch_size"] == 8
    assert "batch size 8: more would leave fewer than 30 steps to an epoch\n" in capfd.readouterr().err


def test_what_follows_from_the_batch_size_follows() -> None:
    dataset = images()
    request = request_of(dataset, recipe="nasnet_large", model=None, epochs=3, batch_size=16)
    assert request.arguments["drop_path_steps"] == 9
    assert request.with_recipe(Recipe(batch_size=8, epochs=3)).arguments["drop_path_steps"] == 15


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("crossed_heads", {"options": {"aux_heads": True}}),
        ("crossed", {"augmentation": "strong", "precision": "mixed_bfloat16"}),
    ],
)
def test_a_trial_step_is_one_of_the_training(model, changes) -> None:
    request = request_of(images(), model=model, **changes)
    trial = automatic.Trial(request)
    assert trial(4) > 0
    assert trial.bytes_an_image > 2 * 4 * 16 * 16 * 3 / 2


# ----------------------------------------------------------------------------------------------------------------- XLA


def test_xla_compiles_by_itself_on_accelerators_alone() -> None:
    assert [automatic.jit_for(there) for there in (CPU, GPU, TPU)] == [False, True, True]


@pytest.fixture
def compiled(monkeypatch) -> list[str]:
    """The networks whose steps were given to XLA."""
    make, found = keras.Model.make_train_function, []

    def make_train_function(self, force=False):
        if self.train_function is None and self.jit_compile:
            found.append(self.name)
        return make(self, force)

    monkeypatch.setattr(keras.Model, "make_train_function", make_train_function)
    return found


@pytest.mark.slow
def test_asked_for_it_compiles_steps_of_images_and_ends_the_same(tmp_path, monkeypatch, compiled) -> None:
    """Not those of a head on features; predictions are not compiled; a resumption ends in the same weights."""
    settings = {**SETTINGS, "jit": True, "batch_size": 19}
    whole = train(images(), out=tmp_path / "whole", **settings)
    assert compiled == ["crossed"]
    plain = train(images(), out=tmp_path / "plain", **settings | {"jit": False})
    for a, b in zip(whole.model().get_weights(), plain.model().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert whole.training["jit"] is True
    with monkeypatch.context() as patch:
        interrupt_after_an_epoch(patch)
        with pytest.raises(KeyboardInterrupt):
            train(images(), out=tmp_path / "cut", **settings)
    resumed = train(images(), out=tmp_path / "cut", **{k: v for k, v in settings.items() if k != "jit"})
    assert (resumed.training["jit"], compiled) == (True, ["crossed"] * 3)
    for a, b in zip(whole.model().get_weights(), resumed.model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    compiled.clear()
    train(images(), out=tmp_path / "head", weights=whole.path, jit=True, epochs=1, freeze_epochs=1, augmentation=None)
    assert compiled == []


def test_what_xla_cannot_compile_is_trained_without(tmp_path, monkeypatch, capfd) -> None:
    end = loop._Steps.on_train_batch_end

    def fail(self, batch, logs=None):
        if self.model.jit_compile:
            raise tf.errors.InvalidArgumentError(None, None, "Detected unsupported operations when trying to compile")
        end(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Steps, "on_train_batch_end", fail)
        patch.setattr(tf, "function", _uncompiled(tf.function))
        run = train(images(), out=tmp_path / "x", jit=True, **SETTINGS)
    assert run.training["jit"] is False
    said = capfd.readouterr().err
    assert "XLA cannot compile or run this training (Detected unsupported operations when trying to compile): " in said


def _uncompiled(function):
    return lambda *args, jit_compile=None, **kwargs: function(*args, **kwargs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": "big"}, "batch_size must be a positive integer; got 'big'"),
        ({"precision": "half"}, "precision must be float32, mixed_float16, mixed_bfloat16 or auto; got 'half'"),
        ({"jit": "auto"}, "jit must be True, False, or None; got 'auto'"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        train(images(), out=tmp_path / "x", **SETTINGS | changes)
    assert not (tmp_path / "x").exists()
