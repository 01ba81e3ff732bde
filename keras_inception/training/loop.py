"""The epochs of a training: of a whole network, of one whose backbone stays, or of its head on features."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..callbacks import strip_auxiliary
from ..data import Dataset, input_errors
from ..evaluation.predictor import evaluate, predictions, scores
from ..registry import get
from ..run import Run
from ..terminal import console
from ..weights import fit_classes
from . import fine_tuning
from .feature_cache import batches, features
from .recipes import Recipe
from .recipes.apply import attach, averaged, callbacks_for, compile_for, reseed
from .state import BEST, BEST_HEAD, START, Checkpoints


@dataclass
class Job:
    """What one training is: its run, not yet finished, and how it is done."""

    run: Run
    recipe: Recipe
    dataset: Dataset
    own: dict[str, Any]  # the network's own arguments while it is trained
    steps: int  # batches of an epoch
    checkpoints: Checkpoints


def fresh(job: Job) -> keras.Model:
    """The network as it starts, random or from weights."""
    settings, weights = job.run.training, job.run.weights
    source = run_of(weights) if weights else None
    before = keras.config.dtype_policy()
    keras.utils.set_random_seed(settings["seed"])
    keras.config.set_dtype_policy(settings["precision"])
    try:
        network = get(job.run.builder).build(weights=None if source else weights, **job.run.kwargs | job.own)
    finally:
        keras.config.set_dtype_policy(before)
    if source:
        fine_tuning.graft(network, source.model())
    fit_classes(network, job.run.labels)
    # A moving average over more steps than an epoch has would still be near its start when it is first needed.
    slowest = max(0.9, 1 - 10 / job.steps)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, slowest)
    return network


def run_of(weights: str | Path) -> Run | None:
    """The finished run that a directory, or the model file in it, belongs to."""
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    of_run = (path == folder or path.name == "model.keras") and (folder / "run.json").is_file()
    return Run.load(folder) if of_run else None


def deployed(network: keras.Model) -> keras.Model:
    """The network to keep: without auxiliary heads, in float32, with nothing frozen."""
    if isinstance(network.output, dict) and any(name.startswith("aux") for name in network.output):
        network = strip_auxiliary(network)
    if any(layer.dtype_policy.name != "float32" for layer in network.layers):
        weights = network.get_weights()
        network = keras.Model.from_config(_in_float32(network.get_config()))
        network.set_weights(weights)
    for layer in network.layers:  # Keras 3.15 does not pass on what is set on the network
        layer.trainable = True
    return network


def _in_float32(config: Any) -> Any:
    """A network's configuration with every layer's policy float32."""
    if isinstance(config, list | tuple):
        return [_in_float32(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {k: "float32" if k == "dtype" and _is_mixed(v) else _in_float32(v) for k, v in config.items()}


def _is_mixed(policy: Any) -> bool:
    return isinstance(policy, dict) and str(policy.get("config", {}).get("name", "")).startswith("mixed_")


class Whole:
    """All of a network, from its images on; the backbone of a pretrained one at a lower rate."""

    best = BEST

    def __init__(self, job: Job, first: int, last: int):
        self.job, self.first, self.last = job, first, last
        resumed = len(job.checkpoints.history) > first
        self.model = job.checkpoints.last() if resumed else self.start()
        if not resumed:
            compile_for(self.model, job.recipe, job.steps * (last - first))
        attach(self.model, job.recipe, self.rates())
        self.callbacks = callbacks_for(self.model, job.recipe)

    def start(self) -> keras.Model:
        """The model that the stage begins with."""
        job = self.job
        if not self.first:
            network = fresh(job)
        else:
            network, before = job.checkpoints.model(START), job.checkpoints.last()
            fine_tuning.graft(network, before)
        if job.run.weights:
            fine_tuning.unfreeze(network, batch_norm=job.run.training["batch_norm"])
        return network

    def rates(self) -> dict[str, float]:
        """What the learning rate of a variable is multiplied by."""
        return (
            fine_tuning.backbone_rates(self.model, self.job.run.training["backbone_rate"])
            if self.job.run.weights
            else {}
        )

    def given(self, epoch: int) -> tf.data.Dataset:
        """The training images of an epoch."""
        run, recipe = self.job.run, self.job.recipe
        return self.job.dataset.train.batches(
            run.preprocessing,
            recipe.batch_size,
            training=True,
            augmentation=recipe.augmentation,
            seed=run.training["seed"] + epoch,
        )

    def measured(self) -> dict[str, float]:
        """How good the model is on what is held out."""
        val, run = self.job.dataset.val, self.job.run
        return evaluate(self.model, val, run.preprocessing, batch_size=self.job.recipe.batch_size)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train, measure and keep an epoch; its row of the history."""
        started, settings = time.monotonic(), self.job.run.training
        reseed(self.model, settings["seed"], epoch)
        title = f"epoch {epoch + 1}/{self.job.recipe.epochs}"
        with input_errors(), _Bar(title, self.job.steps) as bar:
            self.model.fit(
                self.given(epoch),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,  # `given` has done it
                callbacks=[*self.callbacks, bar],
                class_weight=_balance(self.job.dataset.train.labels) if settings["balance"] else None,
                verbose=0,
            )
        logs = {k: float(v[-1]) for k, v in self.model.history.history.items()}
        checkpoints = self.job.checkpoints
        with averaged(self.model):
            measured = self.measured()
            logs |= {"val_accuracy": measured["top1"], "val_loss": measured["loss"]}
            logs |= {f"val_{k}": v for k, v in measured.items() if k.startswith("exit")}
            if checkpoints.is_best(logs):
                checkpoints.keep_best(self.model, self.best)
        logs["seconds"] = time.monotonic() - started
        checkpoints.save(self.model, logs)
        return logs


class Frozen(Whole):
    """A whole network of which only what is behind the backbone learns."""

    def start(self) -> keras.Model:
        """As it came."""
        network = fresh(self.job)
        fine_tuning.freeze(network)
        return network

    def rates(self) -> dict[str, float]:
        """The backbone does not learn."""
        return {}


class OnFeatures(Whole):
    """The head of a network, on what its backbone makes of the unchanged images."""

    best = BEST_HEAD

    def __init__(self, job: Job, first: int, last: int):
        network = job.checkpoints.start()
        backbone, self._head = fine_tuning.backbone_of(network), fine_tuning.head_of(network)
        dataset, size = job.dataset, job.recipe.batch_size
        self._train, self._val = (
            features(backbone, split, job.run.preprocessing, batch_size=size) for split in (dataset.train, dataset.val)
        )
        super().__init__(job, first, last)

    def start(self) -> keras.Model:
        """The new classifier."""
        return self._head

    def rates(self) -> dict[str, float]:
        """The backbone does not learn."""
        return {}

    def given(self, epoch: int) -> tf.data.Dataset:
        """The features of an epoch."""
        seed = self.job.run.training["seed"] + epoch
        return batches(self._train, self.job.dataset.train.labels, self.job.recipe.batch_size, seed=seed)

    def measured(self) -> dict[str, float]:
        """How good the head is on what is held out."""
        labels = self.job.dataset.val.labels
        given = batches(self._val, labels, self.job.recipe.batch_size)
        return scores(np.concatenate(list(predictions(self.model.predict_on_batch, (x for x, _ in given)))), labels)


def _balance(labels: np.ndarray) -> dict[int, float]:
    """A weight for each class that makes all count alike, 1 in the mean over the images."""
    classes, counts = np.unique(labels, return_counts=True)
    return {int(c): len(labels) / (len(classes) * int(n)) for c, n in zip(classes, counts, strict=True)}


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
