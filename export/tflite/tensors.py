"""The tensors of a .tflite file: a reader, their values in quantised form, and the layers that their names tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_inception.errors import InputError
from keras_inception.terminal import quiet

from .flatbuffer import inputs_of_operators, outputs_of_operators


def quantize(x: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Real values as a tensor stores them; `tensor` is its entry in LiteRT's tensor details."""
    scale, zero_point = _scale(tensor)
    if not scale:
        return x.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(x / scale + zero_point), limits.min, limits.max).astype(tensor["dtype"])


def dequantize(y: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """The real values, float32, of what a tensor stores."""
    scale, zero_point = _scale(tensor)
    return np.float32(scale) * (y.astype(np.float32) - zero_point) if scale else y.astype(np.float32)


def plain_interpreter(content: bytes) -> Interpreter:
    """A file whose inner tensors can be read. It runs on the plain kernels: XNNPACK does not expose its tensors."""
    with quiet():
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    return interpreter


def _scale(tensor: dict[str, Any]) -> tuple[float, int]:
    """The scale and the zero point of a tensor; a scale of 0 for one that has none, or whose numbers are floats."""
    return tensor["quantization"] if np.issubdtype(tensor["dtype"], np.integer) else (0.0, 0)


def in_batches(images: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Images, (1, ...) each, as batches of this size; the last one is filled with copies of its last image."""
    return [filled(np.concatenate(images[i : i + size]), size) for i in range(0, len(images), size)]


def filled(images: np.ndarray, size: int) -> np.ndarray:
    """At most `size` images, (n, ...), and copies of the last one up to that number."""
    return np.concatenate([images, *[images[-1:]] * (size - len(images))])


def layer_of(tensor: str) -> str:
    """The layer in a tensor's name: "net_1/conv_1/Relu;net_1/conv_1/convolution" belongs to the layer "conv"."""
    scopes = tensor.split(";")[0].split("/")
    return scopes[1].removesuffix("_1") if len(scopes) > 2 else tensor.split(";")[0]


def layers_in(content: bytes) -> set[str]:
    """The layers whose outputs are tensors of the file."""
    return {layer_of(name) for name in outputs_of_operators(content)}


def layers_before(content: bytes) -> dict[str, list[str]]:
    """For each layer of the file, those whose outputs it reads."""
    before: dict[str, list[str]] = {}
    for name, read in inputs_of_operators(content).items():
        layer = layer_of(name)
        before[layer] = [*before.get(layer, ()), *(other for other in map(layer_of, read) if other != layer)]
    return before


def tensors_of(content: bytes, layers: Sequence[str]) -> list[str]:
    """The names of the tensors that these layers compute.

    Raises:
        InputError: the file has no such layer.
    """
    known = layers_in(content)
    if unknown := [layer for layer in layers if layer not in known]:
        raise InputError(
            f"the file has no layer {unknown[0]!r}; layer_errors lists the layers it has, such as {min(known)!r}"
        )
    return [name for name in outputs_of_operators(content) if layer_of(name) in layers]
