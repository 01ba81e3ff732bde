"""Where a quantised file loses the answer: its error layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_inception.errors import InputError
from keras_inception.terminal import quiet

from ..signal_to_noise import snr
from .flatbuffer import is_tflite, outputs_of_operators
from .metadata import read_record

IMAGES = 16


@dataclass(frozen=True)
class LayerError:
    """A layer's signal-to-noise ratio in decibels, its own error and all that it was given; by what operator."""

    layer: str
    operator: str
    snr: float


def layer_errors(path: str | Path, model: keras.Model, inputs: Iterable[np.ndarray]) -> list[LayerError]:
    """How far each layer of a quantised .tflite file is from the same layer in float32, in the order they run.

    Where the ratio falls by much from one layer to the next, that layer is one for `to_tflite(float_layers=)`.

    Args:
        path: the file; of several signatures the last exit is measured.
        model: the functional model that it came from.
        inputs: what the file takes, (1, H, W, C) each; the first sixteen are used.

    Raises:
        InputError: no such file, or it is another network's.
    """
    from .convert import to_tflite

    path = Path(path)
    if not is_tflite(path):
        raise InputError(f"{path} is not a TFLite file")
    content = path.read_bytes()
    record = read_record(content)
    with tempfile.TemporaryDirectory() as folder:
        preprocessing = record.preprocessing if record.input == "pixels" else None
        file = to_tflite(model, Path(folder) / "float32.tflite", preprocessing=preprocessing, exits=False)
        reference = file.read_bytes()
    quantised, exact = _Probe(content), _Probe(reference)
    shared = [layer for layer in exact.layers if layer in quantised.layers]
    if not shared:
        raise InputError(f"{path} and {model.name} have no layer in common: it is another network's")
    want: dict[str, list[np.ndarray]] = {layer: [] for layer in shared}
    got: dict[str, list[np.ndarray]] = {layer: [] for layer in shared}
    for x in islice(inputs, IMAGES):
        for probe, values in ((exact, want), (quantised, got)):
            for layer, value in probe.run(x, shared).items():
                values[layer].append(value)
    return [
        LayerError(layer, exact.operators[exact.layers[layer]], snr(np.stack(want[layer]), np.stack(got[layer])))
        for layer in shared
    ]


def worst(errors: Sequence[LayerError], count: int = 5) -> dict[str, float]:
    """The layers where the ratio falls most from what came before, and what it is behind them."""
    falls = {error.layer: before.snr - error.snr for before, error in pairwise(errors)}
    ratios = {error.layer: error.snr for error in errors}
    return {layer: ratios[layer] for layer in sorted(falls, key=lambda layer: -falls[layer])[:count]}


def layer_of(tensor: str) -> str:
    """The layer that a tensor's name tells: "net_1/conv_1/Relu;net_1/conv_1/convolution" is of the layer conv."""
    scopes = tensor.split(";")[0].split("/")
    return scopes[1].removesuffix("_1") if len(scopes) > 2 else tensor.split(";")[0]


def tensors_of(content: bytes, layers: Sequence[str]) -> list[str]:
    """The tensors that those layers of a float file make.

    Raises:
        InputError: the file has no such layer.
    """
    tensors = outputs_of_operators(content)
    known = {layer_of(name) for name in tensors}
    if unknown := [layer for layer in layers if layer not in known]:
        raise InputError(f"the file has no layer {unknown[0]!r}; layer_errors lists those it has, as {min(known)!r}")
    return [name for name in tensors if layer_of(name) in layers]


class _Probe:
    """A file whose inner tensors can be read: with plain kernels, since XNNPACK keeps its own to itself."""

    def __init__(self, content: bytes):
        self.operators = outputs_of_operators(content)
        self.layers = {layer_of(name): name for name in self.operators}  # a layer's last tensor
        with quiet():
            self.interpreter = Interpreter(
                model_content=content,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self.interpreter.allocate_tensors()
        self.tensors: dict[str, Any] = {}
        for tensor in self.interpreter.get_tensor_details():
            self.tensors.setdefault(tensor["name"], tensor)

    def run(self, x: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
        [given] = self.interpreter.get_input_details()
        scale, zero = given["quantization"]
        if scale:
            limits = np.iinfo(given["dtype"])
            x = np.clip(np.round(x / scale + zero), limits.min, limits.max)
        self.interpreter.set_tensor(given["index"], x.astype(given["dtype"]))
        self.interpreter.invoke()
        found = {}
        for layer in layers:
            tensor = self.tensors[self.layers[layer]]
            scale, zero = tensor["quantization"]
            value = self.interpreter.get_tensor(tensor["index"]).astype(np.float32)
            found[layer] = (value - zero) * scale if scale else value
        return found
