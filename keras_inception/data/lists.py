"""Lists of labelled images: tables of CSV, TSV or JSON lines, and lines of a path and a label as Caffe reads them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from ..errors import InputError
from .layout import SPLITS, Files, Layout, check_names, side_of
from .split import Rejected
from .tree import EXTENSIONS, LISTS, images_below, is_image_name

# Names of columns without signs and blanks, in lower case; of several in a table the first here is read.
FILE_COLUMNS = (
    "filepath", "filepaths", "imagepath", "imagepaths", "imgpath", "path", "paths", "relativepath", "file", "files",
    "filename", "filenames", "imagefile", "imagename", "imgname", "image", "images", "img", "imageid", "imgid", "id",
    "idcode",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "labelname", "class", "classes", "classname", "category", "categoryname", "target", "y",
    "classid", "labelid", "categoryid",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "usage")
BITS = ("0", "1", "0.0", "1.0")
SEVERAL = "several labels per image are not supported, write the name of one class for each image"
NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a list: the file as written, its class, and its side of the split, "" for one that is not said."""

    file: str
    label: str
    side: str


def is_list(path: Path) -> bool:
    """Whether a file is named as a list of images."""
    return is_list_name(path.name) and path.is_file()


def is_list_name(name: str) -> bool:
    """Whether a file of this name is taken for a list of images."""
    return os.path.splitext(name)[1].lower() in LISTS


def of_list(path: Path) -> Layout:
    """Read a list: which file is of which class, and of which side if a column says so.

    Paths are absolute, or relative to the folder of the list. Names without an ending, and names that are not there,
    are looked for among all images below that folder. Numeric classes are sorted as numbers.

    Raises:
        InputError: it is no list of images, none of its files exists, or a file has several classes.
    """
    return of_tables(path, {"": path})


def of_tables(path: Path, tables: Mapping[str, Path]) -> Layout:
    """Read the lists of the sides at a path; that of the side "" says itself which image is of which side.

    Raises:
        InputError: as `of_list`.
    """
    placed, left_out = dict[str, Row](), []
    for side, table in tables.items():
        finder = _Finder(table.parent)
        for row in _rows(table):
            row = replace(row, side=side or row.side)
            file = finder.find(row.file)
            if isinstance(file, str) or not row.label:
                left_out.append(Rejected(row.file, file if isinstance(file, str) else "no class in the list"))
                continue
            other = placed.setdefault(str(file), row)
            if (other.label, other.side) != (row.label, row.side):
                what = "classes" if other.label != row.label else "sides"
                both = [r.label if what == "classes" else r.side or "none" for r in (other, row)]
                raise InputError(f"{table} gives {row.file} two {what}, {both[0]} and {both[1]}: give each image one")
    if not placed:
        first, base = f"{left_out[0].path}: {left_out[0].reason}", next(iter(tables.values())).parent
        raise InputError(
            f"none of the {len(left_out):,} images in {path} can be used; {first}; paths are relative to {base}"
        )
    classes = sorted({row.label for row in placed.values()})
    _check_single(path, classes)
    if all(map(NUMBER.fullmatch, classes)):
        classes.sort(key=float)
    check_names(classes, str(path))
    return _layout(path, placed, classes, tuple(left_out))


def metadata_in(folder: Path) -> dict[str, Path]:
    """The lists of an image folder of Hugging Face's `datasets` by their sides: its own as "", or those of `train/` ...

    They are `metadata.csv` or `metadata.jsonl` with the column `file_name`, and one of classes; none of others.
    """
    if own := _metadata(folder):
        return {"": own}
    with os.scandir(folder) as entries:
        sides = sorted(entry.name for entry in entries if side_of(entry.name) and entry.is_dir())
    return {str(side_of(name)): table for name in sides if (table := _metadata(folder / name))}


def _metadata(folder: Path) -> Path | None:
    for table in (folder / "metadata.csv", folder / "metadata.jsonl"):
        if table.is_file():
            header = next(_table(table, _text(table)), [])
            if "file_name" in header and _column(_plain(header), LABEL_COLUMNS) is not None:
                return table
    return None


def files_in(path: Path) -> list[str]:
    """The files that a list names, as it writes them.

    Raises:
        InputError: it is no list of images.
    """
    return [row.file for row in _rows(path)]


def images_named(path: Path) -> Iterator[tuple[str, Path | str]]:
    """Each file that a list names, with or without classes: its name as written; the file, or why there is none.

    Raises:
        InputError: it is no list of images.
    """
    finder = _Finder(path.parent)
    lines = [line for line in _table(path, _text(path), labelled=False) if any(cell.strip() for cell in line)]
    column = _column(_plain(lines[0]), FILE_COLUMNS) if lines else None
    body = lines
    if column is not None and not _is_file(lines[0][column], path):
        body = lines[1:]  # after the header
    elif lines:
        column = next((i for i, cell in enumerate(lines[0]) if _is_file(cell, path)), None)
    if column is None:
        raise InputError(
            f"{path} starts with {', '.join(lines[0][:8]) if lines else 'nothing'}: a list of images needs a column of "
            "files (file, path, image, id), or lines that start with a path"
        )
    for line in body:
        name = line[column].strip() if len(line) > column else ""
        yield name, finder.find(name)


def _layout(path: Path, placed: dict[str, Row], classes: Sequence[str], left_out: tuple[Rejected, ...]) -> Layout:
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: {name: [] for name in classes})
    for file, row in placed.items():
        sides[row.side][row.label].append(file)
    files = {
        side: Files(f"{side} of {path}" if side else str(path), {k: tuple(v) for k, v in groups.items()})
        for side, groups in sides.items()
    }
    if train := files.get("") or files.get("train"):
        train = replace(train, left_out=left_out)
    return Layout(train, files.get("val"), files.get("test"))


def _check_single(path: Path, classes: Sequence[str]) -> None:
    """Refuse labels that are lists of labels: such as consist of parts that other labels have too."""
    parts = {name: [part.strip(" '\"[]") for part in re.split(r"[|;,]", name)] for name in classes}
    found = Counter(part for each in parts.values() for part in set(each))
    for name, each in parts.items():
        if len(each) > 1 and all(found[part] > 1 for part in each):
            raise InputError(f"{path} gives an image the labels {name}: {SEVERAL}")


# -------------------------------------------------------------------------------------------------------------- parsing


def _rows(path: Path) -> list[Row]:
    lines = [line for line in _table(path, _text(path)) if any(cell.strip() for cell in line)]
    if not lines:
        raise InputError(f"{path} is empty: give lines of a file and its class")
    header = _plain(lines[0])
    file, label, split = (_column(header, names) for names in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS))
    if file is not None and label is None and len(header) - (split is not None) == 2:
        label = next(i for i in range(len(header)) if i not in (file, split))  # the other one
        if header[label] == "tags" and any(" " in line[label].strip() for line in lines[1:] if len(line) > label):
            raise InputError(f"{path} has a column of tags: {SEVERAL}")
    if file is not None and label is not None and not _is_file(lines[0][file], path):
        body = lines[1:]
    elif len(header) in (2, 3) and _is_file(lines[0][0], path):
        file, label, split, body = 0, 1, 2 if len(header) == 3 else None, lines
    elif file is not None and all(cell.strip() in BITS for i, cell in enumerate(lines[-1]) if i not in (file, split)):
        raise InputError(f"{path} has a column of 0 and 1 for each class in place of one of class names: {SEVERAL}")
    else:
        raise InputError(
            f"{path} starts with {', '.join(lines[0][:8])}: a list of images needs a column of files (file, path, "
            "image, id) and one of classes (label, class, category), or lines of a path and a label"
        )
    columns = [column for column in (file, label, split) if column is not None]
    if not body:
        raise InputError(f"{path} has no lines after its header: give lines of a file and its class")
    if short := next((line for line in body if len(line) <= max(columns)), None):
        raise InputError(f"{path} has a line with {len(short)} of {len(header)} columns: {' '.join(short)[:80]}")
    return [
        Row(line[file].strip(), line[label].strip(), "" if split is None else _side(line[split], path)) for line in body
    ]


def _side(cell: str, path: Path) -> str:
    if side := side_of(cell):
        return side
    names = ", ".join(names[0] for names in SPLITS.values())
    raise InputError(f"{path} has {cell!r} in its column of the split: the sides are {names}")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # from spreadsheets
    text = content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace" if utf16 else "surrogateescape")
    if "\0" in text:
        raise InputError(f"{path} is not a text file: give a list of files and their classes")
    return text


def _table(path: Path, text: str, *, labelled: bool = True) -> Iterator[list[str]]:
    """The cells of each line. Lists without commas or tabs are a path, which may hold blanks, and a label.

    Unless all are `labelled`, a line that ends as an image's name does is a path alone.
    """
    if path.suffix.lower() == ".jsonl":
        yield from _json_lines(path, text)
        return
    first = text.split("\n", 1)[0]
    found = [d for d in ("\t", ";", ",") if d in first]
    if path.suffix.lower() == ".csv" and ";" not in first:  # spreadsheets write semicolons where 1,5 is a number
        found = [d for d in (",", "\t") if d in first]
    if found:
        try:
            yield from csv.reader(io.StringIO(text, newline=""), delimiter=found[0], skipinitialspace=True)
        except csv.Error as error:
            raise InputError(f"{path} cannot be read: {error}") from error
    else:
        for line in text.splitlines():
            yield [line] if not labelled and is_image_name(line.strip()) else line.rsplit(None, 1)


def _json_lines(path: Path, text: str) -> Iterator[list[str]]:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        header = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[str(row.get(key, "")) for key in header] for row in rows]
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a file of JSON objects, one a line: {error}") from error
    yield from [header, *cells] if rows else []


def _plain(header: Sequence[str]) -> list[str]:
    """The names of columns as `FILE_COLUMNS` has them."""
    return [re.sub(r"[\W_]+", "", cell.casefold()) for cell in header]


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _is_file(cell: str, path: Path) -> bool:
    return is_image_name(PurePosixPath(cell.strip()).name) or (path.parent / cell.strip()).is_file()


class _Finder:
    """Finds the files that a list names."""

    def __init__(self, base: Path):
        self.base = base

    def find(self, name: str) -> Path | str:
        """The file, or why there is none."""
        for text in (name, name.replace("\\", "/")):
            if text and (path := self.base / text).is_file():
                return path
        name = name.replace("\\", "/").removeprefix("./")
        key = name if PurePosixPath(name).suffix.lower() in EXTENSIONS else f"{name}."
        found = [Path(path) for path in self._by_name.get(PurePosixPath(key).name, ()) if self._ends(Path(path), key)]
        if len(found) == 1:
            return found[0]
        return f"{len(found)} files have this name: give their paths" if found else "no such file"

    def _ends(self, path: Path, key: str) -> bool:
        """Whether a path ends as the list says; a key that ends with a dot stands for any ending."""
        text = f"/{path.relative_to(self.base).as_posix()}"
        return (f"{text[: -len(path.suffix)]}." if key.endswith(".") else text).endswith(f"/{key}")

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The paths of all images below the folder, by their names with and without the ending."""
        found = defaultdict(list)
        for path in images_below(self.base):
            name = os.path.basename(path)
            found[name].append(path)
            found[f"{os.path.splitext(name)[0]}."].append(path)
        return found
