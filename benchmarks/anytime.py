"""Accuracy against multiply-adds with early exits: MSDNet, trained on CIFAR-10 for less than an hour.

    python benchmarks/anytime.py train OUT --minutes 45    # OUT/msdnet.weights.h5, history.json
    python benchmarks/anytime.py measure OUT               # benchmarks/anytime.png; OUT/measured.json, policy_*.json
    python benchmarks/anytime.py report OUT                # times those policies; benchmarks/anytime.md

CIFAR-10 is read from `cifar10_jpg.tar.gz` in the folder KERAS_INCEPTION_DATA, by default ../shared/data:
`train/<class>/*.jpg` and `test/<class>/*.jpg`. 5,000 training images are held out for calibration.
"""

import argparse
import json
import math
import os
import platform
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_inception import MSDNetCIFARBudget, early_exit
from keras_inception.analysis.cost import total
from keras_inception.data import decode
from keras_inception.early_exit.policy import Cascade, Policy
from keras_inception.export.runtimes.processor import processor
from keras_inception.files import write_file
from keras_inception.run import versions

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
HELD_OUT = 5_000
BUDGETS = 22  # from the first exit's cost to the last one's
TIMED = 500  # images
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)  # of CIFAR-10's training images, red, green, blue
BATCH, PEAK, WARM_UP = 64, 0.1, 0.15  # batch and peak rate of the paper; warm-up as a fraction of the time


class Images(NamedTuple):
    """(n, 32, 32, 3) uint8 and (n,) int."""

    pixels: np.ndarray
    labels: np.ndarray

    def normalized(self) -> np.ndarray:
        return normalize(self.pixels)


def normalize(pixels: np.ndarray) -> np.ndarray:
    """Pixels 0..255 -> the network's input."""
    return ((pixels - np.float32(MEAN)) / np.float32(STD)).astype("float32")


def cifar(out: Path) -> dict[str, Images]:
    """Images to "train", "calibrate" and "test" on; decoded once, into OUT/cifar10.npz."""
    cache = out / "cifar10.npz"
    if not cache.exists():
        read: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
        with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    split, label = Path(member.name).parts[-3:-1]
                    read[split].append((label, decode(archive.extractfile(member).read())))  # type: ignore[union-attr]
        arrays = {}
        for split, pairs in read.items():
            arrays[f"{split}_pixels"] = np.stack([image for _, image in pairs])
            arrays[f"{split}_labels"] = np.unique([label for label, _ in pairs], return_inverse=True)[1]
        write_file(cache, lambda part: np.savez(part, **arrays))
    with np.load(cache) as arrays:
        train, test = (Images(arrays[f"{s}_pixels"], arrays[f"{s}_labels"]) for s in ("train", "test"))
    order = np.random.default_rng(0).permutation(len(train.labels))
    kept, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return {
        "train": Images(train.pixels[kept], train.labels[kept]),
        "calibrate": Images(train.pixels[held_out], train.labels[held_out]),
        "test": test,
    }


# ----------------------------------------------------------------------------------------------------------- training


def batches(images: Images, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches: random crops of images padded with 4 pixels of zeros, half of them mirrored."""
    random = np.random.default_rng(seed)
    padded = np.pad(images.normalized(), ((0, 0), (4, 4), (4, 4), (0, 0)))
    crops = np.lib.stride_tricks.sliding_window_view(padded, (32, 32), axis=(1, 2))  # n x 9 x 9 x 3 x 32 x 32
    while True:
        order = random.permutation(len(padded))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            x = crops[chosen, *random.integers(0, 9, (2, BATCH))].transpose(0, 2, 3, 1)
            mirrored = random.random(BATCH) < 0.5
            yield np.where(mirrored[:, None, None, None], x[:, :, ::-1], x), images.labels[chosen]


def rate(progress: float) -> float:
    """The learning rate: linear warm-up, then a cosine. `progress` is the elapsed fraction of the time, 0..1."""
    if progress < WARM_UP:
        return PEAK * (0.1 + 0.9 * progress / WARM_UP)
    return PEAK * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def train(out: Path, minutes: float) -> None:
    """Train for that time. All exits have the same weight (section 4); the schedule follows time, not steps."""
    out.mkdir(parents=True, exist_ok=True)
    stream = batches(cifar(out)["train"])
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")  # 1.4 times faster with CPU support; weights stay float32
    model = MSDNetCIFARBudget(classifier_activation=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(PEAK, momentum=0.9, nesterov=True, weight_decay=5e-4),
        loss=dict.fromkeys(model.output_names, loss),
        metrics={name: ["accuracy"] for name in model.output_names},
    )

    def step() -> dict[str, float]:
        x, y = next(stream)
        return model.train_on_batch(x, dict.fromkeys(model.output_names, y), return_dict=True)

    model.optimizer.learning_rate = rate(0)
    step()  # TensorFlow traces the network for a minute, which is not counted
    history: list[dict[str, float]] = []
    recent: list[dict[str, float]] = []
    begun, steps = time.monotonic(), 0
    while (progress := (time.monotonic() - begun) / (60 * minutes)) < 1:
        model.optimizer.learning_rate = rate(progress)
        recent.append(step())
        steps += 1
        if steps % 50 == 0:
            row = {key: float(np.mean([logs[key] for logs in recent])) for key in recent[0]}
            history.append({"step": steps, "minutes": progress * minutes} | row)
            accuracies = [f"{row[f'{name}_accuracy']:.3f}" for name in ("exit_1", "exit_4", "predictions")]
            print(f"{steps:6} {progress:6.1%}  loss {row['loss']:.3f}  accuracy", *accuracies, flush=True)
            recent.clear()
        if steps % 300 == 0:
            write_file(out / "msdnet.weights.h5", model.save_weights)
    write_file(out / "msdnet.weights.h5", model.save_weights)
    record = {"minutes": minutes, "steps": steps, "images": steps * BATCH, "history": history}
    write_file(out / "history.json", lambda part: part.write_text(json.dumps(record, indent=1)))


# ---------------------------------------------------------------------------------------------------------- measuring


def trained(out: Path) -> keras.Model:
    """The network with probabilities, in float32."""
    model = MSDNetCIFARBudget()
    model.load_weights(out / "msdnet.weights.h5")
    return model


def measure(out: Path) -> None:
    """Calibrate on the images held out, measure on the test images; keep the policies."""
    images = cifar(out)
    cascade = Cascade(trained(out))
    test = images["test"]
    curve = early_exit.curve(
        cascade, images["calibrate"].normalized(), test.normalized(), test.labels, budgets=BUDGETS, batch_size=250
    )
    early_exit.plot(curve, HERE / "anytime.png", title="MSDNetCIFARBudget on CIFAR-10, 10,000 test images")
    for i, point in enumerate(curve.budgets):
        point.policy.save(out / f"policy_{i}.json")
    record = {
        "exits": [{"macs": point.macs, "accuracy": point.accuracy} for point in curve.exits],
        "budgets": [{"macs": point.macs, "accuracy": point.accuracy} for point in curve.budgets],
    }
    write_file(out / "measured.json", lambda part: part.write_text(json.dumps(record, indent=1)))
    print(json.dumps(record, indent=1))


def milliseconds(run: Callable[[], Any], images: int) -> float:
    """Time of one image: the better of two runs after a warm-up."""
    run()
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1000 * min(times) / images


def report(out: Path) -> None:
    """Time every third policy on some of the test images, and write the report."""
    measured = json.loads((out / "measured.json").read_text())
    history = json.loads((out / "history.json").read_text())
    model = trained(out)
    cascade = Cascade(model)
    test = cifar(out)["test"]
    some = normalize(test.pixels[np.random.default_rng(0).permutation(len(test.pixels))[:TIMED]])

    rows = []
    for i in range(0, BUDGETS, 3):
        policy, point = Policy.load(out / f"policy_{i}.json", cascade), measured["budgets"][i]
        left = np.bincount(policy.predict(some, 64).exits, minlength=len(cascade.names) + 1)[1:] / TIMED
        spent = milliseconds(lambda policy=policy: policy.predict(some, 64), TIMED)
        shares = " ".join(f"{100 * share:.0f}" for share in left)
        rows.append(
            [millions(policy.budget), millions(point["macs"]), percent(point["accuracy"]), f"{spent:.2f}", shares]
        )
    plain = keras.Model(model.input, model.output["predictions"])
    alone = milliseconds(lambda: plain.predict(some, batch_size=64, verbose=0), TIMED)
    epochs = history["images"] / (50_000 - HELD_OUT)
    exits = [
        [name, millions(total(keras.Model(model.input, output)).macs), millions(row["macs"]), percent(row["accuracy"])]
        for (name, output), row in zip(cascade.outputs.items(), measured["exits"], strict=True)
    ]
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    text = f"""# Early exits: accuracy against multiply-adds

{time.strftime("%Y-%m-%d")}, {packages}, Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores of
{processor()}. Repeat with

    python benchmarks/anytime.py train OUT --minutes {history["minutes"]:g}
    python benchmarks/anytime.py measure OUT
    python benchmarks/anytime.py report OUT

MSDNetCIFARBudget, trained for {history["minutes"]:g} minutes on a shared processor: {history["steps"]:,} steps of
{BATCH} images, {epochs:.1f} epochs of 45,000 CIFAR-10 images; the paper trains 300.
The accuracies are therefore far below the paper's. The benchmark measures how they change with the budget. Thresholds
are calibrated on 5,000 held-out images; accuracies and multiply-adds are measured on the 10,000 test images.

![accuracy against multiply-adds](anytime.png)

## Each exit for all images

Multiply-adds per image in millions, of that exit alone and with the classifiers of the exits before it.

{table(["exit", "alone", "with those before", "accuracy"], exits)}

## A budget shared by all images

The budget and the multiply-adds spent, in millions per image on average; milliseconds per image of `Policy.predict` on
{TIMED:,} of the test images in batches of 64; and the percentage of these images that left at each exit.

{table(["budget", "spent", "accuracy", "ms", "left at exit 1 ... 7, %"], rows)}

The last exit as a plain network (`exits=False`) with Keras' `predict`: {exits[-1][1]} million multiply-adds,
accuracy {exits[-1][3]}, {alone:.2f} ms.
"""
    write_file(HERE / "anytime.md", lambda part: part.write_text(text, encoding="utf-8"))
    print(text)


def millions(macs: float) -> str:
    return f"{macs / 1e6:.1f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "measure", "report"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    given = parser.parse_args()
    if given.what == "train":
        train(given.out, given.minutes)
    else:
        {"measure": measure, "report": report}[given.what](given.out)


if __name__ == "__main__":
    main()
