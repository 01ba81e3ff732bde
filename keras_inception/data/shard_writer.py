"""Write labelled images as a shard set.

TFRecord rather than ArrayRecord: TensorFlow itself reads and writes it, as every tool around TensorFlow does, while
ArrayRecord is a dependency more, of one platform, and what it has over TFRecord, access to any record, the index of the
set gives as well.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from ..arguments import checked
from ..errors import InputError
from ..files import PART, discard, locked, os_errors, reason, write_file
from ..terminal import note, progress_bar
from .decoding import FORMATS
from .folders import load_folder
from .scan import RECORD as EXAMINED
from .scan import examine, threads
from .shards import INDEX, KIND, RECORD, SCHEMA, UNFINISHED, Index, Shard, ShardSet, open_shards
from .split import SIDES, Dataset, Split, fingerprint

T = TypeVar("T")

PER_SHARD = 1024  # images; of ImageNet's a shard of 115 MB
ORDER = 0  # seed of the order of the images
TOGETHER = 64  # images that are in memory at a time
HEAD, FRAME = 12, 16  # bytes that TFRecord puts before a record, and in all around it


@checked
def write_shards(
    images: str | Path | Dataset,
    out: str | Path,
    *,
    validation: float = 0.2,
    test: float = 0.0,
    per_shard: int = PER_SHARD,
) -> ShardSet:
    """Write labelled images into a new folder of TFRecord files, which is taken wherever a folder of images is.

    Files keep their bytes. Each side of the split has its shards, `train-00000-of-00012.tfrecord`; images that are not
    split are split as `train` would. Within a side the images are in a random order, always the same, so that a program
    that reads the shards one after the other gets all classes mixed. A shard is read back before it counts: TensorFlow
    checks its checksums, and every image in it is decoded and compared with its source. The same call resumes a writing
    that was interrupted, and keeps the shards that are finished.

    Args:
        images: a folder, list, archive or another place of files as `load_folder` takes it, or what it returns.
        out: the folder to make. It must be new, empty, or hold this same set unfinished.
        validation: the fraction of each class for validation where there are no such images.
        test: the fraction of each class for test where there are no such images; 0 for none.
        per_shard: the most images in a shard.

    Raises:
        InputError: images or `out` cannot be used, a file changed meanwhile, or there is no room.
    """
    out = Path(out)
    if per_shard < 1:
        raise InputError(f"a shard must have room for 1 image or more; got {per_shard}")
    _check_folder(out)
    dataset = images if isinstance(images, Dataset) else load_folder(images, validation=validation, test=test)
    sides = dict(zip(SIDES, dataset.sides, strict=False))  # test is the last, and may be missing
    if any(split.sources.dtype != object for split in sides.values()):
        raise InputError("arrays have no files that could be kept as they are: write the images as PNG files first")
    for i, line in enumerate(dataset.describe()):
        note(line, style="yellow" if i else "")
    request = {"dataset": fingerprint(dataset), "per_shard": per_shard}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out, "writing shards into", wait=False):
            _begin(out, request)
            plans = [plan for side, split in sides.items() for plan in _plans(side, split, per_shard)]
            _write_set(out, plans, dataset.classes, request)
    except os_errors() as error:
        raise InputError(f"{out} could not be written: {reason(error)}; the same command resumes") from error
    found = open_shards(out)
    assert found is not None
    return found


@dataclass(frozen=True)
class _Plan:
    """A shard to be: its side and file, and its images and their names in order."""

    side: str
    file: str
    images: Split
    names: Sequence[bytes]


def _plans(side: str, split: Split, per_shard: int) -> Iterator[_Plan]:
    order, count = np.random.default_rng(ORDER).permutation(len(split)), math.ceil(len(split) / per_shard)
    names = _names(split.sources)
    for i, rows in enumerate(np.array_split(order, count)):
        file = f"{side}-{i:05d}-of-{count:05d}.tfrecord"
        yield _Plan(side, file, split.select(rows), [names[row] for row in rows])


def _names(sources: np.ndarray) -> list[bytes]:
    """What the images are called: files by their paths from the folder that holds them all."""
    paths = [source for source in sources if isinstance(source, Path)]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [
        os.fsencode(os.path.relpath(source, root) if isinstance(source, Path) else getattr(source, "name", f"{i:07d}"))
        for i, source in enumerate(sources)
    ]


# ------------------------------------------------------------------------------------------------------------- writing


def _check_folder(out: Path) -> None:
    """Raise an InputError if this is no place for a new set."""
    if (out / RECORD).exists():
        raise InputError(f"{out} holds finished shards: give another --out, or remove it")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} exists and is not a folder: give another --out")
    if out.exists() and not (out / UNFINISHED).exists() and any(out.iterdir()):
        raise InputError(f"{out} is neither empty nor an unfinished set of shards: give another --out")


def _begin(out: Path, request: dict[str, Any]) -> None:
    """Note what is written, or check that it is the same as what is there unfinished."""
    _check_folder(out)
    file = out / UNFINISHED
    if not file.exists():
        write_file(file, lambda part: part.write_text(json.dumps(request), encoding="utf-8"))
    elif file.read_text(encoding="utf-8") != json.dumps(request):
        raise InputError(
            f"{out} holds unfinished shards of other images, another split or another size: repeat their own command "
            "to resume them, or give another --out"
        )
    for part in out.glob(f"{PART}*"):  # of a process that was killed
        discard(part)


def _write_set(out: Path, plans: Sequence[_Plan], classes: tuple[str, ...], request: dict[str, Any]) -> None:
    sides: dict[str, list[dict[str, Any]]] = {}
    indices = []
    with progress_bar("Writing shards", sum(len(plan.images) for plan in plans)) as advance:
        for plan in plans:
            file, index = out / plan.file, _finished(out / plan.file, plan, advance)
            shard = Shard(plan.file, len(index), file.stat().st_size, _sha256(file))
            sides.setdefault(plan.side, []).append(asdict(shard))
            indices.append(index)
    write_file(out / INDEX, lambda part: np.savez(part, **vars(Index.joined(indices))))
    record = {
        "kind": KIND,
        "schema": SCHEMA,
        "classes": classes,
        "sides": sides,
        "index": {"file": INDEX, "bytes": (out / INDEX).stat().st_size, "sha256": _sha256(out / INDEX)},
        **request,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write_file(out / RECORD, lambda part: part.write_text(text, encoding="utf-8"))
    (out / UNFINISHED).unlink()


def _finished(file: Path, plan: _Plan, advance: Callable[[int], None]) -> Index:
    """The index of a shard that an interrupted writing finished, or of one that is written now."""
    if file.exists() and (index := _read_back(file, plan)):
        advance(len(index))
        return index
    write_file(file, lambda part: _write(part, plan, advance))
    if index := _read_back(file, plan):
        return index
    raise InputError(f"{file} is not what was written when it is read back: check the disk, and run the command again")


def _write(part: Path, plan: _Plan, advance: Callable[[int], None]) -> None:
    rows = zip(plan.images.sources, plan.images.content_digests(), plan.images.labels, plan.names, strict=True)
    with tf.io.TFRecordWriter(str(part)) as writer, threads() as pool:
        for batch in _batches(rows):
            for example in pool.map(lambda row: _example(*row, classes=plan.images.classes), batch):
                writer.write(example)
                advance(1)


def _example(source: Any, digest: np.ndarray, label: int, name: bytes, *, classes: Sequence[str]) -> bytes:
    """An image as a serialised `tf.train.Example`."""
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {reason(error)}") from error
    if hashlib.sha256(content).digest() != digest.tobytes():
        raise InputError(f"{source} was changed while the shards were written: remove them, and start again")
    with Image.open(BytesIO(content), formats=FORMATS) as image:  # its header
        about: dict[str, list[bytes] | list[int]] = {
            "image/encoded": [content],
            "image/format": [str(image.format).encode()],
            "image/height": [image.height],
            "image/width": [image.width],
            "image/filename": [name],
            "image/class/label": [int(label)],
            "image/class/text": [classes[label].encode()],
        }
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        if isinstance(value[0], bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for key, value in about.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _read_back(file: Path, plan: _Plan) -> Index | None:
    """The index of a shard, of which every image is decoded; None where it is not what was planned."""
    wanted = zip(plan.images.content_digests(), plan.images.labels, plan.names, strict=True)
    rows: list[tuple[Any, ...]] = []
    start = 0
    try:
        records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        with threads() as pool:
            for batch in _batches(zip(records, wanted, strict=True)):
                for (record, (digest, label, name)), (there, content, seen) in zip(
                    batch, pool.map(_parsed, [record for record, _ in batch]), strict=True
                ):
                    if there != [label, name] or seen["digest"].tobytes() != digest.tobytes():
                        return None
                    place = start + HEAD + record.index(content)
                    rows.append((place, len(content), zlib.crc32(content), label, seen, name))
                    start += FRAME + len(record)
    except (tf.errors.OpError, DecodeError, ValueError, IndexError):  # a damaged frame, message, number or feature
        return None
    return Index.of(rows)


def _parsed(record: bytes) -> tuple[list[Any], bytes, np.ndarray]:
    """The label and name, the content, and what a scan finds out about it.

    Raises:
        ValueError, IndexError, DecodeError: it is no record of a shard.
    """
    features = tf.train.Example.FromString(record).features.feature
    content = features["image/encoded"].bytes_list.value[0]
    examined, _ = examine(content)
    if isinstance(examined, str):
        raise ValueError(examined)
    there = [features["image/class/label"].int64_list.value[0], features["image/filename"].bytes_list.value[0]]
    return there, content, np.frombuffer(examined, EXAMINED)[0]


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(rows)
    while batch := list(islice(rest, TOGETHER)):
        yield batch


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
