"""Run .tflite files on images: `run.py INPUTS.npz OUTPUTS.npz`, names of files -> images (n, ...), outputs (n, ...).

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
            [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()
            rows = []
            for image in inputs[path]:
                interpreter.set_tensor(given["index"], image[np.newaxis])
                interpreter.invoke()
                rows.append(interpreter.get_tensor(output["index"])[0])
            outputs[path] = np.stack(rows)
    np.savez(sys.argv[2], **outputs)


if __name__ == "__main__":
    main()
