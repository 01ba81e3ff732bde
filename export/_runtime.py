"""An exported file, opened in the runtime that it is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_inception.errors import InputError
from keras_inception.quiet import quiet

from ._source import fits
from .metadata import Input, Record, foreign_operators, is_tflite, precision, read_record
from .saved_model import RECORD_FILE, is_saved_model

Run: TypeAlias = Callable[[np.ndarray], np.ndarray]  # a batch of one in, its outputs (1, ...) float32

THREADS = min(4, os.cpu_count() or 1)  # of LiteRT; phones have four fast cores at most


@dataclass(frozen=True, kw_only=True)
class File:
    """A file ready to run, by each kind of input that it takes."""

    path: Path
    format: str
    bytes: int
    record: Record
    entries: dict[Input, Run]


def open_file(path: Path) -> File:
    """Open a SavedModel in TensorFlow, or a .tflite file in LiteRT.

    Raises:
        InputError: there is neither, or its runtime refuses it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: give a SavedModel or a .tflite file")
    return _open_saved_model(path) if path.is_dir() else _open_tflite(path)


def _open_saved_model(path: Path) -> File:
    if not is_saved_model(path):
        raise InputError(f"{path} is not a SavedModel: it has no saved_model.pb")
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    except Exception as error:  # whatever a damaged file makes TensorFlow raise
        raise InputError(f"{path} is a damaged SavedModel: export it again") from error
    signatures = loaded.signatures
    if "serving_default" not in signatures:
        raise InputError(f"{path} has no signature serving_default; it has {', '.join(signatures) or 'none'}")
    file = path / RECORD_FILE
    record = Record.from_json(file.read_text(encoding="utf-8")) if file.is_file() else Record()
    entries: dict[Input, Run] = {}
    for name in {"serving_default", "preprocessed"} & set(signatures):
        spec, run = _signature(path, loaded, name)
        entries["picture" if spec.dtype == tf.uint8 else "input"] = run
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return File(path=path, format="saved_model", bytes=size, record=record, entries=entries)


def _signature(path: Path, loaded: Any, name: str) -> tuple[tf.TensorSpec, Run]:
    """What a signature takes, and how to run it; the closure keeps `loaded`, whose variables would go with it."""
    signature = loaded.signatures[name]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    numeric = [key for key, spec in outputs.items() if spec.dtype.is_floating]
    if len(inputs) != 1 or len(numeric) != 1:
        raise InputError(
            f"{path} takes {', '.join(inputs)} and gives {', '.join(outputs)}: one tensor of each is expected"
        )
    [(key, spec)] = inputs.items()

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, spec.shape)
        return loaded.signatures[name](**{key: tf.constant(x, spec.dtype)})[numeric[0]].numpy().astype(np.float32)

    return spec, run


def _open_tflite(path: Path) -> File:
    if not is_tflite(path):
        raise InputError(f"{path} is not a TFLite file")
    content = path.read_bytes()
    try:
        with quiet():
            interpreter = Interpreter(model_content=content, num_threads=THREADS)
            interpreter.allocate_tensors()
    except Exception as error:  # ValueError of a damaged file, RuntimeError of operators that the runtime has not
        raise InputError(f"{path} is refused by LiteRT: {_refusal(content)}") from error
    record = read_record(content)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: one of each is expected")

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, inputs[0]["shape"].tolist())
        interpreter.set_tensor(inputs[0]["index"], _quantized(x, inputs[0]))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(outputs[0]["index"]), outputs[0])

    return File(
        path=path, format=f"tflite {precision(content)}", bytes=len(content), record=record, entries={record.input: run}
    )


def _refusal(content: bytes) -> str:
    try:
        foreign = foreign_operators(content)
    except Exception:  # whatever a damaged file makes the parser raise
        return "it is damaged; export it again"
    return f"it needs {', '.join(sorted(foreign))}" if foreign else "it is damaged; export it again"


def _quantized(x: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero_point = tensor["quantization"]
    if not scale:
        return x.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(x / scale + zero_point), limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(y: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero_point = tensor["quantization"]
    return np.float32(scale) * (y.astype(np.float32) - zero_point) if scale else y.astype(np.float32)


def _check_shape(path: Path, x: np.ndarray, shape: Any) -> None:
    if not fits(x.shape, tuple(shape)):
        raise InputError(f"{path} takes {tuple(shape)}, and was given {x.shape}: it is of another network")
