"""MixUp and CutMix: images of a batch are mixed, and so are their labels, by Keras' layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import keras
import tensorflow as tf

Batch: TypeAlias = tuple[tf.Tensor, tf.Tensor]


def mixing(mixup: float, cutmix: float, classes: int) -> Callable[[Batch, tf.Tensor], Batch]:
    """Return what mixes a batch by MixUp (arXiv 1710.09412) or CutMix (1905.04899); of both, one is drawn for each.

    It maps inputs (b, h, w, channels) float32 with labels (b,) int32, and a seed (2,) int64, to inputs with shares of
    the classes, (b, classes) float32. `mixup` and `cutmix` are alpha of Beta(alpha, alpha), of which each image's share
    is drawn; 0 for none of that kind.
    """
    layers = [
        layer
        for alpha, layer in (
            (mixup, keras.layers.MixUp(mixup, dtype="float32")),
            (cutmix, keras.layers.CutMix((cutmix, cutmix), dtype="float32")),
        )
        if alpha
    ]

    def mixed(batch: Batch, seed: tf.Tensor) -> Batch:
        inputs, labels = batch
        seed = tf.cast(seed % 2**31, tf.int32)

        def by(layer: keras.Layer) -> Batch:
            layer.generator.state.assign(seed)  # of the batch alone, whatever was mixed before
            both = layer({"images": inputs, "labels": tf.one_hot(labels, classes)})
            return both["images"], both["labels"]

        if len(layers) == 1:
            return by(layers[0])
        first, second = layers
        drawn = tf.random.stateless_uniform((), seed) < 0.5
        return tf.cond(drawn, lambda: by(first), lambda: by(second))

    return mixed
