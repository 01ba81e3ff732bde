"""A small set of images in folders, and the parts of a cache and a server that remote images need."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception import transport
from keras_inception.files import HOME

from ..server import Server, serving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no pauses between requests, and small pieces."""
    monkeypatch.delenv(transport.OFFLINE, raising=False)
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transport, "BACKOFF", 0.0)
    monkeypatch.setattr(transport, "PIECE", 1000)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Twelve images of noise a class, of which each file is another."""
    folder = tmp_path / "animals"
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(100 * label + i).integers(0, 256, (16 + i, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder
