"""Pictures of 1, 3 and 4 channels, and of any size that is large enough."""

import keras
import numpy as np
import pytest

from keras_inception.cost import blueprint
from keras_inception.registry import Architecture

from .networks import ONE_A_FAMILY, smallest_shape

one_a_family = pytest.mark.parametrize("architecture", ONE_A_FAMILY)


@one_a_family
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(architecture: Architecture, channels: int) -> None:
    shape = (*smallest_shape(architecture)[:2], channels)
    model = blueprint(architecture.build, input_shape=shape)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, architecture.classes)


@one_a_family
def test_one_model_takes_pictures_of_any_size(architecture: Architecture) -> None:
    anywhere = architecture.build(include_top=False, input_shape=(None, None, 4))
    for more in ((1, 6), (5, 0)):
        shape = (architecture.smallest + more[0], architecture.smallest + more[1], 4)
        features = keras.ops.convert_to_numpy(anywhere(np.ones((1, *shape), "float32")))
        assert (
            features.shape[1:] == blueprint(architecture.build, include_top=False, input_shape=shape).output_shape[1:]
        )
        assert np.isfinite(features).all()
