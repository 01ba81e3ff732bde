"""Repeat one thing many times in a process of its own; print how its resident memory grew, as JSON.

python -m tests.long.growth steps|predictions|exports [TIMES]

There is no bar for the growth yet, and a training ends before 1,000 steps where 50 epochs bring no better one.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import keras_inception
from keras_inception import data, evaluation, export
from keras_inception.preprocessing import Preprocessing
from keras_inception.training import train

from ..crossings.networks import registered

LABELS = ("a", "b")
BATCH, IMAGES = 4, 80  # 64 images to train on: an epoch of 16 steps
Sample = Callable[[], None]


def resident() -> float:
    """The resident memory of this process in kB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def predictor() -> evaluation.KerasPredictor:
    network = keras_inception.create_model("crossed", classes=2)
    return evaluation.KerasPredictor(model=network, labels=LABELS, preprocessing=Preprocessing(size=(16, 16)))


def steps(times: int, folder: Path, sample: Sample) -> int:
    """Training steps, sampled after each epoch: its validation, its checkpoint and its row of the history included."""
    sys.modules[train.__module__].tell_progress = lambda line: sample()
    dataset = data.from_arrays(pixels(IMAGES), np.arange(IMAGES) % 2, LABELS)
    per_epoch = len(dataset.train) // BATCH
    train(dataset, out=folder / "run", model="crossed", weights=None, epochs=times // per_epoch, batch_size=BATCH)
    return per_epoch


def predictions(times: int, folder: Path, sample: Sample) -> int:
    """Predictions of one image each, sampled after every hundredth."""
    network, [image] = predictor(), pixels(1)
    for i in range(times):
        evaluation.predict(network, image)
        if i % 100 == 99:
            sample()
    return 100


def exports(times: int, folder: Path, sample: Sample) -> int:
    """Exports of a network to .tflite, sampled after each."""
    given = vars(predictor())
    del given["crops"]
    network = given.pop("model")
    for _ in range(times):
        export.to_tflite(network, folder / "network.tflite", overwrite=True, **given)
        sample()
    return 1


TIMES = {steps: 1_000, predictions: 10_000, exports: 100}


def slope(memory: list[float], every: int) -> float:
    """The growth over the second half of the samples, in kB for each time: the slope of the least-squares line."""
    late = memory[len(memory) // 2 :]
    return float(np.polyfit(np.arange(len(late)) * every, late, 1)[0])


def main(what: str, times: str = "") -> None:
    work = globals()[what]
    memory: list[float] = []
    with registered(), tempfile.TemporaryDirectory() as folder:
        every = work(int(times or TIMES[work]), Path(folder), lambda: memory.append(resident()))
    found = {"times": len(memory) * every, "first": memory[0], "last": memory[-1], "slope": slope(memory, every)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
