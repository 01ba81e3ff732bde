"""Runs a .tflite file on the GPU by LiteRT alone: `python gpu_worker.py FILE INPUTS.npy OUTPUTS.npy`.

The whole network has to run there. The process ends with 1 and LiteRT's own words on stderr if it cannot.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator


def main(file: str, inputs: str, outputs: str) -> None:
    """Inputs (n, ...), each a batch of the file's -> outputs (n, ...)."""
    model = CompiledModel.from_file(file, HardwareAccelerator.GPU)
    [key] = list(model.get_signature_list())[:1]
    [details] = model.get_output_tensor_details(key).values()
    given, returned = model.create_input_buffers(0), model.create_output_buffers(0)
    answers = []
    for x in np.load(inputs):
        given[0].write(np.ascontiguousarray(x))
        model.run_by_index(0, given, returned)
        size = int(np.prod(details["shape"]))
        answers.append(returned[0].read(size, details["dtype"]).reshape(details["shape"]))
    np.save(outputs, np.stack(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
