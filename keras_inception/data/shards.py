"""Shard sets: labelled images in a few large files, with an index by which any of them is read at once.

A shard is a TFRecord file of `tf.train.Example`s with the keys of TensorFlow's ImageNet scripts, which the tools of the
field read: `image/encoded` (the bytes of the file, as they were), `image/format`, `image/height`, `image/width`,
`image/filename`, `image/class/label` (from 0) and `image/class/text`. `shards.json` says what the set holds, and
`index.npz` where in its shard each image begins, so that nothing but its own bytes is read. `shard_writer` writes both.
"""

from __future__ import annotations

import os
import re
import weakref
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import checked
from ..errors import InputError
from ..files import parse_json
from .layout import Files, Layout
from .scan import RECORD as EXAMINED
from .split import SIDES

KIND, SCHEMA = "keras-inception shards", 1  # of shards.json; raise it when an older reader would misread a newer set
RECORD, INDEX, UNFINISHED = "shards.json", "index.npz", ".unfinished.json"
FOREIGN = re.compile(r"\.tfrecords?$|-\d{5}-of-\d{5}$")  # ends of names that other tools give their shards
PLAIN = re.compile(r"\w[\w.-]*")  # names of files in the set: they lead out of no folder
OPEN = 256  # shards that are open at a time; a process may often open 1,024 files
AGAIN = "write the shards again, or restore them from a copy"


@dataclass(frozen=True)
class Index:
    """A row for each image, in the order of the shards. `names` are all names in one, of which `name_end` has the ends.

    Raises:
        ValueError: the rows do not fit together.
    """

    offset: np.ndarray  # (n,) int64: where in its shard the bytes of the image file begin
    length: np.ndarray  # (n,) int64: how many they are
    check: np.ndarray  # (n,) uint32: their CRC-32
    label: np.ndarray  # (n,) int32
    record: np.ndarray  # (n,) of `scan.RECORD`: what a scan finds out about the image
    name_end: np.ndarray  # (n,) int64
    names: np.ndarray  # uint8

    def __post_init__(self) -> None:
        n = len(self.offset)
        if self.record.dtype != EXAMINED:
            raise ValueError("its records have other fields")
        if any(len(getattr(self, field.name)) != n for field in fields(self) if field.name != "names"):
            raise ValueError("its columns differ in length")

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Index:
        """An index of rows of (offset, length, check, label, record, name as bytes)."""
        offset, length, check, label, record, names = zip(*rows, strict=True)
        return cls(
            offset=np.array(offset, np.int64),
            length=np.array(length, np.int64),
            check=np.array(check, np.uint32),
            label=np.array(label, np.int32),
            record=np.stack(record),
            name_end=np.cumsum([*map(len, names)]),
            names=np.frombuffer(b"".join(names), np.uint8),
        )

    @classmethod
    def joined(cls, parts: Sequence[Index]) -> Index:
        """The index of several shards, one after the other."""
        columns = {field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls)}
        starts = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
        columns["name_end"] += np.repeat(starts, [*map(len, parts)])
        return cls(**columns)

    def __len__(self) -> int:
        return len(self.offset)

    def name(self, row: int) -> str:
        """What the image was called in its data set."""
        start = self.name_end[row - 1] if row else 0
        return os.fsdecode(self.names[start : self.name_end[row]].tobytes())


@dataclass(frozen=True)
class Shard:
    """A file of the set: its name, how many images and bytes it has, and its SHA-256 hash in hexadecimal digits."""

    file: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True, eq=False)
class ShardSet:
    """A folder of shards. `sides` are "train", "val" and, if the data set has one, "test", with the shards of each."""

    path: Path
    classes: tuple[str, ...]
    sides: Mapping[str, tuple[Shard, ...]]
    index: Index

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of all sides, in the order of the index."""
        return tuple(shard for side in self.sides.values() for shard in side)

    @cached_property
    def shard_of(self) -> np.ndarray:
        """The place of each image's shard in `shards`, (n,) int32."""
        return np.repeat(np.arange(len(self.shards), dtype=np.int32), [shard.images for shard in self.shards])

    def layout(self) -> Layout:
        """The images by side and class, as those of a folder."""
        ends = np.cumsum([sum(shard.images for shard in side) for side in self.sides.values()])
        files = {
            side: Files(f"{side} of {self.path}", self._groups(start, end))
            for side, start, end in zip(self.sides, [0, *ends[:-1]], ends, strict=True)
        }
        return Layout(files.get("train"), files.get("val"), files.get("test"))

    def _groups(self, start: int, end: int) -> dict[str, tuple[Record, ...]]:
        rows = start + np.argsort(self.index.label[start:end], kind="stable")
        groups = np.split(rows, np.searchsorted(self.index.label[rows], range(1, len(self.classes))))
        return {
            name: tuple(Record(self, row) for row in group.tolist())
            for name, group in zip(self.classes, groups, strict=True)
        }

    def records(self) -> list[Record]:
        """All images of all sides, in the order of the index."""
        return [Record(self, row) for row in range(len(self.index))]

    def read(self, row: int) -> bytes:
        """The bytes of an image file; threads may read at the same time.

        Raises:
            OSError: they cannot be read, or are not what was written.
        """
        file, length = self._opened(int(self.shard_of[row])), int(self.index.length[row])
        content = os.pread(file.descriptor, length, int(self.index.offset[row]))
        if zlib.crc32(content) != self.index.check[row]:
            raise OSError(f"its bytes are not those that were written: {AGAIN}")
        return content

    @cached_property
    def _opened(self) -> Any:
        """A function from the place of a shard to the shard, opened: the `OPEN` that were used last stay open."""
        paths = [self.path / shard.file for shard in self.shards]
        return lru_cache(OPEN)(lambda place: _Opened(paths[place]))


class _Opened:
    """A file that is open for as long as somebody has this object, also one that left the cache while it is read."""

    def __init__(self, path: Path):
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.descriptor)


class Record:
    """An image in a shard, which a `Split` has as a source."""

    __slots__ = ("_row", "_set")

    def __init__(self, shards: ShardSet, row: int):
        self._set, self._row = shards, row

    def __str__(self) -> str:
        return f"{self._set.path / self._set.shards[self._set.shard_of[self._row]].file}: {self.name}"

    @property
    def name(self) -> str:
        """What the image was called in its data set."""
        return self._set.index.name(self._row)

    @property
    def examined(self) -> bytes:
        """What a scan would find out about it, a `scan.RECORD`."""
        return self._set.index.record[self._row].tobytes()

    def read_bytes(self) -> bytes:
        """The bytes of the image file, as they were.

        Raises:
            OSError: they cannot be read, or are not what was written.
        """
        return self._set.read(self._row)


@checked
def open_shards(path: str | Path) -> ShardSet | None:
    """The shard set in a folder; None where there are no shards.

    The sizes of all files and the index are checked here, the bytes of an image when they are read.

    Raises:
        InputError: the set is not finished, damaged or of a newer version, or another tool wrote the shards.
    """
    path = Path(path)
    if not (path / RECORD).is_file():
        if not path.is_dir():
            return None
        if (path / UNFINISHED).is_file():
            raise InputError(f"{path} is not finished: run the same `keras-inception shards` command to resume it")
        if foreign := next(filter(FOREIGN.search, sorted(os.listdir(path))), None):
            raise InputError(
                f"{path} holds {foreign}, but no {RECORD}, the index that `keras-inception shards` writes: give the "
                "images that it was made of"
            )
        return None
    record = parse_record((path / RECORD).read_bytes(), path / RECORD)
    file = path / INDEX
    try:
        sides = {side: tuple(Shard(**shard) for shard in shards) for side, shards in record["sides"].items()}
        for shard in (shard for shards in sides.values() for shard in shards):
            _check_size(path / shard.file, shard.bytes)
        _check_size(file, record["index"]["bytes"])
        with np.load(file, allow_pickle=False) as columns:
            index = Index(**columns)
        found = ShardSet(path, tuple(record["classes"]), sides, index)
        if len(found.shard_of) != len(index):
            raise ValueError("its images are not those of the shards")
    except InputError:
        raise
    except Exception as error:  # of NumPy, zip and whatever a changed record leads to
        raise InputError(f"{file} is damaged ({error}): {AGAIN}") from error
    return found


def parse_record(text: bytes, name: object) -> dict[str, Any]:
    """What a `shards.json` says; `name` is what messages call it.

    Raises:
        InputError: it is damaged, or of a newer version.
    """
    try:
        record = parse_json(text)
        known = record["kind"] == KIND and record["schema"] <= SCHEMA
        sound = (
            all(map(PLAIN.fullmatch, checksums(record)))
            and record["sides"].keys() <= SIDES.keys()
            and record["classes"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name} is damaged ({error!r}): {AGAIN}") from error
    if not known:
        raise InputError(f"{name} is of another program, or of a newer keras-inception: pip install -U keras-inception")
    if not sound:
        raise InputError(f"{name} is damaged: {AGAIN}")
    return record


def checksums(record: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """The size and the SHA-256 hash of every file that a `shards.json` names."""
    files = [record["index"], *(shard for shards in record["sides"].values() for shard in shards)]
    return {file["file"]: (file["bytes"], file["sha256"]) for file in files}


def _check_size(file: Path, size: int) -> None:
    if not file.is_file():
        raise InputError(f"{file} is missing: {AGAIN}")
    if (found := file.stat().st_size) != size:
        raise InputError(f"{file} has {found:,} bytes, not the {size:,} that were written: {AGAIN}")
