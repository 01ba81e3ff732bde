"""Run .tflite files on an image: `run.py INPUTS.npz OUTPUTS.npz`, names of files -> what they take, what they return.

It needs LiteRT and NumPy alone. LiteRT gives all operators that it can to XNNPACK, as on a phone.
"""

import platform
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    outputs = {"machine": np.array(platform.machine())}
    with np.load(sys.argv[1]) as inputs:
        for path in inputs.files:
            interpreter = Interpreter(path, num_threads=1)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs[path])
            interpreter.invoke()
            outputs[path] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.savez(sys.argv[2], **outputs)


if __name__ == "__main__":
    main()
