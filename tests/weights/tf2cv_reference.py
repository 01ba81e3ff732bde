"""The tf2cv side of a proof, run in a Python that has it: build a network, write its file, return logits.

tf2cv needs Keras 2, which tf.keras is with `TF_USE_LEGACY_KERAS=1` and tf_keras installed.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow is imported

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import tf_keras
from tf2cv.model_provider import get_model
from tf_keras.src.engine import base_layer

from .exchange import serve
from .keras_reference import randomize

named = base_layer.Layer._init_set_name


def unnamed(layer: base_layer.Layer, name: str | None, zero_based: bool = True) -> None:
    """Treat the name "" as no name, as Keras did when the files were written.

    The current tf_keras would give all weights of NASNet the same name, and refuse to save them.
    """
    named(layer, name or None, zero_based)


def answer(request: Mapping[str, Any], images: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    network = get_model(request["reference"].partition(":")[2], pretrained=False)
    network(images[:1])  # makes the weights
    randomize(network, images)
    *_, last = (variable for variable in network.trainable_weights if "kernel" in variable.name)
    # Without batch norm, and along 600 shortcuts, a map grows, and float32's rounding with it: back to order one.
    last.assign(last * min(0.25, 4 / np.std(network(images))))
    network.save_weights(request["path"])
    logits = network(images, training=False).numpy().reshape(len(images), -1)
    return {"predictions": logits}, f"tf2cv {metadata.version('tf2cv')}, tf_keras {tf_keras.__version__}"


if __name__ == "__main__":
    base_layer.Layer._init_set_name = unnamed
    serve(answer)
