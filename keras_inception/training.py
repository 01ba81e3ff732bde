"""Train a network into a run directory, an epoch at a time, so that an interruption costs one epoch at most."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import report
from .data import Augmentation, Dataset, Split, input_errors, load_folder
from .errors import InputError
from .preprocessing import Preprocessing
from .registry import get
from .run import Run, publish

console = Console(stderr=True)


def train(
    pictures: str | Path | Dataset,
    *,
    out: str | Path,
    model: str = "inception_v3",
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    size: int | None = None,
    validation: float = 0.2,
    augmentation: Augmentation | None = Augmentation(),  # noqa: B008  (frozen)
    seed: int = 0,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Train a network on labelled pictures and leave a run directory at `out`.

    Adam with a cosine from `learning_rate` to 0; the epoch with the best held-out accuracy is kept. Called again with
    the same arguments after an interruption, it goes on behind the last whole epoch, optimizer, schedule and random
    numbers included.

    Args:
        pictures: a folder as `data.load_folder` takes it, or a `Dataset`.
        out: the run directory; it must not exist, or hold this same training unfinished.
        model: a name that `list_models` lists.
        epochs: how many times all pictures are seen.
        batch_size: pictures a step.
        learning_rate: at the first step.
        size: height and width of the network's input in pixels; the paper's by default.
        validation: the fraction held out where the folder has no `val/`.
        augmentation: random changes of the training pictures; None for none.
        seed: of everything random.
        weights: where the network starts; random by default.
        options: the network's own arguments, {"alpha": 0.5}.

    Raises:
        InputError: pictures, model, size or `out` cannot be used; nothing is written.
    """
    architecture, out = get(model), Path(out)
    for name, value in {"epochs": epochs, "batch size": batch_size, "learning rate": learning_rate}.items():
        if value <= 0:
            raise InputError(f"{name} must be positive; got {value}")
    _check_out(out)
    dataset = pictures if isinstance(pictures, Dataset) else load_folder(pictures, validation=validation)
    input_shape = architecture.input_shape if size is None else (size, size, architecture.input_shape[-1])
    run = Run(
        builder=architecture.name,
        kwargs={"input_shape": list(input_shape), "classes": len(dataset.classes)} | dict(options or {}),
        labels=dataset.classes,
        preprocessing=architecture.preprocessing_for(input_shape),
        weights=weights,
        data={
            "folder": None if isinstance(pictures, Dataset) else str(Path(pictures).resolve()),
            "validation": validation,
            "train": len(dataset.train),
            "val": len(dataset.val),
            "rejected": [f"{r.path}: {r.reason}" for r in dataset.rejected],
        },
        training={
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "augmentation": None if augmentation is None else asdict(augmentation),
            "seed": seed,
        },
        path=out,
    )
    progress = _Checkpoints(run)
    steps = -(-len(dataset.train) // batch_size)
    network = progress.restore() or _fresh(run, steps)
    progress.folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be written fails before the work
    for r in dataset.rejected:
        console.print(f"left out {r.path}: {r.reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    for epoch in range(len(progress.history), epochs):
        started = time.monotonic()
        with input_errors(), _Bar(f"epoch {epoch + 1}/{epochs}", steps) as bar:
            network.fit(
                dataset.train.batches(
                    run.preprocessing, batch_size, training=True, augmentation=augmentation, seed=seed + epoch
                ),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,  # batches() has done it
                callbacks=[bar],
                verbose=0,
            )
            measured = evaluate(network, dataset.val, run.preprocessing, batch_size=batch_size)
        logs = {k: float(v) for k, v in network.history.history.items() for v in v}
        logs |= {"val_accuracy": measured["top1"], "val_loss": measured["loss"], "seconds": time.monotonic() - started}
        progress.save(network, logs)
        console.print(
            f"epoch {epoch + 1}/{epochs}  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.1%}  "
            f"held out {logs['val_accuracy']:.1%}  {logs['seconds']:.0f} s",
            highlight=False,
        )
    return progress.finish(dataset.val)


def held_out(run: Run) -> Split:
    """The pictures that a run's training held out.

    Raises:
        InputError: it was trained on arrays, or its folder has moved or changed its classes.
    """
    folder = run.data.get("folder")
    if folder is None:
        raise InputError(f"{run.path} was trained on arrays, which it does not keep: say which pictures to measure on")
    if not Path(folder).is_dir():
        raise InputError(f"the pictures of {run.path} are no longer at {folder}: say which to measure on")
    split = load_folder(folder, validation=run.data["validation"]).val
    if split.classes != run.labels:
        raise InputError(f"{folder} now holds other classes than {run.path} was trained on: say which pictures to use")
    return split


def evaluate(
    model: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0..1), mean cross-entropy, and the number of pictures."""
    return scores(probabilities(model, split, preprocessing, batch_size=batch_size), split.labels)


def probabilities(
    model: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32
) -> np.ndarray:
    """The network's answers: (n, classes) float32, in the order of the pictures."""
    with input_errors():
        batches = split.batches(preprocessing, batch_size)
        return np.concatenate([np.asarray(model.predict_on_batch(pictures)) for pictures, _ in batches])


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What `evaluate` returns, of answers (n, classes) and labels (n,). A tie counts against the network."""
    own = probabilities[np.arange(len(labels)), labels]
    rank = (probabilities >= own[:, None]).sum(axis=1)  # 1: no other class is as probable
    return {
        "top1": float((rank <= 1).mean()),
        "top5": float((rank <= 5).mean()),
        "loss": float(-np.log(np.clip(own, 1e-7, 1)).mean()),
        "n": len(labels),
    }


# ----------------------------------------------------------------------------------------------------------- internals


def _check_out(out: Path) -> None:
    if (out / "run.json").exists():
        raise InputError(f"{out} holds a finished run; give another --out, or remove it")
    if out.exists() and not (out / "checkpoints").is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a run directory; give another --out")


def _fresh(run: Run, steps: int) -> keras.Model:
    """The network at the start of training, compiled; `steps` is the batches of an epoch."""
    training = run.training
    keras.utils.set_random_seed(training["seed"])
    network = get(run.builder).build(weights=run.weights, **run.kwargs)
    # A moving average over more steps than an epoch has would still be near its start when it is first needed.
    slowest = max(0.9, 1 - 10 / steps)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, slowest)
    schedule = keras.optimizers.schedules.CosineDecay(training["learning_rate"], steps * training["epochs"])
    network.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


class _Checkpoints:
    """The state of a training on disk: `state.json` names the last epoch's model and holds the history so far."""

    def __init__(self, run: Run):
        self.run, self.folder = run, run.path / "checkpoints"
        self.history: list[dict[str, float]] = []
        self._state = self.folder / "state.json"
        # As it comes back from JSON, so that the two compare.
        self._request = json.loads(json.dumps({"builder": run.builder, "kwargs": run.kwargs, "labels": run.labels,
                                               "weights": run.weights, "training": run.training}))  # fmt: skip

    def restore(self) -> keras.Model | None:
        """The network behind the last whole epoch, or None at the start of a training."""
        if not self._state.is_file():
            return None
        state = json.loads(self._state.read_text(encoding="utf-8"))
        if state["request"] != self._request:
            changed = [k for k, v in self._request.items() if state["request"].get(k) != v]
            raise InputError(
                f"{self.run.path} holds an unfinished run with other {' and '.join(changed)}; repeat its command to "
                "resume it, or give another --out"
            )
        self.history = state["history"]
        console.print(f"resuming {self.run.path} behind epoch {len(self.history)}", highlight=False)
        return keras.models.load_model(self.folder / state["model"])

    def save(self, network: keras.Model, logs: dict[str, float]) -> None:
        """Keep this epoch, and its model as the best if it is; what was kept before stays until this is whole."""
        best = all(
            (-logs["val_accuracy"], logs["val_loss"]) < (-h["val_accuracy"], h["val_loss"]) for h in self.history
        )
        self.history.append(logs)
        name = f"epoch_{len(self.history)}.keras"
        publish(self.folder / name, network.save)
        if best:
            publish(self.folder / "best.keras", lambda part: network.save(part, include_optimizer=False))
        state = {"request": self._request, "model": name, "history": self.history}
        publish(self._state, lambda part: part.write_text(json.dumps(state), encoding="utf-8"))
        for old in self.folder.glob("epoch_*.keras"):
            if old.name != name:
                old.unlink()

    def finish(self, pictures: Split) -> Run:
        """Write the rest of the run directory; `run.json` comes last."""
        run, best = self.run, self.folder / "best.keras"
        best.replace(run.path / "model.keras") if best.exists() else None  # it may have been moved before a cut
        answers = probabilities(run.model(), pictures, run.preprocessing)
        with open(run.path / "history.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", *self.history[0]])
            writer.writeheader()
            writer.writerows({"epoch": i} | row for i, row in enumerate(self.history, 1))
        run.metrics.update(scores(answers, pictures.labels))
        page = report.page(run, self.history, pictures, answers)
        (run.path / "report.html").write_text(page, encoding="utf-8")
        run.save()
        return run


class _Bar(keras.callbacks.Callback):
    """A progress bar over the batches of an epoch, on a terminal only."""

    def __init__(self, title: str, batches: int):
        super().__init__()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(title, total=batches)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """One batch further."""
        self._progress.update(self._task, completed=batch + 1)
