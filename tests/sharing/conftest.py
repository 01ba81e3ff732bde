"""What tests of sharing have in common: a run, and a hub on the loopback interface."""

from pathlib import Path

import numpy as np
import pytest

from keras_inception.data import from_arrays
from keras_inception.training import train

from ..cli.conftest import call  # noqa: F401
from ..hub_server import TOKEN, serving

SETTINGS = {"model": "lenet5", "batch_size": 16, "augmentation": None}
NAMES = ["a|b", "<c>"]


@pytest.fixture(scope="package")
def images():
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 20), np.uint8)
    return from_arrays(pixels, np.repeat(range(2), 15), NAMES)


@pytest.fixture(scope="package")
def run(images, tmp_path_factory):
    return train(images, out=tmp_path_factory.mktemp("runs") / "x", epochs=1, weights=None, **SETTINGS)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The hub of the client, with somebody logged in and nothing in the cache."""
    with serving() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        fresh_cache(monkeypatch, tmp_path / "hf")
        yield state


def fresh_cache(monkeypatch, place: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(place / "token"))
