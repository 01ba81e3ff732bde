"""Tables of answers, a row for each image, as CSV, JSON lines or Parquet: written in parts, then joined."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import InputError

TOGETHER = 1000  # rows of a Parquet file that are read at a time


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a network says of an image: labels and probabilities, best first; or why the image cannot be read.

    `embedding` is (features,) float32, where it was asked for.
    """

    image: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""
    embedding: np.ndarray | None = None


class Table(Protocol):
    """A kind of file with a row for each image: `image`, `label` and `probability` (the best), the others, `error`."""

    def write(self, path: Path, answers: Sequence[Answer]) -> None:
        """Write a complete file."""

    def join(self, parts: Iterable[Path], path: Path) -> None:
        """Write a file of all rows of some files, in their order; no more than one of them is in memory."""

    def rows(self, path: Path) -> Iterator[tuple[str, str]]:
        """The image and the error of each row."""


def table_for(path: Path, *, top: int, embeddings: bool) -> Table:
    """The kind of table that a file's name asks for, with `top` classes for each image.

    Raises:
        InputError: the name has another ending, the kind has no column for embeddings, or PyArrow is missing.
    """
    match path.suffix.lower():
        case ".csv" if embeddings:
            raise InputError(f"{path.name} has no column for embeddings: give a .parquet or .jsonl file")
        case ".csv":
            return Csv(top)
        case ".jsonl":
            return JsonLines()
        case ".parquet":
            return Parquet(path, embeddings=embeddings)
    raise InputError(f"{path.name} is no table that can be written: give a name that ends in .parquet, .csv or .jsonl")


@dataclass(frozen=True)
class Csv:
    """Columns `image`, `label`, `probability`, `label_2`, `probability_2` ... up to `top`, `error`."""

    top: int

    def write(self, path: Path, answers: Sequence[Answer]) -> None:
        """See `Table`."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._header())
            for answer in answers:
                pairs = zip(answer.labels, answer.probabilities, strict=True)
                cells: list[Any] = [cell for pair in pairs for cell in pair] or [""] * 2 * self.top
                writer.writerow([answer.image, *cells, answer.error])

    def join(self, parts: Iterable[Path], path: Path) -> None:
        """See `Table`."""
        self.write(path, [])
        with open(path, "ab") as file:
            for part in parts:
                with open(part, "rb") as given:
                    given.readline()  # the header
                    shutil.copyfileobj(given, file)

    def rows(self, path: Path) -> Iterator[tuple[str, str]]:
        """See `Table`."""
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["image"], row["error"]

    def _header(self) -> list[str]:
        numbers = ["", *(f"_{i}" for i in range(2, self.top + 1))]
        return ["image", *(f"{name}{number}" for number in numbers for name in ("label", "probability")), "error"]


@dataclass(frozen=True)
class JsonLines:
    """Objects with `image`, `label`, `probability`, the lists `labels` and `probabilities`, `error`, `embedding`."""

    def write(self, path: Path, answers: Sequence[Answer]) -> None:
        """See `Table`."""
        with open(path, "w", encoding="utf-8") as file:
            for answer in answers:
                file.write(json.dumps(_record(answer), ensure_ascii=False, default=np.ndarray.tolist) + "\n")

    def join(self, parts: Iterable[Path], path: Path) -> None:
        """See `Table`."""
        with open(path, "wb") as file:
            for part in parts:
                with open(part, "rb") as given:
                    shutil.copyfileobj(given, file)

    def rows(self, path: Path) -> Iterator[tuple[str, str]]:
        """See `Table`."""
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                row = json.loads(line)
                yield row["image"], row["error"]


class Parquet:
    """The columns of `JsonLines`; lists of strings and of float32. An image that cannot be read has nulls.

    Raises:
        InputError: PyArrow is missing.
    """

    def __init__(self, path: Path, *, embeddings: bool):
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise InputError(f"{path} needs PyArrow: pip install 'keras-inception[parquet]'") from error
        floats = pa.list_(pa.float32())
        columns = {"image": pa.string(), "label": pa.string(), "probability": pa.float32()}
        columns |= {"labels": pa.list_(pa.string()), "probabilities": floats, "error": pa.string()}
        self._schema = pa.schema(columns | ({"embedding": floats} if embeddings else {}))
        self._pa, self._pq = pa, pq

    def write(self, path: Path, answers: Sequence[Answer]) -> None:
        """See `Table`."""
        records = [_record(answer) for answer in answers]
        columns = {name: [record.get(name) for record in records] for name in self._schema.names}
        self._pq.write_table(self._pa.table(columns, self._schema), path)

    def join(self, parts: Iterable[Path], path: Path) -> None:
        """See `Table`."""
        with self._pq.ParquetWriter(path, self._schema) as writer:
            for part in parts:
                with self._pq.ParquetFile(part) as file:
                    writer.write_table(file.read())

    def rows(self, path: Path) -> Iterator[tuple[str, str]]:
        """See `Table`."""
        with self._pq.ParquetFile(path) as file:
            for batch in file.iter_batches(TOGETHER, columns=["image", "error"]):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _record(answer: Answer) -> dict[str, Any]:
    best = bool(answer.labels)
    record: dict[str, Any] = {
        "image": answer.image,
        "label": answer.labels[0] if best else None,
        "probability": answer.probabilities[0] if best else None,
        "labels": list(answer.labels),
        "probabilities": list(answer.probabilities),
        "error": answer.error,
    }
    return record if answer.embedding is None else record | {"embedding": answer.embedding}
