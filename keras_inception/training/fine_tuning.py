"""A trained network for other classes: its backbone, which stays at first, and its classifier, which is new."""

from __future__ import annotations

import keras
from keras.layers import BatchNormalization, Dropout

from ..outputs import MAIN


def backbone_of(network: keras.Model) -> keras.Model:
    """Images -> what the main classifier takes, before the dropout that is in front of it; of the network's layers.

    Auxiliary heads and early exits are no part of it.
    """
    makers = {id(layer.output): layer for layer in network.layers}
    layer = network.get_layer(MAIN)
    while not layer.weights:
        layer = makers[id(layer.input)]
    tensor = layer.input
    while isinstance(makers[id(tensor)], Dropout):
        tensor = makers[id(tensor)].input
    return keras.Model(network.input, tensor, name=f"{network.name}_backbone")


def head_of(network: keras.Model) -> keras.Model:
    """A copy of what is behind the backbone: the backbone's output -> the main head's probabilities."""
    head = keras.Model(backbone_of(network).output, network.get_layer(MAIN).output, name=f"{network.name}_head")
    copy = keras.Model.from_config(head.get_config())
    copy.set_weights(head.get_weights())
    return copy


def graft(network: keras.Model, other: keras.Model) -> None:
    """Take over the weights of the layers that another network has too, by name and shapes."""
    theirs = {layer.name: layer for layer in other.layers if layer.weights}
    for layer in network.layers:
        if (their := theirs.get(layer.name)) and [w.shape for w in their.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(their.get_weights())


def freeze(network: keras.Model) -> None:
    """Leave the backbone as it is; its batch norms take their moving statistics in training too."""
    for layer in backbone_of(network).layers:
        layer.trainable = False


def unfreeze(network: keras.Model, *, batch_norm: bool) -> None:
    """Let the backbone learn, its batch norms only if asked: otherwise they keep statistics, scales and offsets."""
    for layer in backbone_of(network).layers:
        layer.trainable = batch_norm or not isinstance(layer, BatchNormalization)


def backbone_rates(network: keras.Model, rate: float) -> dict[str, float]:
    """By the path of each trainable variable of the backbone: what the learning rate is multiplied by."""
    return {v.path: rate for v in backbone_of(network).trainable_variables}
