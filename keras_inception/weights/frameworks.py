"""How a framework names the variables of a layer, and in which order it stores the axes of a kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras.layers import Conv2D, Dense, DepthwiseConv2D

from ..model_graph import grid


@dataclass(frozen=True, kw_only=True)
class Framework:
    """The conventions that all networks of a framework share."""

    separator: str  # between the name of a module and of its variable
    variables: Mapping[str, str]  # our name -> theirs
    kernel: Callable[[np.ndarray, keras.layers.Layer], np.ndarray]  # their kernel and our layer -> our order of axes
    ignored: re.Pattern[str]  # names in a file that are no weights
    # The reverse of `kernel`: our kernel and layer -> theirs. None: such files are not written.
    stored: Callable[[np.ndarray, keras.layers.Layer], np.ndarray] | None = None
    counter: str = ""  # a batch norm's number of batches, where files have one


def torch_kernel(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """Turn (out, in) or (out, in, height, width) into the layer's (height, width, in, out) or (in, out)."""
    if isinstance(layer, DepthwiseConv2D) and kernel.ndim == 4:
        return kernel.transpose(2, 3, 0, 1)
    if isinstance(layer, Conv2D):
        kernel = kernel[..., None, None] if kernel.ndim == 2 else kernel
        return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    if isinstance(layer, Dense) and kernel.ndim == 2:
        height, width, channels = grid(layer.input)
        if kernel.shape[1] == height * width * channels:  # PyTorch flattens channels first
            kernel = kernel.reshape(-1, channels, height, width)
    if isinstance(layer, Dense) and kernel.ndim == 4:  # a convolution that covers the whole map
        return kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
    return kernel.T


def torch_stored(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """Turn the layer's kernel into (out, in, height, width); a dense layer's has the height and width of its map."""
    if isinstance(layer, DepthwiseConv2D):
        return kernel.transpose(2, 3, 0, 1)
    if isinstance(layer, Dense):
        kernel = kernel.reshape(*grid(layer.input), -1)
    return kernel.transpose(3, 2, 0, 1)


def keras_kernel(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """Our order of axes; convert 1x1 convolutions from and to dense layers, and depthwise to grouped convolutions."""
    shape = tuple(layer.kernel.shape)
    if isinstance(layer, Dense) and kernel.ndim == 4:
        return kernel.reshape(-1, kernel.shape[-1])
    if isinstance(layer, Conv2D) and kernel.ndim == 2:
        return kernel[None, None]
    if isinstance(layer, Conv2D) and layer.groups > 1 and kernel.shape == (*shape[:2], shape[3], shape[2]):
        # keras.applications' ResNeXt has a filter for each pair of channels in a group, and sums their outputs.
        pairs = kernel.reshape(*shape[:2], layer.groups, shape[2], shape[2])
        return pairs.transpose(0, 1, 3, 2, 4).reshape(shape)
    return kernel


def keras_stored(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """The order of axes is ours; the grouped convolutions of ResNeXt become depthwise ones."""
    height, width, inputs, outputs = (*kernel.shape, 0, 0)[:4]
    if isinstance(layer, Conv2D) and layer.groups > 1 and outputs == inputs * layer.groups:
        pairs = kernel.reshape(height, width, inputs, layer.groups, inputs)
        return pairs.transpose(0, 1, 3, 2, 4).reshape(height, width, outputs, inputs)
    return kernel


TORCH = Framework(
    separator=".",
    variables={
        "kernel": "weight",
        "bias": "bias",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
    kernel=torch_kernel,
    stored=torch_stored,
    ignored=re.compile(r".*\.num_batches_tracked"),
    counter="num_batches_tracked",
)
KERAS = Framework(
    separator="/",
    variables={v: v for v in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")},
    kernel=keras_kernel,
    stored=keras_stored,
    ignored=re.compile(r"(?!)"),
)
SLIM = Framework(
    separator="/",
    variables={**KERAS.variables, "kernel": "weights", "bias": "biases"},
    kernel=keras_kernel,
    ignored=re.compile(r"(?!)"),
)
CAFFE = Framework(
    separator="/",
    variables={
        "kernel": "weight",
        "bias": "bias",
        "gamma": "scale",
        "beta": "shift",
        "moving_mean": "mean",
        "moving_variance": "variance",
    },
    kernel=torch_kernel,
    ignored=re.compile(r"(?!)"),
)
