"""Exported files on a GPU, or on a software adapter for Vulkan, which `make test-gpu` chooses."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_inception as ki
from keras_inception import cli, export
from keras_inception.export.comparison import snr
from keras_inception.export.doctor import gpu_problems
from keras_inception.export.optimize import INTEGER_RULES
from keras_inception.export.runtimes import gpu
from keras_inception.export.runtimes.gpu import run_on_gpu
from keras_inception.terminal import quiet

from .test_doctor import residual_sum

SHAPE = (1, 8, 8, 8)


def has_gpu(folder: Path) -> bool:
    return run_on_gpu(written(lambda x: tf.nn.relu(x), folder / "relu.tflite"), np.zeros((1, *SHAPE), "f")) is not None


def written(function, path: Path) -> Path:
    """A file as other exporters write it."""
    concrete = tf.function(function, [tf.TensorSpec(SHAPE)]).get_concrete_function()
    with quiet():
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert())
    return path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    if not has_gpu(tmp_path_factory.mktemp("adapter")):
        pytest.skip("LiteRT finds no GPU: apt install libvulkan1 chromium, and run `make test-gpu`")


def convolutions(**options):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 12))
    return keras.Model(image, layers.Conv2D(12, 1, **options)(image))


IMAGES = np.random.default_rng(0).normal(size=(16, 8, 8, 12)).astype(np.float32)


def decibels(model, path, **options) -> float:
    file = export.to_tflite(model, path, **options)
    images = IMAGES if model.input_shape[1:] == (8, 8, 12) else np.resize(IMAGES, (4, *model.input_shape[1:]))
    run = run_on_gpu(file, images[:4, np.newaxis])
    return snr(np.asarray(model(images[:4])), run.outputs[:, 0])


def test_a_gpu_returns_what_keras_does(adapter, tmp_path):
    assert decibels(convolutions(groups=3), tmp_path / "float32") > 90
    assert decibels(convolutions(groups=3), tmp_path / "float16", quantization="float16") > 50
    assert decibels(convolutions(), tmp_path / "int8", quantization="int8", calibration=IMAGES) > 30


@pytest.mark.parametrize("options", [{"groups": 3}, {"strides": 2}])
def test_special_1x1_convolutions_in_int8_are_still_wrong_there(adapter, tmp_path, options, monkeypatch):
    """When this fails, LiteRT has mended it: `doctor` has nothing to warn of, and the rule has no reason."""
    monkeypatch.delitem(INTEGER_RULES, "stride of a 1x1 convolution before it")
    assert decibels(convolutions(**options), tmp_path / "int8", quantization="int8", calibration=IMAGES) < 10


def test_int8_files_have_no_1x1_convolution_with_a_stride(adapter, tmp_path):
    model, path = convolutions(strides=2, activation="relu"), tmp_path / "int8"
    assert decibels(model, path, quantization="int8", calibration=IMAGES) > 30
    assert not gpu_problems(path)


def test_sums_of_maps_of_one_position_in_int8(adapter, tmp_path, monkeypatch):
    """When the second figure is as good as the first, LiteRT has mended it."""
    images = np.random.default_rng(0).normal(size=(16, 1, 1, 8)).astype(np.float32)
    model, options = residual_sum(1), {"quantization": "int8", "calibration": images}

    def on_gpu(name: str) -> float:
        run = run_on_gpu(export.to_tflite(model, tmp_path / name, **options), images[:4, np.newaxis])
        return snr(np.asarray(model(images[:4])), run.outputs[:, 0])

    assert on_gpu("own") > 25
    monkeypatch.delitem(INTEGER_RULES, "sum of maps of one position as of two")
    assert on_gpu("plain") < 10


@pytest.mark.parametrize(("groups", "filters"), [(2, 10), (4, 12)])
def test_groups_of_channels_that_do_not_divide_by_four(adapter, tmp_path, groups, filters):
    """float16 files, which are for GPUs, have them split; of the others `doctor` warns."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 12))
    model = keras.Model(image, layers.Conv2D(filters, 3, groups=groups)(image))
    assert decibels(model, tmp_path / "float16", quantization="float16") > 50
    path = export.to_tflite(model, tmp_path / "float32")
    assert any("do not divide by 4" in finding.problem for finding in export.doctor(path).findings)
    run = run_on_gpu(path, IMAGES[:1, np.newaxis])
    assert run.refusal or snr(np.asarray(model(IMAGES[:1])), run.outputs[0]) < 10


def test_an_average_pool_over_zeros(adapter, tmp_path):
    """LiteRT's own form is wrong there, so files have another."""
    image = keras.Input((8, 8, 8))
    model = keras.Model(image, layers.AveragePooling2D(3, 2)(layers.ZeroPadding2D(1)(image)))
    assert decibels(model, tmp_path / "pool") > 90
    plain = written(
        lambda x: tf.nn.avg_pool(tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 2, "VALID"), tmp_path / "p"
    )
    x = np.resize(IMAGES, SHAPE)
    assert snr(np.asarray(model(x)), run_on_gpu(plain, x[np.newaxis]).outputs[0]) < 20


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2", "alexnet", "squeezenet1_1"])
def test_networks_with_forms_of_their_own(adapter, tmp_path, name):
    """The shuffle, local response normalisation, padded pools."""
    keras.utils.set_random_seed(0)
    model = ki.create_model(name, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    assert decibels(model, tmp_path / name) > 90


def test_doctor_says_what_the_gpu_did(adapter, tmp_path, capfd, monkeypatch):
    right = export.to_tflite(convolutions(), tmp_path / "right.tflite")
    lrn = written(lambda x: tf.nn.lrn(x), tmp_path / "lrn.tflite")
    for file, said in ((right, "runs, 1"), (lrn, "refused: LOCAL_RESPONSE_NORMALIZATION: Operation is not supported")):
        monkeypatch.setattr(sys, "argv", ["keras-inception", "doctor", str(file)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        assert f"GPU of this machine, by LiteRT: {said}" in capfd.readouterr().out


# --------------------------------------------------------------------------------------- without a GPU, on all machines


def test_without_vulkan_there_is_nothing_to_say(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "find_library", lambda name: None)
    monkeypatch.setattr(gpu.sys, "platform", "linux")
    file = export.to_tflite(convolutions(), tmp_path / "file.tflite")
    assert run_on_gpu(file, IMAGES[:1, np.newaxis]) is None
    assert export.doctor(file).gpu == ""


@pytest.mark.parametrize(("program", "found"), [
    ("import sys; sys.exit('INTERNAL: No adapters found')", None),
    ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it ends the process by signal 4"),
    ("raise RuntimeError('of another kind')", "of another kind"),
    ("import sys; sys.exit('ERROR: Following operations are not supported by GPU delegate:\\n"
     "LOCAL_RESPONSE_NORMALIZATION: Operation is not supported.\\nNo operations will run on the GPU')",
     "LOCAL_RESPONSE_NORMALIZATION: Operation is not supported"),
])  # fmt: skip
def test_what_litert_says_is_understood(monkeypatch, tmp_path, program, found):
    """LiteRT 2.3.0's words."""
    worker = tmp_path / "worker.py"
    worker.write_text(program)
    monkeypatch.setattr(gpu, "WORKER", worker)
    monkeypatch.setattr(gpu, "find_library", lambda name: "libvulkan.so.1")
    file = export.to_tflite(convolutions(), tmp_path / "file.tflite")
    run = run_on_gpu(file, IMAGES[:1, np.newaxis])
    assert run is None if found is None else run.refusal == found
    warned = [f.problem for f in export.doctor(file).findings if "GPU" in f.problem]
    assert warned == ([f"LiteRT's GPU accelerator refuses it: {found}"] if found else [])
