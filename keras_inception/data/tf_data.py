"""Labelled images from pipelines of `tf.data`, as Keras' `image_dataset_from_directory` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..arguments import checked
from ..errors import InputError
from .arrays import divided, from_arrays
from .folders import dataset_of
from .layout import Files, Layout
from .split import SIDES, Dataset, Split

WANTED = "give pairs of an image, uint8 or 0..255, and its class, batched or not"


@checked
def from_tf_data(
    train: tf.data.Dataset,
    val: tf.data.Dataset | None = None,
    test: tf.data.Dataset | float = 0.0,
    *,
    validation: float = 0.2,
) -> Dataset:
    """Make a dataset of one to three finite `tf.data` pipelines of (image, label) pairs, batched or not.

    What `keras.utils.image_dataset_from_directory` returns is read from its files, at their own sizes. Of any other
    pipeline all images are read once and held in memory, as uint8. Images are (H, W, 1 or 3), uint8 or numbers from 0
    to 255, which are rounded; labels are integers, or one-hot rows. The classes are `train.class_names`, if it has
    them, else the distinct labels.

    Args:
        train: the images to train on.
        val: the images for validation; without them the fraction `validation` of `train`, as `load_folder` or
            `from_arrays` hold it out.
        test: the images for test, or the fraction of each class of `train` that is held out for it; 0 for none.
        validation: the fraction of each class to hold out without `val`, between 0 and 1.

    Raises:
        InputError: the pipeline never ends, or yields something else.
    """
    share, tested = (0.0, test) if isinstance(test, tf.data.Dataset) else (test, None)
    pipelines = {"train": train, "val": val, "test": tested}
    given = {side: pipeline for side, pipeline in pipelines.items() if pipeline is not None}
    if files := _files(list(given.values())):
        sides = dict(zip(given, files, strict=True))
        layout = Layout(sides["train"], sides.get("val"), sides.get("test"))
        return dataset_of(layout, validation=validation, test=share)
    arrays = [_arrays(pipeline) for pipeline in given.values()]
    names = getattr(train, "class_names", None)
    found = np.unique(np.concatenate([labels for _, labels in arrays]))
    classes = tuple(names) if names else tuple(map(str, found))
    if names and (found.min() < 0 or found.max() >= len(names)):
        raise InputError(
            f"the tf.data pipeline has labels from {found.min()} to {found.max()}, but {len(names)} class_names"
        )
    splits = {
        side: Split(images, (labels if names else np.searchsorted(found, labels)).astype(np.int32), classes)
        for side, (images, labels) in zip(given, arrays, strict=True)
    }
    whole = splits["train"]
    if len(given) == 1:
        return from_arrays(whole.sources, whole.labels, classes, validation=validation, test=share)
    if missing := sorted(set(range(len(classes))) - set(whole.labels.tolist())):
        raise InputError(f"the images to train on have none of the class {classes[missing[0]]}: add some")
    if val is None or share:
        parts = divided(whole, validation=validation if val is None else None, test=share)
        splits = {side: split for side, split in zip(SIDES, parts, strict=True) if split} | splits | {"train": parts[0]}
    return Dataset(splits["train"], splits["val"], splits.get("test"))


def _files(pipelines: Sequence[Any]) -> list[Files]:
    """The files of Keras' pipelines by class; none of other pipelines, or where the folders are not the classes."""
    if not all(getattr(p, "file_paths", None) and getattr(p, "class_names", None) for p in pipelines):
        return []
    names = list(pipelines[0].class_names)
    paths = [[Path(path) for path in pipeline.file_paths] for pipeline in pipelines]
    every = [path.parts for side in paths for path in side]
    shared = range(min(map(len, every)) - 1)
    places = [i for i in shared if all(parts[i] in names for parts in every)]
    if not places or list(pipelines[-1].class_names) != names:
        return []
    place = max(places, key=lambda i: len({parts[i] for parts in every}))
    return [
        Files(
            str(Path(*every[0][:place])),
            {name: tuple(str(path) for path in sorted(side) if path.parts[place] == name) for name in names},
        )
        for side in paths
    ]


def _arrays(pipeline: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images of a pipeline, uint8 (n, H, W, C), and their labels."""
    if pipeline.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError("the tf.data pipeline never ends: leave out .repeat(), or add .take(n)")
    spec = pipeline.element_spec
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)):
        raise InputError(f"the tf.data pipeline yields {_shown(spec)}: {WANTED}")
    if spec[0].shape.rank not in (3, 4) or spec[0].shape[-1] not in (1, 3, None):
        raise InputError(f"the tf.data pipeline yields images of shape {spec[0].shape}: {WANTED}")
    batched = spec[0].shape.rank == 4
    images, labels = [], []
    for image, label in pipeline.as_numpy_iterator():
        images += list(_uint8(image)) if batched else [_uint8(image)]
        labels.append(_integers(label, batched=batched))
    if not images:
        raise InputError("the tf.data pipeline yields no images")
    if len({image.shape for image in images}) > 1:
        raise InputError("the tf.data pipeline yields images of different sizes: resize them, or give their folder")
    return np.stack(images), np.concatenate(labels)


def _uint8(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 255 or (high <= 1 and image.dtype.kind == "f"):
        raise InputError(
            f"the tf.data pipeline yields images from {low:g} to {high:g}: leave out Rescaling and preprocess_input, "
            "since images are taken from 0 to 255"
        )
    return image.round().astype(np.uint8)


def _integers(label: np.ndarray, *, batched: bool) -> np.ndarray:
    """The labels of a batch, (b,) or one-hot (b, k), or of one image."""
    label = np.asarray(label) if batched else np.asarray(label)[np.newaxis]
    if label.ndim == 2 and label.shape[1] > 1:
        if not (np.isin(label, (0, 1)).all() and (label.sum(1) == 1).all()):
            raise InputError("the tf.data pipeline yields rows of labels that are not one-hot: give one class an image")
        return label.argmax(1)
    if label.dtype.kind not in "iufb" or label.ndim > 2 or (label != np.round(label)).any():
        raise InputError(f"the tf.data pipeline yields labels {label.dtype} {label.shape}: give integers")
    return label.reshape(-1).astype(np.int64)


def _shown(spec: Any) -> str:
    if isinstance(spec, tf.TensorSpec):
        return f"one tensor {spec.shape}"
    return f"{len(spec)} parts" if isinstance(spec, tuple | list) else type(spec).__name__
