"""Images give probabilities, from the smallest legal size on; smaller ones are refused."""

import keras
import numpy as np
import pytest

from keras_inception import InputError
from keras_inception.registry import Architecture

from ..conftest import Network
from .networks import EVERY


def test_probabilities(network: Network) -> None:
    probabilities = keras.ops.convert_to_numpy(network.model(network.images()))
    assert probabilities.shape == (2, network.architecture.classes)
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("architecture", [pytest.param(p.values[0], id=p.id) for p in EVERY])
def test_a_smaller_image_is_refused_with_the_smallest_size(architecture: Architecture) -> None:
    smallest = architecture.smallest
    for height, width in ((smallest - 1, smallest), (smallest, smallest - 1)):
        with pytest.raises(InputError, match=rf"at least {smallest} x {smallest} .*; got {height} x {width}"):
            architecture.build(input_shape=(height, width, 3))
        with pytest.raises(InputError, match=f"at least {smallest} x {smallest}"):
            architecture.build(input_tensor=keras.Input((height, width, 3)), include_top=False)
