"""The one way from an image to a prediction: of Keras models, runs and exported files alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from ..arguments import Count, check_fields, checked
from ..data import Crops, Split, as_images, load_images
from ..data.rendering import Renderer
from ..errors import InputError
from ..outputs import MAIN, by_name, main_network, with_embedding
from ..preprocessing import Preprocessing
from .batch import ahead, in_batches
from .metrics import summary

CROPS = (1, 10, 12, 144)


@runtime_checkable
class Predictor(Protocol):
    """A trained network in any form: a `Run`, a `KerasPredictor`, an `Ensemble`, an exported file."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the outputs."""

    def probabilities(self, images: Split, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """What each output gives: name -> (n, classes) float32, in the order of the images; the main one is `MAIN`."""


@dataclass(frozen=True, kw_only=True)
class BatchFunction:
    """A network as a function of whole batches.

    `run` takes float32 (n, *preprocessing.input_shape), as `preprocessing` makes it of images, and returns
    "predictions", float32 (n, classes), and "embedding", float32 (n, features), if that was asked for.
    """

    preprocessing: Preprocessing
    run: Callable[[np.ndarray], dict[str, np.ndarray]]


@runtime_checkable
class BatchPredictor(Predictor, Protocol):
    """A predictor that can be asked for millions of images: a `Run`, a `KerasPredictor`, an exported file."""

    def batch_function(self, *, embeddings: bool = False) -> BatchFunction:
        """The network over batches, with the features that its classifier takes if `embeddings`."""

    def digest(self) -> str:
        """A hash of what answers depend on: the weights, the labels and the preprocessing."""

    def opener(self) -> Callable[[], BatchPredictor]:
        """What opens it again in another process, on a machine that has its files at the same path.

        Raises:
            InputError: it has no file.
        """


@dataclass(frozen=True, kw_only=True)
class KerasPredictor:
    """A Keras model with its class names and its preprocessing.

    With several `crops` (10, 12 or 144, see `data.Crops`) probabilities are the mean over those views of an image.

    Raises:
        InputError: a field has a wrong type, or the crops are not for this preprocessing.
    """

    model: keras.Model
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    crops: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.crops not in CROPS:
            raise InputError(f"crops must be {', '.join(map(str, CROPS[:-1]))} or {CROPS[-1]}; got {self.crops}")
        if self.crops == 144 and (mode := self.preprocessing.resize_mode) != "crop":
            raise InputError(
                f"144 crops are squares along the image; this network takes whole ones ({mode}): give 10 or 12"
            )

    def probabilities(self, images: Split, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """As `Predictor.probabilities`."""
        render = Renderer(images.sources, self.preprocessing, Crops(self.crops) if self.crops > 1 else None)
        size = max(1, batch_size // self.crops)
        chunks = (np.arange(i, min(i + size, len(images))) for i in range(0, len(images), size))
        batches = (x.reshape(-1, *self.preprocessing.input_shape) for _, x in ahead(render, chunks))
        found: dict[str, list[Any]] = {}
        for outputs in in_batches(self.model.predict_on_batch, batches):
            for name, values in by_name(outputs).items():
                each = values.reshape(len(values) // self.crops, self.crops, -1)
                found.setdefault(name, []).append(np.asarray(each.mean(axis=1)))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def batch_function(self, *, embeddings: bool = False) -> BatchFunction:
        """As `BatchPredictor.batch_function`.

        Raises:
            InputError: several crops are asked for, or the network has no classifier with an input.
        """
        if self.crops != 1:
            raise InputError(f"batches have one view of each image; got crops={self.crops}")
        network = with_embedding(self.model) if embeddings else main_network(self.model)

        def run(x: np.ndarray) -> dict[str, np.ndarray]:
            outputs = by_name(network.predict_on_batch(x))
            return {name: np.asarray(values, np.float32).reshape(len(x), -1) for name, values in outputs.items()}

        return BatchFunction(preprocessing=self.preprocessing, run=run)

    def digest(self) -> str:
        """As `BatchPredictor.digest`."""
        found = hashlib.sha256(json.dumps([self.labels, self.preprocessing.to_dict()]).encode())
        for variable in self.model.variables:
            found.update(variable.path.encode())
            found.update(np.ascontiguousarray(variable).data)
        return found.hexdigest()

    def opener(self) -> Callable[[], BatchPredictor]:
        """As `BatchPredictor.opener`."""
        raise InputError("the workers of a cluster open a network from its files: give a run or an exported file")


class Ensemble:
    """Several predictors as one: the mean of their probabilities, each with its own preprocessing.

    Raises:
        InputError: there are none, one is no predictor, or their classes differ or are in another order.
    """

    @checked
    def __init__(self, members: Sequence[Predictor]):
        if not members:
            raise InputError("an ensemble has at least one member; got none")
        self.members, self.labels = tuple(members), members[0].labels
        for i, member in enumerate(members):
            if member.labels != self.labels:
                name = getattr(member, "path", f"member {i + 1}")
                raise InputError(f"{name} has other classes than the first, or in another order")

    def probabilities(self, images: Split, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """The mean of the main outputs."""
        each = [member.probabilities(images, batch_size=batch_size)[MAIN] for member in self.members]
        return {MAIN: np.asarray(np.mean(each, axis=0, dtype=np.float64), np.float32)}


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first; `image` is its path, or its place among arrays."""

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@checked
def predict(predictor: Predictor, images: Any, *, top: Count = 5, batch_size: Count = 32) -> list[Prediction]:
    """The `top` most probable classes of each image.

    Args:
        predictor: a run, an exported file, or another `Predictor`.
        images: what `data.as_images` takes: files, folders, encoded bytes, uint8 arrays, or a list of these.
        top: how many classes; all of them where there are fewer.
        batch_size: images at a time.

    Raises:
        InputError: one of the images cannot be read.
    """
    given, names, rejected = as_images(images)
    if rejected:
        raise InputError(f"{rejected[0].path} cannot be read: {rejected[0].reason}")
    probabilities = predictor.probabilities(given, batch_size=batch_size)[MAIN]
    return [ranked(name, row, predictor.labels, top) for name, row in zip(names, probabilities, strict=True)]


def ranked(name: str, probabilities: np.ndarray, labels: Sequence[str], top: int) -> Prediction:
    """A row of probabilities, (classes,), as a `Prediction`."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return Prediction(name, tuple(labels[i] for i in best), tuple(float(probabilities[i]) for i in best))


@checked
def evaluate(predictor: Predictor, images: Split | str | Path, *, batch_size: Count = 32) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0..1), mean cross-entropy, the number of images, and top-1 of each early exit.

    Args:
        predictor: a run, an exported file, or another `Predictor`.
        images: labelled images, or a folder of them: one folder per class, of some or all of the classes.
        batch_size: images at a time.

    Raises:
        InputError: the images cannot be read, or are of other classes.
    """
    if isinstance(images, str | Path):
        images = load_images(images, predictor.labels)
    return summary(predictor.probabilities(images, batch_size=batch_size), images.labels)
