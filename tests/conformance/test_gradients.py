"""Every trainable weight has a gradient, and a step of training moves them."""

import keras
import numpy as np
import tensorflow as tf

from ..conftest import Network


def test_a_training_step(network: Network) -> None:
    model = network.model
    before = model.get_weights()
    trainable = [weight.numpy() for weight in model.trainable_variables]
    with tf.GradientTape() as tape:
        probabilities = model(network.images(4), training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(np.arange(4), probabilities))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in variables])
    try:
        missing = [weight.path for weight, gradient in zip(variables, gradients, strict=True) if gradient is None]
        assert not missing
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        keras.optimizers.SGD(0.1).apply(gradients, variables)
        moved = [not np.array_equal(a, b) for a, b in zip(trainable, variables, strict=True)]
        assert any(moved[:2]), "the first layer"
        assert all(moved[-2:]), "the classifier"
    finally:
        model.set_weights(before)
