"""The tests of several workers again and again, and how fast workers and devices of this machine train.

    python benchmarks/workers.py                         # writes benchmarks/workers.md: over an hour on two cores
    python benchmarks/workers.py 10 -k two_workers_end   # other rounds, and what pytest is to select

A round is tests/training/test_workers.py. For the speed, a small network trains through `train`, on images in memory.
After each epoch all devices add up as many numbers as the network has gradients: how long that takes, against a step,
is the share of communication.
"""

import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from keras_inception.run import Run, versions  # noqa: E402
from tests.training.workers import Workers  # noqa: E402

PAGE = Path(__file__).with_suffix(".md")
TESTS = "tests/training/test_workers.py"
# Workers, virtual devices of each, and whose strategy deals the images out.
PLACES = [(1, 1, "none"), (1, 2, "mirrored"), (2, 1, "multi_worker"), (4, 1, "multi_worker")]
IMAGES, BATCH = 1312, 64  # four fifths are trained on
EPOCHS = 5  # the first traces, and is not counted
EXCHANGES = 20  # after each epoch


def rounds(count: int, selected: list[str]) -> tuple[int, str]:
    """How many rounds passed, and what the last one said."""
    passed, said = 0, ""
    for _ in range(count):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS, *selected]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        passed += done.returncode == 0
        said = done.stdout.splitlines()[-1]
        print(said, flush=True)
    return passed, said


def speed(workers: int, devices: int, strategy: str, folder: Path) -> tuple[float, float]:
    """Images a second of all workers together in the median epoch, and the share of an exchange of the gradients."""
    how = {"model": "lenet5", "images": IMAGES, "batch_size": BATCH, "epochs": EPOCHS, "learning_rate": 0.01}
    with Workers(workers, folder, **how, strategy=strategy, devices=devices, exchanges=EXCHANGES) as started:
        chief = started.results()[0]
    images, seconds = Run.load(folder).data["train"], statistics.median(chief["seconds"][1:])
    return images / seconds, chief["exchange"] * math.ceil(images / BATCH) / seconds


def main(count: str = "10", *selected: str) -> None:
    load = os.getloadavg()[0]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for workers, devices, strategy in PLACES:
            measured = speed(workers, devices, strategy, Path(folder) / f"{workers}_{devices}" / "run")
            rows.append((strategy, workers, devices, *measured))
            print(rows[-1], flush=True)
    passed, said = rounds(int(count), list(selected))
    found = ", ".join(f"{k} {v}" for k, v in versions().items())
    lines = [
        "# Several workers",
        "",
        f"{passed} of {count} rounds of `{' '.join(['pytest', TESTS, *selected])}` passed; a round: {said}.",
        f"{date.today()}; {platform.machine()}; {found}. `make workers` repeats it.",
        "",
        f"LeNet-5, batches of {BATCH} images in memory, by processes on the loopback interface of a machine with",
        f"{os.cpu_count()} cores. **The cores are the limit**: one process uses all of them, and more workers or",
        "devices compute the same on them, so none is faster here. At the beginning the machine's load average was",
        f"{load:.1f}{', so compare the rows roughly' if load > 1 else ''}. An exchange adds up as many numbers over",
        "all devices as there are gradients; its share is of the time of a step. None of it is about machines with",
        "cores or GPUs of their own, and a network between them.",
        "",
        "| strategy | workers | devices of each | images/s | share of the exchange |",
        "|---|---:|---:|---:|---:|",
        *(f"| {s} | {w} | {d} | {r:,.0f} | {f'{x:.0%}' if w * d > 1 else '–'} |" for s, w, d, r, x in rows),
        "",
    ]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
