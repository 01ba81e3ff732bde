"""TFMOT and the Keras 2 that it needs, imported without a trace in the rest of the process.

TFMOT sets TF_USE_LEGACY_KERAS when it is imported, which turns every `tf.keras` that is first used later into Keras 2,
in child processes too. So `tf.keras` is resolved first, and the variable is put back.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from keras_inception.terminal import kept

_VARIABLE = "TF_USE_LEGACY_KERAS"

_ = tf.keras.layers  # a lazy module, which reads the variable when an attribute is first asked for
with kept(_VARIABLE), warnings.catch_warnings(action="ignore"):  # they use what newer Pythons and NumPys deprecate
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

__all__ = ["cluster_weights", "quiet_tfmot", "tf_keras", "tfmot", "unfused"]


@contextmanager
def quiet_tfmot() -> Iterator[None]:
    """Silence the warnings of TFMOT and Keras 2 about their own code, from AutoGraph and NumPy.

    Keras 2 reads the user's keras.json too; within the block its layers are float32 and channels_last all the same.
    Unlike `terminal.quiet` it leaves the process's streams alone, so that a training can print its progress.
    """
    logger = tf.get_logger()
    level = logger.level
    before = tf_keras.backend.floatx(), tf_keras.backend.image_data_format()
    logger.setLevel(logging.ERROR)
    try:
        _set_defaults("float32", "channels_last")
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _set_defaults(*before)
        logger.setLevel(level)


@contextmanager
def unfused() -> Iterator[None]:
    """TensorFlow fuses no operators of the functions that are first called in the block.

    With oneDNN, TensorFlow 2.21 ends the process ("Check failed: d < dims()") where it fuses a convolution with its
    bias whose input comes from a grouped one: Keras 2 compiles that by XLA, so no pass knows the shape of its output.
    """
    optimizer = tf.config.optimizer
    fuses = optimizer.get_experimental_options().get("remapping", True)
    optimizer.set_experimental_options({"remapping": False})
    try:
        yield
    finally:
        optimizer.set_experimental_options({"remapping": fuses})


def _set_defaults(floatx: str, data_format: str) -> None:
    tf_keras.backend.set_floatx(floatx)
    tf_keras.backend.set_image_data_format(data_format)
