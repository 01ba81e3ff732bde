"""Where a quantised file loses accuracy: its error layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.arguments import checked
from keras_inception.errors import InputError

from ..comparison import snr
from ..runtimes.runners import refused
from ..runtimes.trial import try_out
from .convert import to_tflite
from .flatbuffer import batch_of, is_tflite, outputs_of_operators, parsed
from .metadata import read_record
from .tensors import dequantize, filled, layer_of, plain_interpreter, quantize

IMAGES = 16


@dataclass(frozen=True)
class LayerError:
    """The operator of a layer, and the signal-to-noise ratio of its output in decibels.

    The noise includes that of the layer's inputs.
    """

    layer: str
    operator: str
    snr: float


@checked
def layer_errors(path: str | Path, model: keras.Model, inputs: Iterable[np.ndarray]) -> list[LayerError]:
    """How far each layer of a quantised .tflite file is from the same layer in float32, in execution order.

    A layer at which the ratio falls steeply is a candidate for `to_tflite(float_layers=)`.

    Args:
        path: the file. Of a file with several signatures the last exit is measured.
        model: the functional model that the file was made from.
        inputs: images as the file takes them, (H, W, C) or (1, H, W, C) each; the first 16 are used.

    Raises:
        InputError: there is no such file, it was made from another network, or there are no inputs.
    """
    path = Path(path)
    if not is_tflite(path):
        raise InputError(f"{path} is not a TFLite file")
    content = path.read_bytes()
    with refused(path, by="LiteRT"):
        try_out(path)
    with parsed(path):
        record, batch, quantised = read_record(content), batch_of(content), _Probe(content)
    with tempfile.TemporaryDirectory() as folder:
        preprocessing = record.preprocessing if record.input == "pixels" else None
        options: dict[str, Any] = {"preprocessing": preprocessing, "exits": False, "batch": batch}
        file = to_tflite(model, Path(folder) / "float32.tflite", **options)
        reference = file.read_bytes()
    exact = _Probe(reference)
    shared = [layer for layer in exact.layers if layer in quantised.layers]
    if not shared:
        raise InputError(f"{path} and {model.name} have no layer in common: the file was made from another network")
    want: dict[str, list[np.ndarray]] = {layer: [] for layer in shared}
    got: dict[str, list[np.ndarray]] = {layer: [] for layer in shared}
    images = list(islice(inputs, IMAGES))
    if not images:
        raise InputError("layers are compared on images: give at least one")
    for x in images:
        x = x if np.ndim(x) == 4 else x[np.newaxis]
        for probe, values in ((exact, want), (quantised, got)):
            for layer, value in probe.run(x, shared).items():
                values[layer].append(value)
    return [
        LayerError(layer, exact.operators[exact.layers[layer]], snr(np.stack(want[layer]), np.stack(got[layer])))
        for layer in shared
    ]


def worst(errors: Sequence[LayerError], count: int = 5) -> dict[str, float]:
    """The layers at which the ratio falls most, and their ratios in decibels.

    A fall is below the lowest ratio of all layers before; where there is none, from the layer before. Noise spreads to
    what follows: the layers that add it first come first.
    """
    falls, lowest = {}, errors[0].snr
    for before, error in pairwise(errors):
        falls[error.layer] = max(0.0, lowest - error.snr), before.snr - error.snr
        lowest = min(lowest, error.snr)
    ratios = {error.layer: error.snr for error in errors}
    return {layer: ratios[layer] for layer in sorted(falls, key=falls.__getitem__, reverse=True)[:count]}


class _Probe:
    """A file whose layers' outputs can be read."""

    def __init__(self, content: bytes):
        self.operators = outputs_of_operators(content)
        self.layers = {layer_of(name): name for name in self.operators}  # a layer's last tensor
        self.interpreter = plain_interpreter(content)
        self.tensors: dict[str, Any] = {}
        for tensor in self.interpreter.get_tensor_details():
            self.tensors.setdefault(tensor["name"], tensor)

    def run(self, x: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
        [given] = self.interpreter.get_input_details()
        self.interpreter.set_tensor(given["index"], quantize(filled(x, given["shape"][0]), given))
        self.interpreter.invoke()
        tensors = {layer: self.tensors[self.layers[layer]] for layer in layers}
        return {name: dequantize(self.interpreter.get_tensor(t["index"]), t) for name, t in tensors.items()}
