"""What a training does where memory runs out: it takes a batch's gradients a part at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf

# What runs out of memory raises other errors too: cuDNN, for example, finds no algorithm for its workspace.
SHORT = re.compile(r"out of memory|out_of_memory|\bOOM\b|allocate|no algorithm worked", re.IGNORECASE)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has no more memory."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return "space left" not in str(error)  # TensorFlow calls a full disk so too
    return isinstance(error, tf.errors.OpError) and bool(SHORT.search(str(error)))


@contextmanager
def in_parts(network: keras.Model, size: int) -> Iterator[None]:
    """Within the block `fit` holds the activations of at most `size` images at a time, and steps once a batch.

    The gradient is the sum of the parts' gradients, each by its share of the batch: that of the whole batch but for
    rounding, an uneven last part included. Optimizer, schedule, averages and loss scale see one step. Keras'
    `gradient_accumulation_steps` is no such thing: its schedules and averages count the parts, parts of other sizes
    weigh as much, and one batch's last parts are added to the next batch. What is different is batch norm, which
    sees the images of a part, and what is random per image, as dropout. Keras keeps the function that the first `fit`
    makes.
    """
    vars(network)["_make_function"] = partial(_steps_in_parts, network, size)
    try:
        yield
    finally:
        del vars(network)["_make_function"]


def _steps_in_parts(network: keras.Model, size: int, step: Callable[[Any], Any]) -> Callable[[Iterator[Any]], Any]:
    """In place of Keras' function that trains on the next batch of an iterator."""
    optimizer, variables = network.optimizer, network.trainable_variables
    sums = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in variables]

    def add(share: tf.Tensor, found: Iterable[tuple[tf.Tensor, keras.Variable]]) -> None:
        for total, (gradient, _) in zip(sums, found, strict=True):
            total.assign_add(tf.cast(share, gradient.dtype) * gradient)

    @tf.function(reduce_retracing=True, jit_compile=network.jit_compile, autograph=False)
    def differentiate(part: Any, share: tf.Tensor) -> Any:
        vars(optimizer)["apply_gradients"] = partial(add, share)
        try:
            return step(part)
        finally:
            del vars(optimizer)["apply_gradients"]

    @tf.function(autograph=False)
    def update() -> None:
        optimizer.apply_gradients(zip(sums, variables, strict=True))
        for total in sums:
            total.assign(tf.zeros_like(total))

    def train(batches: Iterator[Any]) -> Any:
        batch = next(batches)
        images = len(keras.tree.flatten(batch)[0])
        for begin in range(0, images, size):
            part = keras.tree.map_structure(lambda values, i=begin: values[i : i + size], batch)
            logs = differentiate(part, tf.constant(min(size, images - begin) / images))
        update()
        return logs

    return train
