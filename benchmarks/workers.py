"""The tests of several workers again and again, and how fast workers and devices of this machine train.

    python benchmarks/workers.py                         # writes benchmarks/workers.md: over an hour on two cores
    python benchmarks/workers.py 10 -k two_workers_end   # other rounds, and what pytest is to select

A round is tests/training/test_workers.py. For the speed, workers train small networks through `train`, on images in
memory. All workers share the cores that one process has alone, and compute the same: what they are slower by is
communication, waiting for each other, and steps on fewer images.
"""

import csv
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
NETWORKS = {"LeNet-5": {}, "two convolutions with batch norms": {"normalised": 0.0}}
IMAGES, BATCH = 1312, 64  # four fifths are trained on
EPOCHS = 5  # the first traces, and is not counted


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


def rate(count: int, folder: Path, **settings: object) -> float:
    """Images a second of all workers together, over the median epoch, which ends with the validation images."""
    how = {"model": "lenet5", "images": IMAGES, "batch_size": BATCH, "epochs": EPOCHS, "strategy": "none"} | settings
    with Workers(count, folder, **how) as workers:
        workers.results()
    rows = list(csv.DictReader((folder / "history.csv").open()))
    return Run.load(folder).data["train"] / statistics.median(float(row["seconds"]) for row in rows[1:])


def main(count: str = "10", *selected: str) -> None:
    passed, said = rounds(int(count), list(selected))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in NETWORKS.items():
            alone = None
            for workers in (1, 2, 4):
                strategy = "multi_worker" if workers > 1 else "none"
                speed = rate(workers, Path(folder) / str(len(rows)) / "run", strategy=strategy, **settings)
                alone = alone or speed
                rows.append((name, workers, speed, 1 - speed / alone))
                print(rows[-1], flush=True)
    found = ", ".join(f"{k} {v}" for k, v in versions().items())
    lines = [
        "# Several workers",
        "",
        f"{passed} of {count} rounds of `{' '.join(['pytest', TESTS, *selected])}` passed; a round: {said}.",
        f"{date.today()}; {platform.machine()}; {found}. `make workers` repeats it.",
        "",
        f"Images a second of all workers together, with batches of {BATCH} images in memory, by processes on the",
        "loopback interface of a machine with two cores. **The two cores are the limit**: one process uses both,",
        "and more workers compute the same on them, so none is faster here. What they are slower by is communication,",
        "waiting for each other, and steps on fewer images. It is a bound for small networks, whose steps take",
        "milliseconds, and says nothing about machines with cores or GPUs of their own.",
        "",
        "| network | workers | images/s | lost to communication and waiting |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {workers} | {speed:,.0f} | {lost:.0%} |" for name, workers, speed, lost in rows),
        "",
    ]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
