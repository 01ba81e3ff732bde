"""Fine-tuning on few images by one setting after another: what the recipe `fine_tune` was chosen by.

    python benchmarks/finetune.py screen      # every setting once: hours; resumes
    python benchmarks/finetune.py confirm     # the defaults before and now, three seeds: hours; resumes
    python benchmarks/finetune.py report      # benchmarks/finetune.md, from all rows

Each training appends a row to finetune.jsonl, and is left out if it has one. The networks have Google's hosted weights,
which are read, as CIFAR-10 and the photographs are, from the folder KERAS_INCEPTION_DATA, by default ../shared/data.
"""

import argparse
import csv
import io
import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

import keras_inception
from keras_inception.data import Augmentation, Dataset, Split
from keras_inception.data.presets import PRESETS
from keras_inception.run import versions
from keras_inception.training import train
from keras_inception.training.recipes import Cosine, Recipe
from keras_inception.weights import from_tflite

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
ROWS = HERE / "finetune.jsonl"
HELD_OUT = 500  # images of CIFAR-10's test side
ANIMALS = 398  # ImageNet's first classes
SEEDS = 0, 1, 2

# What a training with weights did by default before.
BEFORE = Recipe(
    epochs=10, batch_size=32, optimizer="Adam", learning_rate=1e-3, schedule=Cosine(),
    augmentation=Augmentation(area=0.5),
    freeze_epochs=5, backbone_rate=0.1, batch_norm=False, cache_features=True,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------------- images


@cache
def cifar(side: str) -> tuple[np.ndarray, np.ndarray]:
    """The first images of each class, in turns: (n, 32, 32, 3) uint8 and labels."""
    each, found = {"train": 500, "test": HELD_OUT // 10}[side], {}
    with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and len(parts) == 3 and parts[0] == side and int(Path(parts[2]).stem) < each:
                found[parts[1], int(Path(parts[2]).stem)] = np.asarray(
                    Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
                )
    classes = sorted({kind for kind, _ in found})
    order = sorted(found, key=lambda key: (key[1], key[0]))
    return np.stack([found[key] for key in order]), np.array([classes.index(kind) for kind, _ in order])


def dataset(train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray]) -> Dataset:
    classes = tuple(str(i) for i in range(int(train[1].max()) + 1))
    return Dataset(*(Split(images, labels.astype(np.int32), classes) for images, labels in (train, val)))


def of_cifar(n: int, seed: int) -> Dataset:
    """Other images for each seed."""
    images, labels = cifar("train")
    chosen = np.concatenate(
        [np.random.default_rng(seed).permutation(np.flatnonzero(labels == k))[: n // 10] for k in range(10)]
    )
    return dataset((images[chosen], labels[chosen]), cifar("test"))


def imbalanced(seed: int) -> Dataset:
    """From 200 images of the first class down to 20 of the last."""
    images, labels = cifar("train")
    counts = np.geomspace(200, 20, 10).round().astype(int)
    random = np.random.default_rng(seed)
    chosen = np.concatenate([random.permutation(np.flatnonzero(labels == k))[:n] for k, n in enumerate(counts)])
    return dataset((images[chosen], labels[chosen]), cifar("test"))


def noisy(seed: int) -> Dataset:
    """1,000 images, a fifth of them with another class's label."""
    clean, random = of_cifar(1_000, seed), np.random.default_rng(seed)
    labels = clean.train.labels.copy()
    wrong = random.permutation(len(labels))[: len(labels) // 5]
    labels[wrong] = (labels[wrong] + random.integers(1, 10, len(wrong))) % 10
    return dataset((clean.train.sources, labels), cifar("test"))


def photographs(seed: int) -> Dataset:
    """200 photographs of 200 classes of ImageNet, labelled animal or object; another half is held out for each seed."""
    images, labels = [], []
    with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
        for member in (member for member in archive if member.isfile()):
            images.append(archive.extractfile(member).read())
            labels.append(int(int(Path(member.name).name.split("_")[0]) >= ANIMALS))
    order = np.random.default_rng(seed).permutation(len(labels))
    sides = [(np.array(images, object)[half], np.array(labels)[half]) for half in (order[:100], order[100:])]
    return dataset(*sides)


def digits(seed: int) -> Dataset:
    """400 of scikit-learn's handwritten digits of 8 x 8, and 500 others held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.repeat((found.images * 255 / 16).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    order = np.random.default_rng(seed).permutation(len(images))
    a, b = order[:400], order[400 : 400 + HELD_OUT]
    return dataset((images[a], found.target[a]), (images[b], found.target[b]))


IMAGES: dict[str, Callable[[int], Dataset]] = {
    "CIFAR-10, 200": lambda seed: of_cifar(200, seed),
    "CIFAR-10, 1,000": lambda seed: of_cifar(1_000, seed),
    "CIFAR-10, 5,000": lambda seed: of_cifar(5_000, seed),
    "photographs": photographs,
    "digits": digits,
    "imbalanced": imbalanced,
    "noisy labels": noisy,
}

# ----------------------------------------------------------------------------------------------------------- networks


@dataclass(frozen=True)
class Start:
    """A network, and the hosted file that its weights are of; None for random ones."""

    model: str
    size: int
    file: str | None = None
    alpha: float = 1.0

    def weights(self, folder: Path) -> Path | None:
        if self.file is None:
            return None
        path = folder / f"{self.file}.weights.h5"
        if not path.exists():
            network = keras_inception.create_model(self.model, input_shape=(self.size, self.size, 3), alpha=self.alpha)
            from_tflite(network, DATA / self.file)
            network.save_weights(path)
        return path


STARTS = {
    "MobileNet v1 0.25": Start("mobilenet_v1", 96, "mobilenet_v1_0.25_128_quant.tflite", 0.25),
    "MobileNet v2": Start("mobilenet_v2", 96, "mobilenet_v2_1.0_224_quant.tflite"),
    "MobileNet v1 0.25, random": Start("mobilenet_v1", 96, None, 0.25),
}

# ----------------------------------------------------------------------------------------------------------- settings

LONGER = {"epochs": 25, "freeze_epochs": 20}  # epochs on features take no time
NOW = LONGER | {"learning_rate": 3e-3, "backbone_rate": 0.01}
# What is changed of the defaults before. Each stands for a question that people who fine-tune ask.
SETTINGS: dict[str, dict[str, Any]] = {
    "5 of 10 epochs frozen, rate 0.001, then 0.0001": {},
    "20 of 25, 0.001, then 0.0001": LONGER,
    "20 of 25, 0.003, then 0.0003": NOW | {"backbone_rate": 0.1},
    "20 of 25, 0.003, then 0.0001": NOW | {"backbone_rate": 0.03},
    "20 of 25, 0.003, then 0.00003": NOW,
    "... with label smoothing 0.1": NOW | {"label_smoothing": 0.1},
    "... with an average of weights, 0.99": NOW | {"ema": 0.99},
    "... with a warm-up of a fifth": NOW | {"schedule": Cosine(warmup=0.2)},
    "... with batch norms that learn": NOW | {"batch_norm": True},
    "... with AdamW, decay 0.05": NOW | {"optimizer": "AdamW", "arguments": {"weight_decay": 0.05}},
    "... without augmentation": NOW | {"augmentation": None},
    "... with medium augmentation": NOW | {"augmentation": PRESETS["medium"]},
    "never frozen, 5 epochs, 0.003 and 0.00003": NOW | {"epochs": 5, "freeze_epochs": 0},
}


def measure(images: str, start: str, setting: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train once: the accuracies at the end of both stages, and of the epoch that is kept."""
    network, recipe = STARTS[start], None  # without a recipe: the default, which is from_scratch for random weights
    if network.file and setting != CHOSEN:
        recipe = replace(BEFORE, model=network.model, **SETTINGS[setting])
    out, weights = folder / str(time.time_ns()), network.weights(folder)
    clock = time.perf_counter()
    run = train(
        IMAGES[images](seed),
        out=out,
        recipe=recipe,
        model=network.model,
        options={"alpha": network.alpha},
        size=network.size,
        weights=weights,
        seed=seed,
    )
    seconds = time.perf_counter() - clock
    with open(out / "history.csv") as file:
        accuracies = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    frozen = run.training["freeze_epochs"]
    keras.backend.clear_session()
    return {
        "images": images, "start": start, "setting": setting, "seed": seed, "seconds": round(seconds, 1),
        "frozen": accuracies[frozen - 1] if frozen else None, "last": accuracies[-1],
        "kept": run.metrics["top1"], "loss": run.metrics["loss"],
    }  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def measure_all(cells: Iterable[tuple[str, str, str, int]]) -> None:
    """Measure what has no row yet."""
    done = {(row["images"], row["start"], row["setting"], row["seed"]) for row in rows()}
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_INCEPTION_HOME"] = str(Path(place) / "home")
        for cell in cells:
            if cell not in done:
                row = measure(*cell, Path(place))
                with ROWS.open("a") as file:
                    print(json.dumps(row), file=file)
                print(row, flush=True)


CHOSEN = "20 of 25, 0.003, then 0.0001"  # the recipe `fine_tune`
DEFAULTS = next(iter(SETTINGS)), CHOSEN
SCREENED = "CIFAR-10, 200", "photographs", "noisy labels"
CONFIRMED = "CIFAR-10, 200", "photographs"  # with the other networks


SHORT_LIST = (  # what did well by one seed
    "20 of 25, 0.003, then 0.0003",
    "20 of 25, 0.003, then 0.0001",
    "20 of 25, 0.003, then 0.00003",
)


def screen() -> None:
    """Every setting by one seed, the best ones by all."""
    measure_all((images, "MobileNet v1 0.25", setting, 0) for setting in SETTINGS for images in SCREENED)
    cells = product(SEEDS, SHORT_LIST, SCREENED)
    measure_all((images, "MobileNet v1 0.25", setting, seed) for seed, setting, images in cells)


def confirm() -> None:
    """Both defaults on everything; random weights have one."""
    first, *others = STARTS
    pairs = sorted([*product(IMAGES, [first]), *product(CONFIRMED, others)], key=lambda pair: "5,000" in pair[0])
    cells = [(*pair, setting, seed) for pair in pairs for seed in SEEDS for setting in DEFAULTS]
    measure_all(cell for cell in cells if STARTS[cell[1]].file or cell[2] == CHOSEN)


def percent(values: Iterable[float | None]) -> str:
    """The mean, and how far the seeds lie apart."""
    found = [100 * value for value in values if value is not None]
    if not found:
        return "-"
    spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.1f}{spread}"


def table_of_settings(found: list[dict[str, Any]], settings: Iterable[str], seeds: tuple[int, ...]) -> list[str]:
    """A row for each setting that all these seeds measured: the accuracy that is kept, what the second stage adds."""
    lines = []
    for setting in settings:
        cells = set(product([setting], ["MobileNet v1 0.25"], seeds))
        mine = [row for row in found if (row["setting"], row["start"], row["seed"]) in cells]
        by_images = [[row for row in mine if row["images"] == images] for images in SCREENED]
        if min(map(len, by_images)) < len(seeds):
            continue
        accuracies = [percent(row["kept"] for row in rows) for rows in by_images]
        mean = statistics.mean(row["kept"] for rows in by_images for row in rows)
        seconds = statistics.mean(row["seconds"] for rows in by_images for row in rows)
        gains = [gain(rows) for rows in by_images]
        lines.append(f"| {' | '.join([setting, *accuracies, f'**{100 * mean:.1f}**', *gains, f'{seconds:.0f}'])} |")
    return lines


def gain(rows: list[dict[str, Any]]) -> str:
    """What the second stage adds, in points: the accuracy of its last epoch less that of the last frozen one."""
    found = [100 * (row["last"] - row["frozen"]) for row in rows if row["frozen"] is not None]
    return f"{statistics.mean(found):+.1f}" if found else "-"


def table_of_defaults(found: list[dict[str, Any]]) -> list[str]:
    lines = []
    for images, start in dict.fromkeys((row["images"], row["start"]) for row in found):
        for setting in DEFAULTS:
            mine = [r for r in found if (r["images"], r["start"], r["setting"]) == (images, start, setting)]
            if len(mine) == len(SEEDS):
                cells = [percent(row[name] for row in mine) for name in ("frozen", "last", "kept")]
                seconds = statistics.median(row["seconds"] for row in mine)
                name = "now" if setting == CHOSEN else "before"
                lines.append(f"| {images} | {start} | {name} | {' | '.join(cells)} | {gain(mine)} | {seconds:.0f} |")
    return lines


def report() -> None:
    found = rows()
    columns = ["setting", *SCREENED, "mean", *(f"+ {images}" for images in SCREENED), "seconds"]
    head = f"| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}"
    parts = [
        f"""# Fine-tuning on few images

{date.today()}; {platform.machine()}, {os.cpu_count()} cores; {", ".join(f"{k} {v}" for k, v in versions().items())}.
`benchmarks/finetune.py` has every setting and data set. Networks start from Google's hosted weights; inputs: 96 x 96.
Held-out accuracies in percent, of {HELD_OUT} images (photographs: 100). Seconds on shared cores.

## Settings

MobileNet v1 0.25, one seed: a point or two are chance. The first row has the defaults until then, except that the
classifier kept its whole rate in the second stage. Rows that begin with "..." change the row before them that does not.
"+": what the second stage adds, the accuracy of the last epoch less that of the last frozen one, in points. Batch norms
that learn do badly with these weights for a reason of theirs: the file has its batch norms folded into the
convolutions, so that their statistics are not those of their inputs.

{head}""",
        *table_of_settings(found, SETTINGS, SEEDS[:1]),
        f"""
## The rate of the second stage

The same for the rates that did well, with {len(SEEDS)} seeds, which choose other images and other random numbers; mean
and standard deviation. The recipe `fine_tune` takes 0.0001.

{head}""",
        *table_of_settings(found, SHORT_LIST, SEEDS),
    ]
    if defaults := table_of_defaults(found):
        parts += [
            f"""
## The defaults

Means of {len(SEEDS)} seeds and their standard deviation. "Before" is the first row above, "now" the recipe `fine_tune`,
or `from_scratch` for random weights.

| images | network | defaults | frozen stage, last epoch | last epoch | kept | + | seconds |
|---|---|---|---:|---:|---:|---:|---:|""",
            *defaults,
        ]
    ROWS.with_suffix(".md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["screen", "confirm", "report"])
    {"screen": screen, "confirm": confirm, "report": report}[parser.parse_args().what]()
