"""Labelled images from folders."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..terminal import progress
from .decoding import pixels, reason
from .near_duplicates import look, near_pairs
from .split import Dataset, Rejected, Split, fraction, hold_out
from .tfds import folder_of

# What a user means as an image. The content decides the format; those after .webp are reported, not silently ignored.
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
HELD_OUT = ("val", "validation", "test")  # names of the folder beside train/, the first present is taken
MANY_FILES = 500  # from here on checking them shows a progress bar


def load_folder(path: str | Path, *, validation: float = 0.2) -> Dataset:
    """Images in one folder a class, with or without `train/` and `val/` (or `validation/`, `test/`) above those.

    Without a held-out folder about the fraction `validation` of each class is held out by a hash of the files' content:
    an image stays on its side when others are added, when it is renamed or the folder moves, and copies of it stay
    together. (Only a class so small that one side would be empty lends the image with the nearest hash to that side.)
    Hidden files and those not named as images are ignored; images that cannot be decoded are left out and reported,
    and so are pairs of nearly the same image on both sides of the split, which stay.

    "tfds:NAME" is a data set of TensorFlow Datasets (`pip install 'keras-inception[tfds]'`), written to such a folder
    once.

    Raises:
        InputError: there is no such folder, or not two classes with images that can be decoded.
    """
    path = folder_of(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of images for each class")
    train = path / "train"
    if not (train.is_dir() and _subfolders(train)):  # a folder train/ of images is a class: of vehicles, say
        return _divided(_read(path), validation, path)
    held_out = next((path / name for name in HELD_OUT if (path / name).is_dir()), None)
    if held_out is None:
        return _divided(_read(train), validation, train)
    train_names, val_names = set(_subfolders(train)), set(_subfolders(held_out))
    if train_names != val_names:
        sides = [(train, train_names - val_names), (held_out, val_names - train_names)]
        difference = "; ".join(f"only {side.name}/ has {', '.join(sorted(names))}" for side, names in sides if names)
        raise InputError(f"train/ and {held_out.name}/ in {path} must hold the same classes: {difference}")
    return _dataset(_read(train), _read(held_out))


def load_images(path: str | Path, classes: Sequence[str]) -> Split:
    """All images in one folder a class, labelled by their place in `classes`, to measure a trained network on.

    Raises:
        InputError: there is no such folder, no image in it, or a folder that is none of the classes.
    """
    path = folder_of(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of images for each class")
    if unknown := [name for name in _subfolders(path) if name not in classes]:
        raise InputError(f"{path / unknown[0]} is none of the classes: {', '.join(classes)}")
    found = _read(path).images
    places = np.array([classes.index(name) for name in found.classes], dtype=np.int32)
    return replace(found, labels=places[found.labels], classes=tuple(classes))


@dataclass(frozen=True)
class _Found:
    """What is in a folder: images that can be decoded, the hashes of their content (0..1) and looks, other files."""

    images: Split
    fractions: np.ndarray
    looks: np.ndarray
    rejected: tuple[Rejected, ...]

    def select(self, indices: np.ndarray) -> _Found:
        return _Found(self.images.select(indices), self.fractions[indices], self.looks[indices], ())


def _dataset(train: _Found, val: _Found) -> Dataset:
    pairs = near_pairs(train.looks, val.looks)
    twins = tuple((train.images.sources[i], val.images.sources[j]) for i, j in pairs)
    return Dataset(train.images, val.images, train.rejected + val.rejected, twins)


def _divided(found: _Found, validation: float, path: Path) -> Dataset:
    held_out = hold_out(found.images.labels, found.fractions, validation, path)
    return replace(_dataset(found.select(~held_out), found.select(held_out)), rejected=found.rejected)


def _examine(path: Path) -> tuple[float, np.ndarray] | Rejected:
    """The hash of an image's content, 0..1, and its look, if all of it can be decoded."""
    try:
        with open(path, "rb") as file:
            content = fraction(hashlib.file_digest(file, "sha256"))
            file.seek(0)
            # Small, where a JPEG saves most inverse transforms but still reads every bit.
            return content, look(pixels(file, detail=64))
    except Exception as error:  # see reason
        return Rejected(path, reason(error))


def _examine_all(files: Sequence[Path]) -> list[tuple[float, np.ndarray] | Rejected]:
    """`_examine` in threads, with a progress bar on a terminal when there are many."""
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, on oddities of images that it decodes all the same
            results = pool.map(_examine, files)
            return list(progress(results, "Checking images", len(files)) if len(files) >= MANY_FILES else results)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _absence(path: Path) -> str:
    return "is not a folder" if path.exists() else "does not exist"


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _named_as_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _read(path: Path) -> _Found:
    """One folder of images per class."""
    classes = _subfolders(path)
    files = [[file for file in sorted((path / name).rglob("*")) if _named_as_image(file)] for name in classes]
    loose = [file for file in sorted(path.iterdir()) if _named_as_image(file)]
    n = sum(map(len, files))
    if not n:
        found = f"{len(loose)} images, but none in a folder" if loose else "no images"
        raise InputError(
            f"{path} holds {found}: give it one folder of JPEG, PNG, BMP, GIF or WebP files for each class"
        )
    if len(classes) < 2:
        raise InputError(f"{path} holds one class, {classes[0]}: two folders of images or more are needed")
    results = _examine_all([file for group in files for file in group])
    rejected = [result for result in results if isinstance(result, Rejected)]
    if len(rejected) == n:
        raise InputError(f"none of the {n} images in {path} can be decoded; {rejected[0].path}: {rejected[0].reason}")
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(group) for group in files])
    whole = Split(np.array([file for group in files for file in group], dtype=object), labels, tuple(classes))
    good = np.array([not isinstance(result, Rejected) for result in results])
    usable = whole.select(good)
    for label, (group, count) in enumerate(zip(files, np.bincount(usable.labels, minlength=len(files)), strict=True)):
        if not count:
            broken = f": all {len(group)} are broken" if group else ""
            raise InputError(
                f"{path / classes[label]} holds no usable image{broken}; add images, or take the folder away"
            )
    outside = tuple(Rejected(file, "not in the folder of a class") for file in loose)
    fractions, looks = zip(*(result for result in results if not isinstance(result, Rejected)), strict=True)
    return _Found(usable, np.array(fractions), np.stack(looks), outside + tuple(rejected))
