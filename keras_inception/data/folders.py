"""Labelled images on disk: folders, lists and shards, and what `places` brings there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import checked
from ..errors import InputError
from ..terminal import note
from .archives import is_archive
from .layout import Classes, Files, Layout, of_folder
from .lists import is_list, metadata_in, of_list, of_tables
from .near_duplicates import find_near_duplicates
from .parquet import files_of
from .places import local
from .scan import examine_all
from .shards import open_shards
from .sources import Sources
from .split import SIDES, Dataset, NearDuplicates, Rejected, Split, fractions, hold_out, left_out

TAKEN = (
    "a folder that holds one folder of images per class, a .csv, .tsv or .txt list, a .zip or .tar, a folder of "
    'shards, a .parquet file, an address of one of these, or "tfds:NAME"'
)


@checked
def load_folder(path: str | Path, *, validation: float = 0.2, test: float = 0.0) -> Dataset:
    """Load labelled images: a folder, list, archive, shard set, Parquet file, address or TensorFlow Datasets' data set.

    - A folder holds one folder of images per class, or such folders in `train/`, `val/` and `test/` (or training,
      valid, dev, testing ..., in any case), or `train/`, `val/` and `test/` in the folder of each class.
    - A list is a .csv or .tsv table with a column of files (file, path, image, id ...), one of classes (label, class
      ...) and optionally one of the split; or lines of a path and a label. Paths are relative to the list's folder.
    - An archive (.zip, .tar, .tar.gz) of either is unpacked into the cache once.
    - A shard set is a folder that `write_shards` made. Parquet files are those of Hugging Face's `datasets`, one or a
      folder of them, unpacked into the cache once; its image folders with `metadata.csv` or `.jsonl` are read too.
    - What is at an address (`https://`; with `pip install 'keras-inception[remote]'` `gs://`, `s3://` ...) is copied
      into the cache once.
    - "tfds:NAME" (`pip install 'keras-inception[tfds]'`) is written to a folder once.

    The sides that a data set has are read as they are. Of the images to train on, a hash of the file contents holds out
    about the fraction `validation` of each class where there are no validation images, and the fraction `test` where
    there are no test images. An image stays on its side when others are added, when it is renamed or when the folder
    moves, and copies of it stay together. (Only in a class so small that one side would be empty, the image with the
    nearest hash moves there; the last one is trained on.) Hidden files, folders that systems make (`__MACOSX`,
    `@eaDir`) and files not named as images are ignored. Images that cannot be decoded are left out and reported.
    Near-duplicates on different sides are reported too, and kept.

    Args:
        path: where they are, as above.
        validation: the fraction of each class for validation where the data set has no such images, between 0 and 1.
        test: the fraction of each class for test where the data set has no such images; 0 for none.

    Raises:
        InputError: the path does not exist, its layout can be read in two ways, or it does not hold two classes, each
            with an image that can be decoded.
    """
    layout = find(path)
    if layout.train is None:
        assert layout.held_out is not None
        raise InputError(f"{path} holds {layout.held_out.name}, but no images to train on: name them train/")
    return dataset_of(layout, validation=validation, test=test)


def dataset_of(layout: Layout, *, validation: float, test: float) -> Dataset:
    """Check the files and make a dataset of them; sides that are missing are held out of the images to train on.

    Raises:
        InputError: there are not two classes, each with an image that can be decoded.
    """
    assert layout.train is not None
    train = _read_for_training(layout.train)
    val, tested = (None if files is None else _read_for(files, train) for files in (layout.val, layout.test))
    if val is None or (test and tested is None):
        shares = {"validation": None if val else validation, "test": 0.0 if tested else test}
        train, *held_out = _divided(train, layout.train.name, **shares)
        val, tested = val or held_out[0], tested or held_out[1]
    return replace(_dataset(train, val, tested or None), unused=layout.unused)


@checked
def load_images(path: str | Path, classes: Sequence[str], *, side: str | None = None) -> Split:
    """Load labelled images, labelled by the index in `classes`, to evaluate a trained network.

    `path` is anything that `load_folder` takes. Of a data set that is split one side is read, which a line on standard
    error says. Some of the classes may be missing or empty. Lines there count the images that are left out.

    Args:
        path: where they are, as `load_folder` takes it.
        classes: those of the network, in the order of its outputs.
        side: "train", "val" or "test", of a data set that is split; by default the test images, where there are none
            the validation images.

    Raises:
        InputError: the path does not exist, holds no image, or is of a class that is none of the classes; or a data set
            that is split has no such side.
    """
    layout = find(path, classes)
    files, called = layout.held_out or layout.train, ""
    if layout.train and layout.held_out:
        name = side or ("test" if layout.test else "val")
        files, called = getattr(layout, name), SIDES[name]
        if files is None:
            raise InputError(f"{path} is split, but has no {called} images: name them {name}/")
        note(f"{path} is split: the images are those of {files.name}", style="")
    assert files is not None
    if unknown := [name for name in files.groups if name not in classes]:
        raise InputError(f"{files.name} holds {unknown[0]!r}, which is none of the classes: {', '.join(classes)}")
    found = _read(files)
    for line in left_out(found.rejected):
        note(line)
    return replace(_labelled(found.images, classes), side=called)


@checked
def is_data_file(path: str | Path) -> bool:
    """Whether `load_folder` takes this file: a list, an archive or a Parquet file.

    Raises:
        InputError: it is no path.
    """
    path = Path(path)
    return is_list(path) or is_archive(path) or bool(files_of(path))


def find(path: str | Path, known: Sequence[str] = ()) -> Layout:
    """Which files belong to which class and side, before any of them is opened; `known` are a network's classes.

    Raises:
        InputError: the path does not exist, or its layout cannot be read.
    """
    place, named = local(path)
    if is_list(place):
        return of_list(place)
    if not place.is_dir():
        what = "is none of these" if place.exists() else "does not exist"
        raise InputError(f"{path} {what}: give {TAKEN}")
    if shards := open_shards(place):
        return shards.layout()
    if tables := metadata_in(place):
        return of_tables(place, tables)
    return of_folder(place, Classes(known, named))


def _labelled(images: Split, classes: Sequence[str]) -> Split:
    """The same images with the labels of other classes of these names."""
    places = np.array([classes.index(name) for name in images.classes], dtype=np.int32)
    return replace(images, labels=places[images.labels], classes=tuple(classes))


@dataclass(frozen=True)
class _Found:
    """The images of a folder that can be decoded, with their difference hashes, and the files that are left out."""

    images: Split
    hashes: np.ndarray  # (n, 2) uint64
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: np.ndarray) -> _Found:
        return _Found(self.images.select(indices), self.hashes[indices], ())


def _dataset(train: _Found, val: _Found, test: _Found | None) -> Dataset:
    sides = [side for side in (train, val, test) if side]
    rejected = tuple(file for side in sides for file in side.rejected)
    found = Dataset(train.images, val.images, test.images if test else None, rejected)
    return replace(found, near_duplicates=_near_duplicates(found, np.concatenate([side.hashes for side in sides])))


def _near_duplicates(dataset: Dataset, hashes: np.ndarray) -> tuple[NearDuplicates, ...]:
    """Of each image the first one that it is nearly the same as, on another side or with another label."""
    splits, classes = dataset.sides, dataset.classes
    side = np.repeat(np.arange(len(splits)), [*map(len, splits)])
    place = np.concatenate([np.arange(len(split)) for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    i, j = find_near_duplicates(hashes).T
    told = (side[i] != side[j]) | (labels[i] != labels[j])
    return tuple(
        NearDuplicates(
            splits[side[a]].sources[place[a]],
            splits[side[b]].sources[place[b]],
            sides=(splits[side[a]].side, splits[side[b]].side),
            classes=(classes[labels[a]], classes[labels[b]]),
        )
        for a, b in zip(i[told], j[told], strict=True)
    )


def _divided(found: _Found, name: str, **shares: Any) -> list[_Found]:
    """The images to train on, for validation and for test; a side may be empty. `shares` are those of `hold_out`."""
    sides = hold_out(found.images.labels, fractions(found.images.content_digests()), name, **shares)
    train, *held_out = (found.select(sides == i) for i in range(len(SIDES)))
    return [replace(train, rejected=found.rejected), *held_out]


def _read(files: Files) -> _Found:
    """Check the files of one side, and leave out what cannot be decoded.

    Raises:
        InputError: no file can be decoded.
    """
    paths = [file for group in files.groups.values() for file in group]
    if not paths:
        raise InputError(f"{files.name} holds no images")
    (records, rejected), sources = examine_all(paths), Sources.of(paths)
    broken = tuple(Rejected(sources[i], why) for i, why in rejected.items())
    if len(broken) == len(paths):
        raise InputError(
            f"none of the {len(paths):,} images in {files.name} can be decoded; {broken[0].path}: {broken[0].reason}"
        )
    labels = np.repeat(np.arange(len(files.groups), dtype=np.int32), [*map(len, files.groups.values())])
    good = np.ones(len(paths), bool)
    good[list(rejected)] = False
    records = records[good]
    images = Split(sources[good], labels[good], tuple(files.groups), records["digest"].copy())
    return _Found(images, records["hash"].copy(), files.left_out + broken)


def _read_for_training(files: Files) -> _Found:
    """`_read`, which must find two classes, and an image of each."""
    if len(files.groups) == 1:
        raise InputError(f"{files.name} holds one class, {next(iter(files.groups))}: two classes or more are needed")
    found = _read(files)
    counts = np.bincount(found.images.labels, minlength=len(files.groups))
    for (name, group), count in zip(files.groups.items(), counts, strict=True):
        if not count:
            reason = f": all {len(group)} are broken" if group else ""
            raise InputError(f"{files.name}: the class {name} holds no usable image{reason}; add images, or remove it")
    return found


def _read_for(files: Files, train: _Found) -> _Found:
    """`_read`, with the labels of the images to train on."""
    found = _read(files)
    return replace(found, images=_labelled(found.images, train.images.classes))
