"""A server, an empty cache, and checkpoints that a test publishes on the server."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save

from keras_inception import transport
from keras_inception.preprocessing import Preprocessing
from keras_inception.weights import Checkpoint, download, publishers

from ..server import Server, serving
from .files import torch_names


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no pauses between requests."""
    for name in (download.MIRROR, download.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(download.HOME, str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transport, "BACKOFF", 0.0)
    return tmp_path / "cache"


Publish = Callable[..., Checkpoint]


@pytest.fixture
def publish(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put the weights of a network on the server in torchvision's layout, and list them as a checkpoint."""
    entries: list[Checkpoint] = []

    def publish(model: keras.Model | None, network: str, tag: str = "test", **changes: Any) -> Checkpoint:
        content = save(torch_names(model, network)) if model else b""
        size = model.input_shape[1:3] if model else (64, 64)
        about: dict[str, Any] = {
            "urls": (server.put(f"/{network}-{tag}.safetensors", content),),
            "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "bytes": len(content),
            "license": "Apache-2.0",
            "source": "a test",
            "numerics": "torch",
            "preprocessing": Preprocessing(size=size, crop=0.875, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 56.0)),
        }
        entries.append(Checkpoint(model=network, tag=tag, layout="torchvision", **about | changes))
        monkeypatch.setattr(publishers, "CHECKPOINTS", tuple(entries))
        return entries[-1]

    return publish


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("float32")
