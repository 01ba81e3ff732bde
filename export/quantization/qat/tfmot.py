"""TFMOT and the Keras 2 that it works on, imported so that the rest of the process does not notice.

On import TFMOT sets TF_USE_LEGACY_KERAS, which turns every `tf.keras` that is first used behind it into Keras 2: also
that of child processes. So `tf.keras` is resolved before, and the environment is as it was behind.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

_VARIABLE = "TF_USE_LEGACY_KERAS"
_before = os.environ.get(_VARIABLE)
tf.keras.version()  # a lazy module, which looks at the environment when it is first asked for something
try:
    with warnings.catch_warnings(action="ignore"):  # both use what newer Pythons and NumPys have deprecated
        import tensorflow_model_optimization as tfmot
        import tf_keras
        from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights
finally:
    if _before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = _before

__all__ = ["cluster_weights", "hushed", "tf_keras", "tfmot"]


@contextmanager
def hushed() -> Iterator[None]:
    """Keep what TFMOT and Keras 2 say about their own code to themselves: AutoGraph's and NumPy's remarks on it."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
