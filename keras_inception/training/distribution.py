"""Training on several devices of one machine, by TensorFlow's MirroredStrategy: each has a share of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from ..errors import InputError
from ..terminal import note

StrategyName = Literal["auto", "none", "mirrored"]


def strategy_for(name: str, batch_size: int) -> tf.distribute.Strategy | None:
    """The strategy of this name for batches of this size; None is a training on one device.

    "auto" takes as many of several GPUs as the batch divides by. "mirrored" takes all, or all CPU devices.

    Raises:
        InputError: there is no such strategy, or "mirrored" has no two devices, or a batch does not divide by them.
    """
    if name not in get_args(StrategyName):
        raise InputError(f"unknown strategy {name!r}; give one of {', '.join(get_args(StrategyName))}")
    if name == "none":
        return None
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus if gpus or name == "auto" else tf.config.list_logical_devices("CPU")
    count = len(devices)
    if name == "auto":
        count = max((n for n in range(1, count + 1) if batch_size % n == 0), default=0)
        if count < 2:
            return None
    if count < 2:
        found = f"{count} {devices[0].device_type}"
        raise InputError(f"mirrored trains on two devices or more, and TensorFlow finds {found}: leave --strategy out")
    if batch_size % count:
        near = max(count, round(batch_size / count) * count)
        raise InputError(f"a batch of {batch_size} does not divide by {count} devices: give --batch-size {near}")
    note(f"{count} devices have {batch_size // count} images each of every batch of {batch_size}", style="")
    # TensorFlow's own choice for CPUs numbers the sums of batch norms and of gradients alike, and then mixes them up.
    sums = tf.distribute.NcclAllReduce() if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]], sums)


@contextmanager
def scope_of(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Within the block networks are built, loaded and trained on the strategy's devices."""
    if strategy is None:
        yield
        return
    with strategy.scope():
        yield


def replicas() -> int:
    """How many devices share a batch, within `scope_of`."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def synchronised(network: keras.Model) -> None:
    """Let batch norms take their statistics over the images of all devices, as over those of one batch."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextmanager
def shared(network: keras.Model, callbacks: Iterable[keras.callbacks.Callback]) -> Iterator[None]:
    """Within the block `fit` trains a network on several devices, with these callbacks, as on one.

    Keras would look at a batch first, and so take the next order of a dataset that is shuffled anew each time, and it
    would build the loss before callbacks replace it. So they are asked first, and Keras finds all of it built.
    """
    for callback in callbacks:
        callback.set_model(network)
        callback.on_train_begin()
    vars(network)["_maybe_symbolic_build"] = lambda **_: None
    try:
        yield
    finally:
        del vars(network)["_maybe_symbolic_build"]


def divisible(batches: tf.data.Dataset, images: int, batch_size: int) -> tf.data.Dataset:
    """The batches of so many images; the last one loses images until all devices have as many of it.

    A mean over the devices is then a mean over images. None of them has an empty batch, whose loss is no number.
    """
    devices = replicas()
    whole = -(-(images - images % batch_size % devices) // batch_size)

    def trimmed(*batch: Any) -> Any:
        kept = tf.shape(keras.tree.flatten(batch)[0])[0] // devices * devices
        return keras.tree.map_structure(lambda values: values[:kept], batch)

    return batches.take(whole).map(trimmed)
