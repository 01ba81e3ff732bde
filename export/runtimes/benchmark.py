"""How fast exported files are beside one another, and beside what the machine can do at best."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception.errors import InputError

from ..onnx import is_onnx
from ..openvino import FILE, is_openvino
from ..saved_model import is_saved_model
from ..tflite.convert import to_tflite
from ..tflite.flatbuffer import is_tflite, precision
from . import worker
from .opening import need, size_of

# What reads each kind of file; the first is the one that it is made for.
READERS = {
    "saved_model": ("tensorflow", "openvino"),
    "tflite": ("litert", "openvino"),
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
}
EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}  # what to install for a runtime


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A file in a runtime: milliseconds of one image (median, and lower and upper quartile), and peak memory.

    `memory` is that of a process that does nothing else, its runtime included. `macs` are the multiply-adds of a
    .tflite file, and `of_peak` how much of the machine's peak in its precision it reaches; None where not known.
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
    """Files timed in turns, so that whatever else the machine did hit them alike.

    Peaks are multiply-adds a second, of a large float32 matrix product in TensorFlow and of an int8 1x1 convolution in
    LiteRT, measured in the same turns.
    """

    machine: str
    threads: int
    float32_peak: float
    int8_peak: float
    timings: tuple[Timing, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


def benchmark(
    paths: Sequence[str | Path],
    *,
    runtimes: Sequence[str] = (),
    threads: int | None = None,
    seconds: float = 10.0,
) -> Benchmark:
    """Time files one image at a time, in turns, each in a process of its own.

    Args:
        paths: SavedModels, .tflite and .onnx files, OpenVINO's folders.
        runtimes: "tensorflow", "litert", "onnxruntime" or "openvino": each file in those of them that read it. By
            default a file's own.
        threads: of each runtime; all cores by default.
        seconds: to spend on each file.

    Raises:
        InputError: no such file, one that no wanted runtime reads or that is refused, or a runtime not installed.
    """
    threads = os.cpu_count() or 1 if threads is None else threads
    if threads < 1 or seconds <= 0:
        raise InputError(f"threads and seconds must be above 0; got {threads} and {seconds}")
    known = [runtime for readers in READERS.values() for runtime in readers[:1]]
    if unknown := set(runtimes) - set(known):
        raise InputError(f"unknown runtime {min(unknown)!r}; there are {', '.join(known)}")
    if not paths:
        raise InputError("give files to time: SavedModels, .tflite or .onnx files, or OpenVINO's folders")
    wanted = [(Path(path), runtime) for path in paths for runtime in _readers(Path(path), runtimes)]
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
        machine=f"{_processor()}, {os.cpu_count()} cores",
        threads=threads,
        float32_peak=float32_peak,
        int8_peak=int8_peak,
        timings=timings,
    )


def _timing(path: Path, runtime: str, times: list[float], memory: int, peaks: dict[str, float]) -> Timing:
    kind, macs, share = _kind(path), None, None
    low, median, high = (float(q) for q in np.quantile(times, (0.25, 0.5, 0.75)))
    if kind == "tflite":
        content = path.read_bytes()
        macs = multiply_adds(content)
        kind = f"tflite {precision(content)}"
        if peak := peaks.get(precision(content)):
            share = macs / median / peak
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
    """Those of a .tflite file's convolutions and dense layers, for its own batch."""
    content = schema.ModelT.InitFromPackedBuf(model, 0)
    graph, kinds = content.subgraphs[0], schema.BuiltinOperator
    total = 0
    for operator in graph.operators:
        code = content.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        shapes = [graph.tensors[i].shape for i in (*operator.inputs, *operator.outputs) if i >= 0]
        if kind in (kinds.CONV_2D, kinds.FULLY_CONNECTED):
            total += math.prod(shapes[-1]) * math.prod(shapes[1][1:])  # outputs times weights of each
        elif kind == kinds.DEPTHWISE_CONV_2D:
            total += math.prod(shapes[-1]) * math.prod(shapes[1][1:3])
        elif kind == kinds.TRANSPOSE_CONV:  # its inputs are (output shape, weights, map)
            total += math.prod(shapes[2][:3]) * math.prod(shapes[1])
    return int(total)


# ------------------------------------------------------------------------------------------------------------ processes


@contextmanager
def _worker_of(file: str, runtime: str, threads: int) -> Iterator[Callable[[str], str]]:
    """What asks a process that runs a file, once it is ready."""
    script = ["-P", worker.__file__]  # -P: its neighbours in this folder are no runtimes
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
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
                    lines = [line for line in said.read().splitlines() if line.strip()] or ["it ended without a word"]
                    raise InputError(f"{file} cannot be run by {runtime}: {lines[-1][:300]}")
                yield ask
            finally:
                process.kill()


def _readers(path: Path, wanted: Sequence[str]) -> list[str]:
    """The runtimes to run a file in."""
    if not path.exists():
        raise InputError(f"{path} does not exist: give a SavedModel, a .tflite or .onnx file, or OpenVINO's folder")
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
    raise InputError(f"{path} is no SavedModel, .tflite or .onnx file, or folder of OpenVINO's")


def _file(path: Path) -> str:
    """What a runtime is told to open."""
    return str(path / FILE if is_openvino(path) else path)


# ---------------------------------------------------------------------------------------------------------- the machine


def _pointwise(folder: Path) -> tuple[str, int]:
    """An int8 1x1 convolution that is large enough to reach what LiteRT can, and its multiply-adds."""
    image = keras.Input((32, 32, 512))
    model = keras.Model(image, keras.layers.Conv2D(512, 1)(image))
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 512)).astype(np.float32)
    path = to_tflite(model, folder / "peak.tflite", quantization="int8", calibration=inputs, edge="int8")
    return str(path), 32 * 32 * 512 * 512


def _processor() -> str:
    """Its name, where Linux tells one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
