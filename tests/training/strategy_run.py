"""Trainings on two devices, which TensorFlow makes of the CPU: `strategy_run CASE FOLDER`, in a process of its own.

Prints a line of JSON.
"""

import csv
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from keras_inception import InputError  # noqa: E402
from keras_inception.run import STATE  # noqa: E402
from keras_inception.terminal import interruptible  # noqa: E402
from keras_inception.training import loop, train  # noqa: E402
from keras_inception.training.state import TrainingState  # noqa: E402

from .images import apart, images  # noqa: E402

EXACT = {"weights": None, "size": 32, "augmentation": None, "optimizer": "SGD", "learning_rate": 0.02, "batch_size": 22}


def equal(folder: Path, model: str = "lenet5") -> dict[str, float]:
    """How far a training on two devices ends from one on one."""
    runs = [
        train(images(80), out=folder / name, strategy=name, model=model, epochs=2, **EXACT)
        for name in ("none", "mirrored")
    ]
    return {model: apart(*(run.path for run in runs))}


def equal_with_batch_norm(folder: Path) -> dict[str, float]:
    """The same for a network with batch norms."""
    return equal(folder, "resnet20")


def resumed(folder: Path) -> dict[str, float]:
    """How far a training that was interrupted ends from an undisturbed one; Adam, averages, dropout."""
    how = {"model": "resnet20", "weights": None, "size": 32, "batch_size": 16, "epochs": 3, "ema": 0.9}
    whole = train(images(80), out=folder / "whole", strategy="mirrored", **how)
    sys.modules["keras_inception.training.train"].tell_progress = interrupt
    with suppress(KeyboardInterrupt):
        train(images(80), out=folder / "parts", strategy="mirrored", **how)
    sys.modules["keras_inception.training.train"].tell_progress = print_nothing
    parts = train(images(80), out=folder / "parts", strategy="mirrored", **how)
    return {"apart": apart(whole.path, parts.path)}


def terminated(folder: Path) -> dict[str, float]:
    """The same for one that SIGTERM ended within an epoch."""
    how = {"model": "lenet5", "weights": None, "size": 32, "batch_size": 16, "epochs": 2, "ema": 0.9}
    whole = train(images(80), out=folder / "whole", strategy="mirrored", **how)
    batch_end, seen = loop._Steps.on_train_batch_end, []

    def ended(self, batch, logs=None) -> None:
        seen.append(batch)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)
        batch_end(self, batch, logs)

    loop._Steps.on_train_batch_end = ended
    with interruptible(), suppress(KeyboardInterrupt):
        train(images(80), out=folder / "parts", strategy="mirrored", **how)
    batches = TrainingState(folder / "parts" / STATE)._read()["paused"]["batches"]
    parts = train(images(80), out=folder / "parts", strategy="mirrored", **how)
    histories = [(run.path / "history.csv").read_text().splitlines() for run in (whole, parts)]
    rows = [[line.rpartition(",")[0] for line in lines] for lines in histories]  # without the seconds
    return {"apart": apart(whole.path, parts.path), "batches": batches, "same history": rows[0] == rows[1]}


def interrupt(line: str) -> None:
    raise KeyboardInterrupt


def print_nothing(line: str) -> None:
    pass


def features(folder: Path) -> dict[str, object]:
    """Auxiliary heads, label smoothing and class weights; then both stages of fine-tuning, and a last batch of one."""
    heads = train(
        images(81),
        out=folder / "heads",
        strategy="mirrored",
        model="inception_v1",
        options={"aux_heads": True},
        weights=None,
        size=96,
        batch_size=16,
        epochs=1,
        label_smoothing=0.1,
        balance=True,
    )
    tuned = train(
        images(80), out=folder / "tuned", strategy="mirrored", weights=folder / "heads", batch_size=10, epochs=2,
        freeze_epochs=1,
    )  # fmt: skip
    [row], rows = (list(csv.DictReader((run.path / "history.csv").open())) for run in (heads, tuned))
    return {"history": sorted(row), "loss": float(row["loss"]), "epochs": len(rows)}


def refused(folder: Path) -> dict[str, str]:
    try:
        train(images(80), out=folder / "refused", strategy="mirrored", model="lenet5", weights=None, batch_size=15)
    except InputError as error:
        return {"said": str(error), "left": str((folder / "refused").exists())}
    return {}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))
