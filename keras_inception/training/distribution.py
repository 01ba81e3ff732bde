"""Training on several devices, of one machine by TensorFlow's MirroredStrategy, or of several machines by its
MultiWorkerMirroredStrategy: each has a share of every batch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import keras
import numpy as np
import tensorflow as tf

from ..data.split import Share
from ..errors import InputError
from ..terminal import note
from .cluster import addresses, connected, index_of, others_in, several

StrategyName = Literal["auto", "none", "mirrored", "multi_worker"]
MESSAGE = 2**12  # bytes that the chief sends at a time: one size, so that one trace serves every message
# What TensorFlow raises in the workers that are left when one has ended. The first are of a connection; a worker's own
# errors can be of the others too, which are of a connection if they name the worker at its other end.
OF_A_CONNECTION = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
LOST = (*OF_A_CONNECTION, tf.errors.InternalError, tf.errors.UnknownError)
PREFACE = r"^Graph execution error:|\n +File .*\n|Collective ops is aborted by:"  # to what TensorFlow has to say

_STRATEGY = ContextVar[tf.distribute.Strategy | None]("strategy", default=None)

T = TypeVar("T")


def strategy_for(name: str, batch_size: int) -> tf.distribute.Strategy | None:
    """The strategy of this name for batches of this size; None is a training on one device.

    "auto" takes all workers that the environment names, or as many of several GPUs as the batch divides by. "mirrored"
    takes all, or all CPU devices.

    Raises:
        InputError: there is no such strategy, or it has no two devices, or a batch does not divide by them.
    """
    if name == "none":
        return None
    if spans_machines(name):
        devices = connected()
        count = devices.num_replicas_in_sync
        _check_divides(batch_size, count)
        note(f"{count} devices of all workers have {batch_size // count} images each of every batch", style="")
        return devices
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
    _check_divides(batch_size, count)
    note(f"{count} devices have {batch_size // count} images each of every batch of {batch_size}", style="")
    # TensorFlow's own choice for CPUs numbers the sums of batch norms and of gradients alike, and then mixes them up.
    sums = tf.distribute.NcclAllReduce() if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]], sums)


def spans_machines(name: str) -> bool:
    """Whether the strategy of this name is one over several workers. They must connect before TensorFlow computes.

    Raises:
        InputError: there is no such strategy, or the environment names workers in a way that cannot be read.
    """
    if name not in get_args(StrategyName):
        raise InputError(f"unknown strategy {name!r}; give one of {', '.join(get_args(StrategyName))}")
    return name == "multi_worker" or (name == "auto" and several())


def _check_divides(batch_size: int, devices: int) -> None:
    if batch_size % devices:
        near = max(devices, round(batch_size / devices) * devices)
        raise InputError(f"a batch of {batch_size} does not divide by {devices} devices: give --batch-size {near}")


@contextmanager
def training_on(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Within the block trainings are on the devices of this strategy; None is one device."""
    token = _STRATEGY.set(strategy)
    try:
        yield
    finally:
        _STRATEGY.reset(token)


def scope() -> AbstractContextManager[Any]:
    """Within it networks are built, loaded and trained on all devices.

    Of several workers all do the same there: even a variable is made by all of them. What the chief does alone, as
    measuring and writing, is done outside.
    """
    strategy = _STRATEGY.get()
    return nullcontext() if strategy is None else strategy.scope()


def replicas() -> int:
    """How many devices share a batch."""
    strategy = _STRATEGY.get()
    return 1 if strategy is None else strategy.num_replicas_in_sync


def place() -> tuple[int, int]:
    """Which of the workers this process is, from 0, and how many there are."""
    strategy = _STRATEGY.get()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    return index_of(strategy.cluster_resolver), len(addresses(strategy.cluster_resolver))


def is_chief() -> bool:
    """Whether this process measures, decides and writes: the first worker, or the only process."""
    return place()[0] == 0


def from_chief(value: T) -> T:
    """The chief's value, of JSON, in every worker; all of them must call this. Of a single process its own.

    It also waits until all workers are here.
    """
    strategy = _STRATEGY.get()
    if strategy is None or place()[1] == 1:
        return value
    total = _sum(strategy)
    text = json.dumps(value).encode() if is_chief() else b""
    size = int(total(tf.constant([len(text)]))[0])
    said = b""
    while len(said) < size:
        part = np.zeros(MESSAGE, np.int32)
        own = text[len(said) :][:MESSAGE]
        part[: len(own)] = list(own)
        said += total(tf.constant(part)).numpy().astype(np.uint8).tobytes()
    return json.loads(said[:size])


@cache
def _sum(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """The sum of a tensor over all workers; of the devices of each the first one sends it."""

    def of_a_device(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group % len(strategy.extended.worker_devices), 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values * tf.cast(first, values.dtype))

    @tf.function(autograph=False)
    def total(values: tf.Tensor) -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(of_a_device, args=(values,)))[0]

    return total


@contextmanager
def lost_workers(out: Path) -> Iterator[None]:
    """Say in one line that a worker has ended, whatever TensorFlow raises in the others then.

    Raises:
        InputError: it has.
    """
    try:
        yield
    except LOST as error:
        strategy, text = _STRATEGY.get(), str(error)
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        lost = ", ".join(others_in(text, strategy.cluster_resolver))
        if not lost and not isinstance(error, OF_A_CONNECTION):
            raise
        reason = re.split(PREFACE, text)[-1].strip().partition("\n")[0]
        lost = lost or f"another worker ({reason})"
        raise InputError(
            f"lost {lost}, which has ended or cannot be reached: the same command on all workers resumes {out}"
        ) from error


def synchronised(network: keras.Model) -> None:
    """Let batch norms take their statistics over the images of all devices, as over those of one batch."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextmanager
def shared(network: keras.Model, callbacks: Iterable[keras.callbacks.Callback]) -> Iterator[None]:
    """Within the block `fit` trains a network on several devices, with these callbacks, as on one.

    Keras would look at a batch first, and so take the next order of a dataset that is shuffled anew each time, and it
    would build the loss before callbacks replace it. So they are asked first, and Keras finds all of it built. Over
    several workers Keras' own look at a batch fails, as does its mean of what a step returns (keras issue 20585): both
    are left out there. `fit` takes losses and metrics from their variables, which it adds up over all devices.
    """
    for callback in callbacks:
        callback.set_model(network)
        callback.on_train_begin()
    ours: dict[str, Any] = {"_maybe_symbolic_build": lambda **_: None}
    if place()[1] > 1:
        ours["_make_function"] = partial(_steps_of_workers, network)
    vars(network).update(ours)
    try:
        yield
    finally:
        for name in ours:
            del vars(network)[name]


def _steps_of_workers(network: keras.Model, step: Callable[[Any], Any]) -> Callable[[Iterator[Any]], Any]:
    """In place of Keras' function that trains on the next batch of an iterator; what it returns is of this worker."""
    strategy = network.distribute_strategy

    @tf.function(reduce_retracing=True, autograph=False)
    def train(batch: Any) -> Any:
        logs = strategy.run(step, args=(batch,))
        return keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], logs)

    return lambda batches: train(next(batches))


def predicted_alone(network: keras.Model) -> None:
    """Let `predict_on_batch` of this process compute by itself, on one device.

    Keras has each device predict the whole batch, and those of other workers too, which wait for it elsewhere.
    """
    network.predict_function = tf.function(lambda batches: network(batches[0][0], training=False), autograph=False)


def share() -> Share | None:
    """Which images of every batch the devices of this process train on; None where one device trains on all.

    The last batch loses images until all devices have as many of it. A mean over the devices is then a mean over
    images, and none of them has an empty batch, whose loss is no number.
    """
    devices, (worker, count) = replicas(), place()
    if devices == 1:
        return None

    def rows(images: Any) -> slice:
        own = images // devices * devices // count
        return slice(worker * own, (worker + 1) * own)

    return rows


def steps(images: int, batch_size: int) -> int:
    """Batches of an epoch; the last one counts if all devices have an image of it."""
    return -(-(images - images % batch_size % replicas()) // batch_size)


def dealt_out(batches: tf.data.Dataset, count: int) -> Any:
    """So many batches, of which each has this process's `share`, as `fit` takes them.

    TensorFlow deals the images of a batch out to the devices of a machine. Among workers it would have all of them read
    everything, and drop what is not theirs (its policies "auto" for what is not in files, and "data"), or give each
    some of the files, which makes other batches than those of one process ("file"). Here each reads its own rows of
    every batch. All have equally many, so that they need not ask one another before each step whether all have one,
    which they do not of a dataset without end.
    """
    batches = batches.take(count)
    if place()[1] == 1:
        return batches
    strategy = cast("tf.distribute.Strategy", _STRATEGY.get())
    own = len(strategy.extended.worker_devices)

    def in_rows(*batch: Any) -> Any:
        return keras.tree.map_structure(lambda x: tf.reshape(x, [own, -1, *x.shape[1:]]), batch)

    if own > 1:
        batches = batches.map(in_rows).unbatch()
    endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return strategy.distribute_datasets_from_function(lambda context: endless)
