"""Images as a published network takes them, and the names of the classes that it predicts.

`imagenet.txt` has the WordNet ids of the 1,000 classes of ILSVRC 2012 in order, each with the first of its names in
WordNet. Three names are changed to be unique: the two cranes are told apart, and class 639 has its second name.
`ilsvrc.txt` has the same ids in the order of the devkit of ILSVRC.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf

from ..arguments import Argument, Count, checked
from ..errors import InputError
from ..outputs import MAIN
from ..preprocessing import Preprocessing
from .record import Checkpoint, record_of


class Label(NamedTuple):
    """A class of ImageNet: its WordNet id, "n01440764", and its name, "tench"; of another data set the id is ""."""

    synset: str
    name: str


class ClassScore(NamedTuple):
    """One of the most probable classes of an image."""

    synset: str
    name: str
    probability: float


@cache
def imagenet_labels() -> tuple[Label, ...]:
    """The 1,000 classes of ImageNet, in the order of the networks' outputs."""
    text = files(__package__).joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(Label(*line.split(" ", 1)) for line in text.splitlines())


@cache
def devkit_places() -> tuple[int, ...]:
    """For each of the 1,000 classes its place in the devkit of ILSVRC, which some publishers' outputs follow."""
    devkit = files(__package__).joinpath("ilsvrc.txt").read_text(encoding="utf-8").split()
    return tuple(devkit.index(label.synset) for label in imagenet_labels())


KNOWS = Argument(states="a network with published weights, a checkpoint or a Run")


@runtime_checkable
class Trained(Protocol):
    """A `Run` or another trained network with its preprocessing and its classes, in the order of the outputs."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the input."""


@checked
def preprocess_input(images: Any, model: Annotated[keras.Model | Checkpoint | Trained, KNOWS]) -> Any:
    """Prepare images as those that the model was trained on.

    Args:
        images: RGB in 0..255, of any size: H x W x 3, N x H x W x 3, or a list of images of different sizes. For a
            network with more than three channels they have as many, RGB first: further channels are normalised as R, G,
            B, R, ..., as their kernels were repeated.
        model: a network with published weights or of a run (`Run.model()`), or the checkpoint or `Run` itself.

    Returns:
        The input of the network, float32: N x H x W x channels, or H x W x channels for one image. A tensor becomes a
        tensor, anything else an array.

    Raises:
        InputError: the images have another shape or range, or nothing is known of the model's preprocessing.
    """
    preprocessing = record_of(model).preprocessing
    channels = 3
    if isinstance(model, keras.Model):
        *size, own = model.input_shape[1:]
        channels = max(own, 3)
        preprocessing = preprocessing.for_input((*size, 3 if own > 3 else own))
    if isinstance(images, list | tuple):
        prepared = tf.stack([_prepared(image, preprocessing, channels) for image in images])
    else:
        prepared = _prepared(images, preprocessing, channels)
    return prepared if tf.is_tensor(images) else prepared.numpy()


def _prepared(images: Any, preprocessing: Preprocessing, channels: int) -> tf.Tensor:
    pixels = preprocessing.resize(_checked(images, channels))
    if channels == 3:
        return preprocessing.normalize(pixels)
    mean, std = (
        np.resize(np.array(values, "float32"), channels)[3:] for values in (preprocessing.mean, preprocessing.std)
    )
    further = (pixels[..., 3:] - mean) / std
    return tf.concat([preprocessing.normalize(pixels[..., :3]), further], axis=-1)


def _checked(images: Any, channels: int) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim not in (3, 4) or images.shape[-1] != channels or not images.size:
        wanted = f"H x W x {channels} or N x H x W x {channels}, RGB{' first' if channels > 3 else ''}"
        raise InputError(f"images are {wanted}; got {' x '.join(map(str, images.shape))}")
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 255 or (images.dtype.kind == "f" and 0 < high <= 1):
        raise InputError(f"pixels are in 0..255, not yet scaled or normalised; got {low:.3g}..{high:.3g}")
    return images


@checked
def decode_predictions(
    predictions: Any, model: Annotated[keras.Model | Checkpoint | Trained | None, KNOWS] = None, top: Count = 5
) -> list[list[ClassScore]]:
    """Name the `top` classes of each image, the most probable first.

    Args:
        predictions: probabilities, N x classes. Of ImageNet N x 1000; or N x 1001, whose class 0 is the background.
        model: the network with published weights or of a run, or the checkpoint or `Run` itself; None for the classes
            of ImageNet. A class of a run has its name alone, unless that is a WordNet id of ImageNet.
        top: the number of classes per image.

    Raises:
        InputError: the predictions are not of these classes.
    """
    predictions = np.asarray(predictions.get(MAIN) if isinstance(predictions, Mapping) else predictions)
    labels = _labels(model)
    if predictions.ndim == 2 and predictions.shape[1] == 1001 == len(labels) + 1:
        labels = (Label("", "background"), *labels)
    if predictions.ndim != 2 or predictions.shape[1] != len(labels):
        imagenet = labels is imagenet_labels()
        of = "N x 1000 or N x 1001 of ImageNet's classes" if imagenet else f"N x {len(labels)} of the run's classes"
        hint = "; for a fine-tuned network give its Run, Run.load(directory)" if imagenet else ""
        raise InputError(f"predictions are {of}; got {' x '.join(map(str, predictions.shape))}{hint}")
    best = np.argsort(-predictions, axis=1, kind="stable")[:, :top]
    return [
        [ClassScore(labels[i].synset, labels[i].name, float(row[i])) for i in order]
        for row, order in zip(predictions, best, strict=True)
    ]


def _labels(model: Any) -> tuple[Label, ...]:
    """The classes of what `decode_predictions` takes as `model`."""
    record = None if model is None else record_of(model)
    if isinstance(record, Checkpoint) and record.dataset != "imagenet":
        raise InputError(f"{record.id} has the classes of {record.dataset}, which have no names here")
    if record is None or isinstance(record, Checkpoint) or not record.labels:
        return imagenet_labels()
    known = {label.synset: label for label in imagenet_labels()}
    return tuple(known.get(name, Label("", name)) for name in record.labels)
