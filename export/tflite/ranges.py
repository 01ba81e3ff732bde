"""The ranges of activations in int8: narrower than what calibration shows, where that loses less.

A value beyond the range is clipped, and a wide range rounds all others more coarsely. The range taken has the least
mean square of both errors over the calibration images (Nagel et al., "A White Paper on Neural Network Quantization",
2021, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_inception.terminal import quiet

from .flatbuffer import operators

IMAGES = 64  # whose values are counted
BINS = 2_048
SHARES = np.linspace(0.1, 1, 91)  # of a limit
STEPS = 255
# Of a probability the largest values decide, and so does what it is made from.
PROBABILITIES = "SOFTMAX", "LOGISTIC"
FORMS = "RESHAPE", "SQUEEZE"


def narrowed(calibrated: bytes, examples: Sequence[np.ndarray]) -> bytes:
    """A float .tflite file with the ranges that TensorFlow's calibration put in, these made narrower.

    Args:
        calibrated: what the converter makes before it quantises.
        examples: the calibration images, as the file takes them.
    """
    content = bytearray(calibrated)
    values = _counted(calibrated, list(_ranges(content)), examples[:: -(-len(examples) // IMAGES)])
    for index, low, high in _ranges(content):
        low[0], high[0] = values[index].best()
    return bytes(content)


@dataclass
class _Values:
    """How many values of a tensor are in each of equal parts of its range; `rounded` are those other than 0."""

    low: float
    high: float
    counts: np.ndarray
    rounded: int = 0

    def add(self, values: np.ndarray) -> None:
        place = (values.ravel() - self.low) * (BINS / (self.high - self.low))
        self.counts += np.bincount(np.clip(place, 0, BINS - 1).astype(np.int64), minlength=BINS)
        self.rounded += int(np.count_nonzero(values))

    def best(self) -> tuple[float, float]:
        """The range with the least error: 0 is in it, and has none."""
        centres = self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS
        lows, highs = SHARES * self.low, SHARES * self.high
        below = np.square(np.minimum(centres - lows[:, np.newaxis], 0)) @ self.counts
        above = np.square(np.maximum(centres - highs[:, np.newaxis], 0)) @ self.counts
        step = (highs - lows[:, np.newaxis]) / STEPS
        errors = below[:, np.newaxis] + above + self.rounded * np.square(step) / 12
        i, j = np.argwhere(errors == errors.min())[-1]  # of equals the widest
        return float(lows[i]), float(highs[j])


def _ranges(content: bytearray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The index of each tensor whose range may change, and views of its lower and upper limit in the file."""
    kinds = operators(bytes(content))
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    fixed = set(graph.OutputsAsNumpy().tolist())
    found = []
    for i in reversed(range(graph.OperatorsLength())):
        op, [output] = graph.Operators(i), graph.Operators(i).OutputsAsNumpy()[:1]
        if kinds[i] in PROBABILITIES or (kinds[i] in FORMS and output in fixed):
            fixed |= {int(output), *map(int, op.InputsAsNumpy())}
        quantization = graph.Tensors(output).Quantization()
        if output in fixed or quantization is None or quantization.MinLength() != 1:
            continue
        low, high = quantization.MinAsNumpy(), quantization.MaxAsNumpy()
        if low[0] <= 0 <= high[0] and low[0] < high[0]:
            found.append((int(output), low, high))
    yield from reversed(found)


def _counted(
    content: bytes, ranges: list[tuple[int, np.ndarray, np.ndarray]], examples: Sequence[np.ndarray]
) -> dict[int, _Values]:
    """The values that these tensors have over the images."""
    found = {i: _Values(float(low[0]), float(high[0]), np.zeros(BINS, np.int64)) for i, low, high in ranges}
    with quiet():
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    for x in examples:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        for i, values in found.items():
            values.add(interpreter.get_tensor(i))
    return found
