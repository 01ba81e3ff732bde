"""A saved model, its weights, and a clone give the same outputs."""

from pathlib import Path

import keras
import numpy as np

from keras_inception.layers import deep_graph
from keras_inception.model_graph import load

from ..conftest import Network


def _same(one: keras.Model, other: Network) -> None:
    images = other.images()
    np.testing.assert_allclose(one(images), other.model(images), rtol=1e-5, atol=1e-7)


def test_keras_file(network: Network, tmp_path: Path) -> None:
    network.model.save(tmp_path / "model.keras")
    with deep_graph():
        loaded = load(tmp_path / "model.keras")
    assert loaded.name == network.architecture.name
    assert {layer.name for layer in loaded.layers} == {layer.name for layer in network.model.layers}
    _same(loaded, network)


def test_a_single_input_that_was_saved_as_a_list(tmp_path: Path) -> None:
    """As Keras 3.10 saves it."""
    image = keras.Input((4,))
    keras.Model([image], keras.layers.Dense(2)(image)).save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert loaded.input is loaded.inputs[0]
    assert loaded(np.zeros((1, 4), "float32")).shape == (1, 2)  # without a warning


def test_weights_file_into_a_clone(network: Network, tmp_path: Path) -> None:
    with deep_graph():
        clone = keras.models.clone_model(network.model)
    network.model.save_weights(tmp_path / "model.weights.h5")
    clone.load_weights(tmp_path / "model.weights.h5")
    _same(clone, network)
