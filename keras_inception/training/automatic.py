"""What a training decides by itself before it begins: precision, XLA and, where it is asked for, the batch size.

What is decided becomes part of the request, so that the run records it; a resumption takes what was decided before.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.layers import BatchNormalization

from ..data import Dataset
from ..data.augmentation import mixes
from ..files import cache_directory, write_file
from ..outputs import MAIN, by_name
from ..run import versions
from ..terminal import note
from . import device as machine
from .device import Device
from .memory import out_of_memory
from .recipes.apply import attach, callbacks_for, compile_for
from .recipes.recipe import AUTO
from .request import Start, TrainingRequest

STEPS = 30  # of an epoch, at least: with the learning rate as it is, fewer and larger ones learn less
SMALLEST, LARGEST = 8, 256  # batch sizes that are tried; the smallest whatever the number of images
NEARLY = 0.95  # of the best speed: a smaller batch is as good, and takes less memory
HALF = 0.5  # of a CPU's free memory, which images that are prepared and other programs need too

# Precision: ten networks with random weights, from LeNet to NASNet, differ from float32 by a mean of at most 0.04 in
# their probabilities (total variation) in float16 and 0.16 in bfloat16, and by 4 % of the loss.
OUTPUTS, LOSS = 0.25, 0.1


def decided(
    request: TrainingRequest, dataset: Dataset, before: Mapping[str, Any] | None, *, batch_size: bool
) -> TrainingRequest:
    """The request with everything decided that its recipe leaves open, and the batch size if that is asked for.

    `before` is the request (of `to_dict`) of the unfinished training that it resumes, whose decisions are taken.
    """
    recipe = request.recipe
    if before is not None:
        open_ = {"precision": recipe.precision == AUTO, "jit": recipe.jit is None, "batch_size": batch_size}
        taken = {k: before["recipe"][k] for k, is_open in open_.items() if is_open and k in before["recipe"]}
        return request.with_recipe(replace(recipe, **taken))
    device = machine.device()
    if recipe.precision == AUTO:
        request = request.with_recipe(replace(recipe, precision=precision_for(request, dataset, device)))
    if batch_size:
        request = request.with_recipe(replace(request.recipe, batch_size=batch_size_for(request, dataset, device)))
    if recipe.jit is None:
        request = request.with_recipe(replace(request.recipe, jit=jit_for(device)))
    return request


# ----------------------------------------------------------------------------------------------------------- precision


def precision_for(request: TrainingRequest, dataset: Dataset, device: Device) -> str:
    """The precision that is fast on the device, if the request's network computes in it what it does in float32."""
    fast = fast_precision(device)
    if fast != "float32" and (why := departure(request, dataset, fast)):
        note(f"{fast} is too coarse for this network ({why}): it is trained in float32")
        return "float32"
    return fast


def fast_precision(device: Device) -> str:
    """16 bits where the device has units for them. CPUs have none that are faster for all networks."""
    if device.kind == "tpu":
        return "mixed_bfloat16"
    return "mixed_float16" if device.kind == "gpu" and (device.capability or (0, 0)) >= (7, 0) else "float32"


def departure(request: TrainingRequest, dataset: Dataset, precision: str) -> str | None:
    """How the outputs or the loss of the first batch depart from those in float32, in words; None if they do not."""
    batch = dataset.train.batches(request.preprocessing, request.recipe.batch_size)
    images, labels = next(iter(batch))
    exact = request.with_recipe(replace(request.recipe, precision="float32")).build()
    if not request.start.weights:
        _normalise(exact, images)
    rounded = request.with_recipe(replace(request.recipe, precision=precision)).build()
    rounded.set_weights(exact.get_weights())
    ours, theirs = (np.asarray(by_name(network(images, training=False))[MAIN]) for network in (exact, rounded))
    if not np.isfinite(theirs).all():
        return "its outputs are not finite"
    if (apart := float(np.abs(ours - theirs).sum(axis=1).mean()) / 2) > OUTPUTS:
        return f"its probabilities differ by {apart:.2g}"
    before, after = (
        float(keras.losses.sparse_categorical_crossentropy(labels, p).numpy().mean()) for p in (ours, theirs)
    )
    return f"a loss of {after:.4g} in place of {before:.4g}" if abs(after - before) > LOSS * before else None


def _normalise(network: keras.Model, images: tf.Tensor) -> None:
    """Give batch norms the statistics of these images: untrained ones let maps grow from layer to layer."""
    norms = {layer: layer.momentum for layer in network.layers if isinstance(layer, BatchNormalization)}
    for layer in norms:
        layer.momentum = 0.0
    network(images, training=True)
    for layer, momentum in norms.items():
        layer.momentum = momentum


# ---------------------------------------------------------------------------------------------------------- batch size


def batch_size_for(request: TrainingRequest, dataset: Dataset, device: Device) -> int:
    """The batch size that suits the device: found once, then remembered in the cache folder.

    On an accelerator it is the largest power of two whose step fits into memory, on a CPU the smallest one that is
    nearly as fast as the fastest: there a larger batch saves no time. An epoch has at least `STEPS` steps.
    """
    largest = SMALLEST
    while largest < LARGEST and 2 * largest * STEPS <= len(dataset.train):
        largest *= 2
    if largest == SMALLEST:
        note(f"batch size {SMALLEST}: more would leave fewer than {STEPS} steps to an epoch", style="")
        return SMALLEST
    file = cache_directory() / "batch_sizes" / f"{_key(request, device, largest)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        if (known := json.loads(file.read_text())["batch_size"]) in _sizes(largest):
            note(f"batch size {known}, as was found before on this device", style="")
            return known
    trial = Trial(request)
    if device.kind == "cpu":
        found = fastest(trial, largest, bytes_an_image=trial.bytes_an_image)
    else:
        found = fitting(trial, largest)
    why = "is nearly as fast as any" if device.kind == "cpu" else f"is the largest that fits, of up to {largest}"
    note(f"batch size {found} {why} on this device ({device.name})", style="")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, lambda part: part.write_text(json.dumps({"batch_size": found})))
    return found


def _sizes(largest: int) -> list[int]:
    return [size for size in (2**i for i in range(16)) if SMALLEST <= size <= largest]


def _key(request: TrainingRequest, device: Device, largest: int) -> str:
    """A hash of everything that speed and memory depend on."""
    recipe = request.recipe
    fields = {
        "network": request.network,
        "arguments": {k: v for k, v in request.arguments.items() if k != "drop_path_steps"},
        "optimizer": [recipe.optimizer, dict(recipe.arguments), recipe.ema is not None],
        "precision": recipe.precision,
        "device": [device.kind, device.name, device.capability],
        "largest": largest,
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def fitting(step: Callable[[int], float], largest: int) -> int:
    """The largest batch size whose step does not run out of memory; an eighth more fits too, as a margin."""
    found = SMALLEST
    for size in _sizes(largest):
        try:
            step(size + size // 8)
        except (MemoryError, tf.errors.OpError) as error:
            if out_of_memory(error):
                break
            raise
        found = size
    return found


def fastest(step: Callable[[int], float], largest: int, *, bytes_an_image: float = 0.0) -> int:
    """The smallest batch size with nearly the best speed; the search ends where four times as many are no faster."""
    speed: dict[int, float] = {}
    found, free = SMALLEST, HALF * machine.available_memory()
    for size in _sizes(largest):
        if size > 4 * found or (speed and size * bytes_an_image > free):
            break
        speed[size] = size / step(size)
        found = min(size for size, images in speed.items() if images >= NEARLY * max(speed.values()))
    return found


class Trial:
    """Seconds of a request's training step on so many random images, from random weights."""

    def __init__(self, request: TrainingRequest):
        recipe, shape = request.recipe, request.preprocessing.input_shape
        self._mixed, self._shape, self._classes = mixes(recipe.augmentation), shape, len(request.labels)
        network = replace(request, start=Start()).build()
        compile_for(network, recipe, 1000, mixed=self._mixed)
        attach(network, recipe)
        for callback in callbacks_for(network, recipe):
            callback.set_model(network)
        outputs = [x for layer in network.layers for x in keras.tree.flatten(layer.output)]
        # Each map is kept for the backward pass, where its gradient is as large.
        self.bytes_an_image = 2.0 * sum(math.prod(x.shape[1:]) * tf.as_dtype(x.dtype).size for x in outputs)
        images, labels = (tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in self._batch(1))
        self._step = tf.function(network.train_step, input_signature=[(images, labels)], autograph=False)

    def __call__(self, size: int) -> float:
        """The fastest of a few steps, after one that is not counted."""
        batch = self._batch(size)
        times: list[float] = []
        while len(times) < 2 or (sum(times) < 1 and len(times) < 10):
            began = time.perf_counter()
            keras.tree.map_structure(float, self._step(batch))  # waits for an accelerator
            times.append(time.perf_counter() - began)
        return min(times[1:])

    def _batch(self, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        labels = tf.zeros(size, tf.int32)
        return tf.random.normal((size, *self._shape)), tf.one_hot(labels, self._classes) if self._mixed else labels


# ----------------------------------------------------------------------------------------------------------------- XLA


def jit_for(device: Device) -> bool:
    """Whether XLA compiles the training step: on an accelerator, as in Keras; on a CPU only where it is asked for.

    There it makes the steps of small networks faster, but depthwise and large convolutions many times slower, and
    compiling takes as long as hundreds of steps save (benchmarks/jit.md).
    """
    return device.kind != "cpu"
