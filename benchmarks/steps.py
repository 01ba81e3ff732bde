"""The time of an epoch of `train`, compared with a bare compiled step on the same batches.

    python benchmarks/steps.py    # writes benchmarks/steps.md: a minute or two on two cores

Both train the same network, with the same optimizer, loss and metrics, on random images that are batches in memory
already: what is compared is the loop alone. Ours is `NetworkTrainer.train`, which calls `fit` once an epoch, with its
callbacks and a progress bar. The bare loop calls a `tf.function` of Keras' `train_step` on each batch, and does nothing
else. Epochs of both take turns, in an order that changes, after two that are not counted.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_inception.data import Dataset, from_arrays
from keras_inception.data.split import AHEAD, untuned
from keras_inception.run import versions
from keras_inception.training.loop import Job, NetworkTrainer
from keras_inception.training.request import resolve
from keras_inception.training.state import TrainingState

PAGE = Path(__file__).with_suffix(".md")
NETWORKS = {"lenet5": (32, 128, 40), "resnet20": (32, 32, 10)}  # size, batch, steps of an epoch
EPOCHS = 8  # that are counted, of each loop


class InMemory(NetworkTrainer):
    """Trains on the same batches in every epoch."""

    given: tf.data.Dataset

    def batches(self, epoch: int, skip: int = 0) -> tf.data.Dataset:
        return self.given


def trainer(name: str, dataset: Dataset, size: int, batch_size: int, folder: Path) -> NetworkTrainer:
    changes = {"batch_size": batch_size, "epochs": 100, "augmentation": None, "precision": "float32"}
    request = resolve(
        dataset, images=dataset, validation=0.2, test=0.0, recipe=None, model=name, weights=None, size=size,
        resize=None, fill=None, seed=0, changes=changes,
    )  # fmt: skip
    return InMemory(Job(request, dataset, TrainingState(folder, name=folder)), request.build(), 0, 100)


def bare(model: keras.Model, batches: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> Callable[[], object]:
    step = tf.function(model.train_step, reduce_retracing=True)

    def epoch() -> None:
        model.reset_metrics()
        for batch in batches:
            logs = step(batch)
        keras.tree.map_structure(float, logs)

    return epoch


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Wall time, and CPU time of all cores."""
    began, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - began, time.process_time() - cpu


def row(name: str, size: int, batch_size: int, steps: int) -> str:
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (100, size, size, 3), np.uint8)
    dataset = from_arrays(few, np.arange(100) % 10, list("abcdefghij"))
    with tempfile.TemporaryDirectory() as folder:
        ours, other = (trainer(name, dataset, size, batch_size, Path(folder)) for _ in range(2))
    shape = (steps, batch_size, *ours.model.input_shape[1:])
    images = rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, 10, shape[:2]).astype(np.int32)
    ours.given = untuned(tf.data.Dataset.from_tensor_slices((images, labels)).prefetch(AHEAD))  # as `Split.batches`
    theirs = bare(other.model, [(tf.constant(x), tf.constant(y)) for x, y in zip(images, labels, strict=True)])
    loops: dict[str, list[tuple[float, float]]] = {"bare": [], "train": []}
    for epoch in range(EPOCHS + 2):
        both = {"bare": theirs, "train": partial(ours.train, epoch)}
        for loop in sorted(both, reverse=epoch % 2 == 1):
            loops[loop].append(seconds(both[loop]))
    times = {loop: 1000 / steps * np.array(found[2:]) for loop, found in loops.items()}
    cells = []
    for summary, column in ((np.median, 0), (np.min, 0), (np.median, 1)):
        base, mine = (summary(times[loop][:, column]) for loop in ("bare", "train"))
        cells.append(f"{base:.1f} / {mine:.1f}, {mine / base - 1:+.1%}")
    return f"| {name} | {size} | {batch_size} x {steps} | {' | '.join(cells)} |"


def main() -> None:
    rows = [row(name, *settings) for name, settings in NETWORKS.items()]
    table = "\n".join(rows)
    PAGE.write_text(
        f"""# Whole training steps

What `train` adds to a bare compiled step on the same batches in memory: the same network, optimizer, loss and metrics.
{date.today()}; {platform.machine()}, {os.cpu_count()} cores;
{", ".join(f"{k} {v}" for k, v in versions().items())}. `make steps` repeats it.

Milliseconds a step, bare / `train`, and what `train` adds, over {EPOCHS} epochs of each loop, which take turns. It
includes what an epoch costs once: the iterator, callbacks and the progress bar. Wall times vary where other programs
run on the same cores; CPU times, of all threads, vary less.

| network | size | batch x steps an epoch | wall, median | wall, fastest | CPU, median |
|---|---:|---:|---:|---:|---:|
{table}
"""
    )


if __name__ == "__main__":
    main()
