"""The ranges of activations in int8: narrower than what calibration shows, where that loses less.

A value beyond the range is clipped, and a wide range rounds all others more coarsely. The range taken has the least
mean square of both errors over all calibration images (Nagel et al., "A White Paper on Neural Network Quantization",
2021, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .flatbuffer import operators
from .tensors import plain_interpreter

_Limits: TypeAlias = dict[int, tuple[np.ndarray, np.ndarray]]

BINS = 2_048
SHARES = np.linspace(0.1, 1, 91)  # of a limit
STEPS = 255
# Of a probability the largest values decide, and so does what it is made from.
PROBABILITIES = "SOFTMAX", "LOGISTIC"
# The format gives their outputs the scale of their input.
SAME = {"AVERAGE_POOL_2D", "GATHER", "MAX_POOL_2D", "PAD", "RESHAPE", "SLICE"}
SAME |= {"SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"}


def narrowed(calibrated: bytes, examples: Sequence[np.ndarray]) -> bytes:
    """A float .tflite file with the ranges that TensorFlow's calibration put in, these made narrower.

    Args:
        calibrated: what the converter makes before it quantises.
        examples: the calibration images, as the file takes them.
    """
    return with_ranges(calibrated, examples, Values.best)


def with_ranges(
    calibrated: bytes, examples: Sequence[np.ndarray], choose: Callable[[Values], tuple[float, float]]
) -> bytes:
    """As `narrowed`, with the ranges that a function chooses for the values of a tensor."""
    content = bytearray(calibrated)
    limits, sources = _limits(content)
    found = _counted(calibrated, limits, set(sources) & set(sources.values()), examples)
    chosen = {index: choose(values) for index, values in found.items()}
    for index, source in sources.items():
        low, high = limits[index]
        low[0], high[0] = chosen.get(source, (low[0], high[0]))
    return bytes(content)


@dataclass
class Values:
    """How many values of a tensor are in each of equal parts of its range. 0 is not counted: it is exact in int8."""

    low: float
    high: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Count the values of one image."""
        place = (values[values != 0] - self.low) * (BINS / (self.high - self.low))
        self.counts += np.bincount(np.clip(place, 0, BINS - 1, out=place).astype(np.intp), minlength=BINS)

    def best(self) -> tuple[float, float]:
        """The range with the least error, 0 within."""
        centres = self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS
        lows, highs = SHARES * self.low, SHARES * self.high
        below = np.square(np.minimum(centres - lows[:, np.newaxis], 0)) @ self.counts
        above = np.square(np.maximum(centres - highs[:, np.newaxis], 0)) @ self.counts
        step = (highs - lows[:, np.newaxis]) / STEPS
        errors = below[:, np.newaxis] + above + self.counts.sum() * np.square(step) / 12
        i, j = np.argwhere(errors == errors.min())[-1]  # of equals the widest
        return float(lows[i]), float(highs[j])


def _limits(content: bytearray) -> tuple[_Limits, dict[int, int]]:
    """Of each tensor with a range views of its limits in the file; and of those that may change, whose range it has."""
    kinds = operators(bytes(content))
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    ops = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    limits: _Limits = {}
    for index in range(graph.TensorsLength()):
        quantization = graph.Tensors(index).Quantization()
        if quantization is not None and quantization.MinLength() == 1:
            limits[index] = quantization.MinAsNumpy(), quantization.MaxAsNumpy()
    fixed = set(graph.OutputsAsNumpy().tolist())
    for op, kind in zip(reversed(ops), reversed(kinds), strict=True):
        if kind in PROBABILITIES or (kind in SAME and fixed & set(op.OutputsAsNumpy().tolist())):
            fixed |= {*op.OutputsAsNumpy().tolist(), *op.InputsAsNumpy().tolist()}
    sources: dict[int, int] = {}
    for op, kind in zip(ops, kinds, strict=True):
        given = [i for i in op.InputsAsNumpy().tolist() if i in limits]
        for index in op.OutputsAsNumpy().tolist():
            if index in limits and index not in fixed:
                sources[index] = sources.get(given[0], given[0]) if kind in SAME and given else index
    return limits, sources


def _counted(content: bytes, limits: _Limits, indices: set[int], examples: Sequence[np.ndarray]) -> dict[int, Values]:
    """The values that these tensors have over the images."""
    found = {
        index: Values(float(low[0]), float(high[0]))
        for index, (low, high) in limits.items()
        if index in indices and low[0] <= 0 <= high[0] and low[0] < high[0]
    }
    interpreter = plain_interpreter(content)
    [given] = interpreter.get_input_details()
    for x in examples:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        for index, values in found.items():
            values.add(interpreter.get_tensor(index))
    return found
