"""The side of benchmarks/small_weights.py that has AI Edge Quantizer.

`small_weights_run.py FLOAT.tflite FORM IMAGES.npy OUT.tflite` writes a file and prints the quantizer's version.
"""

import contextlib
import re
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager

ALL, DENSE, CONVOLUTION = TFLOperationName.ALL_SUPPORTED, TFLOperationName.FULLY_CONNECTED, TFLOperationName.CONV_2D


def pointwise(model: bytes) -> str:
    """A regular expression of the outputs of 1x1 convolutions."""
    content = schema.ModelT.InitFromPackedBuf(model, 0)
    graph, kinds = content.subgraphs[0], [code.builtinCode for code in content.operatorCodes]
    names = [
        graph.tensors[op.outputs[0]].name.decode()
        for op in graph.operators
        if kinds[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D
        and list(graph.tensors[op.inputs[1]].shape[1:3]) == [1, 1]
    ]
    return "|".join(map(re.escape, names)) or "$^"


def recipe(form: str, ones: str) -> RecipeManager:
    manager = RecipeManager()
    if form.startswith("dense int"):
        manager.add_weight_only_config(".*", DENSE, int(form[-1]))
    elif form.startswith("dynamic"):
        manager.add_dynamic_config(".*", ALL, 8)
        manager.add_dynamic_config(".*", DENSE, 4)
    else:
        manager.add_static_config(".*", ALL, 8, 8)
        if "dense int4" in form:
            manager.add_static_config(".*", DENSE, 8, 4)
        if "1x1 int4" in form:
            manager.add_static_config(ones, CONVOLUTION, 8, 4)
    return manager


def main(file: str, form: str, images: str, out: str) -> None:
    quantizer = Quantizer(file, recipe(form, pointwise(Path(file).read_bytes())).get_quantization_recipe())
    with contextlib.redirect_stdout(sys.stderr):
        ranges = None
        if quantizer.need_calibration:
            ranges = quantizer.calibrate({"serving_default": [{"input": image[None]} for image in np.load(images)]})
        Path(out).write_bytes(quantizer.quantize(ranges).quantized_model)
    print(version("ai-edge-quantizer"))


if __name__ == "__main__":
    main(*sys.argv[1:])
