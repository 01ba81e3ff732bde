"""Quantisation after training beside quantisation-aware training: top-1 of the float network and of both files.

    python benchmarks/quantize.py hosted              # MobileNetV2 with Google's hosted weights, 200 photographs
    python benchmarks/quantize.py resnet20 --minutes 10   # any CIFAR-10 network, trained for so long before

The data come from the folder that KERAS_INCEPTION_DATA names, ../shared/data by default. Half of the photographs
calibrate the one and train the other, the other half is measured on; of CIFAR-10 the first 1,000 of each class of
train/, and the first 200 of test/.
A row is added to quantize.md.
"""

import argparse
import os
import platform
import tarfile
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import keras_inception
from keras_inception import export
from keras_inception.weights import from_tflite

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", HERE.parents[1] / "shared" / "data"))
TABLE = HERE / "quantize.md"
TRAIN, TEST = 1000, 200  # pictures of each class of CIFAR-10
HEAD = """# Float, quantised after training, trained quantised

Top-1 on pictures that none of them was trained or calibrated on. "after" is `to_tflite(quantization="int8")`, "aware"
`quantize_aware`; both are full int8, one scale a filter. `python benchmarks/quantize.py` adds a row.

| network | pictures | float | after | aware | agreement of aware | bytes | epochs | date, versions, machine |
|---|---:|---:|---:|---:|---:|---:|---:|---|
"""


class Case(NamedTuple):
    """A trained network, and its inputs with labels to train on and to measure on."""

    model: keras.Model
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    epochs: int
    learning_rate: float


def hosted() -> Case:
    """MobileNetV2 with 1,001 classes, the first one being the background."""
    info = keras_inception.model_info("mobilenet_v2")
    model = info.build(classes=1001)
    from_tflite(model, DATA / "mobilenet_v2_1.0_224_quant.tflite")
    prepare = tf.function(info.preprocessing_for(), reduce_retracing=True)
    with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
        files = [(int(Path(m.name).name.split("_")[0]), archive.extractfile(m).read()) for m in archive if m.isfile()]
    x = np.stack([prepare(tf.io.decode_jpeg(content, channels=3)) for _, content in files])
    y = np.array([label + 1 for label, _ in files], np.int32)
    half = np.random.default_rng(0).permutation(len(y)) % 2 == 0
    return Case(model, (x[half], y[half]), (x[~half], y[~half]), epochs=2, learning_rate=1e-6)


def cifar(name: str, minutes: float) -> Case:
    """A network for CIFAR-10, trained from scratch by Adam for so many minutes."""
    info = keras_inception.model_info(name)
    sides = {"train": ([], []), "test": ([], [])}
    classes: list[str] = []
    with tarfile.open(DATA / "cifar10_jpg.tar.gz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) != 3 or not member.name.endswith(".jpg"):
                continue
            side, kind, file = parts
            if int(Path(file).stem) >= {"train": TRAIN, "test": TEST}[side]:
                continue
            if kind not in classes:
                classes.append(kind)
            picture = tf.io.decode_jpeg(archive.extractfile(member).read(), channels=3)
            sides[side][0].append(picture.numpy())
            sides[side][1].append(classes.index(kind))
    prepare = info.preprocessing_for()
    (x, y), test = ((prepare(np.stack(p)).numpy(), np.array(labels, np.int32)) for p, labels in sides.values())
    keras.utils.set_random_seed(0)
    model = info.build(classes=10, **({"exits": False} if info.exits else {}))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    start = time.monotonic()
    while time.monotonic() - start < 60 * minutes:
        left = 1 - (time.monotonic() - start) / (60 * minutes)
        model.optimizer.learning_rate.assign(2e-3 * max(left, 0.02))
        flip = np.random.default_rng().random(len(x)) < 0.5
        model.fit(np.where(flip[:, None, None, None], x[:, :, ::-1], x), y, batch_size=64, verbose=2)
    return Case(model, (x, y), test, epochs=2, learning_rate=1e-4)


def measure(name: str, case: Case) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        after = export.to_tflite(
            case.model, Path(folder) / "after.tflite", quantization="int8", calibration=case.train[0][:200]
        )
        aware = export.quantize_aware(
            case.model, case.train, Path(folder) / "aware.tflite", epochs=case.epochs, learning_rate=case.learning_rate
        )
        compared = [export.agreement(path, case.model, case.test) for path in (after, aware.path)]
    figures = [compared[0].keras_top1, *(c.top1 for c in compared), compared[1].agreement]
    about = f"{date.today()}, TensorFlow {tf.__version__}, TFMOT {version('tensorflow-model-optimization')}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    shares = " | ".join(f"{figure:.1%}" for figure in figures)
    return f"| {name} | {compared[0].n} | {shares} | {aware.bytes:,} | {case.epochs} | {about}, {machine} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="hosted, or a network for CIFAR-10")
    parser.add_argument("--minutes", type=float, default=10, help="of training before, at most")
    arguments = parser.parse_args()
    hosts = arguments.network == "hosted"
    case = hosted() if hosts else cifar(arguments.network, arguments.minutes)
    row = measure("mobilenet_v2, hosted weights" if hosts else arguments.network, case)
    before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else HEAD
    TABLE.write_text(before + row, encoding="utf-8")
    print(row)


if __name__ == "__main__":
    main()
