"""Labelled pictures from arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .split import Dataset, Split, fraction, hold_out


def from_arrays(
    pictures: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] | None = None,
    *,
    validation: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Pictures from an array: uint8 (n, H, W), (n, H, W, 1) grey or (n, H, W, 3) RGB, 0..255.

    `labels` is (n,) or (n, 1): indices into `classes`, or without `classes` anything that sorts, and the classes are
    the distinct labels. About the fraction `validation` of each class is held out, by a hash of the pixels and `seed`.

    Raises:
        InputError: pictures or labels of another shape or type, or fewer than two classes.
    """
    pictures, labels = np.asarray(pictures), np.asarray(labels)
    if pictures.ndim == 3:
        pictures = pictures[..., np.newaxis]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or 0 in pictures.shape:
        raise InputError(f"pictures must be (n, H, W), (n, H, W, 1) or (n, H, W, 3); got {pictures.shape}")
    if pictures.dtype != np.uint8:
        low, high = pictures.min(), pictures.max()
        how = "255 * pictures" if low >= 0 and high <= 1 else "scale them so that 255 is white"
        raise InputError(
            f"pictures must be uint8, 0 to 255; got {pictures.dtype} from {low:g} to {high:g}: "
            f"{how}, then .round().astype('uint8')"
        )
    if labels.shape not in ((len(pictures),), (len(pictures), 1)):
        raise InputError(
            f"labels must be ({len(pictures)},), one class for each picture; got {labels.shape} "
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
        raise InputError("all pictures have the same label; two classes or more are needed")
    fractions = np.array([fraction(hashlib.sha256(b"%d " % seed + picture.tobytes())) for picture in pictures])
    held_out = hold_out(labels, fractions, validation, "the arrays")
    whole = Split(pictures, labels.astype(np.int32), tuple(classes))
    return Dataset(whole.select(~held_out), whole.select(held_out))
