"""Runs one file in one runtime, in a process of its own: `python worker.py RUNTIME FILE THREADS`.

It imports the runtime and nothing else, so that its peak memory is theirs. After a line that says it is ready it
answers each line of its standard input: "turn" with the seconds of some runs, "end" with its peak memory in bytes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TURN = 0.05  # seconds of runs in a turn, and one run at least
MATMUL = 2048  # rows and columns of the product that shows the peak in float32

Run = Callable[[], Any]


def image(shape: Sequence[Any], dtype: Any) -> np.ndarray:
    """A random input: one of a free batch, its values those of a normalised image or of bytes."""
    sizes = [1 if not isinstance(size, int) or size < 1 else size for size in shape[:1]]
    for size in shape[1:]:
        if not isinstance(size, int) or size < 1:
            raise SystemExit(f"its input {tuple(shape)} has a free size: export it for one size")
        sizes.append(size)
    values = np.random.default_rng(0).uniform(-1, 1, sizes)
    if np.issubdtype(np.dtype(dtype), np.integer):
        values = 255 * (values + 1) / 2 + np.iinfo(dtype).min
    return values.astype(dtype)


def tensorflow(file: str, threads: int) -> Run:
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


def litert(file: str, threads: int) -> Run:
    """A .tflite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=threads)
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], image(given["shape"].tolist(), given["dtype"]))
    return interpreter.invoke


def onnxruntime(file: str, threads: int) -> Run:
    """An .onnx file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or its threads would slow the next turn
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}
    given = {i.name: image(i.shape, kinds[i.type]) for i in session.get_inputs()}
    return lambda: session.run(None, given)


def openvino(file: str, threads: int) -> Run:
    """OpenVINO's folder, or what it converts, in OpenVINO."""
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


def matmul(file: str, threads: int) -> Run:
    """The peak in float32."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    x = tf.ones((MATMUL, MATMUL))
    return lambda: tf.matmul(x, x).numpy()


RUNTIMES = {f.__name__: f for f in (tensorflow, litert, onnxruntime, openvino, matmul)}


def peak_memory() -> int:
    """Bytes of this process. Linux counts what the process that started it had, too, in its resource usage."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as lines:
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main(runtime: str, file: str, threads: str) -> None:
    """Obey standard input until it ends."""
    replies = os.fdopen(os.dup(1), "w")  # what a runtime prints goes elsewhere
    os.dup2(2, 1)
    run = RUNTIMES[runtime](file, int(threads))
    for _ in range(3):
        run()
    print("ready", file=replies, flush=True)
    for command in sys.stdin:
        if command.strip() == "end":
            print(peak_memory(), file=replies, flush=True)
            return
        run()  # others have had the caches
        seconds: list[float] = []
        while not seconds or sum(seconds) < TURN:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
