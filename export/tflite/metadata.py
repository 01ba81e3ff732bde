"""What an exported file records about itself: its input, preprocessing and labels.

Every export carries a `Record`, so that images are preprocessed correctly, and only once, from the file alone. A
.tflite file has it as the metadata buffer `keras_inception` (JSON), a SavedModel as
`assets.extra/keras_inception.json`. A .tflite file also has the metadata that phone libraries read
(`mediapipe_metadata`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception.files import parse_json
from keras_inception.preprocessing import Preprocessing

from . import mediapipe_metadata
from .flatbuffer import dense_by_channel, merged, operator_versions, packed, precision
from .mediapipe_metadata import About
from .runtimes import DENSE_BY_CHANNEL, INT16, OldestRuntime, numbers, oldest_runtime

NAME = "keras_inception"
RUNTIME = "min_runtime_version"  # TensorFlow's own entry: 16 bytes, a release and zeros

# What the file takes: "image", uint8 images of any size; "pixels", RGB pixels of the network's size, 0..255, not
# normalised; or "input", the network's own input.
Input = Literal["image", "pixels", "input"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a file takes and what its outputs mean. The default is what is known of a file without a record.

    `calibration` describes the images that quantised the file: `CalibrationSet.summary`. `runtime` is the oldest
    release of TensorFlow Lite that has a .tflite file's operators, "2.17" (`tflite.runtimes`).
    """

    input: Input = "input"
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    calibration: dict[str, Any] | None = None
    runtime: str | None = None

    def to_json(self) -> str:
        """The record as one JSON object."""
        preprocessing = self.preprocessing.to_dict() if self.preprocessing else None
        record: dict[str, Any] = {"schema": 1, "input": self.input, "preprocessing": preprocessing}
        record["labels"] = self.labels
        if self.calibration:
            record["calibration"] = self.calibration
        if self.runtime:
            record["min_runtime_version"] = self.runtime
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; a `ValueError`, `KeyError` or `TypeError` for any other text."""
        record = parse_json(text)
        preprocessing, labels = record["preprocessing"], record["labels"]
        if record["input"] not in get_args(Input) or not isinstance(labels, list | None):
            raise ValueError(f"its input is {record['input']!r:.80}, and its labels are {labels!r:.80}")
        if not all(isinstance(label, str) for label in labels or ()):
            raise ValueError("its labels are not all text")
        if not isinstance(record.get("calibration"), dict | None):
            raise ValueError(f"its calibration is {record['calibration']!r:.80}")
        return cls(
            input=record["input"],
            preprocessing=Preprocessing.from_dict(preprocessing) if preprocessing else None,
            labels=tuple(labels) if labels else None,
            calibration=record.get("calibration"),
            runtime=record.get("min_runtime_version"),
        )


def with_record(model: bytes | Mapping[str, bytes], record: Record, about: About | None = None) -> bytes:
    """A .tflite file with its record and the metadata of phone libraries; of several files, by signature, one."""
    models = {"serving_default": model} if isinstance(model, bytes) else model
    oldest = runtime_of(*models.values())
    content = merged(models)
    content.metadata = [entry for entry in content.metadata or () if entry.name != RUNTIME.encode()]
    _add(content, RUNTIME, f"{oldest.release}.0".encode().ljust(16, b"\0"))
    _add(content, NAME, replace(record, runtime=oldest.release).to_json().encode())
    size = record.preprocessing.size if record.preprocessing and record.input == "pixels" else None
    _add(
        content,
        mediapipe_metadata.NAME,
        mediapipe_metadata.tables(about or About(), _described(content), size, record.labels),
    )
    file = packed(content)
    return file if record.labels is None else mediapipe_metadata.with_labels(file, record.labels)


def _add(content: Any, name: str, data: bytes) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(data, np.uint8)
    content.buffers.append(buffer)
    entry.name, entry.buffer = name, len(content.buffers) - 1
    content.metadata.append(entry)


def _described(content: Any) -> list[mediapipe_metadata.Subgraph]:
    """The signatures, in the file's order."""
    return [
        mediapipe_metadata.Subgraph(
            name=s.signatureKey, input=s.inputs[0].name.decode(), output=s.outputs[0].name.decode()
        )
        for s in content.signatureDefs
    ]


def read_record(model: bytes) -> Record:
    """The record of a .tflite file; the default for a file without one."""
    data = read_metadata(model, NAME)
    return Record() if data is None else Record.from_json(data.decode())


def runtime_of(*models: bytes) -> OldestRuntime:
    """The oldest runtime for all of these .tflite files."""
    stated = [(read_metadata(model, RUNTIME) or b"").rstrip(b"\0").decode() for model in models]
    also = [INT16] * any(precision(model) == "int16x8" for model in models)
    also += [DENSE_BY_CHANNEL] * any(dense_by_channel(model) for model in models)
    operators = [operator for model in models for operator in operator_versions(model)]
    return oldest_runtime(operators, max(filter(None, stated), key=numbers, default=""), also)


def read_metadata(model: bytes, name: str) -> bytes | None:
    """The metadata buffer with this name in a .tflite file, None if there is none."""
    content = schema.Model.GetRootAs(model, 0)
    for i in range(content.MetadataLength()):
        entry = content.Metadata(i)
        if entry.Name() == name.encode():
            return content.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return None
