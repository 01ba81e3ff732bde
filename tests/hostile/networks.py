"""A tiny network in every form that it is kept in, made once: the good files that cases damage."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_inception import Preprocessing, Run, export

LABELS = ("ant", "bee", "cat")
PREPROCESSING = Preprocessing(size=(8, 8))
INPUTS = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)


@cache
def network() -> keras.Model:
    """Two layers with weights: images of 8x8 -> three classes."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="predictions")(x), name="tiny")


@contextmanager
def unchanged_if_refused() -> Iterator[keras.Model]:
    """The network for a block that fills it; a file that is refused leaves it as it was, and so does the block."""
    model = network()
    before = model.get_weights()
    try:
        yield model
    except Exception:
        for ours, theirs in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        raise
    finally:
        model.set_weights(before)


def made(write: Callable[[Path], object], name: str) -> bytes:
    """The bytes of the file that `write` makes at a path of this name."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


@cache
def tflite() -> bytes:
    """The network as a .tflite file with its labels and preprocessing."""
    about = {"labels": LABELS, "preprocessing": PREPROCESSING}
    return made(lambda path: export.to_tflite(network(), path, **about), "tiny.tflite")


@cache
def keras_file() -> bytes:
    """The network as a .keras archive."""
    return made(network().save, "model.keras")


def run(folder: Path) -> Path:
    """A finished run of the network in a folder."""
    (folder / "model.keras").write_bytes(keras_file())
    Run(
        builder="tiny",
        kwargs={"classes": 3},
        labels=LABELS,
        preprocessing=PREPROCESSING,
        data={"folder": None, "validation": 0.2, "fingerprint": "0" * 64},
        training={"recipe": None, "seed": 0},
        metrics={"top1": 0.5, "top5": 1.0, "loss": 1.0, "n": 10},
        path=folder,
    ).save()
    return folder
