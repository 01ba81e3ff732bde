"""What the compiler of Coral's Edge TPU leaves on the CPU.

Source: "TensorFlow models on the Edge TPU" (coral.ai/docs/edgetpu/models-intro), its model requirements and its table
of supported operations. The compiler itself is not run: it may leave more, for reasons that the page does not list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ai_edge_litert import schema_py_generated as schema

from .flatbuffer import Operator, names_of, shape_of

SUPPORTED = {
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED"),
    *("L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "PRELU"),
    *("QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR"),
    *("RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE"),
    *("SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
}
NOT_FUSED = {"AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"}  # take no fused activation
SOFTMAX_SIZE = 16_000
COMPUTES = {"INT8", "UINT8", "INT32"}  # INT32: biases, shapes and axes


def left_on_cpu(operators: Sequence[Operator]) -> list[tuple[int, str]]:
    """The operators of an 8-bit file that the Edge TPU does not compute: (position, "DEQUANTIZE (float32)")."""
    return [(i, f"{op.kind} ({why})") for i, op in enumerate(operators) for why in list(_reasons(op))[:1]]


def _reasons(op: Operator) -> Iterator[str]:
    types = names_of(schema.TensorType)
    if others := {types[tensor.type] for tensor in (*op.inputs, *op.outputs)} - COMPUTES:
        yield min(others).lower()
    if op.kind not in SUPPORTED:
        yield "not supported"
    shapes = [shape_of(tensor) for tensor in op.outputs]
    if any(tensor.shapeSignature is not None and -1 in tensor.shapeSignature for tensor in op.outputs):
        yield "free size"
    most = 1 if op.kind in ("FULLY_CONNECTED", "SOFTMAX") else 3
    if wide := [shape for shape in shapes if math.prod(shape[:-most]) > 1]:
        yield f"batch {wide[0][0]}" if wide[0][0] > 1 else f"more than {most} dimension{'s' * (most > 1)}"
    if op.kind in NOT_FUSED and op.options is not None and op.options.fusedActivationFunction:
        yield "fused activation"
    if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and op.options.dilationHFactor != op.options.dilationWFactor:
        yield "unequal dilation"
    if op.kind == "SOFTMAX" and math.prod(shapes[0]) > SOFTMAX_SIZE:
        yield f"over {SOFTMAX_SIZE:,} classes"
