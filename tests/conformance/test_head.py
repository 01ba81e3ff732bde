"""The top can be left out, and has any number of classes; auxiliary heads need it."""

import keras
import numpy as np
import pytest

from keras_inception import InputError
from keras_inception.analysis.cost import blueprint
from keras_inception.registry import Architecture

from ..conftest import Network
from .networks import WEIGHTED, WITH_AUX_HEADS, smallest_shape

weighted = pytest.mark.parametrize("architecture", WEIGHTED)


@weighted
def test_without_top_a_map_of_any_size_or_its_pool(architecture: Architecture) -> None:
    batch, height, width, channels = blueprint(architecture.build, include_top=False).output_shape
    assert (batch, height, width) == (None, None, None)
    assert channels > 0
    for pooling in ("avg", "max"):
        pooled = blueprint(architecture.build, include_top=False, pooling=pooling)
        assert pooled.output_shape == (None, channels)


@weighted
def test_classes(architecture: Architecture) -> None:
    model = blueprint(architecture.build, classes=7, input_shape=smallest_shape(architecture), name="seven")
    assert model.output_shape == (None, 7)
    assert model.name == "seven"


def test_logits_on_an_input_tensor(network: Network) -> None:
    images = keras.Input(network.model.input_shape[1:], name="given")
    model = network.architecture.build(
        input_tensor=keras.layers.Rescaling(2.0, name="before")(images), classifier_activation=None
    )
    assert [tensor.name for tensor in model.inputs] == ["given"]
    model.set_weights(network.model.get_weights())
    logits = model(network.images() / 2)
    np.testing.assert_allclose(keras.ops.softmax(logits), network.model(network.images()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", WITH_AUX_HEADS)
def test_auxiliary_heads_classify_too(architecture: Architecture) -> None:
    outputs = blueprint(architecture.build, aux_heads=True, classes=7).output
    assert list(outputs) == ["predictions", *(f"aux_{i + 1}" for i in range(len(architecture.aux_heads)))]
    assert {tuple(output.shape) for output in outputs.values()} == {(None, 7)}
    with pytest.raises(InputError, match="include_top=True"):
        architecture.build(aux_heads=True, include_top=False)
