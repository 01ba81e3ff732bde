"""An int8 SavedModel with its quantised kernels computed in float32: rounded as in int8, and added exactly.

TensorFlow has these kernels where oneDNN is on. Without VNNI their sums lose bits or overflow, so a file is judged by
what processors give that it is for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from ..quantization.in_tensorflow import LARGEST, quantize

PLAIN = {tf.quint8: tf.uint8, tf.qint8: tf.int8, tf.qint32: tf.int32}


@cache
def has_kernels() -> bool:
    """Whether TensorFlow computes them here: on x86 with oneDNN, which it decides when it is imported."""
    x, kernel = tf.cast(tf.zeros((1, 1)), tf.quint8), tf.cast(tf.zeros((1, 1)), tf.qint8)
    ranges = {"min_a": 0.0, "max_a": 1.0, "min_b": -1.0, "max_b": 1.0}
    try:
        sums = tf.raw_ops.QuantizedMatMulWithBias(a=x, b=kernel, bias=tf.zeros(1), Toutput=tf.qint32, **ranges)[0]
    except tf.errors.OpError:
        return False
    return sums.shape == (1, 1)  # without oneDNN there is none


def load(path: Path) -> Any:
    """What `tf.saved_model.load` returns, of the same network in float32."""
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for graph in content.meta_graphs:
        _replace(graph.graph_def.library)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(path, Path(folder, "model"), ignore=shutil.ignore_patterns("saved_model.pb"))
        (copy / "saved_model.pb").write_bytes(content.SerializeToString())
        return tf.saved_model.load(str(copy))


def _replace(library: Any) -> None:
    """Let functions of a library call others of the same arguments in place of quantised kernels."""
    made: dict[str, Any] = {}
    for node in [node for function in library.function for node in function.node_def if node.op in KERNELS]:
        known = op_def_registry.get(node.op).attr  # a file holds what differs from the defaults
        attributes = {of.name: node.attr.get(of.name, of.default_value) for of in known}
        key = str((node.op, attributes))
        if key not in made:
            made[key] = _function(f"int8_in_float_{len(made)}", node.op, attributes)
        node.op = made[key].signature.name
        node.attr.clear()
    library.function.extend(made.values())


def _function(name: str, op: str, attributes: dict[str, Any]) -> Any:
    """The definition of a function in place of a kernel; it has the kernel's first output, which alone is read."""
    kernel, types = KERNELS[op]
    dtypes = [dtype for kind in types for dtype in _dtypes(attributes, kind)]
    specs = [tf.TensorSpec(None, dtype) for dtype in dtypes]
    function = tf.function(lambda *given: kernel(attributes, *given), specs, autograph=False)
    definition = function.get_concrete_function().function_def
    [own] = definition.signature.output_arg
    output = op_def_registry.get(op).output_arg[0].name
    definition.ret[output] = definition.ret.pop(own.name)
    own.name, definition.signature.name = output, name
    return definition


def _dtypes(attributes: dict[str, Any], kind: str | tf.DType) -> list[tf.DType]:
    """A type, or those that an attribute names."""
    if not isinstance(kind, str):
        return [kind]
    given = attributes[kind]
    return [tf.as_dtype(number) for number in given.list.type or [given.type]]


def _sums(attributes: dict[str, Any], x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution of codes, (n, H, W, C) and (h, w, C, C') -> (n, H', W', C') float32."""
    windows = {key: list(attributes[key].list.i) for key in ("strides", "dilations")}
    return tf.nn.conv2d(_codes(x), _codes(kernel), padding=attributes["padding"].s.decode(), **windows)


def _convolution(
    attributes: dict[str, Any],
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    low: tf.Tensor,
    high: tf.Tensor,
    kernel_low: tf.Tensor,
    kernel_high: tf.Tensor,
    output_low: tf.Tensor,
    output_high: tf.Tensor,
) -> tf.Tensor:
    """QuantizedConv2DWithBiasAndRequantize. With a ReLU the codes have no negative numbers, and clip as it does."""
    values = _sums(attributes, x, kernel) * (_step(x, low, high) * _step(kernel, kernel_low, kernel_high)) + bias
    return quantize(values, output_low, output_high, tf.as_dtype(attributes["out_type"].type))


def _convolution_sums(
    attributes: dict[str, Any], x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *ranges: tf.Tensor
) -> tf.Tensor:
    """QuantizedConv2DWithBias."""
    low, high, kernel_low, kernel_high = ranges
    steps = _step(x, low, high) * _step(kernel, kernel_low, kernel_high)
    return tf.bitcast(tf.cast(tf.round(_sums(attributes, x, kernel) + bias / steps), tf.int32), tf.qint32)


def _product(attributes: dict[str, Any], x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *given: tf.Tensor) -> Any:
    """_QuantizedMatMul that gives float32."""
    *summands, low, high, kernel_low, kernel_high = given
    steps = _step(x, low, high) * _step(kernel, kernel_low, kernel_high)
    values = tf.add_n([_codes(x) @ _codes(kernel) * steps + bias, *summands])
    fused = {name.decode() for name in attributes["fused_ops"].list.s}
    return tf.nn.relu(values) if "Relu" in fused else tf.nn.relu6(values) if "Relu6" in fused else values


def _max_pool(attributes: dict[str, Any], x: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """QuantizedMaxPool."""
    size, strides = (list(attributes[key].list.i) for key in ("ksize", "strides"))
    most = tf.nn.max_pool2d(_codes(x), size, strides, attributes["padding"].s.decode())
    return tf.bitcast(tf.cast(most, PLAIN[x.dtype]), x.dtype)


def _codes(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.bitcast(x, PLAIN[x.dtype]), tf.float32)


def _step(codes: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.abs(low), tf.abs(high)) / LARGEST[codes.dtype]


# What takes the place of a kernel, and the types of its inputs or the attributes that have them.
_FLOATS = (tf.float32,) * 6
KERNELS: dict[str, tuple[Callable[..., tf.Tensor], tuple[Any, ...]]] = {
    "QuantizedConv2DWithBiasAndRequantize": (_convolution, ("Tinput", "Tfilter", "Tbias", *_FLOATS)),
    "QuantizedConv2DWithBiasAndReluAndRequantize": (_convolution, ("Tinput", "Tfilter", "Tbias", *_FLOATS)),
    "QuantizedConv2DWithBias": (_convolution_sums, ("Tinput", "Tfilter", *_FLOATS[:5])),
    "_QuantizedMatMul": (_product, ("Tdevice_inputs", "Thost_inputs")),
    "QuantizedMaxPool": (_max_pool, ("T", *_FLOATS[:2])),
}
