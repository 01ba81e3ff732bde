"""Labelled images from folders."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..terminal import note, progress
from .decoding import pixels, reason
from .near_duplicates import difference_hash, find_near_duplicates
from .split import Dataset, Rejected, Split, content_digest, fraction, hold_out, stack_digests
from .tfds import class_name, folder_of

# File names that a user takes for images. The content decides the format; those after .webp are reported as rejected.
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
HELD_OUT = ("val", "validation", "test")  # names of the held-out folder; the first that exists is used
MANY_FILES = 500  # from this number on a progress bar is shown


def load_folder(path: str | Path, *, validation: float = 0.2) -> Dataset:
    """Load one folder of images per class, optionally below `train/` and `val/` (or `validation/`, `test/`).

    Without a held-out folder a hash of the file contents holds out about the fraction `validation` of each class. An
    image stays on its side when others are added, when it is renamed or when the folder moves, and copies of it stay
    together. (Only in a class so small that one side would be empty, the image with the nearest hash moves there.)
    Hidden files and files not named as images are ignored. Images that cannot be decoded are left out and reported.
    Near-duplicates on both sides of the split are reported too, and kept.

    "tfds:NAME" is a dataset of TensorFlow Datasets (`pip install 'keras-inception[tfds]'`), which is written to such a
    folder once.

    Args:
        path: the folder, or "tfds:NAME".
        validation: the fraction of each class to hold out where there is no held-out folder, between 0 and 1.

    Raises:
        InputError: the folder does not exist, or does not hold two classes, each with an image that can be decoded.
    """
    named = class_name(path)
    path = folder_of(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of images per class")
    train = path / "train"
    if not (train.is_dir() and _subfolders(train)):  # train/ may be a class: images of trains
        return _divided(_read_for_training(path, named), validation, path)
    held_out = next((path / name for name in HELD_OUT if (path / name).is_dir()), None)
    if held_out is None:
        return _divided(_read_for_training(train, named), validation, train)
    train_names, val_names = set(_subfolders(train)), set(_subfolders(held_out))
    if train_names != val_names:
        sides = [(train, train_names - val_names), (held_out, val_names - train_names)]
        difference = "; ".join(f"only {side.name}/ has {', '.join(sorted(names))}" for side, names in sides if names)
        raise InputError(f"train/ and {held_out.name}/ in {path} must hold the same classes: {difference}")
    return _dataset(_read_for_training(train, named), _read_for_training(held_out, named))


def load_images(path: str | Path, classes: Sequence[str]) -> Split:
    """Load one folder of images per class, labelled by the index in `classes`, to evaluate a trained network.

    Some of the classes may be missing or empty. One line on standard error counts the images that are left out.

    Raises:
        InputError: the folder does not exist, holds no image, or holds a folder that is none of the classes.
    """
    named = class_name(path)
    path = folder_of(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of images per class")
    if unknown := [name for name in _subfolders(path) if named(name) not in classes]:
        raise InputError(f"{path / unknown[0]} is none of the classes: {', '.join(classes)}")
    found = _read(path, named)
    if found.rejected:
        first = found.rejected[0]
        note(f"{len(found.rejected)} images in {path} are left out; {first.path}: {first.reason}")
    places = np.array([classes.index(name) for name in found.images.classes], dtype=np.int32)
    return replace(found.images, labels=places[found.images.labels], classes=tuple(classes))


@dataclass(frozen=True)
class _Found:
    """The images of a folder that can be decoded, with their difference hashes, and the files that are left out."""

    images: Split
    hashes: np.ndarray  # (n, 2) uint64
    rejected: tuple[Rejected, ...]

    def select(self, indices: np.ndarray) -> _Found:
        return _Found(self.images.select(indices), self.hashes[indices], ())


def _dataset(train: _Found, val: _Found) -> Dataset:
    pairs = find_near_duplicates(train.hashes, val.hashes)
    near_duplicates = tuple((train.images.sources[i], val.images.sources[j]) for i, j in pairs)
    return Dataset(train.images, val.images, train.rejected + val.rejected, near_duplicates)


def _divided(found: _Found, validation: float, path: Path) -> Dataset:
    fractions = np.array([fraction(digest.tobytes()) for digest in found.images.content_digests()])
    held_out = hold_out(found.images.labels, fractions, validation, path)
    return replace(_dataset(found.select(~held_out), found.select(held_out)), rejected=found.rejected)


def examine(source: Path | bytes) -> tuple[bytes, np.ndarray] | str:
    """Return the content and difference hashes of an encoded image, or the reason why it cannot be decoded."""
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        # At a small size a JPEG skips most inverse transforms, but still reads every bit.
        return content_digest(content), difference_hash(pixels(BytesIO(content), detail=64))
    except Exception as error:  # see `reason`
        return reason(error)


def examine_all(sources: Sequence[Path | bytes]) -> list[tuple[bytes, np.ndarray] | str]:
    """Call `examine` in threads, with a progress bar on a terminal if there are many sources."""
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of oddities in images that it can decode
            results = pool.map(examine, sources)
            return list(progress(results, "Checking images", len(sources)) if len(sources) >= MANY_FILES else results)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def images_below(path: Path) -> list[Path]:
    """Return all files below a folder that are named as images and not hidden, sorted."""
    return [file for file in sorted(path.rglob("*")) if _named_as_image(file)]


def _absence(path: Path) -> str:
    return "is not a folder" if path.exists() else "does not exist"


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _named_as_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _read(path: Path, named: Callable[[str], str]) -> _Found:
    """Read one folder of images per class; `named` maps the name of a folder to that of its class."""
    folders = _subfolders(path)
    groups = [images_below(path / name) for name in folders]
    files = [file for group in groups for file in group]
    loose = [file for file in sorted(path.iterdir()) if _named_as_image(file)]
    if not files:
        found = f"{len(loose)} images, but none in a folder" if loose else "no images"
        raise InputError(f"{path} holds {found}: give it one folder of JPEG, PNG, BMP, GIF or WebP files per class")
    results = examine_all(files)
    broken = tuple(Rejected(file, why) for file, why in zip(files, results, strict=True) if isinstance(why, str))
    if len(broken) == len(files):
        raise InputError(
            f"none of the {len(files)} images in {path} can be decoded; {broken[0].path}: {broken[0].reason}"
        )
    labels = np.repeat(np.arange(len(folders), dtype=np.int32), [len(group) for group in groups])
    good = np.array([not isinstance(result, str) for result in results])
    contents, hashes = zip(*(result for result in results if not isinstance(result, str)), strict=True)
    images = Split(
        np.array(files, dtype=object)[good], labels[good], tuple(map(named, folders)), stack_digests(contents)
    )
    outside = tuple(Rejected(file, "not in the folder of a class") for file in loose)
    return _Found(images, np.stack(hashes), outside + broken)


def _read_for_training(path: Path, named: Callable[[str], str]) -> _Found:
    """`_read`, which must find two classes, and an image of each."""
    folders = _subfolders(path)
    if len(folders) == 1 and images_below(path / folders[0]):
        raise InputError(f"{path} holds one class, {folders[0]}: two folders of images or more are needed")
    found = _read(path, named)
    for folder, count in zip(folders, np.bincount(found.images.labels, minlength=len(folders)), strict=True):
        if not count:
            broken = len(images_below(path / folder))
            reason = f": all {broken} are broken" if broken else ""
            raise InputError(f"{path / folder} holds no usable image{reason}; add images, or remove the folder")
    return found
