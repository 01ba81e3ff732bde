"""Labelled images, and batches of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..preprocessing import Preprocessing
from .augmentation import Changes
from .decoding import decode


@dataclass(frozen=True)
class Rejected:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images: files, decoded when they are read, or an array.

    `sources` is (n,) of `Path`, or (n, H, W, 1 or 3) of uint8; `labels` is (n,) int32, indices into `classes`.
    """

    sources: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int | np.ndarray, *, detail: int | None = None) -> np.ndarray:
        """One image as uint8 (H, W, 3) RGB, or of an array several; `detail` as for `decode`.

        Raises:
            InputError: the file went away or broke since it was checked.
        """
        source = self.sources[index]
        if isinstance(source, np.ndarray):
            return np.broadcast_to(source, (*source.shape[:-1], 3))
        return decode(source, detail=detail)

    def select(self, indices: np.ndarray) -> Split:
        """The images at these indices, or where this mask is true."""
        return replace(self, sources=self.sources[indices], labels=self.labels[indices])

    def sample(self, n: int, seed: int = 0) -> Split:
        """At most `n` images, each class in proportion, in their order here; the same ones for the same seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        place = np.empty(len(self))  # within the image's class, 0..1; the n first are a stratified sample
        for label in np.unique(self.labels):
            members = self.labels[order] == label
            place[members] = (np.arange(members.sum()) + 0.5) / members.sum()
        return self.select(np.sort(order[np.argsort(place, kind="stable")[:n]]))

    def batches(
        self,
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        training: bool = False,
        augmentation: Changes | None = None,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Batches of (float32 (b, *input_shape), int32 (b,)), the last one as large as is left.

        Without `augmentation` every image is exactly `preprocessing(self.image(i))`. `training` reshuffles all of
        them each epoch. The same seed gives the same sequence of epochs. An image that cannot be read any more ends
        the iteration with a `tf.errors.OpError`, which `input_errors` turns into the `InputError` behind it.
        """
        detail = augmentation.detail(preprocessing) if augmentation else None
        labels = tf.constant(self.labels)

        def example(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.numpy_function(lambda i: self.image(i, detail=detail), [index], tf.uint8)
            image.set_shape((*index.shape, None, None, 3))
            pixels = augmentation(image, preprocessing, seed) if augmentation else preprocessing.resize(image)
            return preprocessing.normalize(pixels), tf.gather(labels, index)

        indices = tf.data.Dataset.range(len(self))
        if training:
            indices = indices.shuffle(len(self), seed=seed)
        # A seed travels with each image, so that parallel reading does not change what it looks like.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        drawn = tf.data.Dataset.zip((indices, seeds))
        if self.sources.dtype == np.uint8 and not augmentation:
            # Images of one size are prepared a batch at a time: five times as fast, and the same bits.
            batches = drawn.batch(batch_size).map(example, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            batches = drawn.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Dataset:
    """Images to train on, images held out, and the files that are neither."""

    train: Split
    val: Split
    rejected: tuple[Rejected, ...] = ()
    near_duplicates: tuple[tuple[Path, Path], ...] = ()  # of train and val, nearly the same image

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the labels."""
        return self.train.classes


@contextmanager
def input_errors() -> Iterator[None]:
    """Within it an `InputError` of a pipeline leaves as itself, not as what TensorFlow wraps around it.

    Raises:
        InputError: an image could not be read in the middle of a loop over `Split.batches`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(r"InputError: (.+)", error.message):
            raise InputError(found[1]) from None
        raise


def fraction(digest: hashlib._Hash) -> float:
    """A hash as a number from 0 to 1."""
    return int.from_bytes(digest.digest()[:8]) / 2**64


def hold_out(labels: np.ndarray, fractions: np.ndarray, validation: float, name: str | Path) -> np.ndarray:
    """A mask of the images whose hash is at most `validation`, and at least one of each class on each side."""
    if not 0 < validation < 1:
        raise InputError(f"validation must be a fraction between 0 and 1; got {validation}")
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = labels == label
        distinct = np.unique(fractions[members])  # copies of an image have one hash and stay on one side
        if len(distinct) > 1:
            held_out[members] = fractions[members] <= np.clip(validation, distinct[0], distinct[-2])
    if not held_out.any():
        raise InputError(f"{name}: no class has two different images, so none can be held out; add images")
    return held_out
