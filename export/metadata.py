"""What an exported file says about itself: its input, preprocessing and labels, and how a .tflite is quantised.

Every export carries a `Record`, so that whoever gets the file alone prepares pictures rightly, and only once: in a
.tflite as the metadata buffer `keras_inception` (JSON), beside a SavedModel as `assets.extra/keras_inception.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception.preprocessing import Preprocessing

NAME = "keras_inception"
IDENTIFIER = b"TFL3"  # of the format, at byte 4

# What the file is given: pictures of any size, uint8; RGB pixels of the network's size, 0..255, not yet normalised;
# or the network's own input.
Input = Literal["picture", "pixels", "input"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What to give a file and what its outputs mean; the default is what is known of a file from elsewhere."""

    input: Input = "input"
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None

    def to_json(self) -> str:
        """The record as one JSON object."""
        preprocessing = self.preprocessing.to_dict() if self.preprocessing else None
        return json.dumps(
            {"schema": 1, "input": self.input, "preprocessing": preprocessing, "labels": self.labels},
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote."""
        record = json.loads(text)
        preprocessing, labels = record["preprocessing"], record["labels"]
        return cls(
            input=record["input"],
            preprocessing=Preprocessing.from_dict(preprocessing) if preprocessing else None,
            labels=tuple(labels) if labels else None,
        )


def is_tflite(path: Path) -> bool:
    """Whether a TFLite file is there, by its identifier."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(8)[4:] == IDENTIFIER


def with_record(model: bytes, record: Record) -> bytes:
    """A .tflite file with the record in it."""
    content = schema.ModelT.InitFromPackedBuf(model, 0)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(record.to_json().encode(), np.uint8)
    content.buffers.append(buffer)
    entry.name, entry.buffer = NAME, len(content.buffers) - 1
    content.metadata = [*(content.metadata or []), entry]
    builder = _Builder(len(model))
    builder.Finish(content.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def read_record(model: bytes) -> Record:
    """The record of a .tflite file; of a file without one, the default."""
    content = schema.Model.GetRootAs(model, 0)
    for i in range(content.MetadataLength()):
        if content.Metadata(i).Name() == NAME.encode():
            return Record.from_json(content.Buffers(content.Metadata(i).Buffer()).DataAsNumpy().tobytes().decode())
    return Record()


def operators(model: bytes) -> list[str]:
    """The operators of a .tflite file in the order they run, by the format's names; a custom one by its own."""
    content = schema.Model.GetRootAs(model, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = []
    for i in range(content.OperatorCodesLength()):
        code = content.OperatorCodes(i)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # the older field ends at 127
        custom = builtin == schema.BuiltinOperator.CUSTOM
        kinds.append(code.CustomCode().decode() if custom else names[builtin])
    return [
        kinds[op.OpcodeIndex()] for graph in _graphs(content) for op in _each(graph.Operators, graph.OperatorsLength())
    ]


def foreign_operators(model: bytes) -> set[str]:
    """The operators of a .tflite file that a phone's plain runtime lacks: TensorFlow's own ("Flex...") and custom."""
    builtin = {name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    return set(operators(model)) - builtin


def precision(model: bytes) -> str:
    """How a .tflite file computes: "float32", "float16", "dynamic", "int8" or "int16x8", as its tensors say."""
    content = schema.Model.GetRootAs(model, 0)
    constants, activations = set(), set()
    for graph in _graphs(content):
        edges = {*graph.InputsAsNumpy().tolist(), *graph.OutputsAsNumpy().tolist()}
        for i, tensor in enumerate(_each(graph.Tensors, graph.TensorsLength())):
            if content.Buffers(tensor.Buffer()).DataLength():
                constants.add(tensor.Type())
            elif i not in edges:
                activations.add(tensor.Type())
    kind = schema.TensorType
    if kind.INT16 in activations:
        return "int16x8"
    if kind.INT8 in activations:
        return "int8"
    if kind.FLOAT16 in constants:
        return "float16"
    return "dynamic" if kind.INT8 in constants else "float32"


class _Builder(flatbuffers.Builder):
    """A builder that puts tensor data at multiples of 16 bytes, as the format asks and Python's packing forgets."""

    def StartVector(self, elem_size: int, num_elems: int, alignment: int) -> int:
        return super().StartVector(elem_size, num_elems, 16 if elem_size == 1 else alignment)


def _graphs(content: Any) -> Iterator[Any]:
    return _each(content.Subgraphs, content.SubgraphsLength())


def _each(get: Any, length: int) -> Iterator[Any]:
    return (get(i) for i in range(length))
