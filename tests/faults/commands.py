"""What is disturbed: each command, what it needs, and what it makes."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from keras_inception.run import STATE

from ..server import serving

CLASSES, PER_CLASS = ("ant", "bee", "cat"), 12
FROZEN, EPOCHS = 2, 4
DOWNLOAD = 4_000_000  # bytes
TRAIN = ("--model", "lenet5", "--size", 28, "--epochs", EPOCHS, "--batch-size", 8, "--seed", 1)
CLI = (sys.executable, "-m", "keras_inception")

Digests = dict[str, str]  # what a command made: part -> its hash


@dataclass(frozen=True)
class Command:
    """A command line in a folder that holds `images`, `run` and `others`; it writes `out`.

    `reads` are files that may vanish, `made` the hashes of a complete result, `phase` what it was at when it ended.
    """

    words: tuple[Any, ...]
    out: str
    made: Callable[[Path], Digests]
    reads: str = ""
    phase: Callable[[Path], str] = lambda out: ""
    served: bool = False

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """What the process finds around it."""
        if not self.served:
            yield {}
            return
        with serving() as server:
            server.pace = DOWNLOAD / 4  # bytes a second
            content = np.random.default_rng(0).bytes(DOWNLOAD)
            server.put("/weights.h5", content)
            yield {
                "ADDRESS": f"{server.address}/weights.h5",
                "DIGEST": f"sha256:{hashlib.sha256(content).hexdigest()}",
                "KERAS_INCEPTION_HOME": "out",
            }


def pictures(folder: Path, seed: int) -> None:
    """Labelled images of which a network learns something."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            pixels = rng.integers(0, 90, (30, 30, 3)) + 60 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i:02d}.png")


# ---------------------------------------------------------------------------------------------------- what was made


def hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> Digests:
    return {path.name: hashed(path.read_bytes())}


def of_folder(path: Path) -> Digests:
    """Every file below, except locks and other hidden ones."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return {str(file.relative_to(path)): hashed(file.read_bytes()) for file in files}


def of_run(path: Path) -> Digests:
    """The weights, the history without its seconds, and the other files by name.

    A .keras file has the time of its writing in it, and a report seconds.
    """
    with zipfile.ZipFile(path / "model.keras") as archive:
        weights = BytesIO(archive.read("model.weights.h5"))
    found: Digests = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            found[name] = hashed(np.ascontiguousarray(item[()]).tobytes())

    with h5py.File(weights) as file:
        file.visititems(visit)
    head, *rows = [line.split(",") for line in (path / "history.csv").read_text().splitlines()]
    timed = head.index("seconds")
    found["files"] = ", ".join(sorted(file.name for file in path.iterdir()))
    found["history"] = hashed(json.dumps([row[:timed] + row[timed + 1 :] for row in rows]).encode())
    return found


def of_exports(path: Path) -> Digests:
    """The .tflite files; TensorFlow numbers the nodes of a SavedModel's graph differently each time."""
    assert (path / "saved_model" / "saved_model.pb").stat().st_size
    return {file.name: hashed(file.read_bytes()) for file in sorted(path.glob("*.tflite"))}


def stage(out: Path) -> str:
    """What a training was at, by the epochs that it has saved."""
    file = out / STATE / "state.json"
    if not file.exists():
        return "before or after"
    epochs = len(json.loads(file.read_text())["history"])
    return "frozen" if epochs < FROZEN else "whole" if epochs < EPOCHS else "writing"


COMMANDS = {
    "train": Command(
        (*CLI, "train", "images", "--out", "out", *TRAIN, "--weights", "run", "--freeze-epochs", FROZEN),
        "out",
        of_run,
        reads="images",
        phase=stage,
    ),
    "export": Command(
        (*CLI, "export", "run", "--out", "out", "--to", "saved_model", "--to", "tflite", "--to", "tflite-int8"),
        "out",
        of_exports,
    ),
    "qat": Command(
        (*CLI, "export", "run", "--out", "out", "--to", "tflite-int8", "--qat", "images"),
        "out",
        lambda out: of_file(out / "int8.tflite"),
        reads="images",
    ),
    "predict": Command(
        (*CLI, "predict", "run", "images", "--out", "out.csv", "--batch-size", 4), "out.csv", of_file, reads="images"
    ),
    "shards": Command((*CLI, "shards", "images", "--out", "out"), "out", of_folder, reads="images"),
    "download": Command((sys.executable, "-m", "tests.faults.download"), "out", of_folder, served=True),
}
