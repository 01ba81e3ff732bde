"""Fine-tuning of a Keras 2 copy: its images, its epochs, and its state on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from keras_inception.data import Dataset, Split, input_errors, load_folder
from keras_inception.errors import InputError
from keras_inception.evaluation import scores
from keras_inception.files import reason, write_file
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import note

from ...comparison import by_class
from ...inputs import Exportable, fits
from ..calibration import to_pixels
from .bridge import Keras2Copy
from .settings import FineTuning
from .tfmot import quiet_tfmot, tf_keras

# Labelled images: a folder or a data set, part of which is held out; or the network's inputs and their labels.
TrainingData: TypeAlias = Dataset | tuple[np.ndarray, np.ndarray] | str | Path
Labelled: TypeAlias = Split | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainingImages:
    """What to train on and what to measure on, in batches of the copy's input."""

    train: Labelled
    held_out: Labelled
    preprocessing: Preprocessing | None  # without the normalisation if the copy contains it

    @classmethod
    def of(cls, data: TrainingData | None, source: Exportable, *, pixels: bool) -> TrainingImages:
        """The images of a folder, a data set or arrays; by default those of the run.

        Raises:
            InputError: there are no images, or they do not fit the network.
        """
        run = source.run
        if data is None:
            if run is None or not (folder := run.data.get("folder")):
                raise InputError(
                    "give images to train on: a folder with one folder of images per class, or (inputs, labels)"
                )
            data = folder
        if isinstance(data, str | Path):
            data = load_folder(data, validation=run.data.get("validation", 0.2) if run else 0.2)
        if isinstance(data, Dataset):
            if source.preprocessing is None:
                raise InputError("to train on images give preprocessing= too, or the network's inputs as an array")
            if source.labels is not None and data.classes != source.labels:
                raise InputError(
                    f"the images have the classes {', '.join(data.classes[:5])}, the network has "
                    f"{', '.join(source.labels[:5])}: give images of the network's classes"
                )
            own = source.preprocessing
            return cls(data.train, data.val, without_normalisation(own) if pixels else own)
        inputs, labels = np.asarray(data[0], np.float32), np.asarray(data[1])
        if not fits(inputs.shape, (None, *source.input_shape)) or labels.shape != inputs.shape[:1] or not len(labels):
            raise InputError(
                f"the network takes (n, {', '.join(map(str, source.input_shape))}) and labels (n,); "
                f"got {inputs.shape} and {labels.shape}"
            )
        if pixels and source.preprocessing:
            inputs = np.ascontiguousarray(to_pixels(inputs, source.preprocessing))
        return cls((inputs, labels), (inputs, labels), None)

    def __len__(self) -> int:
        return len(self.train) if isinstance(self.train, Split) else len(self.train[1])

    def batches(self, settings: FineTuning, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch of training."""
        seed = settings.seed + epoch
        if isinstance(self.train, Split):
            assert self.preprocessing is not None
            return self.train.batches(
                self.preprocessing, settings.batch_size, training=True, augmentation=settings.augmentation, seed=seed
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
        """The `scores` of a copy on the held-out images."""
        outputs, labels = [], []
        for x, y in self._of(self.held_out, batch_size):
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


def without_normalisation(preprocessing: Preprocessing) -> Preprocessing:
    """The crop and resize alone: RGB pixels, 0..255."""
    return replace(preprocessing, channels="RGB", mean=(0.0,) * 3, std=(1.0,) * 3)


def _probabilities(copy: Keras2Copy, outputs: np.ndarray) -> np.ndarray:
    """A copy's outputs as probabilities of classes: the softmax of logits, two classes for a single sigmoid."""
    if outputs.shape[-1] > 1 and copy.model.output is copy.logits.output:
        return tf.nn.softmax(outputs).numpy()
    return by_class(outputs)


class Trainer:
    """Trains a copy for some epochs, keeps each on disk, and leaves the best epoch's weights in the copy.

    `state.npz` in `folder` holds the variables of the copy and of the optimizer after the last complete epoch, the best
    epoch's variables, and the history. The file is complete or absent.
    """

    def __init__(
        self, copy: Keras2Copy, images: TrainingImages, settings: FineTuning, folder: Path | None, request: Any
    ):
        self.copy, self.images, self.settings = copy, images, settings
        self.history: list[dict[str, float]] = []
        self._file = folder / "state.npz" if folder else None
        self._request = json.dumps([request, repr(settings), len(images), _fingerprint(copy.plan)])
        steps = -(-len(images) // settings.batch_size)
        rate = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        self._optimizer = tf_keras.optimizers.Adam(rate)
        binary = copy.logits.output_shape[-1] == 1
        loss = tf_keras.losses.BinaryCrossentropy if binary else tf_keras.losses.SparseCategoricalCrossentropy
        with quiet_tfmot():
            copy.logits.compile(self._optimizer, loss(from_logits=True), jit_compile=False)
            self._optimizer.build(copy.logits.trainable_variables)
        self._best = self._values(copy.model.variables)

    def train(
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
        self._restore()
        if not self.history:
            self._measure({"epoch": 0}, first)
        for epoch in range(len(self.history) - 1, self.settings.epochs):
            before(epoch)
            with input_errors(), quiet_tfmot():
                fitted = self.copy.logits.fit(
                    self.images.batches(self.settings, epoch), callbacks=list(callbacks), shuffle=False, verbose=0
                )
            after()
            loss = float(fitted.history["loss"][-1])
            if not np.isfinite(loss):
                raise InputError(f"the loss is {loss} in epoch {epoch + 1}: give a smaller learning_rate")
            self._measure({"epoch": epoch + 1, "loss": loss}, first)
        for variable, value in zip(self.copy.model.variables, self._best, strict=True):
            variable.assign(value)
        return self.history

    @property
    def started(self) -> bool:
        """Whether there is a state on disk from which to resume."""
        return self._file is not None and self._file.is_file()

    def clear(self) -> None:
        """Delete the state on disk."""
        if self._file and self._file.exists():
            self._file.unlink()
            self._file.parent.rmdir()

    def _measure(self, row: dict[str, float], first: int) -> None:
        measured = self.images.measured(self.copy, self.settings.batch_size)
        row |= {"val_accuracy": measured["top1"], "val_loss": measured["loss"]}
        rivals = [h for h in self.history if h["epoch"] >= first]
        if all((-row["val_accuracy"], row["val_loss"]) < (-h["val_accuracy"], h["val_loss"]) for h in rivals):
            self._best = self._values(self.copy.model.variables)
        self.history.append(row)
        self._save()
        loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
        place = f"epoch {row['epoch']:.0f}/{self.settings.epochs}"
        note(f"{place}{loss}  held out {row['val_accuracy']:.1%}", style="")

    def _save(self) -> None:
        if self._file is None:
            return
        arrays: Any = {"request": np.array(self._request), "history": np.array(json.dumps(self.history))}
        for group, values in self._groups().items():
            arrays |= {f"{group}{i}": value for i, value in enumerate(values)}
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(self._file, lambda part: np.savez(part, **arrays))
        except OSError as error:
            with suppress(OSError):
                folder.rmdir()  # fails if the epoch before is in it
            kept = "the epoch before is kept, so repeat the call when" if self.started else "repeat the call when"
            raise InputError(f"{folder} could not be written: {reason(error)}; {kept} there is room") from error

    def _groups(self) -> dict[str, list[np.ndarray]]:
        last, state = self._values(self.copy.model.variables), self._values(self._optimizer.variables)
        return {"last": last, "best": self._best, "optimizer": state}

    def _restore(self) -> None:
        if not self.started:
            return
        assert self._file is not None
        with np.load(self._file, allow_pickle=False) as state:
            if str(state["request"]) != self._request:
                raise InputError(
                    f"{self._file.parent} holds an unfinished training with other weights, images or settings: "
                    "repeat its call to resume it, or delete that folder"
                )
            self.history = json.loads(str(state["history"]))
            self._best = [state[f"best{i}"] for i in range(len(self._best))]
            for group, variables in (("last", self.copy.model.variables), ("optimizer", self._optimizer.variables)):
                for i, variable in enumerate(variables):
                    variable.assign(state[f"{group}{i}"])
        note(f"resuming after epoch {self.history[-1]['epoch']:.0f}", style="")

    @staticmethod
    def _values(variables: Any) -> list[np.ndarray]:
        return [variable.numpy() for variable in variables]


def _fingerprint(plan: Any) -> str:
    """A digest of all weights: a training is resumed only from the weights that it started with."""
    digest = hashlib.sha256()
    for node in plan.nodes:
        for value in node.weights:
            digest.update(value.tobytes())
    return digest.hexdigest()
