"""Datasets of TensorFlow Datasets, as folders of images."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..terminal import progress

PREFIX = "tfds:"
SIDES = {"train": "train", "validation": "val", "test": "test"}  # splits, and the folders that they are written to
PNG = b"\x89PNG"


def folder_of(path: str) -> Path:
    """Return the folder of the images of "tfds:NAME", written on first use.

    The image files keep their bytes. They are stored next to the dataset in TensorFlow Datasets' own folder, in folders
    that are named as their classes, percent-encoded.

    Raises:
        InputError: there is no such dataset, it does not hold labelled images, or it cannot be downloaded.
    """
    return _images(path.removeprefix(PREFIX))


def folder_name(name: str) -> str:
    """Percent-encode what a folder's name cannot hold, and a leading dot, which would hide the folder."""
    return re.sub(r"[/%\0]|^\.", lambda found: f"%{ord(found[0]):02X}", name)


def _images(name: str) -> Path:
    try:
        with warnings.catch_warnings(action="ignore"):
            import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"{PREFIX}{name} needs TensorFlow Datasets ({error.name} is missing): pip install 'keras-inception[tfds]'"
        ) from error
    try:
        builder = tfds.builder(name)
    except Exception as error:  # each kind of wrong name raises an error of its own
        raise InputError(f"{PREFIX}{name} is none of TensorFlow Datasets: {first_line(error)}") from error
    image, label = _keys(name, builder.info.features, tfds)
    folder = Path(builder.data_dir) / "images_by_side"
    if folder.is_dir():
        return folder
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, server or checksum
        raise InputError(f"{PREFIX}{name} cannot be downloaded: {first_line(error)}") from error
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        for split, side in SIDES.items():
            if split not in builder.info.splits:
                continue
            data = builder.as_dataset(split=split, decoders={image: tfds.decode.SkipDecoding()})
            _write(data.as_numpy_iterator(), part / side, builder.info.features[label].names, image, label)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _keys(name: str, features: Any, tfds: Any) -> tuple[str, str]:
    """Return the keys of the image and its class in an example."""
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    found = [[key for key, feature in dict(features).items() if isinstance(feature, kind)] for kind in kinds]
    if [len(keys) for keys in found] != [1, 1]:
        raise InputError(
            f"{PREFIX}{name} has {', '.join(features)}: give a dataset with one image and one class in each example"
        )
    return found[0][0], found[1][0]


def _write(examples: Any, folder: Path, names: list[str], image: str, label: str) -> None:
    folders = [folder / folder_name(name) for name in names]
    for place in folders:
        place.mkdir(parents=True)
    for i, example in enumerate(progress(examples, f"Writing {folder.name}/")):
        if example[label] < 0:  # of test sets whose labels are kept secret
            continue
        content = example[image]
        ending = "png" if content.startswith(PNG) else "jpg"
        (folders[example[label]] / f"{i:07d}.{ending}").write_bytes(content)
