"""Every network optimised, and as a .tflite file in float32 and in full int8: operators, shapes and outputs.

    python -m tests.conformance.tflite           # all networks that are not in the table yet; hours
    python -m tests.conformance.tflite resnet18  # these networks again

`scan` and `rounded` are for the tests of the default suite too.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.tflite.flatbuffer import float_operators, operators
from keras_inception.registry import Architecture

from . import qat
from .table import Row, Table

# Operators that a fixed batch and constant weights make unnecessary.
DYNAMIC = {"SHAPE", "PACK", "VAR_HANDLE", "READ_VARIABLE", "GATHER", "GATHER_ND", "WHERE", "WHILE", "IF"}
OPTIMIZED = 1e-4  # the largest difference of a logit, as a share of their deviation where that is above 1
FLOAT32 = 90  # decibels
RANK = 4
# How many decibels an int8 file may lose against `rounded`: the converter rounds in a few more places (around
# concatenations and means, and the biases), with ranges and multipliers that are rounded themselves.
BELOW_ROUNDING = 3.0


def scan(content: bytes) -> dict[str, Any]:
    """The number of operators, the largest rank, and the number of operators and tensors with dynamic shapes."""
    from ai_edge_litert.interpreter import Interpreter

    found = Counter(operators(content))
    tensors = Interpreter(model_content=content).get_tensor_details()
    free = sum(-1 in tensor["shape_signature"] for tensor in tensors) + sum(found[kind] for kind in DYNAMIC)
    return {"operators": sum(found.values()), "rank": max(len(tensor["shape"]) for tensor in tensors), "free": free}


def rounded(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """A network's outputs if rounding to 8 bits is its only error: (n, ...) -> (n, ...).

    Kernels are rounded to 255 steps per channel, and every map to 256 steps of its range over `x`, after tanh of
    [-1, 1] as the format prescribes; all else is float32. A layer before a ReLU is not rounded, since both are one
    operator. The distance to the float network depends on its depth and weights, not on a converter.
    """
    copy = keras.models.clone_model(model)
    for layer, own in zip(copy.layers, model.layers, strict=True):
        layer.set_weights([_kernel_in_steps(w) if w.ndim > 1 else w for w in own.get_weights()])

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        y = operation(*args, **kwargs)
        readers = [node.operation for node in operation._outbound_nodes]
        if readers and all(isinstance(reader, keras.layers.ReLU) for reader in readers):
            return y
        if getattr(operation, "activation", None) is keras.activations.tanh:
            return _in_steps(np.asarray(y), -1, 1)
        return _in_steps(np.asarray(y))

    return np.asarray(copy._run_through_graph(_in_steps(x), operation_fn=lambda operation: operation, call_fn=call))


def _in_steps(x: np.ndarray, low: float = 0.0, high: float = 0.0) -> np.ndarray:
    """Rounded to 256 steps of a range that includes `low`, `high` and all of x."""
    low, high = min(low, float(x.min())), max(high, float(x.max()))
    step = (high - low) / 255 or 1.0
    zero = round(low / step)
    return (np.clip(np.round(x / step), zero, zero + 255) * step).astype(np.float32)


def _kernel_in_steps(kernel: np.ndarray) -> np.ndarray:
    flat = kernel.reshape(-1, kernel.shape[-1]) if kernel.shape[-1] > 1 else kernel.reshape(-1, kernel.shape[-2])
    step = np.abs(flat).max(0) / 127
    step[step == 0] = 1
    return (np.round(flat / step) * step).reshape(kernel.shape).astype(np.float32)


def measure(architecture: Architecture) -> Row:
    side = qat.input_side(architecture)
    model = qat.network(architecture, side)
    x = qat.images(model.input_shape[1:])
    want = model.predict_on_batch(x)
    optimized = export.optimize(model)
    difference = np.abs(optimized.predict_on_batch(x) - want).max() / max(1.0, float(want.std()))
    row: Row = {"input": f"{side} x {side}", "optimize": float(difference)}
    good = difference <= OPTIMIZED
    with tempfile.TemporaryDirectory() as folder:
        for quantization, calibration in (("none", None), ("int8", x)):
            path = Path(folder) / f"{quantization}.tflite"
            export.to_tflite(model, path, quantization=quantization, calibration=calibration)
            content, found = path.read_bytes(), export.agreement(path, model, x)
            seen = scan(content) | {"bytes": len(content), "dB": round(found.snr, 1)}
            good = good and seen["rank"] <= RANK and not seen["free"]
            row |= {f"{quantization} {figure}": value for figure, value in seen.items()}
    row["int8 float"] = len(float_operators(content))
    row["rounded dB"] = round(snr(want, rounded(optimized, x)), 1)
    good = good and row["none dB"] >= FLOAT32 and not row["int8 float"]
    return row | {"ok": "yes" if good and row["int8 dB"] >= row["rounded dB"] - BELOW_ROUNDING else "no"}


TABLE = Table(
    module="tests.conformance.tflite",
    path=Path(__file__).with_suffix(".md"),
    title="Optimised and as .tflite files, every network",
    notes=(
        f"`make conformance-tflite` measures the rows that are missing. Random weights, the smallest input that runs, "
        f'{qat.IMAGES} images, logits; "none" is the float32 file.',
        "**optimize**: the largest difference of a logit after `optimize`, as a share of the logits' deviation "
        f"(at most {OPTIMIZED:.0e}).",
        f"**rank**: the largest rank of a tensor (at most {RANK}). **free**: tensors with a free dimension and "
        f"operators that read shapes (none). **float**: operators of the int8 file that compute in float (none).",
        f"**dB**: signal-to-noise ratio against the Keras model; for the float32 file at least {FLOAT32}, for the int8 "
        f"file at most {BELOW_ROUNDING:.0f} less than **rounded**: the Keras model with each kernel and each map "
        "rounded to 8 bits and no other change. Random weights lose more by rounding than trained ones.",
    ),
    columns=(
        *("input", "optimize", "none operators", "none rank", "none free", "none bytes", "none dB"),
        *("int8 operators", "int8 rank", "int8 free", "int8 float", "int8 bytes", "int8 dB", "rounded dB"),
    ),
    packages=("tensorflow", "keras", "ai-edge-litert"),
    measure=measure,
)

if __name__ == "__main__":
    TABLE.main()
