"""A trained network for other classes: a backbone that is frozen at first, and a new classifier."""

from __future__ import annotations

from typing import Any

import keras
from keras.layers import BatchNormalization, Flatten, GlobalAveragePooling2D, GlobalMaxPooling2D

from ..errors import InputError
from ..layers import deep_graph
from ..model_graph import layer_of
from ..outputs import backbone_of, main_output, without_auxiliary

__all__ = ["backbone_of", "copy_layers", "deployed", "freeze", "head_of", "unfreeze"]


@deep_graph()
def head_of(network: keras.Model) -> keras.Model:
    """A copy of what comes after the backbone: the backbone's output -> the main head's probabilities."""
    head = keras.Model(backbone_of(network).output, main_output(network), name=f"{network.name}_head")
    copy = keras.Model.from_config(head.get_config())
    copy.set_weights(head.get_weights())
    return copy


def copy_layers(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of every layer of `source` into the layer of the same name in `target`.

    Raises:
        InputError: `target` lacks one of the layers, or has it in other shapes; it is as it was.
    """
    ours = {layer.name: layer for layer in target.layers}
    weighted = [layer for layer in source.layers if layer.weights]
    for layer in weighted:
        own = ours.get(layer.name)
        if own is None or [w.shape for w in layer.weights] != [w.shape for w in own.weights]:
            raise InputError(f"{target.name} has no layer {layer.name} of the shapes that {source.name} has")
    for layer in weighted:
        ours[layer.name].set_weights(layer.get_weights())


def freeze(network: keras.Model) -> None:
    """Leave the backbone as it is; its batch norms use their moving statistics in training too.

    The classifier and auxiliary heads keep learning. A network without a top is a backbone as a whole: put a head of
    your own on `network.output`.

    Raises:
        InputError: the network is not functional, or has several outputs and no main one.
    """
    for layer in _backbone_layers(network):
        layer.trainable = False


def unfreeze(network: keras.Model, *, batch_norm: bool) -> None:
    """Let the backbone learn, its batch norms only if asked: otherwise they keep statistics, scales and offsets.

    Raises:
        InputError: as of `freeze`.
    """
    for layer in _backbone_layers(network):
        layer.trainable = batch_norm or not isinstance(layer, BatchNormalization)


def _backbone_layers(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers before the main classifier, or all where no layer classifies.

    A network without a top ends in a feature map, or in a vector of one that is pooled or flattened.
    """
    output = main_output(network)
    last = layer_of(output)
    features = isinstance(last, GlobalAveragePooling2D | GlobalMaxPooling2D | Flatten | BatchNormalization)
    return network.layers if len(output.shape) > 2 or features else backbone_of(network).layers


@deep_graph()
def deployed(network: keras.Model) -> keras.Model:
    """The network to keep: without auxiliary heads, in float32, with nothing frozen."""
    network = without_auxiliary(network)
    if any(layer.dtype_policy.name != "float32" for layer in network.layers):
        weights = network.get_weights()
        network = keras.Model.from_config(_in_float32(network.get_config()))
        network.set_weights(weights)
    for layer in network.layers:  # Keras 3.15 does not pass on what is set on the network
        layer.trainable = True
    return network


def _in_float32(config: Any) -> Any:
    """A network's configuration with every layer's policy float32."""
    if isinstance(config, list | tuple):
        return [_in_float32(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {k: "float32" if k == "dtype" and _is_mixed(v) else _in_float32(v) for k, v in config.items()}


def _is_mixed(policy: Any) -> bool:
    return isinstance(policy, dict) and str(policy.get("config", {}).get("name", "")).startswith("mixed_")
