"""MixUp and CutMix: images of a batch are mixed, and so are their labels, by Keras' layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

import keras
import numpy as np
import tensorflow as tf

ONE_AT_A_TIME = Lock()  # a layer has one random state


def mixed(
    inputs: np.ndarray, labels: np.ndarray, classes: int, *, mixup: float, cutmix: float, seed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mix a batch by MixUp (arXiv 1710.09412) or CutMix (1905.04899); of both, one is drawn.

    Args:
        inputs: (b, h, w, channels) float32.
        labels: (b,), integers.
        classes: how many there are.
        mixup: alpha of Beta(alpha, alpha), of which the share of each image is drawn; 0 for none.
        cutmix: the same for CutMix.
        seed: of what is random, integers.

    Returns:
        The mixed inputs, and the shares of the classes in them, (b, classes) float32.
    """
    random = np.random.default_rng(seed)
    state = random.integers(2**31, size=2, dtype=np.int32)
    share = 0.5 if mixup and cutmix else float(bool(mixup))
    kind, alpha = ("MixUp", mixup) if random.random() < share else ("CutMix", cutmix)
    with ONE_AT_A_TIME, tf.device("CPU"):
        images, shares = _mixer(kind, alpha, inputs.shape[1:], classes)(
            inputs, np.eye(classes, dtype=np.float32)[labels], state
        )
    return images.numpy(), shares.numpy()


@cache
def _mixer(kind: str, alpha: float, shape: tuple[int, ...], classes: int) -> Callable[..., Any]:
    """A layer as a graph, which is traced once in a process: eager, CutMix runs 160 operations for each batch."""
    kinds = {"MixUp": keras.layers.MixUp, "CutMix": lambda alpha, **how: keras.layers.CutMix((alpha, alpha), **how)}
    layer = kinds[kind](alpha, dtype="float32")
    given = tf.TensorSpec((None, *shape)), tf.TensorSpec((None, classes)), tf.TensorSpec((2,), tf.int32)

    @tf.function(input_signature=given, autograph=False)
    def mix(images: tf.Tensor, labels: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        layer.generator.state.assign(state)
        batch = layer({"images": images, "labels": labels})
        return batch["images"], batch["labels"]

    return mix
