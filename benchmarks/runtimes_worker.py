"""Opens and runs .tflite files in the runtime of this environment: `python runtimes_worker.py FILE...`.

It imports nothing but NumPy and the runtime, and runs on Python 3.9. For each file it prints one line of JSON: the
outputs of all signatures for one random image, dequantised, or the runtime's error.
"""

import json
import sys

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter


def image(details):
    """Random pixels for an input, the same in every runtime and of every type; a batch repeats them."""
    pixels = np.random.RandomState(0).randint(0, 256, details["shape"][1:])
    if details["dtype"] == np.int8:
        pixels = pixels - 128
    return np.broadcast_to(pixels, details["shape"]).astype(details["dtype"])


def real(values, details):
    """The first row of an output as real numbers."""
    scale, zero_point = details["quantization"]
    values = values[0].astype(np.float64).ravel()
    return (scale * (values - zero_point) if scale else values).tolist()


def outputs(file):
    """The outputs of every signature of a file."""
    found = []
    for key in sorted(Interpreter(file).get_signature_list()):
        interpreter = Interpreter(file, num_threads=1)  # one for each signature: see export/runtimes/runners.py
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(key)
        [(name, given)] = runner.get_input_details().items()
        for output, values in runner(**{name: image(given)}).items():
            found += real(values, runner.get_output_details()[output])
    return found


for path in sys.argv[1:]:
    try:
        line = {"outputs": outputs(path)}
    except Exception as error:
        line = {"error": " ".join(str(error).split())}
    print(json.dumps({"file": path, **line}), flush=True)
