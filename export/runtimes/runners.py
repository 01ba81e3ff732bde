"""Exported files, opened in the runtimes that they are for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias, get_args

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_inception.errors import InputError, first_line
from keras_inception.model_graph import fits
from keras_inception.outputs import exits_among
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from ..inputs import compiled
from ..onnx import is_onnx
from ..openvino import FILE, is_openvino
from ..saved_model import DEFAULT, RECORD_FILE, check_one_version, is_saved_model
from ..tflite import npu
from ..tflite.flatbuffer import foreign_operators, is_tflite, parsed, precision
from ..tflite.mediapipe_metadata import read_labels
from ..tflite.metadata import NAME, Input, Record, read_record
from ..tflite.tensors import dequantize, filled, quantize
from . import int8_in_float
from .processor import sums_exactly
from .trial import THREADS, try_out, try_out_in_openvino

# Images, (n, ...), at most as many as the file's batch -> their outputs (n, ...), float32.
Runner: TypeAlias = Callable[[np.ndarray], np.ndarray]

CROSS_CHECK = "openvino"  # reads every format without its makers' code


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """A file ready to run: a runner for each kind of input that it takes, and for each exit of a .tflite file.

    `batch` is how many images a run computes; a runner fills up a smaller number. With a `free_batch` it computes as
    many as it is given.
    """

    path: Path
    format: str
    bytes: int
    record: Record
    runners: dict[Input, Runner]
    exits: dict[str, Runner] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    batch: int = 1
    free_batch: bool = False

    @property
    def rawest(self) -> Input:
        """The kind of input that leaves most of the preprocessing to the file."""
        return next(kind for kind in get_args(Input) if kind in self.runners)

    def from_image(self, preprocessing: Preprocessing) -> Callable[[np.ndarray], np.ndarray]:
        """What makes the rawest input, a batch of one, from an image, uint8 (H, W, 3)."""
        steps = {"image": lambda image: image, "pixels": compiled(preprocessing.resize)}
        step = steps.get(self.rawest) or compiled(preprocessing)
        return lambda image: step(image)[np.newaxis]


def open_file(path: Path, runtime: str | None = None) -> OpenFile:
    """Open a SavedModel in TensorFlow, a .tflite file in LiteRT, or an .onnx file or an OpenVINO folder in theirs.

    With `runtime="openvino"` all formats are opened in OpenVINO, which has its own readers and kernels.

    Raises:
        InputError: it is none of these, or its runtime refuses it or is not installed.
    """
    if runtime not in (None, CROSS_CHECK):
        raise InputError(f"unknown runtime {runtime!r} for a cross-check; give {CROSS_CHECK!r}")
    if not path.exists():
        raise InputError(f"{path} does not exist: give a SavedModel or a .tflite file")
    if runtime:
        return _cross_check(path)
    if is_onnx(path):
        return _open_onnx(path)
    if is_openvino(path):
        return _open_openvino(path)
    return _open_saved_model(path) if path.is_dir() else _open_tflite(path)


@contextmanager
def refused(path: Path, *, by: str, why: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turn whatever a runtime raises about a file into an InputError; `why` may know the reason better.

    Damaged files make runtimes raise exceptions of many kinds, with messages of many lines.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is refused by {by}: {why() or f'{first_line(error)}; export it again'}") from error


def need(runtime: str, extra: str) -> Any:
    """Import a runtime that is an extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(runtime)
    except ImportError as error:
        raise InputError(f"{runtime} is not installed: pip install 'keras-inception[{extra}]'") from error


def size_of(path: Path) -> int:
    """The size of a file, or of all files in a folder, in bytes."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def _filled(path: Path, x: np.ndarray, shape: Any) -> np.ndarray:
    """The images, as many as a file of a fixed batch takes."""
    batch = shape[0]
    if batch is not None and 1 <= len(x) < batch:
        x = filled(x, batch)
    _check_shape(path, x, shape)
    return x


def _check_shape(path: Path, x: np.ndarray, shape: Any) -> None:
    if not fits(x.shape, tuple(shape)):
        raise InputError(f"{path} takes {tuple(shape)} and was given {x.shape}: it was made from another network")


def _one_at_a_time(run: Runner) -> Runner:
    """For a runtime with one set of tensors, which threads would overwrite for each other."""
    lock = Lock()

    @wraps(run)
    def locked(x: np.ndarray) -> np.ndarray:
        with lock:
            return run(x)

    return locked


def _check_record(path: Path, record: Record, shape: Any) -> None:
    """Refuse a record of images of another size than the network's, before one is resized to it."""
    known = record.preprocessing
    if known and not fits(known.size, tuple(shape[1:3])):
        raise InputError(f"{path} is damaged: it takes {tuple(shape)}, and says that its images are {known.size}")


# ---------------------------------------------------------------------------------------------------------- SavedModel


def _open_saved_model(path: Path) -> OpenFile:
    check_one_version(path)
    if not is_saved_model(path):
        raise InputError(f"{path} is not a SavedModel: it has no saved_model.pb")
    record = saved_model_record(path)
    loaded = _loaded(path, record)
    signatures = loaded.signatures
    names = [name for name in ("image", "preprocessed") if name in signatures] or [DEFAULT]
    if names[0] not in signatures:
        raise InputError(f"{path} has no signature {DEFAULT}; it has {', '.join(signatures) or 'none'}")
    runners: dict[Input, Runner] = {}
    free = True
    for name in names:
        spec, run = _signature(path, loaded, name)
        runners["image" if spec.dtype == tf.uint8 and record.input == "image" else "input"] = run
        free = free and spec.shape[0] is None
    return OpenFile(
        path=path,
        format=" ".join(["saved_model", *_precision(record, signatures[names[0]].graph)]),
        bytes=size_of(path),
        record=record,
        runners=runners,
        labels=record.labels,
        free_batch=free,
    )


def saved_model_record(path: Path) -> Record:
    """The record of a SavedModel; of one in int8 it has the calibration. One without a record takes images."""
    file = path / RECORD_FILE
    with parsed(file):
        return Record.from_json(file.read_text(encoding="utf-8")) if file.is_file() else Record(input="image")


def _loaded(path: Path, record: Record) -> Any:
    """A SavedModel as TensorFlow loads it; in float32 what int8 rounds, where int8 is not exact or has no kernels."""
    with refused(path, by="TensorFlow"), quiet():
        if record.calibration and not (sums_exactly() and int8_in_float.has_kernels()):
            return int8_in_float.load(path)
        return tf.saved_model.load(str(path))


def _precision(record: Record, graph: tf.Graph) -> set[str]:
    """The types of fewer than 32 bits in which a graph multiplies."""
    if record.calibration:
        return {"int8"}
    content = graph.as_graph_def()
    nodes = [*content.node, *(node for function in content.library.function for node in function.node_def)]
    types = {tf.as_dtype(node.attr["T"].type) for node in nodes if node.op in ("Conv2D", "MatMul")}
    return {dtype.name for dtype in types if dtype.size == 2}


def _signature(path: Path, loaded: Any, name: str) -> tuple[tf.TensorSpec, Runner]:
    """A signature's input, and its runner. The closure keeps `loaded` alive, and with it the variables."""
    signature = loaded.signatures[name]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    numeric = [key for key, spec in outputs.items() if spec.dtype.is_floating]
    if len(inputs) != 1 or len(numeric) != 1:
        raise InputError(
            f"{path} takes {', '.join(inputs)} and gives {', '.join(outputs)}: one numeric tensor of each is expected"
        )
    [(key, spec)] = inputs.items()

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, spec.shape)
        return loaded.signatures[name](**{key: tf.constant(x, spec.dtype)})[numeric[0]].numpy().astype(np.float32)

    return spec, run


# -------------------------------------------------------------------------------------------------- ONNX and OpenVINO


def _open_onnx(path: Path) -> OpenFile:
    onnxruntime = need("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    if not sums_exactly():
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # rounded as in int8, computed in float32
    with refused(path, by="ONNX Runtime"):
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        [given], [output] = session.get_inputs(), session.get_outputs()
    text = session.get_modelmeta().custom_metadata_map.get(NAME)
    shape = [size if isinstance(size, int) else None for size in given.shape]

    def run(x: np.ndarray) -> np.ndarray:
        _check_shape(path, x, shape)
        return session.run([output.name], {given.name: x.astype(np.float32)})[0]

    return _with_record(path, "onnx", text, run, free_batch=shape[0] is None)


def _open_openvino(path: Path) -> OpenFile:
    openvino = need("openvino", "openvino")
    with refused(path, by="OpenVINO"):
        model = openvino.Core().read_model(str(path / FILE))
        text = model.get_rt_info([NAME]).astype(str) if model.has_rt_info([NAME]) else None
    int8 = sums_exactly()
    if int8 and any(operator.get_type_name() == "FakeQuantize" for operator in model.get_ops()):
        _try_out_in_openvino(path)
    free = model.inputs[0].partial_shape[0].is_dynamic
    return _with_record(path, "openvino", text, _in_openvino(path, model, int8=int8), free_batch=free)


def _try_out_in_openvino(path: Path) -> None:
    """Its kernels for AMX (2026.4) end the process at some int8 networks, as MobileNet v2 on 32 x 32 pixels.

    Raises:
        InputError: they do.
    """
    try:
        try_out_in_openvino(path / FILE)
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be run by OpenVINO on this processor: {error}; turn AMX off for OpenVINO "
            "(ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI in the environment), or take another format"
        ) from error


def _with_record(path: Path, format: str, text: str | None, run: Runner, *, free_batch: bool) -> OpenFile:
    with parsed(path):
        record = Record.from_json(text) if text else Record()
    return OpenFile(
        path=path,
        format=f"{format} int8" if record.calibration else format,
        bytes=size_of(path),
        record=record,
        runners={record.input: run},
        labels=record.labels,
        free_batch=free_batch,
    )


def _cross_check(path: Path) -> OpenFile:
    """A file of any format in OpenVINO."""
    openvino, own = need("openvino", "openvino"), open_file(path)
    if is_openvino(path):
        return own
    if own.format == "saved_model int8":
        raise InputError(f"{path} has TensorFlow's int8 kernels, which OpenVINO does not read: leave it out")
    with refused(path, by="OpenVINO"):
        model = openvino.convert_model(_network_of(path)) if path.is_dir() else openvino.Core().read_model(str(path))
    kind: Input = "input" if path.is_dir() else own.record.input
    format = f"{own.format} in {CROSS_CHECK}"
    return replace(own, format=format, runners={kind: _in_openvino(path, model)}, exits={})


def _network_of(path: Path) -> Any:
    """A SavedModel's network alone: without images as input, which only TensorFlow resizes, and without strings."""
    loaded = tf.saved_model.load(str(path))
    name = "preprocessed" if "preprocessed" in loaded.signatures else DEFAULT
    spec, _ = _signature(path, loaded, name)
    signature = loaded.signatures[name]
    [numeric] = [key for key, value in signature.structured_outputs.items() if value.dtype.is_floating]
    network = tf.function(lambda x: signature(**{spec.name: x})[numeric], [spec], autograph=False)
    network.loaded = loaded  # keeps the variables alive
    return network.get_concrete_function()


def _in_openvino(path: Path, model: Any, *, int8: bool = False) -> Runner:
    """A runner; without `int8` maps are rounded as in int8 and computed in float32.

    OpenVINO's own int8 arithmetic (2026.4) is wrong at the borders of a padded convolution whose input has a zero
    point, as .tflite files have.
    """
    openvino = need("openvino", "openvino")
    options = {"INFERENCE_PRECISION_HINT": "f32"}  # newer processors would compute in bfloat16 by default
    if not int8:
        options["LP_TRANSFORMS_MODE"] = "NO"
    with refused(path, by="OpenVINO"):
        network = openvino.compile_model(model, "CPU", options)
        [given], [_] = network.inputs, network.outputs
    shape = [size.get_length() if size.is_static else None for size in given.partial_shape]
    dtype = given.element_type.to_dtype()
    if not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path} takes {dtype}, which OpenVINO scales differently: export it with edge='float32'")

    def run(x: np.ndarray) -> np.ndarray:
        given = _filled(path, x, shape)
        return np.array(network([given.astype(dtype)])[0], np.float32)[: len(x)]

    return run


# -------------------------------------------------------------------------------------------------------------- TFLite


def _open_tflite(path: Path) -> OpenFile:
    if not is_tflite(path):
        raise InputError(f"{path} is not a TFLite file")
    content = path.read_bytes()
    with refused(path, by="LiteRT", why=lambda: lacking(content)):
        try_out(path)
        with quiet():
            interpreter = Interpreter(model_content=content, num_threads=THREADS)
            interpreter.allocate_tensors()
    with parsed(path):
        record, kind, lines = read_record(content), precision(content), read_labels(content)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: one of each is expected")
    labels = record.labels or lines

    _check_record(path, record, inputs[0]["shape"].tolist())

    @_one_at_a_time
    def run(x: np.ndarray) -> np.ndarray:
        given = _filled(path, x, inputs[0]["shape"].tolist())
        interpreter.set_tensor(inputs[0]["index"], quantize(given, inputs[0]))
        interpreter.invoke()
        return dequantize(interpreter.get_tensor(outputs[0]["index"]), outputs[0])[: len(x)]

    return OpenFile(
        path=path,
        format=f"tflite {kind}",
        bytes=len(content),
        record=record,
        runners={record.input: run},
        exits={key: _exit(path, content, key) for key in exits_among(interpreter.get_signature_list())},
        labels=tuple(labels) if labels else None,
        batch=int(inputs[0]["shape"][0]),
    )


def _exit(path: Path, content: bytes, key: str) -> Runner:
    """One of several signatures, in an interpreter of its own: LiteRT runs an interpreter by its runner only."""
    with quiet():
        runner = Interpreter(model_content=content, num_threads=THREADS).get_signature_runner(key)
    [(input_name, given)], [(name, output)] = runner.get_input_details().items(), runner.get_output_details().items()

    @_one_at_a_time
    def run(x: np.ndarray) -> np.ndarray:
        images = _filled(path, x, given["shape"].tolist())
        return dequantize(runner(**{input_name: quantize(images, given)})[name], output)[: len(x)]

    return run


def lacking(content: bytes) -> str | None:
    """What LiteRT's interpreter lacks for it; None if that is nothing or the file is damaged."""
    try:
        foreign, chip = foreign_operators(content), npu.compiled(content)
    except Exception:  # whatever a damaged file makes the parser raise
        return None
    if chip:
        return f"it was compiled for {chip.chip}, and runs only there: give the .tflite file that it was made of"
    return f"it needs {', '.join(sorted(foreign))}, which LiteRT does not have" if foreign else None
