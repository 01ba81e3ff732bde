"""Images to predict, from anything that a user has: files, folders, arrays, encoded bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import checked
from ..errors import InputError
from ..terminal import progress_shown
from .arrays import alpha_hint, check_uint8
from .decoding import Encoded
from .lists import images_named, is_list
from .places import local
from .remote import copied, is_remote
from .scan import examine_all
from .shards import open_shards
from .sources import Sources
from .split import Rejected, Split
from .tree import images_below

TAKEN = "a file, a folder, an address, a uint8 array, encoded bytes, or a list of these"


@dataclass(frozen=True)
class Missing:
    """An image that is not there, `why` says; its name is as it was given. It fails when it is read."""

    name: str
    why: str

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """Raise a ValueError that says why it is not there."""
        raise ValueError(self.why)


@dataclass(frozen=True)
class Remote:
    """An image at an address, which is copied into the cache when it is read."""

    address: str

    def __str__(self) -> str:
        return self.address

    def read_bytes(self) -> bytes:
        """The bytes of the image; an InputError says why they cannot be read."""
        with progress_shown(False):  # there is a bar over the images
            return copied(self.address).read_bytes()


@dataclass(frozen=True)
class Listing:
    """Images that are named, in order, and read later: `sources` are paths as text, or `Encoded`.

    What was copied or unpacked into the cache is named as it was given, on any machine: `moved` leads from its place
    there to where it came from.
    """

    sources: list[Any] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sources)

    def name(self, index: int) -> str:
        """What an image is called; what Python could not decode in it is escaped."""
        name = str(self.sources[index])
        for place, given in self.moved.items():
            if name == place or name.startswith(f"{place}{os.sep}"):
                name = given + name[len(place) :]
                break
        return name.encode(errors="backslashreplace").decode()


@checked
def listed(images: str | Path | Sequence[str | Path]) -> Listing:
    """Name images without reading them: files, folders, lists, archives, shard sets, Parquet files, or addresses.

    A list (.csv, .tsv, .txt, .jsonl) needs no classes. A file that is not there is named too.

    Raises:
        InputError: a place holds no images, or cannot be listed; or none is given.
    """
    found = Listing()
    for path in [images] if isinstance(images, str | Path) else images:
        place, given = local(path)[0], str(path).rstrip("/")
        found.sources.extend(_files(place, path))
        if place != Path(path):
            if is_list(place):  # its images are beside it
                place, given = place.parent, given.rpartition("/")[0]
            found.moved[str(place)] = given
    if not len(found):
        raise InputError(f"no images were given: give {TAKEN}")
    return found


@checked
def as_images(images: Any) -> tuple[Split, tuple[str, ...], tuple[Rejected, ...]]:
    """Make an unlabelled split of images: its labels are -1 and it has no classes.

    Args:
        images: a file; a folder, archive, shard set or Parquet file, for all images in it, sorted; a list, for the
            files that it names; an address of any of these; the bytes of a file; a uint8 array, one image (H, W),
            (H, W, 1) or (H, W, 3), or a batch (n, H, W), (n, H, W, 1) or (n, H, W, 3), 0..255; or a list of these. A
            3-dimensional array is one image if its last axis is 1 or 3.

    Returns:
        the images that can be decoded; for each its path, "array 3" or "bytes 3" (its position, from 0); and the
        images that cannot be decoded, with the reason.

    Raises:
        InputError: `images` is none of these, or a folder holds no images.
    """
    sources = _sources(images)
    if not sources:
        raise InputError(f"no images were given: give {TAKEN}")
    names = [_name(source, i) for i, source in enumerate(sources)]
    encoded = [i for i, source in enumerate(sources) if not isinstance(source, np.ndarray)]
    rejected = {encoded[i]: why for i, why in examine_all([sources[i] for i in encoded]).rejected.items()}
    good = [i for i in range(len(sources)) if i not in rejected]
    split = Split(_stack([sources[i] for i in good]), np.full(len(good), -1, np.int32), ())
    left_out = tuple(
        Rejected(Path(sources[i]) if isinstance(sources[i], str) else names[i], why) for i, why in rejected.items()
    )
    return split, tuple(names[i] for i in good), left_out


def _sources(images: Any) -> Sequence[Any]:
    """Flatten to paths as text, bytes and arrays of one image each."""
    if isinstance(images, str | Path):
        return _files(local(images)[0], images)
    if isinstance(images, bytes | bytearray | memoryview):
        return [bytes(images)]
    if isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.dtype == object):
        return [source for item in images for source in _sources(item)]
    if hasattr(images, "__array__"):
        return _arrays(np.asarray(images))
    raise InputError(f"images must be {TAKEN}; got {type(images).__name__}")


def _files(place: Path, path: str | Path) -> Sequence[str | Encoded]:
    """What a place here holds; `path` is what messages call it."""
    if is_list(place):
        return [_listed(name, file) for name, file in images_named(place)]
    if place.is_dir():
        shards = open_shards(place)
        if not (found := shards.records() if shards else images_below(place)):
            raise InputError(f"{path} holds no images: give JPEG, PNG, BMP, GIF or WebP files")
        return found
    if any(c in str(path) for c in "*?[") and not place.exists():
        raise InputError(f"there is no file {path}: give a pattern without quotes, so that the shell expands it")
    return [str(place)]


def _listed(name: str, file: Path | str) -> str | Encoded:
    """What a list names: `file` is where it is, or why there is none."""
    if isinstance(file, Path):
        return str(file)
    return Remote(name) if is_remote(name) else Missing(name, file)


def _arrays(images: np.ndarray) -> list[np.ndarray]:
    one = images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3))
    hint = alpha_hint(images.shape)  # (H, W, 4) is no batch of images 4 pixels wide
    batch = (images.ndim == 3 and not one and not hint) or (images.ndim == 4 and images.shape[-1] in (1, 3))
    if not (one or batch) or 0 in images.shape:
        raise InputError(f"an array must be (H, W), (H, W, 1 or 3), or a batch of these; got {images.shape}{hint}")
    check_uint8(images)
    return [images] if one else list(images)


def _name(source: str | Encoded | bytes | np.ndarray, place: int) -> str:
    match source:
        case bytes():
            return f"bytes {place}"
        case np.ndarray():
            return f"array {place}"
    return str(source)


def _stack(sources: list[Any]) -> np.ndarray:
    """One uint8 array where all sources are arrays of one shape, which is faster; else an array of objects."""
    if sources and all(isinstance(s, np.ndarray) for s in sources) and len({s.shape for s in sources}) == 1:
        stacked = np.stack(sources)
        return stacked[..., np.newaxis] if stacked.ndim == 3 else stacked
    return Sources.of(sources)
