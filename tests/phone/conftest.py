from pathlib import Path

import numpy as np
import pytest

from keras_inception import export
from keras_inception.data import from_arrays
from keras_inception.run import Run
from keras_inception.training import train


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    images = np.random.default_rng(0).integers(0, 255, (12, 40, 50, 3), "uint8")
    folder = tmp_path_factory.mktemp("phone") / "seen"
    data = from_arrays(images, np.arange(12) % 3, ["a <b>", "ünïcode", "it's"])
    return train(data, out=folder, model="lenet5", weights=None, size=32, epochs=1, resize="letterbox", fill=(1, 2, 3))


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Eight images in the size of the network's input: (8, 32, 32, 3), 0..255."""
    return np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def images(run: Run, pixels: np.ndarray) -> np.ndarray:
    """The same for calibration, as the network takes them."""
    return run.preprocessing(pixels)


@pytest.fixture(scope="session")
def kit(run: Run, images: np.ndarray, tmp_path_factory) -> Path:
    """A kit that a test copies before it changes anything."""
    return export.to_phone(
        run, tmp_path_factory.mktemp("kit") / "kit", calibration=images, title='Tom & "Jerry\'s" <@>\\'
    )
