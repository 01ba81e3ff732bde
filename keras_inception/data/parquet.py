"""Parquet files of images and their classes, as Hugging Face's `datasets` writes them, unpacked once into the cache.

They are unpacked because a row of a Parquet file cannot be read alone: a page of many rows is decoded for each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError, first_line
from ..terminal import progress_bar
from .archives import unpacked_once
from .layout import side_of
from .tfds import folder_name
from .tree import is_image_name

ENDING = ".parquet"
NUMBERED = re.compile(r"-\d+-of-\d+$")  # after the name of a split
IMAGE, LABEL = ("image", "img"), ("label", "labels")  # names of columns; of several the first here is read
TOGETHER = 64  # rows that are in memory at a time


def files_of(path: Path) -> list[Path]:
    """The Parquet files at a path: itself, or those in the folder or in its folder `data`, as a repository has them."""
    if path.suffix.lower() == ENDING and path.is_file():
        return [path]
    return sorted(path.glob(f"*{ENDING}")) or sorted((path / "data").glob(f"*{ENDING}"))


def unpacked(path: Path, files: Sequence[Path]) -> Path:
    """Return the folder of the images in Parquet files, written into the cache on first use: `SIDE/CLASS/NUMBER.jpg`.

    The files' names say the sides (`train-00000-of-00002`, `test`); the images keep their bytes. The folders' names are
    those of the classes, percent-encoded.

    Raises:
        InputError: PyArrow is missing, or a file is damaged or holds something else.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path} needs PyArrow: pip install 'keras-inception[parquet]'") from error
    return unpacked_once(path, files, lambda part: _unpack(path, files, part))


def _unpack(path: Path, files: Sequence[Path], folder: Path) -> None:
    from pyarrow.parquet import ParquetFile

    sides = {file: side_of(NUMBERED.sub("", file.stem)) or "" for file in files}
    if "" in (named := set(sides.values())) and len(named) > 1:
        listed = ", ".join(file.name for file in files[:4])
        raise InputError(f"{path} holds files that are named as a side, and others ({listed}): give one of them")
    try:
        tables = {file: ParquetFile(file) for file in files}
        with progress_bar(f"Unpacking {path.name}", sum(t.metadata.num_rows for t in tables.values())) as advance:
            for i, (file, table) in enumerate(tables.items()):
                image, label, names = _columns(file, table.schema_arrow)
                for name in names:  # also a class that has no images on this side
                    (folder / sides[file] / folder_name(name)).mkdir(parents=True, exist_ok=True)
                for j, (name, content, ending) in enumerate(_rows(file, table, image, label, names)):
                    place = folder / sides[file] / folder_name(name) / f"{i:05d}_{j:07d}{ending}"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
                    advance(1)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # Arrow's, or of metadata that is odd
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def _rows(file: Path, table: Any, image: str, label: str, names: Sequence[str]) -> Iterator[tuple[str, bytes, str]]:
    """The class, bytes and ending of each image."""
    for batch in table.iter_batches(TOGETHER, columns=[image, label]):
        for row in batch.to_pylist():
            about, value = row[image], row[label]
            content = about["bytes"] if isinstance(about, dict) else about
            if not content:
                raise InputError(f"{file} names image files, but does not hold them: give a file with their bytes")
            if value is None or value == -1:  # of test sets whose labels are kept secret
                continue
            if names and not 0 <= value < len(names):
                raise InputError(f"{file} has the label {value}, but {len(names)} names of classes")
            written = PurePosixPath((about.get("path") if isinstance(about, dict) else "") or "")
            ending = written.suffix if is_image_name(f"x{written.suffix}") else ".jpg"  # the content decides
            yield names[value] if names else str(value), content, ending


def _columns(file: Path, schema: Any) -> tuple[str, str, list[str]]:
    """The names of the columns of images and of labels, and the names of the classes if the file states them."""
    stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = {key: feature.get("names", []) for key, feature in stated.items() if isinstance(feature, dict)}
    kinds = {key: feature.get("_type") for key, feature in stated.items() if isinstance(feature, dict)}
    image, label = (
        next((key for key in known if key in schema.names), None)
        or next((key for key in schema.names if kinds.get(key) == kind), None)
        for known, kind in ((IMAGE, "Image"), (LABEL, "ClassLabel"))
    )
    if image is None or label is None:
        raise InputError(
            f"{file} has the columns {', '.join(schema.names[:8])}: a column `image` of bytes and a column `label` "
            "are needed"
        )
    return image, label, names.get(label, [])
