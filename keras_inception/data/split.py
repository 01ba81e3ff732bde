"""Labelled images and batches of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..preprocessing import Preprocessing
from .augmentation import Changes
from .decoding import Encoded, decode

FEW_CLASSES = 20  # up to this number the images of each class are counted in a line


@dataclass(frozen=True)
class Rejected:
    """A file (or the name of an array) that was left out, and why."""

    path: Encoded | str
    reason: str


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images: an array, or files and other sources that are decoded when they are read.

    `sources` is uint8 (n, H, W, 1 or 3), 0..255, or an (n,) object array, of files `Sources`. Its elements are `Path`,
    encoded `bytes`, other objects with `read_bytes()` (`Encoded`), or uint8 images (H, W), (H, W, 1) or (H, W, 3), of
    different sizes too. `labels` is (n,) int32: indices into `classes`, or -1 for unlabelled images. `digests` is
    (n, 32) uint8, the SHA-256 hashes of the contents, if known.
    """

    sources: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    digests: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int | np.ndarray, *, detail: int | None = None) -> np.ndarray:
        """Return one image as uint8 (H, W, 3) RGB; several for an array of indices into a uint8 array of images.

        `detail` is passed on to `decode`.

        Raises:
            InputError: the file is gone or was damaged since it was checked.
        """
        source = self.sources[index]
        if not isinstance(source, np.ndarray):
            return decode(source, detail=detail)
        if source.ndim == 2:
            source = source[..., np.newaxis]
        return np.broadcast_to(source, (*source.shape[:-1], 3))

    def content_digests(self) -> np.ndarray:
        """Return `digests`, computed from the contents where they are not known: (n, 32) uint8.

        Raises:
            InputError: a file cannot be read.
        """
        if self.digests is not None:
            return self.digests
        return stack_digests([content_digest(source) for source in self.sources])

    def select(self, indices: np.ndarray) -> Split:
        """Return the images at these indices, or where this mask is true."""
        digests = None if self.digests is None else self.digests[indices]
        return replace(self, sources=self.sources[indices], labels=self.labels[indices], digests=digests)

    def sample(self, n: int, seed: int = 0) -> Split:
        """Return a stratified sample of at most `n` images, in their order here; the seed decides which."""
        order = np.random.default_rng(seed).permutation(len(self))
        place = np.empty(len(self))  # position within the image's class, 0..1; the n smallest are a stratified sample
        for members in by_class(self.labels[order]):
            place[members] = (np.arange(len(members)) + 0.5) / len(members)
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
        """Return batches of (float32 (b, *input_shape), int32 (b,)); the last batch may be smaller.

        Without `augmentation` every image is exactly `preprocessing(self.image(i))`. `training` reshuffles all images
        in each epoch; the same seed gives the same sequence of epochs. An image that can no longer be read ends the
        iteration with a `tf.errors.OpError`, which `input_errors` turns into the `InputError` that caused it.
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
        # Each image carries its seed, so that parallel reading does not change its augmentation.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        drawn = tf.data.Dataset.zip((indices, seeds))
        if self.sources.dtype == np.uint8 and not augmentation:
            # Images of one size are prepared a batch at a time: five times faster, bit for bit the same.
            batches = drawn.batch(batch_size).map(example, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            batches = drawn.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Dataset:
    """Training images, held-out images, and the files that were left out."""

    train: Split
    val: Split
    rejected: tuple[Rejected, ...] = ()
    near_duplicates: tuple[tuple[Any, Any], ...] = ()  # of a held-out image the first training image like it, and it
    unused: tuple[str, ...] = ()  # of each part that is not read, what it is and how it can be used

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the labels."""
        return self.train.classes

    def describe(self) -> list[str]:
        """Return lines that say what is read, for each class how many images are on each side, and what is not read."""
        sides = [np.bincount(split.labels, minlength=len(self.classes)) for split in (self.train, self.val)]
        lines = [
            f"{len(self.train) + len(self.val):,} images of {len(self.classes)} classes: "
            f"{len(self.train):,} to train on, {len(self.val):,} held out"
        ]
        if len(self.classes) <= FEW_CLASSES:
            each = [f"{name} {a:,} + {b:,}" for name, a, b in zip(self.classes, *sides, strict=True)]
            lines.append(f"of each class: {', '.join(each)}")
        else:
            low, high = (
                ", ".join(f"{counts[i]:,} ({self.classes[i]})" for counts in sides for i in [pick(counts)])
                for pick in (np.argmin, np.argmax)
            )
            lines.append(f"of each class to train on and held out: at least {low}, at most {high}")
        return [*lines, *self.unused, *left_out(self.rejected)]


def left_out(rejected: Sequence[Rejected]) -> list[str]:
    """Return a line for each reason why images are left out: how many there are, and the first of them."""
    by_reason: dict[str, list[Rejected]] = {}
    for file in rejected:
        by_reason.setdefault(file.reason, []).append(file)
    return [
        f"left out {files[0].path}: {reason}"
        if len(files) == 1
        else f"left out {len(files):,} images, {files[0].path} for example: {reason}"
        for reason, files in by_reason.items()
    ]


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 hex digest of a dataset: of its image contents, their class names and sides of the split.

    Folder, file names and the order of the images do not change it. Another image, class name or split does.

    Raises:
        InputError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for split in (dataset.train, dataset.val):
        names = stack_digests([hashlib.sha256(n.encode("utf-8", "surrogatepass")).digest() for n in split.classes])
        rows = np.hstack([split.content_digests(), names[split.labels]])
        rows.view(f"S{rows.shape[1]}").sort(axis=0)  # as bytes
        whole.update(hashlib.sha256(rows.data).digest())
    return whole.hexdigest()


@contextmanager
def input_errors() -> Iterator[None]:
    """Re-raise the `InputError` of a `tf.data` pipeline, which TensorFlow wraps in an error of its own.

    Raises:
        InputError: an image could not be read during a loop over `Split.batches`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(r"InputError: (.+)", error.message):
            raise InputError(found[1]) from None
        raise


def content_digest(source: Path | bytes | Encoded | np.ndarray) -> bytes:
    """Return the SHA-256 hash of a file's bytes, of encoded bytes, or of the pixels and shape of an array.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        return hashlib.sha256(f"{source.shape} ".encode() + source.tobytes()).digest()
    if isinstance(source, bytes):
        return hashlib.sha256(source).digest()
    try:
        if not isinstance(source, Path):
            return hashlib.sha256(source.read_bytes()).digest()
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {(error.strerror or str(error)).lower()}") from error


def stack_digests(digests: Sequence[bytes]) -> np.ndarray:
    """Return `Split.digests` of a list of hashes."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)


def fractions(digests: np.ndarray) -> np.ndarray:
    """Return hashes (n, 32) as numbers (n,) from 0 to 1."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0] / 2**64


def by_class(labels: np.ndarray) -> list[np.ndarray]:
    """Return the indices of the images of each class that has some, sorted."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def hold_out(labels: np.ndarray, fractions: np.ndarray, validation: float, name: str | Path) -> np.ndarray:
    """Return a mask of the images whose hash is at most `validation`, at least one of each class on each side.

    Raises:
        InputError: `validation` is not between 0 and 1, or no class has two different images.
    """
    if not 0 < validation < 1:
        why = (
            "; the epoch that is kept is chosen on the held-out images, 0.01 holds out the fewest"
            if validation == 0
            else ""
        )
        raise InputError(f"validation must be a fraction between 0 and 1; got {validation}{why}")
    held_out = np.zeros(len(labels), bool)
    for members in by_class(labels):
        distinct = np.unique(fractions[members])  # copies of an image have the same hash and stay on one side
        if len(distinct) > 1:
            held_out[members] = fractions[members] <= np.clip(validation, distinct[0], distinct[-2])
    if not held_out.any():
        raise InputError(f"{name}: no class has two different images, so none can be held out; add images")
    return held_out
