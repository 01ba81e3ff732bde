"""Runs one file in one runtime, in a process of its own: `python worker.py RUNTIME FILE THREADS`.

It imports only the runtime, so that its peak memory is that of the runtime and the file. It prints "ready" and then
replies to each line of its standard input: to "turn" with the seconds of some runs, to "end" with its peak memory in
bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TURN = 0.05  # seconds of runs in a turn, with at least one run
MATMUL = 2048  # rows and columns of the product that measures the float32 peak

Step = Callable[[], Any]  # one run of the file


def image(shape: Sequence[Any], dtype: Any) -> np.ndarray:
    """A random input, of batch 1 where the batch is free, with the values of a normalised image or of bytes."""
    sizes = [1 if not isinstance(size, int) or size < 1 else size for size in shape[:1]]
    for size in shape[1:]:
        if not isinstance(size, int) or size < 1:
            raise SystemExit(f"its input {tuple(shape)} has a free size: export it with a fixed size")
        sizes.append(size)
    values = np.random.default_rng(0).uniform(-1, 1, sizes)
    if np.issubdtype(np.dtype(dtype), np.integer):
        values = 255 * (values + 1) / 2 + np.iinfo(dtype).min
    return values.astype(dtype)


def tensorflow(file: str, threads: int) -> Step:
    """A SavedModel in TensorFlow."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signatures = tf.saved_model.load(file).signatures
    names = [name for name in ("preprocessed", "serving_default") if name in signatures] or list(signatures)
    function = signatures[names[0]]
    [(name, spec)] = function.structured_input_signature[1].items()
    x = tf.constant(image(spec.shape.as_list(), spec.dtype.as_numpy_dtype))
    return lambda: [output.numpy() for output in function(**{name: x}).values()]


def litert(file: str, threads: int) -> Step:
    """A .tflite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=threads)
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], image(given["shape"].tolist(), given["dtype"]))
    return interpreter.invoke


def onnxruntime(file: str, threads: int) -> Step:
    """An .onnx file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # otherwise its threads slow the next turn
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}
    given = {i.name: image(i.shape, kinds[i.type]) for i in session.get_inputs()}
    return lambda: session.run(None, given)


def openvino(file: str, threads: int) -> Step:
    """An OpenVINO model, or a file that OpenVINO converts, in OpenVINO."""
    import openvino

    model = openvino.Core().read_model(file) if not os.path.isdir(file) else openvino.convert_model(file)
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    given = [
        image([d.get_length() if d.is_static else None for d in i.partial_shape], i.element_type.to_dtype())
        for i in compiled.inputs
    ]
    return lambda: request.infer(given)


def matmul(file: str, threads: int) -> Step:
    """The matrix product that measures the float32 peak; there is no file."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    x = tf.ones((MATMUL, MATMUL))
    return lambda: tf.matmul(x, x).numpy()


RUNTIMES = {f.__name__: f for f in (tensorflow, litert, onnxruntime, openvino, matmul)}


def peak_memory() -> int:
    """The peak memory of this process in bytes, 0 on Windows.

    On Linux the resource usage also counts the process that started this one, so /proc is read.
    """
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as lines:
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main(runtime: str, file: str, threads: str) -> None:
    """Reply to standard input until it ends."""
    replies = os.fdopen(os.dup(1), "w")  # what a runtime prints goes to stderr
    os.dup2(2, 1)
    run = RUNTIMES[runtime](file, int(threads))
    for _ in range(3):
        run()
    print("ready", file=replies, flush=True)
    for command in sys.stdin:
        if command.strip() == "end":
            print(peak_memory(), file=replies, flush=True)
            return
        run()  # other processes have used the caches
        seconds: list[float] = []
        while not seconds or sum(seconds) < TURN:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
