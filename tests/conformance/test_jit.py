"""XLA compiles the network, and it computes the same."""

import numpy as np
import tensorflow as tf

from ..conftest import Network
from . import qat

CLOSE = 1e-4  # of the largest logit


def test_compiled_by_xla(conditioned: Network) -> None:
    images = qat.images(conditioned.model.input_shape[1:])[:2]
    wanted = conditioned.model.predict_on_batch(images)
    compiled = tf.function(conditioned.model, jit_compile=True)(tf.constant(images), training=False).numpy()
    np.testing.assert_allclose(compiled, wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())
