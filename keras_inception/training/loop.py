"""The loop over epochs, and what it trains: a whole network, one with a frozen backbone, or a head on features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from ..data import Dataset, input_errors
from ..data.augmentation import mixes
from ..errors import InputError
from ..evaluation import KerasPredictor, scores, summary
from ..evaluation.batch import in_batches
from ..model_graph import load
from ..terminal import preemptible, progress_bar
from . import fine_tuning
from .distribution import (
    dealt_out,
    from_chief,
    is_chief,
    place,
    predicted_alone,
    replicas,
    scope,
    share,
    shared,
    steps,
    synchronised,
)
from .feature_cache import batches, features
from .memory import in_parts
from .recipes import Recipe
from .recipes.apply import attach, averaged, callbacks_for, compile_for, fitting, random_states, reseed
from .request import TrainingRequest
from .state import Paused, Row, TrainingState
from .teacher import Targets

START = "start.keras"  # a pretrained network as it came: an epoch on features keeps the head alone
BEST, BEST_HEAD = "best.keras", "best_head.keras"


class Trainer(Protocol):
    """What the loop trains, an epoch at a time. After `train`, the state that `save` writes is all a resumption needs.

    `best` is the name of the file that `save_best` writes, `suffix` the ending of the one that `save` writes.
    """

    best: str
    suffix: str

    def train(self, epoch: int) -> dict[str, float]:
        """Train an epoch, from 0; its losses, metrics and the "learning_rate" that it begins with."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Within it the weights are those that are measured and kept."""

    def measure(self) -> dict[str, float]:
        """The metrics on the validation images: "val_accuracy", "val_loss" and others."""

    def save(self, path: Path) -> None:
        """Write all that the next epoch begins with."""

    def save_best(self, path: Path) -> None:
        """Write the weights that are kept if this epoch is the best."""


def run_epochs(
    trainer: Trainer,
    state: TrainingState,
    last: int,
    *,
    first: int = 0,
    ends: Callable[[Sequence[Row]], object] = lambda history: None,
) -> Iterator[dict[str, float]]:
    """Train the epochs from the end of the history to `last`; yields the row of each when it is saved.

    The best epoch is looked for from the epoch `first` on. `ends` is asked before each epoch whether to train it not.
    """
    for epoch in range(len(state.history), last):
        if ends(state.history):
            return
        started = time.monotonic() - (state.paused.seconds if state.paused else 0.0)
        row = trainer.train(epoch)
        with trainer.evaluating():
            row |= from_chief(trainer.measure() if is_chief() else {})
            if epoch >= first and state.is_best(row, first):
                state.keep(trainer.best, trainer.save_best)
        row["seconds"] = from_chief(time.monotonic() - started)
        state.save(trainer.save, row, suffix=trainer.suffix)
        yield row


@dataclass(frozen=True)
class Job:
    """What every trainer of a run shares."""

    request: TrainingRequest
    dataset: Dataset
    state: TrainingState
    targets: Targets | None = None  # what is learned from a teacher, in place of the labels

    @property
    def recipe(self) -> Recipe:
        """How the network is trained."""
        return self.request.recipe

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.dataset.train) // self.recipe.batch_size)

    @property
    def micro_batch(self) -> int:
        """Images that are held in memory at a time: those of a batch, or fewer since memory ran out."""
        return self.state.found.get("micro_batch", self.recipe.batch_size)

    @property
    def jit(self) -> bool | None:
        """Whether XLA compiles the training step, as far as it can; None as Keras decides."""
        if replicas() > 1:  # XLA cannot compile a step that waits for other devices
            return False
        return self.state.found.get("jit", self.recipe.jit)

    def load(self, path: Path, *, compiled: bool = False) -> keras.Model:
        """A network that the state keeps.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            with scope():
                return load(path, compiled=compiled)
        except Exception as error:  # whatever a cut zip or HDF5 file makes Keras raise
            raise InputError(
                f"{path} is missing or damaged, so the training cannot be resumed: delete {self.state.folder} "
                "and repeat the command to begin again"
            ) from error


class NetworkTrainer:
    """Trains a network from its images on; a pretrained backbone at a lower rate."""

    best, suffix, jits = BEST, ".keras", True

    def __init__(self, job: Job, network: keras.Model | None, first: int, last: int):
        """`network` is what the epochs from `first` to `last` begin with; None resumes from the state."""
        self.job, self.first = job, first
        keras.utils.set_random_seed(job.request.seed)
        if network is None:
            self.model = job.load(job.state.last, compiled=True)
        else:
            self.model = network
            with scope():
                compile_for(network, job.recipe, job.steps * (last - first), mixed=self.mixed)
        attach(self.model, job.recipe)
        if replicas() > 1:
            synchronised(self.model)
            predicted_alone(self.model)
        self._rates = self.rates()
        taught = job.targets is not None
        self._callbacks = [*callbacks_for(self.model, job.recipe, taught=taught), _Built(self.mixed, taught)]

    @property
    def mixed(self) -> bool:
        """Whether the labels of `batches` are shares of classes; a teacher's are beside them."""
        return self.job.targets is not None or mixes(self.job.recipe.augmentation)

    def network(self) -> keras.Model:
        """The whole network, as the last epoch left it."""
        return self.model

    def rates(self) -> dict[str, float]:
        """What the learning rate of a variable is multiplied by."""
        if not self.job.request.start.weights:
            return {}
        # After a frozen stage the classifier has learned already: at its old rate it would pull the backbone along.
        trained = self.model if self.first else fine_tuning.backbone_of(self.model)
        return {v.path: self.job.recipe.backbone_rate for v in trained.trainable_variables}

    def batches(self, epoch: int, skip: int = 0) -> tf.data.Dataset:
        """The training batches of an epoch after the first `skip`."""
        return self.job.dataset.train.batches(
            self.job.request.preprocessing,
            self.job.recipe.batch_size,
            training=True,
            augmentation=self.job.recipe.augmentation,
            seed=self.job.request.seed + epoch,
            labels=self.job.targets,
            share=share(),
            skip=skip,
        )

    def train(self, epoch: int) -> dict[str, float]:
        """As `Trainer.train`, from where the epoch was paused.

        SIGTERM and SIGHUP, where they end the process, pause it after the batch that is being trained. Several workers
        do not hear of them between the same two batches: there they end at once.
        """
        rate = float(self.model.optimizer.learning_rate)
        if self.first and self._rates:  # all variables learn at this part of it
            rate *= self.job.recipe.backbone_rate
        position = self._position = _Position(self.job.state, rate)
        if position.batches < steps(len(self.job.dataset.train), self.job.recipe.batch_size):
            alone = place()[1] == 1
            signals: AbstractContextManager[Sequence[int]] = preemptible() if alone else nullcontext(())
            with signals as position.received:
                self._fit(epoch, position)
                if position.received:
                    self._pause()
        return position.row

    def _fit(self, epoch: int, position: _Position) -> None:
        """Train what is left of an epoch, or of it up to the batch in which a signal came."""
        recipe, images, held = self.job.recipe, self.job.dataset.train, self.job.micro_batch
        count = None  # as many batches as there are
        batches = self.batches(epoch, position.batches)
        if recipe.balance:
            batches = batches.map(balanced(images.labels, len(images.classes)))
        devices: AbstractContextManager[None] = nullcontext()
        if replicas() > 1:
            count = steps(len(images), recipe.batch_size) - position.batches
            batches = dealt_out(batches, count)
            devices = shared(self.model, self._callbacks)
        elif held < recipe.batch_size:
            devices = in_parts(self.model, held)
        title = f"epoch {epoch + 1}/{recipe.epochs}"
        jitted = _compiled(self.model, self.job.jit and self.jits)
        with (
            scope(),
            input_errors(),
            fitting(self.model, self._rates),
            jitted,
            devices,
            progress_bar(title, self.job.steps, done=position.batches) as advance,
        ):
            reseed(self.model, self.job.request.seed, epoch, place()[0])
            self.model.fit(
                batches,
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,  # `batches` has shuffled
                steps_per_epoch=count,
                callbacks=[*self._callbacks, position, _Steps(advance)],
                verbose=0,
            )
        position.row |= {k: float(v[-1]) for k, v in self.model.history.history.items()}

    def _pause(self) -> None:
        """Save where the epoch is."""
        position = self._position
        self.job.state.pause(
            self.save,
            Paused(
                batches=position.batches,
                row=position.row,
                values=position.values,
                devices=replicas(),
                seconds=time.monotonic() - position.began,
            ),
        )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """As `Trainer.evaluating`: with the average of the weights, if the recipe keeps one.

        A process that is interrupted here saves that all batches are trained.
        """
        try:
            with averaged(self.model):
                yield
        except KeyboardInterrupt:
            if place()[1] == 1:
                self._pause()
            raise

    def measure(self) -> dict[str, float]:
        """As `Trainer.measure`."""
        request, val = self.job.request, self.job.dataset.val
        predictor = KerasPredictor(model=self.model, labels=request.labels, preprocessing=request.preprocessing)
        outputs = predictor.probabilities(val, batch_size=self.job.micro_batch)
        return _as_row(summary(outputs, val.labels))

    def save(self, path: Path) -> None:
        """As `Trainer.save`."""
        self.model.save(path)

    def save_best(self, path: Path) -> None:
        """As `Trainer.save_best`."""
        self.model.save(path, include_optimizer=False)


class FrozenTrainer(NetworkTrainer):
    """Trains a network whose backbone is frozen."""

    def rates(self) -> dict[str, float]:
        """The backbone does not learn."""
        return {}


class HeadTrainer(FrozenTrainer):
    """Trains the head of a network on the output of its frozen backbone, which is computed once."""

    best, jits = BEST_HEAD, False  # XLA compiles a head for longer than it ever saves

    def __init__(self, job: Job, network: keras.Model, first: int, last: int, *, resumed: bool):
        backbone, dataset = fine_tuning.backbone_of(network), job.dataset
        splits, batch_size = (dataset.train, dataset.val), job.micro_batch
        self._train, self._val = features(backbone, splits, job.request.preprocessing, batch_size=batch_size)
        self._whole = network
        with scope():
            head = None if resumed else fine_tuning.head_of(network)
        super().__init__(job, head, first, last)

    @property
    def mixed(self) -> bool:
        """As of `NetworkTrainer`; features are not mixed."""
        return self.job.targets is not None

    def batches(self, epoch: int, skip: int = 0) -> tf.data.Dataset:
        """The features of an epoch."""
        labels = self.job.dataset.train.labels if self.job.targets is None else self.job.targets
        size, seed = self.job.recipe.batch_size, self.job.request.seed + epoch
        return batches(self._train, labels, size, seed=seed, share=share(), skip=skip)

    def measure(self) -> dict[str, float]:
        """As `Trainer.measure`."""
        labels, size = self.job.dataset.val.labels, self.job.micro_batch
        given = (self._val[i : i + size] for i in range(0, len(labels), size))
        probabilities = np.concatenate(list(in_batches(self.model.predict_on_batch, given)))
        return _as_row(scores(probabilities, labels))

    def network(self) -> keras.Model:
        """As of `NetworkTrainer`: with the head's weights."""
        fine_tuning.copy_layers(self.model, self._whole)
        return self._whole


@contextmanager
def _compiled(network: keras.Model, jit: bool | None) -> Iterator[None]:
    """Within the block XLA compiles what `fit` traces; predictions are too few for that. None as Keras decides."""
    if jit is not None:
        network.jit_compile = jit
    try:
        yield
    finally:
        if jit is not None:
            network.jit_compile = False


def _as_row(measured: dict[str, float]) -> dict[str, float]:
    """Metrics on the validation images, as a row of the history has them."""
    exits = {f"val_{k}": v for k, v in measured.items() if k.startswith("exit_")}
    return {"val_accuracy": measured["top1"], "val_loss": measured["loss"]} | exits


def balanced(labels: np.ndarray, classes: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """What adds to a batch (x, y) weights of its images that make all classes count alike, 1 in the mean.

    `labels`, (n,), are those of all images. A mixed image has the weight of the class of its larger share. Keras'
    `class_weight` would look for that class among a teacher's probabilities too.
    """
    present = np.unique(labels)
    weights = np.zeros(classes, np.float32)
    weights[present] = compute_class_weight("balanced", classes=present, y=labels)

    def weighted(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return x, y, tf.gather(weights, y if y.shape.rank == 1 else tf.argmax(y[:, :classes], axis=1))

    return weighted


class _Built(keras.callbacks.Callback):
    """Builds loss and metrics before the first step: built in that step, they make Keras trace it twice."""

    built = False

    def __init__(self, mixed: bool, taught: bool):
        super().__init__()
        self._mixed, self._taught = mixed, taught

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Measure one image of no importance. Keras resets the metrics when the epoch begins."""
        if not self.built:
            model = self.model
            outputs = keras.tree.map_structure(lambda x: tf.zeros((1, *x.shape[1:]), x.dtype), model.output)
            y = tf.zeros_like(keras.tree.flatten(outputs)[0]) if self._mixed else tf.zeros(1, tf.int32)
            y = tf.concat([y, y], axis=1) if self._taught else y
            model.compute_loss(None, y, outputs)
            model.compute_metrics(None, y, outputs)
            self.built = True


class _Position(keras.callbacks.Callback):
    """Where an epoch is: it begins there, counts the batches, and ends `fit` after the one in which a signal came.

    `values` are those of what no file of a network holds: the metrics' sums, and what its random numbers are drawn of.
    """

    received: Sequence[int] = ()

    def __init__(self, state: TrainingState, rate: float):
        super().__init__()
        self._state, paused = state, state.paused
        self.batches = paused.batches if paused else 0
        self.row = dict(paused.row) if paused else {"learning_rate": rate}
        self.values: list[Any] = []
        self.began = time.monotonic() - (paused.seconds if paused else 0.0)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.metrics_variables, *random_states(self.model)]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Continue with the values that a pause has kept. Keras has just reset the metrics."""
        if self._state.paused:
            with self._state.readable():
                for variable, value in zip(self._variables(), self._state.paused.values, strict=True):
                    variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count a batch, and end `fit` on request."""
        self.batches += 1
        if self.received:
            self.values = [keras.ops.convert_to_numpy(variable).tolist() for variable in self._variables()]
            self.model.stop_training = True


class _Steps(keras.callbacks.Callback):
    """Calls `advance` after each batch."""

    def __init__(self, advance: Callable[[int], None]):
        super().__init__()
        self._advance = advance

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance by one batch."""
        self._advance(1)
