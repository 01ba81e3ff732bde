"""Half of a network's weights become zero, and each kernel shares 16 values, in a step of training."""

import keras
import numpy as np
import pytest

from keras_inception import export

from ..conftest import Network
from . import qat

STEP = export.FineTuning(epochs=1, batch_size=qat.IMAGES)


def _trained(network: Network) -> tuple[np.ndarray, np.ndarray]:
    return qat.images(network.model.input_shape[1:]), np.arange(qat.IMAGES) % network.model.output_shape[-1]


def _kernels(model: keras.Model) -> list[np.ndarray]:
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    return [np.asarray(layer.kernel) for layer in model.layers if isinstance(layer, kinds)]


@pytest.fixture(autouse=True)
def needs_tfmot() -> None:
    pytest.importorskip("tensorflow_model_optimization", reason="pip install 'keras-inception[qat]'")


def test_pruned(conditioned: Network) -> None:
    kernels = _kernels(export.prune(conditioned.model, _trained(conditioned), sparsity=0.5, training=STEP).model)
    assert kernels
    for kernel in kernels:
        ties = kernel.size / 1e6  # of 17 million weights, as in AlexNet, some tie for the last place, and all stay
        assert np.count_nonzero(kernel) <= kernel.size - kernel.size // 2 + ties


def test_clustered(conditioned: Network) -> None:
    kernels = _kernels(export.cluster(conditioned.model, _trained(conditioned), clusters=16, training=STEP).model)
    assert kernels
    assert max(len(np.unique(kernel)) for kernel in kernels) <= 16
