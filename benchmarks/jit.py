"""A training step that XLA compiles, compared with the same step without: `train --jit` and `--no-jit` on this device.

    python benchmarks/jit.py    # writes benchmarks/jit.md: half an hour on two idle cores

Both are `NetworkTrainer.train` on the same random batches in memory, as in benchmarks/steps.py. The first epoch, which
traces and compiles, tells how long compiling takes. Later epochs of both take turns, in an order that changes, so that
other programs on the same cores slow both down: ratios mean more than milliseconds, and those of CPU time most.
"""

import gc
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from steps import InMemory

from keras_inception.data import from_arrays
from keras_inception.data.split import AHEAD, untuned
from keras_inception.errors import first_line
from keras_inception.run import versions
from keras_inception.training.loop import Job
from keras_inception.training.request import resolve
from keras_inception.training.state import TrainingState

PAGE = Path(__file__).with_suffix(".md")
NETWORKS = {  # size, batch, steps of an epoch
    "lenet5": (32, 32, 40),
    "resnet20": (32, 32, 6),
    "densenet40_12": (32, 16, 3),
    "squeezenet1_1": (96, 16, 6),
    "vgg11": (32, 8, 2),
    "mobilenet_v2": (96, 16, 3),
    "inception_v1": (64, 8, 2),
    "resnet50": (32, 8, 2),
}
EPOCHS = 6  # that are counted, of each


def trainer(name: str, size: int, batch_size: int, steps: int, jit: bool, folder: Path) -> InMemory:
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (100, size, size, 3), np.uint8)
    dataset = from_arrays(few, np.arange(100) % 10, list("abcdefghij"))
    changes = {"batch_size": batch_size, "epochs": 100, "augmentation": None, "precision": "float32", "jit": jit}
    request = resolve(
        dataset, images=dataset, validation=0.2, test=0.0, recipe=None, model=name, weights=None, size=size,
        resize=None, fill=None, seed=0, changes=changes,
    )  # fmt: skip
    made = InMemory(Job(request, dataset, TrainingState(folder, name=folder)), request.build(), 0, 100)
    shape = (steps, batch_size, *made.model.input_shape[1:])
    images = rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, 10, shape[:2]).astype(np.int32)
    made.given = untuned(tf.data.Dataset.from_tensor_slices((images, labels)).prefetch(AHEAD))
    return made


def seconds(made: InMemory, epoch: int) -> np.ndarray:
    """Of an epoch: wall time, and CPU time of all threads."""
    began = time.perf_counter(), time.process_time()
    made.train(epoch)
    return np.subtract((time.perf_counter(), time.process_time()), began)


def row(name: str, size: int, batch_size: int, steps: int) -> str:
    cell = f"| {name} | {size} | {batch_size} |"
    with tempfile.TemporaryDirectory() as folder:
        both = {jit: trainer(name, size, batch_size, steps, jit, Path(folder)) for jit in (False, True)}
        try:
            first = {jit: seconds(made, 0) for jit, made in both.items()}
        except tf.errors.OpError as error:
            return f"{cell} XLA cannot compile it: {first_line(error)} | | | | |"
        found: dict[bool, list[np.ndarray]] = {False: [], True: []}
        for epoch in range(1, EPOCHS + 1):
            for jit in sorted(both, reverse=epoch % 2 == 1):
                found[jit].append(seconds(both[jit], epoch))
    without, with_jit = (np.stack(found[jit]) for jit in (False, True))
    wall, cpu = np.median(with_jit / without, axis=0)
    compiling = (first[True] - first[False])[1] - np.median(with_jit - without, axis=0)[1]
    saved = np.median(without, axis=0)[1] * (1 - cpu) / steps
    low, high = (with_jit / without)[:, 0].min(), (with_jit / without)[:, 0].max()
    pays = f"{compiling / saved:,.0f}" if saved > 0 else "never"
    ms = 1000 * np.median(without, axis=0)[0] / steps
    return f"{cell} {ms:.0f} | {wall:.2f} ({low:.2f} to {high:.2f}) | **{cpu:.2f}** | {compiling:.0f} | {pays} |"


def main() -> None:
    rows: list[str] = []
    for name, settings in NETWORKS.items():
        rows.append(row(name, *settings))
        write(rows)
        keras.backend.clear_session()
        gc.collect()


def write(rows: list[str]) -> None:
    """The page with what is measured so far."""
    table, missing = "\n".join(rows), list(NETWORKS)[len(rows) :]
    PAGE.write_text(
        f"""# Training steps compiled by XLA

`train --jit` compared with `--no-jit`: float32, the same batches in memory, on a CPU.
{date.today()}; {platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.0f};
{", ".join(f"{k} {v}" for k, v in versions().items())}. `make jit` repeats it.

"ms": of a step without XLA. Then the time of a step with XLA as a share of that, the median over {EPOCHS} pairs of
epochs that take turns: wall time, with the lowest and the highest, which vary where other programs run on the same
cores; and CPU time of all threads, which varies less. "Compiling": CPU seconds that the first step takes longer. "Pays
after": the steps that save as much CPU time. A last batch of another size compiles once more.

| network | size | batch | ms | wall | CPU | compiling | pays after |
|---|---:|---:|---:|---:|---:|---:|---:|
{table}
"""
        + (f"\nNot measured: {', '.join(missing)}.\n" if missing else "")
    )


if __name__ == "__main__":
    main()
