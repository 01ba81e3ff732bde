"""Training on two devices of a machine, which TensorFlow makes of the CPU in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_inception import InputError
from keras_inception.training.distribution import strategy_for

ROOT = Path(__file__).parents[2]


def on_two_devices(case: str, folder: Path) -> dict:
    command = [sys.executable, "-m", "tests.training.strategy_run", case, str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_it_ends_where_one_device_does(tmp_path):
    assert on_two_devices("equal", tmp_path)["lenet5"] < 1e-6


@pytest.mark.slow
def test_batch_norms_see_the_images_of_all_devices(tmp_path):
    """Their variance is a mean of squares there, which rounds otherwise; apart, they would be of half the images."""
    assert on_two_devices("equal_with_batch_norm", tmp_path)["resnet20"] < 0.01


@pytest.mark.slow
def test_it_resumes_to_the_bit(tmp_path):
    assert on_two_devices("resumed", tmp_path) == {"apart": 0.0}


@pytest.mark.slow
def test_it_resumes_to_the_bit_within_an_epoch(tmp_path):
    assert on_two_devices("terminated", tmp_path) == {"apart": 0.0, "batches": 3, "same history": True}


@pytest.mark.slow
def test_auxiliary_heads_smoothed_labels_class_weights_and_both_stages(tmp_path):
    found = on_two_devices("features", tmp_path)
    assert {"aux_1_accuracy", "aux_2_loss", "val_accuracy"} <= set(found["history"])
    assert 0 < found["loss"] < 10
    assert found["epochs"] == 2


def test_a_batch_divides_by_the_devices(tmp_path):
    found = on_two_devices("refused", tmp_path)
    assert found["said"] == "a batch of 15 does not divide by 2 devices: give --batch-size 16"
    assert found["left"] == "False"


def test_strategies_that_are_not_there():
    assert strategy_for("none", 32) is None
    assert strategy_for("auto", 32) is None  # no GPU here, or one
    with pytest.raises(InputError, match=r"unknown strategy 'tpu'; give one of auto, none, mirrored, multi_worker"):
        strategy_for("tpu", 32)
    with pytest.raises(InputError, match=r"two devices or more, and TensorFlow finds 1 [CG]PU: leave --strategy out"):
        strategy_for("mirrored", 32)
