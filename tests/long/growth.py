"""Whether memory grows: 1,000 training steps, 100 exports and 10,000 predictions, each in a process of its own.

    make growth                                        # a quarter of an hour; writes growth.md
    python -m tests.long.growth exports 20             # this one, as often, printed as JSON

Memory is sampled after a collection of garbage: what Python has not yet collected is no leak.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

import keras_inception
from keras_inception import data, evaluation, export
from keras_inception.files import write_file
from keras_inception.preprocessing import Preprocessing
from keras_inception.training import train

from ..crossings.networks import registered
from . import machine

PAGE = Path(__file__).with_suffix(".md")
LABELS = ("a", "b")
BATCH, TRAINED = 4, 64  # an epoch of 16 steps
Sample = Callable[[], None]


def resident() -> float:
    """The resident memory of this process in kB, without garbage."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def predictor() -> evaluation.KerasPredictor:
    network = keras_inception.create_model("crossed", classes=2)
    return evaluation.KerasPredictor(model=network, labels=LABELS, preprocessing=Preprocessing(size=(16, 16)))


def steps(times: int, folder: Path, sample: Sample) -> int:
    """Training steps, sampled after each epoch: its validation, its checkpoint and its row of the history included."""
    sys.modules[train.__module__].tell_progress = lambda line: sample()
    dataset = data.from_arrays(pixels(TRAINED + 16), np.arange(TRAINED + 16) % 2, LABELS)
    per_epoch = -(-len(dataset.train) // BATCH)
    train(
        dataset, out=folder / "run", model="crossed", weights=None, epochs=-(-times // per_epoch), batch_size=BATCH,
        patience=None,
    )  # fmt: skip
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
    """Exports of a network to .tflite in int8, sampled after each."""
    network, images = predictor(), pixels(128)
    for _ in range(times):
        export.to_tflite(
            network.model, folder / "network.tflite", quantization="int8", calibration=images / np.float32(128) - 1,
            overwrite=True,
        )  # fmt: skip
        sample()
    return 1


def leaks(times: int, folder: Path, sample: Sample) -> int:
    """What must be found: a batch of these images is kept each time."""
    kept = []
    for _ in range(times):
        kept.append(np.ones((BATCH, 16, 16, 3), np.float32))
        sample()
    return 1


TIMES = {steps: 1_000, exports: 100, predictions: 10_000}
# kB each time. A batch of the steps is 12 kB, the network of the exports 5 kB of weights in a file of 9 kB.
MOST = {"steps": 6.0, "predictions": 1.0, "exports": 100.0}


def slope(memory: list[float], every: int) -> float:
    """The growth over the second half of the samples, in kB for each time: the slope of the least-squares line."""
    late = memory[len(memory) // 2 :]
    return float(np.polyfit(np.arange(len(late)) * every, late, 1)[0])


def grown(what: str, times: int) -> dict[str, float]:
    """Do it in this process; how often, the first and the last memory in kB, and the slope."""
    memory: list[float] = []
    with registered(), tempfile.TemporaryDirectory() as folder:
        every = globals()[what](times, Path(folder), lambda: memory.append(resident()))
    return {"times": len(memory) * every, "first": memory[0], "last": memory[-1], "slope": slope(memory, every)}


def main() -> None:
    lines = [
        "# Memory over long work",
        "",
        f"By `make growth`, {date.today()}; "
        + ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "ai-edge-litert"))
        + f"; {machine()}.",
        "",
        "Resident memory after a collection of garbage. **Slope**: of the second half of the samples, in kB each time.",
        "",
        "| what | times | MB at first | MB at last | slope | at most | ok |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for work, times in TIMES.items():
        what = work.__name__
        done = subprocess.run(
            [sys.executable, "-m", "tests.long.growth", what, str(times)], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        good = "yes" if found["slope"] <= MOST[what] else "no"
        figures = f"{found['first'] / 1000:.0f} | {found['last'] / 1000:.0f} | {found['slope']:.2f} | {MOST[what]:g}"
        lines.append(f"| {what} | {found['times']:,} | {figures} | {good} |")
        print(lines[-1], flush=True)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(grown(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
