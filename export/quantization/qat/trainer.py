"""Fine-tuning of a Keras 2 twin: its images, its epochs, and its state on disk."""

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
from keras_inception.terminal import console

from ...inputs import Source, fits
from ..calibration import to_pixels
from .bridge import Bridge
from .tfmot import hushed, tf_keras

# Labelled images: a folder or a data set, of which a part is held out; or the network's inputs and their labels.
Data: TypeAlias = Dataset | tuple[np.ndarray, np.ndarray] | str | Path
Labelled: TypeAlias = Split | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a twin is fine-tuned: by Adam, whose rate falls from `learning_rate` to 0 along a cosine."""

    epochs: int
    batch_size: int
    learning_rate: float
    augmentation: Any
    seed: int

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive; got {getattr(self, name)}")


@dataclass(frozen=True)
class Images:
    """What to train on and what to measure on, in batches of the twin's input."""

    train: Labelled
    held_out: Labelled
    preprocessing: Preprocessing | None  # of the twin: without the normalisation where the twin has that inside

    @classmethod
    def of(cls, data: Data | None, source: Source, *, pixels: bool) -> Images:
        """The images of a folder, a data set or arrays; those of the run by default.

        Raises:
            InputError: there are none, or they do not fit the network.
        """
        run = source.run
        if data is None:
            if run is None or not (folder := run.data.get("folder")):
                raise InputError("give images to train on: a folder with one folder a class, or (inputs, labels)")
            data = folder
        if isinstance(data, str | Path):
            data = load_folder(data, validation=run.data.get("validation", 0.2) if run else 0.2)
        if isinstance(data, Dataset):
            if source.preprocessing is None:
                raise InputError("to train on images give preprocessing= too, or the network's inputs as an array")
            if source.labels is not None and data.classes != source.labels:
                raise InputError(
                    f"the images are of {', '.join(data.classes[:5])}, the network tells apart "
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

    def batches(self, settings: Settings, epoch: int) -> tf.data.Dataset:
        """An epoch of training."""
        seed = settings.seed + epoch
        if isinstance(self.train, Split):
            assert self.preprocessing is not None
            return self.train.batches(
                self.preprocessing, settings.batch_size, training=True, augmentation=settings.augmentation, seed=seed
            )
        data = tf.data.Dataset.from_tensor_slices(self.train)
        return data.shuffle(len(self), seed=seed).batch(settings.batch_size)

    def typical(self, count: int, batch_size: int) -> Iterator[np.ndarray]:
        """Batches of inputs of at most so many training images."""
        train = self.train
        if isinstance(train, Split):
            yield from (x for x, _ in self._of(train.sample(count), batch_size))
        else:
            yield from (x for x, _ in self._of((train[0][:count], train[1][:count]), batch_size))

    def measured(self, bridge: Bridge, batch_size: int) -> dict[str, float]:
        """What `scores` says of a twin's answers on the held-out images."""
        answers, labels = [], []
        for x, y in self._of(self.held_out, batch_size):
            answers.append(bridge.model.predict_on_batch(np.asarray(x)))
            labels.append(np.asarray(y))
        return scores(_as_probabilities(bridge, np.concatenate(answers)), np.concatenate(labels))

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


def _as_probabilities(bridge: Bridge, outputs: np.ndarray) -> np.ndarray:
    """A twin's outputs as probabilities of classes: of logits their softmax, of one sigmoid both classes."""
    if outputs.shape[-1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=-1)
    return tf.nn.softmax(outputs).numpy() if bridge.model.output is bridge.logits.output else outputs


class Lessons:
    """Epoch after epoch, each kept on disk; the best one is what remains.

    `state.npz` in `folder` holds the twin's and the optimizer's variables behind the last whole epoch, the best twin's,
    and the history, in one file that is whole or not there.
    """

    def __init__(self, bridge: Bridge, images: Images, settings: Settings, folder: Path | None, request: Any):
        self.bridge, self.images, self.settings = bridge, images, settings
        self.history: list[dict[str, float]] = []
        self._file = folder / "state.npz" if folder else None
        self._request = json.dumps([request, repr(settings), len(images), _fingerprint(bridge.plan)])
        steps = -(-len(images) // settings.batch_size)
        rate = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs)
        self._optimizer = tf_keras.optimizers.Adam(rate)
        binary = bridge.logits.output_shape[-1] == 1
        loss = tf_keras.losses.BinaryCrossentropy if binary else tf_keras.losses.SparseCategoricalCrossentropy
        with hushed():
            bridge.logits.compile(self._optimizer, loss(from_logits=True), jit_compile=False)
            self._optimizer.build(bridge.logits.trainable_variables)
        self._best = self._values(bridge.model.variables)

    def learn(
        self,
        *,
        callbacks: Sequence[Any] = (),
        before: Callable[[int], None] = lambda epoch: None,
        after: Callable[[], None] = lambda: None,
        count_from: int = 0,
    ) -> list[dict[str, float]]:
        """Train what is left to train, and leave the best epoch's weights in the twin.

        `before` is called with an epoch's number from 0, `after` when it is trained and not yet measured. The best is
        looked for from the epoch `count_from` on, 0 being the twin as it came.
        """
        self._restore()
        if not self.history:
            self._measured({"epoch": 0}, count_from)
        for epoch in range(len(self.history) - 1, self.settings.epochs):
            before(epoch)
            with input_errors(), hushed():
                fitted = self.bridge.logits.fit(
                    self.images.batches(self.settings, epoch), callbacks=list(callbacks), shuffle=False, verbose=0
                )
            after()
            loss = float(fitted.history["loss"][-1])
            if not np.isfinite(loss):
                raise InputError(f"the loss is {loss} in epoch {epoch + 1}: give a smaller learning_rate")
            self._measured({"epoch": epoch + 1, "loss": loss}, count_from)
        for variable, value in zip(self.bridge.model.variables, self._best, strict=True):
            variable.assign(value)
        return self.history

    @property
    def started(self) -> bool:
        """Whether there is a state on disk to go on from."""
        return self._file is not None and self._file.is_file()

    def clear(self) -> None:
        """Delete the state on disk."""
        if self._file and self._file.exists():
            self._file.unlink()
            self._file.parent.rmdir()

    def _measured(self, row: dict[str, float], count_from: int) -> None:
        measured = self.images.measured(self.bridge, self.settings.batch_size)
        row |= {"val_accuracy": measured["top1"], "val_loss": measured["loss"]}
        rivals = [h for h in self.history if h["epoch"] >= count_from]
        if all((-row["val_accuracy"], row["val_loss"]) <= (-h["val_accuracy"], h["val_loss"]) for h in rivals):
            self._best = self._values(self.bridge.model.variables)
        self.history.append(row)
        self._save()
        loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
        place = f"epoch {row['epoch']:.0f}/{self.settings.epochs}"
        console.print(f"{place}{loss}  held out {row['val_accuracy']:.1%}", highlight=False)

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
                folder.rmdir()  # unless it has the epoch before
            kept = "the epoch before is kept, so repeat the call when" if self.started else "repeat the call when"
            raise InputError(f"{folder} could not be written: {reason(error)}; {kept} there is room") from error

    def _groups(self) -> dict[str, list[np.ndarray]]:
        last, state = self._values(self.bridge.model.variables), self._values(self._optimizer.variables)
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
            for group, variables in (("last", self.bridge.model.variables), ("optimizer", self._optimizer.variables)):
                for i, variable in enumerate(variables):
                    variable.assign(state[f"{group}{i}"])
        console.print(f"resuming behind epoch {self.history[-1]['epoch']:.0f}", highlight=False)

    @staticmethod
    def _values(variables: Any) -> list[np.ndarray]:
        return [variable.numpy() for variable in variables]


def _fingerprint(plan: Any) -> str:
    """Of all weights, so that a training goes on only from the same ones."""
    digest = hashlib.sha256()
    for node in plan.nodes:
        for value in node.weights:
            digest.update(value.tobytes())
    return digest.hexdigest()
