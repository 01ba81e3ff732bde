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
    inputs: np.ndarray, labels: np.ndarray, *, mixup: float, cutmix: float, seed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mix a batch by MixUp (arXiv 1710.09412) or CutMix (1905.04899); of both, one is drawn.

    Args:
        inputs: (b, h, w, channels) float32.
        labels: (b, k) float32, rows of numbers that are mixed as the images are: shares of classes.
        mixup: alpha of Beta(alpha, alpha), of which the share of each image is drawn; 0 for none.
        cutmix: the same for CutMix.
        seed: of what is random, integers.

    Returns:
        The mixed inputs and labels, of the same shapes.
    """
    random = np.random.default_rng(seed)
    state = random.integers(2**31, size=2, dtype=np.int32)
    share = 0.5 if mixup and cutmix else float(bool(mixup))
    kind, alpha = ("MixUp", mixup) if random.random() < share else ("CutMix", cutmix)
    with ONE_AT_A_TIME, tf.device("CPU"):
        images, shares = _mixer(kind, alpha, inputs.shape[1:], labels.shape[1])(inputs, labels, state)
    return images.numpy(), shares.numpy()


@cache
def _mixer(kind: str, alpha: float, shape: tuple[int, ...], columns: int) -> Callable[..., Any]:
    """A layer as a graph, which is traced once in a process: eager, CutMix runs 160 operations for each batch."""
    kinds = {"MixUp": keras.layers.MixUp, "CutMix": lambda alpha, **how: keras.layers.CutMix((alpha, alpha), **how)}
    layer = kinds[kind](alpha, dtype="float32")
    given = tf.TensorSpec((None, *shape)), tf.TensorSpec((None, columns)), tf.TensorSpec((2,), tf.int32)

    @tf.function(input_signature=given, autograph=False)
    def mix(images: tf.Tensor, labels: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        layer.generator.state.assign(state)
        batch = layer({"images": images, "labels": labels})
        return batch["images"], batch["labels"]

    return mix
