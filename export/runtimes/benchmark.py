"""Times exported files side by side, and against the peak of the machine."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception.arguments import Argument, checked
from keras_inception.errors import InputError

from ..onnx import is_onnx
from ..openvino import FILE, is_openvino
from ..saved_model import check_one_version, is_saved_model
from ..tflite.convert import to_tflite
from ..tflite.flatbuffer import batch_of, is_tflite, parsed, precision, shape_of
from . import worker
from .processor import processor
from .runners import lacking, need, refused, saved_model_record, size_of
from .trial import try_out

# The runtimes that read each kind of file; the first is its own.
READERS = {
    "saved_model": ("tensorflow", "openvino"),
    "tflite": ("litert", "openvino"),
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
}
EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}  # runtime -> the extra that installs it


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A file in a runtime: milliseconds per image (median, lower and upper quartile) and peak memory in bytes.

    `memory` is that of a process that does nothing else, with its runtime; 0 on Windows. `macs` are the multiply-adds
    of a .tflite file for an image, and `of_peak` is the share of the machine's peak in its precision that it reaches;
    None if not known.
    """

    path: str
    runtime: str
    format: str
    bytes: int
    runs: int
    milliseconds: float
    quartiles: tuple[float, float]
    memory: int
    macs: int | None
    of_peak: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Files timed in turns, so that other load on the machine affects them alike.

    The peaks are multiply-adds per second: of a large float32 matrix product in TensorFlow and of an int8 1x1
    convolution in LiteRT, measured in the same turns.
    """

    machine: str
    threads: int
    float32_peak: float
    int8_peak: float
    timings: tuple[Timing, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


@checked
def benchmark(
    paths: Sequence[str | Path],
    *,
    runtimes: Sequence[str] = (),
    threads: Annotated[int | None, Argument(at_least=1)] = None,
    seconds: Annotated[float, Argument(above=0, at_most=3600)] = 10.0,
) -> Benchmark:
    """Time files in turns, each in a process of its own, one image at a time or a .tflite file's batch.

    Args:
        paths: SavedModels, .tflite and .onnx files, OpenVINO folders.
        runtimes: "tensorflow", "litert", "onnxruntime" or "openvino": each file runs in those that read it. The default
            is a file's own runtime.
        threads: threads per runtime; all cores by default.
        seconds: seconds per file, at most an hour.

    Raises:
        InputError: an argument is out of range, there is no such file, none of `runtimes` reads it or one refuses it,
            or a runtime is not installed.
    """
    threads = os.cpu_count() or 1 if threads is None else threads
    known = [runtime for readers in READERS.values() for runtime in readers[:1]]
    if unknown := set(runtimes) - set(known):
        raise InputError(f"unknown runtime {min(unknown)!r}; give one of {', '.join(known)}")
    if not paths:
        raise InputError("give files to time: SavedModels, .tflite or .onnx files, or OpenVINO folders")
    wanted = [(Path(path), runtime) for path in paths for runtime in _readers(Path(path), runtimes)]
    for path in {path for path, runtime in wanted if runtime == "litert"}:
        # Before processes start, which would wait for one that never ends.
        with refused(path, by="LiteRT", why=partial(_lacking, path)):
            try_out(path)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as workers:
        asks = [workers.enter_context(_worker_of(_file(path), runtime, threads)) for path, runtime in wanted]
        pointwise, peak_macs = _pointwise(Path(folder))
        asks += [
            workers.enter_context(_worker_of(file, runtime, threads))
            for file, runtime in (("a matrix product", "matmul"), (pointwise, "litert"))
        ]
        found: list[list[float]] = [[] for _ in asks]
        end = time.monotonic() + seconds * len(asks)
        while time.monotonic() < end:
            for ask, times in zip(asks, found, strict=True):
                times += json.loads(ask("turn"))
        memory = [int(ask("end")) for ask in asks]
    *found, products, convolutions = found
    float32_peak, int8_peak = worker.MATMUL**3 / min(products), peak_macs / min(convolutions)
    peaks = {"float32": float32_peak, "float16": float32_peak, "int8": int8_peak}
    timings = tuple(
        _timing(path, runtime, times, peak_memory, peaks)
        for (path, runtime), times, peak_memory in zip(wanted, found, memory, strict=False)
    )
    return Benchmark(
        machine=f"{processor()}, {os.cpu_count()} cores",
        threads=threads,
        float32_peak=float32_peak,
        int8_peak=int8_peak,
        timings=timings,
    )


def _lacking(path: Path) -> str | None:
    return lacking(path.read_bytes())


def _timing(path: Path, runtime: str, times: list[float], memory: int, peaks: dict[str, float]) -> Timing:
    kind, macs, share, images = _kind(path), None, None, 1
    if kind == "tflite":
        content = path.read_bytes()
        with parsed(path):
            kind, images = f"tflite {precision(content)}", batch_of(content)
            macs = multiply_adds(content) // images
        if peak := peaks.get(precision(content)):
            share = macs * images / float(np.median(times)) / peak
    low, median, high = (float(q) / images for q in np.quantile(times, (0.25, 0.5, 0.75)))
    return Timing(
        path=str(path),
        runtime=runtime,
        format=kind,
        bytes=size_of(path),
        runs=len(times),
        milliseconds=1000 * median,
        quartiles=(1000 * low, 1000 * high),
        memory=memory,
        macs=macs,
        of_peak=share,
    )


def multiply_adds(model: bytes) -> int:
    """The multiply-adds of a .tflite file's convolutions and dense layers, for its own batch size."""
    content = schema.ModelT.InitFromPackedBuf(model, 0)
    graph, kinds = content.subgraphs[0], schema.BuiltinOperator
    total = 0
    for operator in graph.operators:
        code = content.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        # Python integers: the schema's have 32 bits, which the sum for an Inception v3 exceeds.
        shapes = [shape_of(graph.tensors[i]) for i in (*operator.inputs, *operator.outputs) if i >= 0]
        if kind in (kinds.CONV_2D, kinds.FULLY_CONNECTED):
            total += math.prod(shapes[-1]) * math.prod(shapes[1][1:])  # outputs times weights per output
        elif kind == kinds.DEPTHWISE_CONV_2D:
            total += math.prod(shapes[-1]) * math.prod(shapes[1][1:3])
        elif kind == kinds.TRANSPOSE_CONV:  # its inputs are (output shape, weights, map)
            total += math.prod(shapes[2][:3]) * math.prod(shapes[1])
    return total


# ------------------------------------------------------------------------------------------------------------ processes


@contextmanager
def _worker_of(file: str, runtime: str, threads: int) -> Iterator[Callable[[str], str]]:
    """A function that asks a process which runs a file; the process is ready."""
    script = ["-P", worker.__file__]  # -P: modules in this folder do not hide the runtimes
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    if runtime == "tensorflow" and saved_model_record(Path(file)).calibration:
        environment["TF_ENABLE_ONEDNN_OPTS"] = "1"  # otherwise it has int8 kernels only on processors with VNNI
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *script, runtime, file, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
        )
        assert process.stdin
        assert process.stdout
        commands, replies = process.stdin, process.stdout

        def ask(command: str) -> str:
            print(command, file=commands, flush=True)
            if not (reply := replies.readline()):
                raise InputError(f"{runtime} ended while it ran {file}")
            return reply

        with process:
            try:
                if replies.readline() != "ready\n":
                    process.wait()
                    said.seek(0)
                    lines = [line for line in said.read().splitlines() if line.strip()] or [
                        "it ended without a message"
                    ]
                    raise InputError(f"{file} cannot be run by {runtime}: {lines[-1][:300]}")
                yield ask
            finally:
                process.kill()


def _readers(path: Path, wanted: Sequence[str]) -> list[str]:
    """The runtimes in which a file runs."""
    if not path.exists():
        raise InputError(f"{path} does not exist: give a SavedModel, a .tflite or .onnx file, or an OpenVINO folder")
    can = READERS[_kind(path)]
    runtimes = [runtime for runtime in can if runtime in wanted] if wanted else [can[0]]
    if not runtimes:
        raise InputError(f"{path} is read by {' and '.join(can)}, not by {', '.join(wanted)}")
    for runtime in runtimes:
        if runtime in EXTRAS:
            need(runtime, EXTRAS[runtime])
    return runtimes


def _kind(path: Path) -> str:
    if is_saved_model(path):
        return "saved_model"
    if is_tflite(path):
        return "tflite"
    if is_onnx(path):
        return "onnx"
    if is_openvino(path):
        return "openvino"
    check_one_version(path)
    raise InputError(f"{path} is not a SavedModel, a .tflite or .onnx file, or an OpenVINO folder")


def _file(path: Path) -> str:
    """The path that a runtime opens."""
    return str(path / FILE if is_openvino(path) else path)


# ---------------------------------------------------------------------------------------------------------- the machine


def _pointwise(folder: Path) -> tuple[str, int]:
    """An int8 1x1 convolution large enough for LiteRT's peak, and its multiply-adds."""
    image = keras.Input((32, 32, 512))
    model = keras.Model(image, keras.layers.Conv2D(512, 1)(image))
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 512)).astype(np.float32)
    path = to_tflite(model, folder / "peak.tflite", quantization="int8", calibration=inputs, edge="int8")
    return str(path), 32 * 32 * 512 * 512
