"""Fine-tuning of a Keras 2 copy: its images, its epochs, and its state on disk."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from keras_inception.callbacks import Divergence
from keras_inception.data import Dataset, Split, as_dataset, fingerprint, input_errors, is_tf_data
from keras_inception.errors import InputError
from keras_inception.evaluation import scores
from keras_inception.files import reason
from keras_inception.model_graph import fits
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run
from keras_inception.terminal import note
from keras_inception.training.loop import run_epochs
from keras_inception.training.state import TrainingState
from keras_inception.training.teacher import Targets, Teacher, teacher_of

from ...comparison import by_class
from ...inputs import Exportable
from ..calibration import to_pixels
from .bridge import Keras2Copy
from .settings import FineTuning, TrainingData
from .tfmot import quiet_tfmot, tf_keras, unfused

Labelled: TypeAlias = Split | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainingImages:
    """What to train on, to choose the epoch on and to compare the file on, in batches of the copy's input."""

    train: Labelled
    val: Labelled
    held_out: Labelled
    preprocessing: Preprocessing | None  # without the normalisation if the copy contains it
    teacher: Teacher | None = None

    @classmethod
    def of(
        cls, data: TrainingData | None, source: Exportable, *, pixels: bool, teacher: str | Path | Run | None = None
    ) -> TrainingImages:
        """The images of a folder, a data set or arrays; by default those of the run.

        Raises:
            InputError: there are no images, or they or the teacher do not fit the network.
        """
        run = source.run
        if data is None:
            if run is None:
                raise InputError(
                    "give images to train on: a folder with one folder of images per class, or (inputs, labels)"
                )
            data = run.dataset()
        if isinstance(data, str | Path) or is_tf_data(data):
            data = as_dataset(data, **(run.shares if run else {}))
        if isinstance(data, Dataset):
            if source.preprocessing is None:
                raise InputError("to train on images give preprocessing= too, or the network's inputs as an array")
            if source.labels is not None and data.classes != source.labels:
                raise InputError(
                    f"the images have the classes {', '.join(data.classes[:5])}, the network has "
                    f"{', '.join(source.labels[:5])}: give images of the network's classes"
                )
            if teacher is not None and source.model.output_shape[-1] != len(data.classes):
                raise InputError(
                    f"the network has the output {source.model.output_shape}: with a teacher it has a probability for "
                    f"each of the {len(data.classes)} classes"
                )
            own = source.preprocessing
            taught_by = None if teacher is None else teacher_of(teacher, data.classes)
            return cls(data.train, data.val, data.held_out, own.unnormalized if pixels else own, taught_by)
        if teacher is not None:
            raise InputError("a teacher sees images: give a folder or a data.Dataset, or leave the teacher out")
        inputs, labels = np.asarray(data[0], np.float32), np.asarray(data[1])
        if not fits(inputs.shape, (None, *source.input_shape)) or labels.shape != inputs.shape[:1] or not len(labels):
            raise InputError(
                f"the network takes (n, {', '.join(map(str, source.input_shape))}) and labels (n,); "
                f"got {inputs.shape} and {labels.shape}"
            )
        if pixels and source.preprocessing:
            inputs = np.ascontiguousarray(to_pixels(inputs, source.preprocessing))
        return cls((inputs, labels), (inputs, labels), (inputs, labels), None)

    def fingerprint(self) -> str:
        """A digest of the images, by which a training is resumed only on the same ones."""
        if isinstance(self.train, Split) and isinstance(self.val, Split):
            return fingerprint(Dataset(self.train, self.val))
        digest = hashlib.sha256()
        for side in (self.train, self.val):
            assert not isinstance(side, Split)
            for array in side:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @cached_property
    def targets(self) -> Targets | None:
        """What is learned of the training images in place of their labels, from a teacher."""
        if self.teacher is None:
            return None
        assert isinstance(self.train, Split)
        return self.teacher.targets(self.teacher.model(), self.train)

    def __len__(self) -> int:
        return len(self.train) if isinstance(self.train, Split) else len(self.train[1])

    def batches(self, settings: FineTuning, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch of training."""
        seed = settings.seed + epoch
        if isinstance(self.train, Split):
            assert self.preprocessing is not None
            return self.train.batches(
                self.preprocessing,
                settings.batch_size,
                training=True,
                augmentation=settings.augmentation,
                seed=seed,
                labels=self.targets,
            )
        data = tf.data.Dataset.from_tensor_slices(self.train)
        return data.shuffle(len(self), seed=seed).batch(settings.batch_size)

    def typical(self, count: int, batch_size: int) -> Iterator[np.ndarray]:
        """Batches of the inputs of at most `count` training images."""
        train = self.train
        if isinstance(train, Split):
            yield from (x for x, _ in self._of(train.sample(count), batch_size))
        else:
            yield from (x for x, _ in self._of((train[0][:count], train[1][:count]), batch_size))

    def measured(self, copy: Keras2Copy, batch_size: int) -> dict[str, float]:
        """The `scores` of a copy on the validation images."""
        outputs, labels = [], []
        for x, y in self._of(self.val, batch_size):
            outputs.append(copy.model.predict_on_batch(np.asarray(x)))
            labels.append(np.asarray(y))
        return scores(_probabilities(copy, np.concatenate(outputs)), np.concatenate(labels))

    def _of(self, labelled: Labelled, batch_size: int) -> Iterator[tuple[Any, Any]]:
        if isinstance(labelled, Split):
            assert self.preprocessing is not None
            with input_errors():
                yield from labelled.batches(self.preprocessing, batch_size)
        else:
            for start in range(0, len(labelled[1]), batch_size):
                yield labelled[0][start : start + batch_size], labelled[1][start : start + batch_size]


def _probabilities(copy: Keras2Copy, outputs: np.ndarray) -> np.ndarray:
    """A copy's outputs as probabilities of classes: the softmax of logits, two classes for a single sigmoid."""
    if outputs.shape[-1] > 1 and copy.model.output is copy.logits.output:
        return tf.nn.softmax(outputs).numpy()
    return by_class(outputs)


class CopyTrainer:
    """Trains a copy by the loop of all trainings, and leaves the best epoch's weights in the copy.

    Epoch 0 is the copy before any training, which is measured too. Each epoch is kept in `folder`, from which the same
    training resumes; without a folder it cannot be resumed.
    """

    best, suffix = "best.npz", ".npz"

    def __init__(
        self, copy: Keras2Copy, images: TrainingImages, settings: FineTuning, folder: Path | None, request: Any
    ):
        self.copy, self.images, self.settings = copy, images, settings
        self._temporary = None if folder else tempfile.TemporaryDirectory()
        self.state = TrainingState(folder or Path(self._temporary.name) / "state")  # type: ignore[union-attr]
        self._request = {
            "method": json.loads(json.dumps(request)),
            "settings": repr(settings),
            "images": images.fingerprint(),
            "weights": _fingerprint(copy.plan),
            "teacher": json.loads(json.dumps(images.teacher.identity)) if images.teacher else None,
        }
        steps = -(-len(images) // settings.batch_size)
        rate = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        self._optimizer = tf_keras.optimizers.Adam(rate)
        with quiet_tfmot():
            copy.logits.compile(self._optimizer, self._loss(), jit_compile=False)
            self._optimizer.build(copy.logits.trainable_variables)

    def _loss(self) -> Any:
        """The cross-entropy with the labels; with a teacher as `callbacks.Distillation` has it."""
        classes, weight = self.copy.logits.output_shape[-1], self.settings.teacher_weight
        if not self.images.teacher:
            kind = tf_keras.losses.BinaryCrossentropy if classes == 1 else tf_keras.losses.SparseCategoricalCrossentropy
            return kind(from_logits=True)
        divergence = Divergence(self.settings.temperature, from_logits=True)

        def loss(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            labels, soft = y[:, :classes], y[:, classes:]
            own = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
            return (1 - weight) * own + weight * divergence.call(soft, logits)

        return loss

    def fit(
        self,
        *,
        callbacks: Sequence[Any] = (),
        before: Callable[[int], None] = lambda epoch: None,
        after: Callable[[], None] = lambda: None,
        first: int = 0,
    ) -> list[dict[str, float]]:
        """Train the remaining epochs, and leave the best epoch's weights in the copy. Returns the history.

        Args:
            callbacks: of Keras 2, for each epoch.
            before: called with an epoch's number, from 0, before it.
            after: called after an epoch is trained and before it is measured.
            first: the first epoch that may be the best; 0 is the copy before any training.
        """
        self._callbacks, self._before, self._after = list(callbacks), before, after
        try:
            self.state.open(self._request, self._difference)
            if self.state.history:
                self._restore(self.state.last, ("last", "optimizer"))
            for row in run_epochs(self, self.state, self.settings.epochs + 1, first=first):
                loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
                place = f"epoch {row['epoch']:.0f}/{self.settings.epochs}"
                note(f"{place}{loss}  validation {row['val_accuracy']:.1%}", style="")
        except OSError as error:
            kept = "the epoch before is kept, so repeat the call when" if self.started else "repeat the call when"
            if not self.started:
                self.state.clear()
            raise InputError(
                f"{self.state.name} could not be written: {reason(error)}; {kept} there is room"
            ) from error
        self._restore(self.state.path(self.best), ("last",))
        return self.state.history

    @property
    def started(self) -> bool:
        """Whether there is an epoch on disk from which to resume."""
        return self.state.epochs > 0

    def clear(self) -> None:
        """Delete the state on disk."""
        self.state.clear()
        if self._temporary:
            self._temporary.cleanup()

    # What the loop calls: see `training.loop.Trainer`.

    def train(self, epoch: int) -> dict[str, float]:
        """Train an epoch; nothing in epoch 0."""
        if epoch == 0:
            return {"epoch": 0}
        self._before(epoch - 1)
        grouped = any(getattr(node.layer, "groups", 1) > 1 for node in self.copy.plan.nodes)
        with input_errors(), quiet_tfmot(), unfused() if grouped else nullcontext():
            batches = self.images.batches(self.settings, epoch - 1)
            fitted = self.copy.logits.fit(batches, callbacks=self._callbacks, shuffle=False, verbose=0)
        self._after()
        loss = float(fitted.history["loss"][-1])
        if not np.isfinite(loss):
            raise InputError(f"the loss is {loss} in epoch {epoch}: give a smaller learning_rate")
        return {"epoch": epoch, "loss": loss}

    def evaluating(self) -> AbstractContextManager[None]:
        """The weights that are trained are those that are measured."""
        return nullcontext()

    def measure(self) -> dict[str, float]:
        """The accuracy and loss on the validation images."""
        measured = self.images.measured(self.copy, self.settings.batch_size)
        return {"val_accuracy": measured["top1"], "val_loss": measured["loss"]}

    def save(self, path: Path) -> None:
        """Write the variables of the copy and of the optimizer."""
        self._write(path, {"last": self.copy.model.variables, "optimizer": self._optimizer.variables})

    def save_best(self, path: Path) -> None:
        """Write the variables of the copy."""
        self._write(path, {"last": self.copy.model.variables})

    def _write(self, path: Path, groups: dict[str, Any]) -> None:
        arrays: Any = {f"{name}{i}": v.numpy() for name, variables in groups.items() for i, v in enumerate(variables)}
        np.savez(path, **arrays)

    def _restore(self, path: Path, groups: Sequence[str]) -> None:
        known = {"last": self.copy.model.variables, "optimizer": self._optimizer.variables}
        try:
            with np.load(path, allow_pickle=False) as file:
                for name in groups:
                    for i, variable in enumerate(known[name]):
                        variable.assign(file[f"{name}{i}"])
        except Exception as error:  # whatever a cut zip file makes NumPy raise
            raise InputError(
                f"{path} is missing or damaged: delete {self.state.folder} and repeat the call to begin again"
            ) from error

    def _difference(self, other: Mapping[str, Any]) -> str | None:
        return next((f"other {k}" for k, v in self._request.items() if other.get(k) != v), None)


def _fingerprint(plan: Any) -> str:
    """A digest of all weights: a training is resumed only from the weights that it started with."""
    digest = hashlib.sha256()
    for node in plan.nodes:
        for value in node.weights:
            digest.update(value.tobytes())
    return digest.hexdigest()
