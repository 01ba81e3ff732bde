"""Keras' side of a proof: build a network of keras.applications, write or load a file, return logits.

ResNeXt is only in `keras_applications` 1.0.8, the package that became keras.applications.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np


def answer(reference: str, kwargs: Mapping[str, object], images: np.ndarray, path: Path) -> tuple[np.ndarray, str]:
    """Write the network's random weights to `path`; return its logits and the version of the reference."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    package, name = reference.split(":")
    options = {"weights": None, "input_shape": images.shape[1:], **kwargs}
    if package == "keras_applications":
        module = importlib.import_module("keras_applications.resnet_common")
        parts = {part: getattr(tf_keras, part) for part in ("backend", "layers", "models", "utils")}
        network, version = getattr(module, name)(**options, **parts), "keras_applications 1.0.8"
    else:
        network, version = getattr(tf_keras.applications, name)(**options), f"tf_keras {tf_keras.__version__}"
    [*_, last] = (layer for layer in network.layers if layer.weights)
    softmax = network.layers[-1]
    softmax.activation = tf_keras.activations.linear
    randomize(network, images)
    last.kernel.assign(0.25 * last.kernel)
    network.save_weights(path)
    return network(images, training=False).numpy().reshape(len(images), -1), version


def loaded(reference: str, kwargs: Mapping[str, object], images: np.ndarray, path: Path) -> list[np.ndarray]:
    """The logits of the network with the weights of a file, in Keras 2 and, where it has the network, in Keras 3."""
    import tf_keras

    tf_keras.backend.clear_session()
    package, name = reference.split(":")
    options = {"weights": str(path), "input_shape": images.shape[1:], **kwargs}
    if package == "keras_applications":
        module = importlib.import_module("keras_applications.resnet_common")
        parts = {part: getattr(tf_keras, part) for part in ("backend", "layers", "models", "utils")}
        networks = [getattr(module, name)(**options, **parts)]
        networks[0].layers[-1].activation = tf_keras.activations.linear
    else:
        networks = [getattr(k.applications, name)(classifier_activation=None, **options) for k in (tf_keras, keras)]
    return [np.asarray(network(images, training=False)).reshape(len(images), -1) for network in networks]


def randomize(network: Any, images: np.ndarray) -> None:
    """Give weights of order one, and moving statistics close to those of these images; see `torch_reference`."""
    rng = np.random.default_rng(0)
    for variable in network.trainable_weights:
        shape = tuple(variable.shape)
        if "gamma" in variable.name:
            variable.assign(rng.uniform(0.75, 1.25, shape))
        elif len(shape) > 1:
            inputs = np.prod(shape[:2]) if "depthwise" in variable.name else np.prod(shape[:-1])
            variable.assign(rng.normal(0, np.sqrt(2 / inputs), shape))
        else:
            variable.assign(rng.normal(float("beta" in variable.name), 0.1, shape))
    for norm in [layer for layer in network.submodules if hasattr(layer, "moving_mean")]:
        norm.call = partial(_settled, norm, norm.call, rng)
    network(images, training=False)


def _settled(norm: Any, call: Callable[..., Any], rng: np.random.Generator, x: Any, **kwargs: Any) -> Any:
    """Set the moving statistics before the layer first runs, so that later layers get its new output."""
    values = x.numpy().reshape(-1, x.shape[-1])
    variance = values.var(axis=0)
    variance = np.maximum(variance, 0.05 * variance.mean() + 1e-3)
    norm.moving_mean.assign(values.mean(axis=0) + 0.1 * rng.normal(size=variance.shape) * np.sqrt(variance))
    norm.moving_variance.assign(variance * rng.uniform(0.6, 1.6, variance.shape))
    norm.call = call
    return call(x, **kwargs)
