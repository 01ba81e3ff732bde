"""CIFAR-10 in bounded time: what auxiliary heads, label smoothing, stochastic depth and squeeze-and-excitation change.

    python benchmarks/cifar.py OUT                              # every row; again: resumes
    python benchmarks/cifar.py OUT --epochs 30 --images 45000   # closer to the papers: hours on a CPU
    python benchmarks/cifar.py OUT --only resnet20              # some rows

All rows have the same training (SGD with a cosine schedule, shifts and mirroring, the same epochs and images), so rows
of a network can be compared with each other, not with its paper. The best epoch is chosen on 2,000 held-out training
images; the accuracy is of the 10,000 test images, which are used once. OUT/<row> is the run directory of a row.
benchmarks/cifar.md and cifar.png are written again after each row and show what is finished.

CIFAR-10 is read from `cifar10_jpg.tar.gz` in the folder KERAS_INCEPTION_DATA, by default ../shared/data.
"""

import argparse
import io
import os
import platform
import tarfile
import time
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_inception.data import Dataset, Split, decode
from keras_inception.evaluation import evaluate
from keras_inception.files import write_file
from keras_inception.run import Run, versions
from keras_inception.training import recipes
from keras_inception.training.recipes import Cosine
from keras_inception.training.train import train

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
HELD_BACK = 2_000
SEEDS = (0, 1)
BATCH = 64  # half of the recipe's, at half of its learning rate, because there are few images


@dataclass(frozen=True)
class Row:
    model: str
    variant: str
    size: int
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.model}-{self.variant.replace(' ', '_')}"


ROWS = [
    Row("resnet20", "plain", 32),
    Row("resnet20", "stochastic depth", 32, {"stochastic_depth": 0.2}),
    Row("resnet20", "squeeze-excitation", 32, {"se_ratio": 16}),
    Row("inception_v1_bn", "plain", 32),
    Row("inception_v1_bn", "auxiliary heads", 32, {"aux_heads": True}, {"aux_weight": 0.3}),
    Row("inception_v1_bn", "label smoothing", 32, changes={"label_smoothing": 0.1}),
    Row("mobilenet_v2", "plain", 32, {"alpha": 0.5}),
    Row("mobilenet_v2", "squeeze-excitation", 32, {"alpha": 0.5, "se_ratio": 16}),
]


def cifar(out: Path) -> dict[str, Split]:
    """The sides "train" and "test", decoded once."""
    cache = out / "cifar10.npz"
    if not cache.exists():
        read: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
        with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".jpg"):
                    side, kind, _ = Path(member.name).parts
                    read[side].append((kind, decode(archive.extractfile(member).read())))
        arrays = {f"{side}_x": np.stack([x for _, x in found]) for side, found in read.items()}
        arrays |= {f"{side}_y": np.array([y for y, _ in found]) for side, found in read.items()}
        out.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_file(cache, lambda part: part.write_bytes(buffer.getvalue()))
    with np.load(cache) as found:
        classes, labels = np.unique(found["train_y"], return_inverse=True)
        test = np.searchsorted(classes, found["test_y"])
        names = tuple(map(str, classes))
        return {
            "train": Split(found["train_x"], labels.astype(np.int32), names),
            "test": Split(found["test_x"], test.astype(np.int32), names),
        }


def dataset(train_side: Split, count: int) -> Dataset:
    """`count` images to train on and others to choose the epoch with, stratified by class."""
    marked = Split(np.arange(len(train_side)), train_side.labels, train_side.classes)
    held_back = marked.sample(HELD_BACK).sources
    rest = np.setdiff1d(np.arange(len(train_side)), held_back)
    kept = marked.select(rest).sample(count).sources
    return Dataset(train_side.select(kept), train_side.select(held_back))


def measure(row: Row, seed: int, out: Path, sides: dict[str, Split], epochs: int, images: int) -> Run:
    path = out / f"{row.name}-{seed}"
    if not (path / "run.json").exists():
        print(f"{time.strftime('%H:%M:%S')} {path.name}", flush=True)
        train(
            dataset(sides["train"], images),
            out=path,
            recipe=recipes.get("resnet_cifar"),
            model=row.model,
            size=row.size,
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=0.1 * BATCH / 128,
            schedule=Cosine(warmup=0.05),
            options=row.options,
            seed=seed,
            **row.changes,
        )
    run = Run.load(path)
    if "test_top1" not in run.metrics:
        measured = evaluate(run, sides["test"], batch_size=250)["top1"]
        run = replace(run, metrics=run.metrics | {"test_top1": measured})
        run.save()
    return run


def finished(out: Path) -> dict[tuple[str, int], Run]:
    """The measured runs, by row and seed."""
    runs = {(row.name, seed): out / f"{row.name}-{seed}" for row in ROWS for seed in SEEDS}
    loaded = {key: Run.load(path) for key, path in runs.items() if (path / "run.json").exists()}
    return {key: run for key, run in loaded.items() if "test_top1" in run.metrics}


def write(out: Path, epochs: int, images: int) -> None:
    """Write the table and the curves of the finished rows."""
    runs, lines = finished(out), []
    top1 = {key: 100 * run.metrics["test_top1"] for key, run in runs.items()}
    for row in ROWS:
        seeds = [seed for seed in SEEDS if (row.name, seed) in runs]
        if not seeds:
            continue
        found, plain = ([top1.get((name, seed), np.nan) for seed in seeds] for name in (row.name, f"{row.model}-plain"))
        seconds = min(sum(map(float, _column(runs[row.name, seed], "seconds"))) for seed in seeds)
        change = ", ".join(f"{a - b:+.1f}" for a, b in zip(found, plain, strict=True)) if row.variant != "plain" else ""
        each = ", ".join(f"{value:.1f}" for value in found)
        figures = f"{each} | {np.mean(found):.1f} | {change} | {seconds / 60:.1f}"
        lines.append(f"| {row.model} | {row.variant} | {row.size} | {figures} |")
    text = f"""# CIFAR-10 in bounded time

{epochs} epochs over {images:,} training images, by `python benchmarks/cifar.py`. Top-1 in % on all 10,000 test images,
one figure per seed, and the difference from the plain network with the same seed. Compare only rows of the same
network. A paper's training has a hundred times as many steps; gains that appear late in it do not show here.
MobileNetV2 halves 32 pixels five times, to one. Minutes are of the faster seed, on one core.
{date.today()}; {platform.machine()}, {", ".join(f"{k} {v}" for k, v in versions().items())}.

| network | variant | input | test top-1 | mean | against plain | minutes |
|---|---|---:|---|---:|---|---:|
{chr(10).join(lines)}

![held-out accuracy by epoch](cifar.png)
"""
    if missing := len(ROWS) * len(SEEDS) - len(runs):
        text += f"\n{missing} of {len(ROWS) * len(SEEDS)} trainings are not finished.\n"
    write_file(HERE / "cifar.md", lambda part: part.write_text(text))
    draw(runs)


def draw(runs: dict[tuple[str, int], Run]) -> None:
    """Draw held-out accuracy by epoch: a panel per network, a line per training."""
    models = list(dict.fromkeys(row.model for row in ROWS))
    figure = Figure(figsize=(4 * len(models), 3.4), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), sharey=True), models, strict=True):
        for i, row in enumerate(row for row in ROWS if row.model == model):
            for seed in (seed for seed in SEEDS if (row.name, seed) in runs):
                accuracy = [100 * float(value) for value in _column(runs[row.name, seed], "val_accuracy")]
                label = row.variant if seed == SEEDS[0] else None
                axes.plot(range(1, len(accuracy) + 1), accuracy, f"C{i}.-", alpha=1 - 0.5 * seed, label=label)
        axes.set(title=model, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.supylabel("held-out accuracy, %")
    figure.savefig(HERE / "cifar.png", dpi=100)


def _column(run: Run, name: str) -> list[str]:
    head, *rows = (run.path / "history.csv").read_text().splitlines()
    place = head.split(",").index(name)
    return [row.split(",")[place] for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--only", default="", help="only rows whose name starts with this")
    given = parser.parse_args()
    both_sides = cifar(given.out)
    for one_seed in SEEDS:  # every row once before the second seed
        for one_row in ROWS:
            if one_row.name.startswith(given.only):
                measure(one_row, one_seed, given.out, both_sides, given.epochs, given.images)
                write(given.out, given.epochs, given.images)
