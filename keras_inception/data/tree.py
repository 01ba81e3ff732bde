"""What counts in a folder: images, and nothing that is hidden or that a system leaves there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path

from ..errors import InputError

# File names that a user takes for images. The content decides the format; those after .webp are reported as rejected.
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
        *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw"),
    )
)
LISTS = frozenset((".csv", ".tsv", ".txt", ".jsonl"))  # endings of files that may list images
SYSTEM = frozenset(  # what macOS, Windows, Linux, NAS devices and Python write into folders, in lower case
    (
        "__macosx",
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
        "__pycache__",
    )
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is skipped, with all that is in it. Notebook checkpoints start with "."."""
    return name.startswith(".") or name.lower() in SYSTEM


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not is_hidden(name)


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder, read once: the paths of its images, the lists in it, and its folders, each sorted by name.

    Images are text: a million `Path` objects take 450 MB.
    """

    path: Path
    images: tuple[str, ...]
    lists: tuple[Path, ...]
    folders: tuple[Folder, ...]

    @property
    def name(self) -> str:
        """Its name, without the folders above it."""
        return self.path.name

    @cached_property
    def below(self) -> tuple[str, ...]:
        """All images in it and in the folders below it, sorted by the names on their way."""
        if not self.folders:
            return self.images
        parts: list[tuple[str, tuple[str, ...]]] = [(os.path.basename(image), (image,)) for image in self.images]
        parts += [(folder.name, folder.below) for folder in self.folders]
        return tuple(chain.from_iterable(images for _, images in sorted(parts, key=itemgetter(0))))

    @property
    def filled(self) -> tuple[Folder, ...]:
        """Its folders that have images in them or below."""
        return tuple(folder for folder in self.folders if folder.below)


def read(path: Path) -> Folder:
    """Read a folder and all below it. A link to a folder is followed, unless it leads back to a folder above itself.

    Raises:
        InputError: one of the folders cannot be read.
    """
    return _read(path, (os.path.realpath(path),))


def images_below(path: Path) -> tuple[str, ...]:
    """Return the paths of all files below a folder that are named as images and not hidden, sorted.

    Raises:
        InputError: one of the folders cannot be read.
    """
    return read(path).below


def _read(path: Path, above: tuple[str, ...]) -> Folder:
    images, lists, folders = [], [], []
    start = str(path / "_")[:-1]  # of the path of every file in it
    for entry in _entries(path):
        ending = os.path.splitext(entry.name)[1].lower()
        if entry.is_dir():
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
            if not (entry.is_symlink() and any(f"{p}{os.sep}".startswith(f"{real}{os.sep}") for p in above)):
                folders.append(_read(path / entry.name, (*above, real)))
        elif ending in EXTENSIONS and entry.is_file():
            images.append(start + entry.name)
        elif ending in LISTS:
            lists.append(path / entry.name)
    return Folder(path, tuple(images), tuple(lists), tuple(folders))


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing, or to itself, which `is_dir` raises an error for."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _entries(path: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            shown = (entry for entry in entries if not is_hidden(entry.name) and not _leads_nowhere(entry))
            found = sorted(shown, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    yield from found
