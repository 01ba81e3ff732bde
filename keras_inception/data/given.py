"""What `train` takes as images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from ..arguments import checked
from ..errors import InputError
from .folders import load_folder
from .split import Dataset
from .tf_data import from_tf_data


@checked
def is_tf_data(images: Any) -> bool:
    """Whether this is a `tf.data` pipeline, or two or three of them: to train on, for validation, for test."""
    if isinstance(images, tuple | list):
        return len(images) in (2, 3) and all(map(is_tf_data, images))
    return isinstance(images, tf.data.Dataset)


@checked
def as_dataset(images: Any, *, validation: float = 0.2, test: float = 0.0) -> Dataset:
    """Make a dataset of what `load_folder` takes, or of one to three `tf.data` pipelines.

    `validation` and `test` are the shares to hold out where there are no such images. A `Dataset` is returned as it is.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    if isinstance(images, Dataset):
        return images
    if isinstance(images, str | Path):
        return load_folder(images, validation=validation, test=test)
    if is_tf_data(images):
        train, val, tested = (*images, None, None)[:3] if isinstance(images, tuple | list) else (images, None, None)
        return from_tf_data(train, val, test if tested is None else tested, validation=validation)
    raise InputError(
        f'images are a {type(images).__name__}: give a folder, a list, an archive, an address, "tfds:NAME", a '
        "tf.data.Dataset (or two or three: to train on, for validation, for test), or arrays as "
        "data.from_arrays(images, labels)"
    )
