"""Under mixed precision the backbone computes in 16 bits and the probabilities are float32, and finite."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from keras_inception.registry import Architecture

from .networks import WEIGHTED, smallest_shape


@pytest.fixture(params=["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("architecture", WEIGHTED)
def test_mixed_precision(architecture: Architecture, policy: str) -> None:
    shape = smallest_shape(architecture)
    keras.utils.set_random_seed(0)
    model = architecture.build(input_shape=shape)
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {policy.removeprefix("mixed_")}
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    images = np.random.default_rng(0).normal(size=(2, *shape))
    # In training batch norm keeps an untrained network's maps in range; float16 ends at 65,504.
    probabilities = model(images, training=True)
    assert probabilities.dtype == "float32"
    assert np.isfinite(probabilities).all()
