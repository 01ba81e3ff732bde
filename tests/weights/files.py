"""Files in published layouts, written from our networks: the reverse of `matching`."""

import re

import keras
import numpy as np
from keras.layers import Conv2D, Dense, DepthwiseConv2D

from keras_inception.weights import frameworks, rules
from keras_inception.weights.matching import base_and_kind, in_order
from keras_inception.weights.publishers import LAYOUTS


def randomize(model: keras.Model) -> keras.Model:
    """Give every variable its own values, moving statistics included, so that a swap of two changes the output."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.dtype == "float32":
            scale = 1.5 * np.prod(variable.shape[:-1]) ** -0.5 if variable.name == "kernel" else 0.1
            base = variable.name in ("gamma", "moving_variance")
            variable.assign(base + scale * np.abs(rng.normal(size=variable.shape)) if base else
                            scale * rng.normal(size=variable.shape))  # fmt: skip
    return model


def torch_names(model: keras.Model, network: str, layout: str = "torchvision") -> dict[str, np.ndarray]:
    """The weights of the model with the names and the axes of a PyTorch layout."""
    layers = {base_and_kind(layer): layer for layer in in_order(model) if layer.weights}
    modules = rules.translate(layers, LAYOUTS[layout].tables[network])
    return {
        f"{modules[key]}.{frameworks.TORCH.variables[variable.name]}": _torch(layer, variable)
        for key, layer in layers.items()
        for variable in layer.weights
        if variable.name in frameworks.TORCH.variables
    }


def slim_names(model: keras.Model, network: str) -> dict[str, np.ndarray]:
    """The weights of the model as TF-Slim names them: the classifiers are 1x1 convolutions with a background class."""
    layers = {base_and_kind(layer): layer for layer in in_order(model) if layer.weights}
    modules = rules.translate(layers, LAYOUTS["slim"].tables[network])
    tensors = {}
    for key, layer in layers.items():
        for variable in layer.weights:
            array = np.array(variable)
            if isinstance(layer, Dense):
                array = np.concatenate([np.full((*array.shape[:-1], 1), 9.0, "float32"), array], axis=-1)
                array = array[None, None] if variable.name == "kernel" else array
            name = f"{modules[key]}/{frameworks.SLIM.variables[variable.name]}"
            tensors[re.sub("/(depthwise|pointwise)/weights", r"/\1_weights", name)] = array
    return tensors


def _torch(layer: keras.layers.Layer, variable: keras.Variable) -> np.ndarray:
    array = np.array(variable)
    if variable.name == "kernel" and isinstance(layer, DepthwiseConv2D):
        array = array.transpose(2, 3, 0, 1)
    elif variable.name == "kernel" and isinstance(layer, Conv2D):
        array = array.transpose(3, 2, 0, 1)
    elif variable.name == "kernel" and isinstance(layer, Dense):
        array = array.reshape(*frameworks.grid(layer.input), -1).transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    return np.ascontiguousarray(array)
