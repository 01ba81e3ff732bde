"""TensorFlow Lite's metadata schema, from which MediaPipe Tasks and other phone libraries read what a file takes.

It has two parts: tables in the file's metadata buffer `TFLITE_METADATA`, and a zip archive with the labels after the
end of the flatbuffer. No maintained package writes both without TensorFlow or MediaPipe, so this module writes the few
tables.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types as number

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"  # of the schema
LABELS = "labels.txt"
MOST_LABELS = 2**24  # bytes, of a hundred thousand classes and more
NO_DATE = 1980, 1, 1, 0, 0, 0  # the earliest date in a zip archive: repeated exports are equal bytes

# metadata_schema.fbs: the fields of each table in slot order. A union has two slots, its type and its value.
FIELDS = {
    "ModelMetadata": "name description version subgraph_metadata author license associated_files min_parser_version",
    "SubGraphMetadata": "name description input_tensor_metadata output_tensor_metadata",
    "TensorMetadata": "name description dimension_names content process_units stats associated_files",
    "Content": "content_properties_type content_properties",
    "ImageProperties": "color_space default_size",
    "ImageSize": "width height",
    "FeatureProperties": "",
    "ProcessUnit": "options_type options",
    "NormalizationOptions": "mean std",
    "Stats": "max min",
    "AssociatedFile": "name description type",
}
FEATURE, IMAGE = 1, 2  # of ContentProperties
NORMALIZATION = 1  # of ProcessUnitOptions
RGB = 1  # of ColorSpaceType
AXIS_LABELS = 2  # of AssociatedFileType


@dataclass(frozen=True, kw_only=True)
class About:
    """A file's description for people and phone libraries; `name` is the network's by default."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Subgraph:
    """A signature: its name, and the names of its input and output tensors."""

    name: str
    input: str
    output: str


def tables(
    about: About, subgraphs: Sequence[Subgraph], size: tuple[int, int] | None, labels: Sequence[str] | None
) -> bytes:
    """The metadata buffer. `size` is (height, width) of a file that takes RGB pixels, 0..255; None for any other input.

    The file normalises its input itself, so for the libraries the mean is 0 and the deviation 1.
    """
    root = _table(
        "ModelMetadata",
        name=about.name,
        description=about.description,
        version=about.version,
        subgraph_metadata=[
            _table(
                "SubGraphMetadata",
                name=subgraph.name,
                input_tensor_metadata=[_input(subgraph.input, size)],
                output_tensor_metadata=[_output(subgraph.output, labels)],
            )
            for subgraph in subgraphs
        ],
        author=about.author,
        license=about.licence,
        min_parser_version="1.0.0",
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def with_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """The file with its labels appended, one per line, uncompressed, since the libraries read them in place.

    A line break within a label becomes a space.
    """
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS, NO_DATE), "\n".join(" ".join(label.splitlines()) for label in labels))
    return file.getvalue()


def read_labels(model: bytes) -> list[str] | None:
    """The labels after a file's end, None if there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            if (size := archive.getinfo(LABELS).file_size) > MOST_LABELS:
                raise ValueError(f"{LABELS} is stated to have {size:,} bytes")
            return archive.read(LABELS).decode().splitlines()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        return None


def normalises(metadata: bytes) -> bool:
    """Whether the tables say how to normalise the first input; without, MediaPipe refuses a float file."""
    root = _Read("ModelMetadata", metadata)
    units = [
        unit
        for graph in root.tables("subgraph_metadata", "SubGraphMetadata")[:1]
        for tensor in graph.tables("input_tensor_metadata", "TensorMetadata")[:1]
        for unit in tensor.tables("process_units", "ProcessUnit")
    ]
    return any(unit.byte("options_type") == NORMALIZATION for unit in units)


def _input(name: str, size: tuple[int, int] | None) -> _Table:
    if size is None:
        return _table("TensorMetadata", name=name, description="The network's input, preprocessed.")
    height, width = size
    return _table(
        "TensorMetadata",
        name=name,
        description="An RGB image, 0 to 255.",
        content=_table(
            "Content",
            content_properties_type=_Byte(IMAGE),
            content_properties=_table(
                "ImageProperties",
                color_space=_Byte(RGB),
                default_size=_table("ImageSize", width=width, height=height),
            ),
        ),
        process_units=[
            _table(
                "ProcessUnit",
                options_type=_Byte(NORMALIZATION),
                options=_table("NormalizationOptions", mean=(0.0,), std=(1.0,)),
            )
        ],
        stats=_table("Stats", max=(255.0,), min=(0.0,)),
    )


def _output(name: str, labels: Sequence[str] | None) -> _Table:
    fields: dict[str, Any] = {"description": "One number per class."}
    if name == "probabilities":
        fields = {"description": "The probability of each class.", "stats": _table("Stats", max=(1.0,), min=(0.0,))}
    if labels is not None:
        file = _table("AssociatedFile", name=LABELS, description="The classes, one per line.", type=_Byte(AXIS_LABELS))
        fields["associated_files"] = [file]
    feature = _table("Content", content_properties_type=_Byte(FEATURE), content_properties=_table("FeatureProperties"))
    return _table("TensorMetadata", name=name, content=feature, **fields)


# --------------------------------------------------------------------------------------------------------- flatbuffers


class _Byte(int):
    """An enumeration's value, one byte in the file; plain integers have four."""


class _Table(dict[int, Any]):
    """A table's values by slot: strings, tuples of floats, integers, tables, and lists of tables."""


def _table(kind: str, **fields: Any) -> _Table:
    return _Table({_slot(kind, field): value for field, value in fields.items()})


def _slot(kind: str, field: str) -> int:
    return FIELDS[kind].split().index(field)


def _written(builder: flatbuffers.Builder, value: Any) -> int:
    """Write a value after the values that it refers to, as the format requires; return its position."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, tuple):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    if isinstance(value, list):
        items = [_written(builder, item) for item in value]
        builder.StartVector(4, len(items), 4)
        for place in reversed(items):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    places = {slot: _written(builder, field) for slot, field in value.items() if not isinstance(field, int)}
    builder.StartObject(max(value, default=-1) + 1)
    for slot, field in value.items():
        if isinstance(field, _Byte):
            builder.PrependUint8Slot(slot, field, 0)
        elif isinstance(field, int):
            builder.PrependUint32Slot(slot, field, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, places[slot], 0)
    return builder.EndObject()


class _Read:
    """A table, read from the file."""

    def __init__(self, kind: str, content: bytes, place: int | None = None):
        if place is None:
            place = int.from_bytes(content[:4], "little")
        self.kind, self.table = kind, flatbuffers.table.Table(content, place)

    def byte(self, field: str) -> int:
        offset = self._offset(field)
        return self.table.Get(number.Uint8Flags, self.table.Pos + offset) if offset else 0

    def tables(self, field: str, kind: str) -> list[_Read]:
        offset = self._offset(field)
        if not offset:
            return []
        start, length = self.table.Vector(offset), self.table.VectorLen(offset)
        places = [self.table.Indirect(start + 4 * i) for i in range(length)]
        return [_Read(kind, self.table.Bytes, place) for place in places]

    def _offset(self, field: str) -> int:
        return self.table.Offset(4 + 2 * _slot(self.kind, field))
