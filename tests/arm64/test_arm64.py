"""Exported files on a phone's own kernels: XNNPACK's for arm64, under emulation; `make test-arm64` makes it.

A file in int8 must return the same bits as on x86, on processors with and without dot products of int8. Float rounds
elsewhere in its last bit, since the kernels multiply and add in another order.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception import export
from keras_inception.registry import Architecture

from ..conformance.networks import FOR_PHONES, smallest_shape

PYTHON = os.environ.get("ARM64_PYTHON")
CPUS = ("cortex-a76", "cortex-a53")
FLOAT = 1e-6  # of a probability

pytestmark = pytest.mark.skipif(not PYTHON, reason="ARM64_PYTHON is not set: run `make test-arm64`")


def run(python: list[str], inputs: dict[str, np.ndarray], folder: Path, **environment: str) -> dict[str, np.ndarray]:
    np.savez(folder / "inputs.npz", **inputs)
    script = str(Path(__file__).with_name("run.py"))
    command = [*python, script, str(folder / "inputs.npz"), str(folder / "outputs.npz")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)


@pytest.mark.parametrize("architecture", FOR_PHONES.values(), ids=FOR_PHONES)
def test_a_phones_kernels_return_what_these_do(architecture: Architecture, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    height, width, channels = smallest_shape(architecture)
    shape = (max(height, 64), max(width, 64), channels)
    model = architecture.build(input_shape=shape, classes=10)
    images = np.random.default_rng(0).normal(size=(8, *shape)).astype("float32")
    files = {
        "none": export.to_tflite(model, tmp_path / "float32.tflite", exits=False),
        "int8": export.to_tflite(model, tmp_path / "int8.tflite", quantization="int8", calibration=images, exits=False),
    }
    inputs = {str(file): images[:1] for file in files.values()}
    here = run([sys.executable], inputs, tmp_path)
    for cpu in CPUS:
        there = run([str(PYTHON)], inputs, tmp_path, ARM64_CPU=cpu)
        assert there["machine"] == "aarch64"
        np.testing.assert_array_equal(there[str(files["int8"])], here[str(files["int8"])], err_msg=cpu)
        np.testing.assert_allclose(there[str(files["none"])], here[str(files["none"])], rtol=0, atol=FLOAT, err_msg=cpu)
    keras.backend.clear_session()
