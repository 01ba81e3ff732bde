"""Labelled images from arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import checked
from ..errors import InputError
from .split import SIDES, Dataset, Split, content_digest, fractions, hold_out, stack_digests


@checked
def from_arrays(
    images: np.ndarray | Sequence[Any],
    labels: np.ndarray | Sequence[Any],
    classes: Sequence[str] | None = None,
    *,
    validation: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Make a dataset of uint8 images (n, H, W), (n, H, W, 1) grey or (n, H, W, 3) RGB, 0..255.

    `labels` is (n,) or (n, 1): integer indices into `classes`. Without `classes` the labels may be anything that sorts,
    and their distinct values are the classes. A hash of the pixels and `seed` holds out about the fractions
    `validation` and `test` of each class; with 0 there is no test side.

    Raises:
        InputError: images or labels have another shape or type, or there are fewer than two classes.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"images must be (n, H, W), (n, H, W, 1) or (n, H, W, 3); got {images.shape}{alpha_hint(images.shape)}"
        )
    check_uint8(images)
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise InputError(
            f"labels must be ({len(images)},), one class for each image; got {labels.shape} "
            "(of one-hot labels take .argmax(-1))"
        )
    labels = labels.reshape(-1)
    if classes is None:
        names, labels = np.unique(labels, return_inverse=True)
        classes = [str(name) for name in names]
    elif not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be integers, indices into the {len(classes)} classes; got {labels.dtype}")
    elif labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"labels must be indices into the {len(classes)} classes; got some from {labels.min()} to {labels.max()}"
        )
    if len(np.unique(labels)) < 2:
        raise InputError("all images have the same label; two classes or more are needed")
    digests = stack_digests([content_digest(image) for image in images])
    whole = Split(images, labels.astype(np.int32), tuple(classes), digests)
    train, val, tested = divided(whole, validation=validation, test=test, seed=seed)
    return Dataset(train, val, tested if test else None)


def divided(whole: Split, *, validation: float | None, test: float, seed: int = 0) -> list[Split]:
    """The images of an array to train on, for validation and for test, by a hash of the pixels and `seed`.

    Raises:
        InputError: as `hold_out`, which says what the shares mean.
    """
    drawn = stack_digests([hashlib.sha256(b"%d " % seed + image.tobytes()).digest() for image in whole.sources])
    sides = hold_out(whole.labels, fractions(drawn), "the arrays", validation=validation, test=test)
    return [whole.select(sides == i) for i in range(len(SIDES))]


def alpha_hint(shape: tuple[int, ...]) -> str:
    """What to do where arrays of this shape have an alpha channel; else nothing."""
    if shape[-1:] not in ((2,), (4,)):
        return ""
    return ": composite alpha on white first, colour * a + 255 * (1 - a) with a from 0 to 1"


def check_uint8(images: np.ndarray) -> None:
    """Raise an InputError that says how to convert images of another type to uint8, 0..255."""
    if images.dtype == np.uint8:
        return
    if not np.issubdtype(images.dtype, np.number) and images.dtype != bool:
        raise InputError(f"images must be uint8, 0 to 255; got {images.dtype}")
    low, high = images.min(), images.max()
    how = "255 * images" if low >= 0 and high <= 1 else "scale them so that 255 is white"
    raise InputError(
        f"images must be uint8, 0 to 255; got {images.dtype} from {low:g} to {high:g}: "
        f"{how}, then .round().astype('uint8')"
    )
