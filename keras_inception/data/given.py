"""What `train` takes as images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from ..errors import InputError
from .folders import load_folder
from .split import Dataset
from .tf_data import from_tf_data


def is_tf_data(images: Any) -> bool:
    """Whether this is a `tf.data` pipeline, or a pair of them to train on and to hold out."""
    if isinstance(images, tuple | list):
        return len(images) == 2 and all(map(is_tf_data, images))
    return isinstance(images, tf.data.Dataset)


def as_dataset(images: Any, *, validation: float = 0.2) -> Dataset:
    """Make a dataset of what `load_folder` takes, of one or two `tf.data` pipelines; a `Dataset` is returned as it is.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    if isinstance(images, Dataset):
        return images
    if isinstance(images, str | Path):
        return load_folder(images, validation=validation)
    if is_tf_data(images):
        pair = images if isinstance(images, tuple | list) else (images,)
        return from_tf_data(*pair, validation=validation)
    raise InputError(
        f'images are a {type(images).__name__}: give a folder, a list, an archive, "tfds:NAME", a tf.data.Dataset (or '
        "two, to train on and to hold out), or arrays as data.from_arrays(images, labels)"
    )
