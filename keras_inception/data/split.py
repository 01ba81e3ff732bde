"""Labelled images and batches of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from ..arguments import check_fields, checked
from ..errors import InputError
from ..preprocessing import Preprocessing
from .augmentation import Changes, mixes
from .decoding import Encoded, decode
from .rendering import Renderer, as_rgb, cores
from .sources import Sources

AHEAD = 2  # batches that are ready before they are asked for
SIDES = {"train": "training", "val": "validation", "test": "test"}  # fields of a dataset, and what messages call them
FEW_CLASSES = 20  # up to this number the images of each class are counted in a line


@dataclass(frozen=True)
class Rejected:
    """A file (or the name of an array) that was left out, and why."""

    path: Encoded | str
    reason: str


class Share(Protocol):
    """Which images of every batch are read: those of one of several workers."""

    def __call__(self, images: Any, /) -> slice:
        """The rows of a batch of so many images, an int or a tensor."""


class Rows(Protocol):
    """What the images of a split are to be learned as: an array, or what makes its rows when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,) or (n, k)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """int32 for labels, float32 for shares of classes."""

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray:
        """The rows at these indices."""


@dataclass(frozen=True, eq=False)
class OneHot:
    """Labels, (n,) integers, as (n, classes) float32."""

    labels: np.ndarray
    classes: int
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, classes)."""
        return len(self.labels), self.classes

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray:
        """The rows at these indices."""
        return (self.labels[indices, None] == np.arange(self.classes)).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images: an array, or files and other sources that are decoded when they are read.

    `sources` is uint8 (n, H, W, 1 or 3), 0..255, or an (n,) object array, of files `Sources`. Its elements are `Path`,
    encoded `bytes`, other objects with `read_bytes()` (`Encoded`), or uint8 images (H, W), (H, W, 1) or (H, W, 3), of
    different sizes too. `labels` is (n,) int32: indices into `classes`, or -1 for unlabelled images. `digests` is
    (n, 32) uint8, the SHA-256 hashes of the contents, if known. `side` is what messages call the side of a data set:
    "training", "validation", "test", or "" for other images.
    """

    sources: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    digests: np.ndarray | None = None
    side: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{len(self):,}", self.side, "images")))

    def image(self, index: int | np.ndarray) -> np.ndarray:
        """Return one image as uint8 (H, W, 3) RGB; several for an array of indices into a uint8 array of images.

        Raises:
            InputError: the file is gone or was damaged since it was checked.
        """
        source = self.sources[index]
        return as_rgb(source) if isinstance(source, np.ndarray) else decode(source)

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
        labels: Rows | None = None,
        share: Share | None = None,
        skip: int = 0,
    ) -> tf.data.Dataset:
        """Return batches of (float32 (b, *input_shape), int32 (b,)); the last batch may be smaller.

        Without `augmentation` every image is `preprocessing(self.image(i))`, to a hundredth of a grey level. `training`
        reshuffles all images in each epoch; the same seed gives the same sequence of epochs. An image that can no
        longer be read ends the iteration with a `tf.errors.OpError`, which `input_errors` turns into the `InputError`
        that caused it. Where `augmentation` mixes images, the labels are shares of the classes: float32 (b, classes).
        `labels`, (n, k) float32, take the place of the split's own. Of each batch only the `share` is read, which has
        the values that it has in the whole batch; where images are mixed, with others of the batch, all of it is read.
        The first `skip` batches are left out, unread; the others are as they are with them.
        """
        found: Rows = self.labels if labels is None else labels
        indices = tf.data.Dataset.range(len(self))
        if training:
            indices = indices.shuffle(len(self), seed=seed)
        batches = indices.batch(batch_size).skip(skip)
        if self.sources.dtype == np.uint8 and not augmentation:  # images of one size: TensorFlow prepares whole batches

            def prepare(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                images = tf.numpy_function(self.image, [indices], tf.uint8)
                images.set_shape((None, None, None, 3))
                y = tf.numpy_function(found.__getitem__, [indices], found.dtype)
                y.set_shape((None, *found.shape[1:]))
                return preprocessing(images), y

            if share is not None:
                batches = batches.map(lambda indices: indices[share(tf.shape(indices, tf.int64)[0])])
            return untuned(batches.map(prepare, num_parallel_calls=cores()).prefetch(AHEAD))

        render = Renderer(self.sources, preprocessing, augmentation)
        if mixes(augmentation) and labels is None:
            found = OneHot(self.labels, len(self.classes))

        def batch(indices: np.ndarray, seed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(None) if share is None else share(len(indices))
            if not mixes(augmentation):
                return render(indices, seed, rows), found[indices[rows]]
            from .mixing import mixed

            alphas = {"mixup": augmentation.mixup, "cutmix": augmentation.cutmix}
            inputs, y = mixed(render(indices, seed), found[indices], **alphas, seed=seed)
            return inputs[rows], y[rows]

        def rendered(indices: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, y = tf.numpy_function(batch, [indices, seed], [tf.float32, found.dtype])
            inputs.set_shape((None, *render.shape))
            y.set_shape((None, *found.shape[1:]))
            return inputs, y

        # Each batch carries its seed, so that working on several at a time does not change what is random.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2).skip(skip)
        # Two batches at a time: while one waits for its last image, threads are free.
        return untuned(tf.data.Dataset.zip((batches, seeds)).map(rendered, num_parallel_calls=2).prefetch(AHEAD))


def joined(a: Split, b: Split) -> Split:
    """Return the images of both, in this order; they have the same classes."""
    known = a.digests is not None and b.digests is not None
    if a.sources.shape[1:] == b.sources.shape[1:]:
        sources = np.concatenate([a.sources, b.sources])
    else:  # arrays of different sizes
        sources = Sources.of([*a.sources, *b.sources])
    return Split(
        sources,
        np.concatenate([a.labels, b.labels]),
        a.classes,
        np.concatenate([a.digests, b.digests]) if known else None,  # type: ignore[list-item]
    )


def untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    """A pipeline without TensorFlow's tuning, whose thread may sleep for ten seconds before an iterator can end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


class NearDuplicates(NamedTuple):
    """Two images that are nearly the same, the side that each is on, and the class that each is labelled with."""

    first: Any
    second: Any
    sides: tuple[str, str]
    classes: tuple[str, str]


@dataclass(frozen=True)
class Dataset:
    """Images to train on, to choose the epoch on and, where there are such, to test on; and what was left out.

    Raises:
        InputError: a field has a wrong type.
    """

    train: Split
    val: Split
    test: Split | None = None
    rejected: tuple[Rejected, ...] = ()
    near_duplicates: tuple[NearDuplicates, ...] = ()  # on different sides, or with different labels
    unused: tuple[str, ...] = ()  # of each part that is not read, what it is and how it can be used

    def __post_init__(self) -> None:
        check_fields(self)
        for name, side in SIDES.items():
            if (split := getattr(self, name)) is not None:
                object.__setattr__(self, name, replace(split, side=side))

    @property
    def sides(self) -> tuple[Split, ...]:
        """Train, val, and test if there is one."""
        return (self.train, self.val) if self.test is None else (self.train, self.val, self.test)

    @property
    def held_out(self) -> Split:
        """The images that results are measured on: the test images; where there are none the validation images."""
        return self.val if self.test is None else self.test

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the labels."""
        return self.train.classes

    def describe(self) -> list[str]:
        """Return lines that say what is read, for each class how many images are on each side, and what is not read."""
        sides = [np.bincount(split.labels, minlength=len(self.classes)) for split in self.sides]
        uses = "to train on", "for validation", "for test"
        lines = [
            f"{sum(map(len, self.sides)):,} images of {len(self.classes)} classes: "
            + ", ".join(f"{len(split):,} {use}" for split, use in zip(self.sides, uses, strict=False))
        ]
        if len(self.classes) <= FEW_CLASSES:
            counts = [" + ".join(f"{n:,}" for n in row) for row in zip(*sides, strict=True)]
            each = ", ".join(f"{name} {count}" for name, count in zip(self.classes, counts, strict=True))
            lines.append(f"of each class: {each}")
        else:
            low, high = (
                ", ".join(f"{counts[i]:,} ({self.classes[i]})" for counts in sides for i in [pick(counts)])
                for pick in (np.argmin, np.argmax)
            )
            lines.append(f"of each class {', '.join(uses[: len(sides)])}: at least {low}, at most {high}")
        return [*lines, *self.unused, *left_out(self.rejected)]

    @property
    def leaks(self) -> list[NearDuplicates]:
        """Near-duplicates on different sides."""
        return [pair for pair in self.near_duplicates if pair.sides[0] != pair.sides[1]]

    @property
    def contradictions(self) -> list[NearDuplicates]:
        """Near-duplicates with different labels."""
        return [pair for pair in self.near_duplicates if pair.classes[0] != pair.classes[1]]


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


@checked
def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 hex digest of a dataset: of its image contents, their class names and sides of the split.

    Folder, file names and the order of the images do not change it. Another image, class name or split does; without
    a test side it is that of the other two.

    Raises:
        InputError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for split in dataset.sides:
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


def hold_out(
    labels: np.ndarray, fractions: np.ndarray, name: str | Path, *, validation: float | None, test: float
) -> np.ndarray:
    """Return the side of each image, (n,): 0 to train on, 1 for validation, 2 for test.

    Of each class the images with the lowest fractions are for validation, those with the highest ones for test. One
    image at least stays to train on. Of the others each side gets one at least, validation first.

    Args:
        labels: (n,), the classes.
        fractions: (n,), hashes from 0 to 1. Copies of an image have the same one, and stay together.
        name: what messages call the images.
        validation: the share of each class for validation; None where there are such images already.
        test: the share of each class for test; 0 for none.

    Raises:
        InputError: the shares leave nothing to train on, or no class has enough different images.
    """
    _check_shares(validation, test)
    sides = np.zeros(len(labels), int)
    for members in by_class(labels):
        distinct, place = np.unique(fractions[members], return_inverse=True)
        low, high = _counts(distinct, validation, test)
        sides[members] = np.select([place < low, place >= len(distinct) - high], [1, 2])
    if sides.max() < (2 if test else 1):
        few = "three" if test and validation is not None else "two"
        raise InputError(f"{name}: no class has {few} different images, so none can be held out; add images")
    return sides


def _check_shares(validation: float | None, test: float) -> None:
    if validation is not None and not 0 < validation < 1:
        why = (
            "; the epoch that is kept is chosen on the validation images, 0.01 holds out the fewest"
            if validation == 0
            else ""
        )
        raise InputError(f"validation must be a fraction between 0 and 1; got {validation}{why}")
    if not 0 <= test < 1:
        raise InputError(f"test must be a fraction from 0, for no test images, to below 1; got {test}")
    if (validation or 0) + test >= 1:
        raise InputError(f"validation {validation} and test {test} leave nothing to train on: give smaller ones")


def _counts(distinct: np.ndarray, validation: float | None, test: float) -> tuple[int, int]:
    """How many of the different images of a class are for validation and for test."""
    spare = len(distinct) - 1  # one stays to train on
    low = 0 if validation is None else int(np.clip((distinct <= validation).sum(), 1, spare))
    high = 0 if test == 0 else int(np.clip((distinct > 1 - test).sum(), 1, spare))
    low = min(low, max(spare - high, 1))
    return low, min(high, spare - low)
