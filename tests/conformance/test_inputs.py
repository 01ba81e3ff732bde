"""Images of 1 and 4 channels as well as 3, and of any size that is large enough."""

import keras
import numpy as np
import pytest

from keras_inception.analysis.cost import blueprint
from keras_inception.registry import Architecture

from .networks import WEIGHTED, smallest_shape

weighted = pytest.mark.parametrize("architecture", WEIGHTED)


@weighted
@pytest.mark.parametrize("channels", [1, 4])
def test_channels(architecture: Architecture, channels: int) -> None:
    shape = (*smallest_shape(architecture)[:2], channels)
    model = blueprint(architecture.build, input_shape=shape)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, architecture.classes)


@weighted
def test_one_model_takes_images_of_any_size(architecture: Architecture) -> None:
    shape = (architecture.smallest + 1, architecture.smallest + 6, 3)
    anywhere = architecture.build(include_top=False, input_shape=(None, None, 3))
    features = keras.ops.convert_to_numpy(anywhere(np.ones((1, *shape), "float32")))
    assert np.isfinite(features).all()
    fixed = blueprint(architecture.build, include_top=False, input_shape=shape)
    assert features.shape[1:] == fixed.output_shape[1:]
