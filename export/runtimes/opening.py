"""An exported file, opened in the runtime that it is for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_inception.errors import InputError
from keras_inception.outputs import exits_among
from keras_inception.terminal import quiet

from ..inputs import fits
from ..onnx import is_onnx
from ..openvino import FILE, is_openvino
from ..saved_model import RECORD_FILE, is_saved_model
from ..tflite.flatbuffer import foreign_operators, is_tflite, precision
from ..tflite.metadata import NAME, Input, Record, read_record

Run: TypeAlias = Callable[[np.ndarray], np.ndarray]  # a batch of one in, its outputs (1, ...) float32

SECOND = "openvino"  # the runtime that reads every format but its own makers' without their code
THREADS = min(4, os.cpu_count() or 1)  # of LiteRT; phones have four fast cores at most


@dataclass(frozen=True, kw_only=True)
class File:
    """A file ready to run, by each kind of input that it takes; of a .tflite file also by each exit."""

    path: Path
    format: str
    bytes: int
    record: Record
    entries: dict[Input, Run]
    exits: dict[str, Run] = field(default_factory=dict)


def open_file(path: Path, runtime: str | None = None) -> File:
    """Open a SavedModel in TensorFlow, a .tflite file in LiteRT, or an .onnx file or OpenVINO's folder in theirs.

    With `runtime` "openvino" each of them in OpenVINO, whose reading of the formats and whose kernels are its own.

    Raises:
        InputError: there is none of these, or its runtime refuses it or is not installed.
    """
    if runtime not in (None, SECOND):
        raise InputError(f"unknown runtime {runtime!r} for a cross-check; there is {SECOND}")
    if not path.exists():
        raise InputError(f"{path} does not exist: give a SavedModel or a .tflite file")
    if runtime:
        return _cross_check(path)
    if is_onnx(path):
        return _open_onnx(path)
    if is_openvino(path):
        return _open_openvino(path)
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
        entries["image" if spec.dtype == tf.uint8 else "input"] = run
    format = " ".join(["saved_model", *_half_precision(signatures["serving_default"].graph)])
    return File(path=path, format=format, bytes=size_of(path), record=record, entries=entries)


def _half_precision(graph: tf.Graph) -> set[str]:
    """The types of less than 32 bits that a graph multiplies in."""
    content = graph.as_graph_def()
    nodes = [*content.node, *(node for function in content.library.function for node in function.node_def)]
    types = {tf.as_dtype(node.attr["T"].type) for node in nodes if node.op in ("Conv2D", "MatMul")}
    return {dtype.name for dtype in types if dtype.size == 2}


def size_of(path: Path) -> int:
    """The bytes of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


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


def _open_onnx(path: Path) -> File:
    onnxruntime = need("onnxruntime", "onnx")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        [given], [answer] = session.get_inputs(), session.get_outputs()
    except Exception as error:  # of a damaged file, or of one with several inputs
        raise InputError(f"{path} is refused by ONNX Runtime: {str(error).splitlines()[0][:200]}") from error
    text = session.get_modelmeta().custom_metadata_map.get(NAME)

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, [size if isinstance(size, int) else None for size in given.shape])
        return session.run([answer.name], {given.name: x.astype(np.float32)})[0]

    return _with_record(path, "onnx", text, run)


def _open_openvino(path: Path) -> File:
    openvino = need("openvino", "openvino")
    try:
        model = openvino.Core().read_model(str(path / FILE))
        text = model.get_rt_info([NAME]).astype(str) if model.has_rt_info([NAME]) else None
    except Exception as error:
        raise _refused_by_openvino(path, error) from error
    return _with_record(path, "openvino", text, _in_openvino(path, model))


def _cross_check(path: Path) -> File:
    openvino, own = need("openvino", "openvino"), open_file(path)
    if own.format == SECOND:
        return own
    try:
        model = openvino.convert_model(_numeric(path)) if path.is_dir() else openvino.Core().read_model(str(path))
    except Exception as error:
        raise _refused_by_openvino(path, error) from error
    kind: Input = "input" if path.is_dir() else own.record.input
    return replace(own, format=f"{own.format} in {SECOND}", entries={kind: _in_openvino(path, model)}, exits={})


def _numeric(path: Path) -> Any:
    """A SavedModel's network alone: no images in, whose resizing is TensorFlow's, and no strings out."""
    loaded = tf.saved_model.load(str(path))
    name = "preprocessed" if "preprocessed" in loaded.signatures else "serving_default"
    spec, _ = _signature(path, loaded, name)
    signature = loaded.signatures[name]
    [numeric] = [key for key, value in signature.structured_outputs.items() if value.dtype.is_floating]
    network = tf.function(lambda x: signature(**{spec.name: x})[numeric], [spec], autograph=False)
    network.loaded = loaded  # whose variables would go with it
    return network.get_concrete_function()


def _in_openvino(path: Path, model: Any) -> Run:
    openvino = need("openvino", "openvino")
    try:
        # Newer processors would compute in bfloat16 unless told not to.
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        [given], [_] = compiled.inputs, compiled.outputs
    except Exception as error:
        raise _refused_by_openvino(path, error) from error
    shape = [size.get_length() if size.is_static else None for size in given.partial_shape]
    dtype = given.element_type.to_dtype()
    if not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path} takes {dtype}, which OpenVINO scales otherwise: export it with edge='float32'")

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, shape)
        return np.array(compiled([x.astype(dtype)])[0], np.float32)

    return run


def _refused_by_openvino(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is refused by OpenVINO: {str(error).splitlines()[0][:200]}")


def _with_record(path: Path, format: str, text: str | None, run: Run) -> File:
    record = Record.from_json(text) if text else Record()
    return File(path=path, format=format, bytes=size_of(path), record=record, entries={record.input: run})


def need(runtime: str, extra: str) -> Any:
    """Import a runtime that is an extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(runtime)
    except ImportError as error:
        raise InputError(f"{runtime} is not installed: pip install 'keras-inception[{extra}]'") from error


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
    exits = exits_among(interpreter.get_signature_list())
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: one of each is expected")

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, inputs[0]["shape"].tolist())
        interpreter.set_tensor(inputs[0]["index"], _quantized(x, inputs[0]))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(outputs[0]["index"]), outputs[0])

    return File(
        path=path,
        format=f"tflite {precision(content)}",
        bytes=len(content),
        record=record,
        entries={record.input: run},
        exits={key: _exit(path, content, key) for key in exits},
    )


def _exit(path: Path, content: bytes, key: str) -> Run:
    """One signature of several, in an interpreter of its own: LiteRT runs no other way what has such a runner."""
    with quiet():
        runner = Interpreter(model_content=content, num_threads=THREADS).get_signature_runner(key)
    [(taken, given)], [(named, answer)] = runner.get_input_details().items(), runner.get_output_details().items()

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, given["shape"].tolist())
        return _dequantized(runner(**{taken: _quantized(x, given)})[named], answer)

    return run


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
