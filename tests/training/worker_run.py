"""A training that one of several workers takes part in: `worker_run FOLDER NAME=VALUE...`, values as JSON.

`images` is a number of images that are made here, or what `train` takes; the networks of the crossings are there too.
`devices` are virtual ones, made of the CPU. `exchanges` asks how long an exchange of gradients takes, in so many.

Prints a line of JSON: the SHA-256 of all weights that this worker holds at the end of each epoch, but for the states
of random numbers, which are its own.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_inception import InputError
from keras_inception.cli.app import fail
from keras_inception.terminal import interruptible
from keras_inception.training import train
from keras_inception.training.loop import NetworkTrainer
from keras_inception.training.request import TrainingRequest

from ..crossings.networks import registered
from .images import images


def normalised(dropout: float):
    """A small network with batch norms, in place of the one that is asked for: each step takes milliseconds."""

    def build(request):
        keras.utils.set_random_seed(request.seed)
        x = inputs = keras.Input(request.arguments["input_shape"])
        for i in range(2):
            x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False, name=f"conv_{i}")(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"norm_{i}")(x))
        x = keras.layers.Dropout(dropout)(keras.layers.GlobalAveragePooling2D()(x))
        return keras.Model(inputs, keras.layers.Dense(len(request.labels), "softmax", name="predictions")(x))

    return build


def exchange(network: keras.Model, times: int) -> float:
    """Seconds in which all devices add up as many numbers as the network has gradients."""
    strategy, gradients = network.distribute_strategy, [tf.zeros(v.shape) for v in network.trainable_variables]

    @tf.function(autograph=False)
    def once() -> None:
        strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", gradients))

    once()  # traces
    began = time.monotonic()
    for _ in range(times):
        once()
    return (time.monotonic() - began) / times


def digest(arrays: list) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    folder, *settings = sys.argv[1:]
    how = {"weights": None, "size": 32, "augmentation": None, "optimizer": "SGD", "learning_rate": 0.02}
    how |= {name: json.loads(value) for name, value in (setting.split("=", 1) for setting in settings)}
    given, pause, exchanges = how.pop("images", 80), how.pop("pause", 0), how.pop("exchanges", 0)
    if (devices := how.pop("devices", 1)) > 1:
        several = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], several)
    for name, values in how.pop("by_worker", {}).items():
        how[name] = values[json.loads(os.environ["TF_CONFIG"])["task"]["index"]]
    if (dropout := how.pop("normalised", None)) is not None:
        TrainingRequest.build = normalised(dropout)
    found: dict[str, list] = {"trainable": [], "statistics": []}
    measured = NetworkTrainer.train

    def trained(self, epoch):
        began = time.monotonic()
        row = measured(self, epoch)
        if exchanges:
            found.setdefault("seconds", []).append(time.monotonic() - began)
            found["exchange"] = exchange(self.model, exchanges)
        fixed = [v for v in self.model.non_trainable_variables if v.name != "seed_generator_state"]
        found["trainable"].append(digest(self.model.trainable_variables))
        found["statistics"].append(digest(fixed))
        print(json.dumps({"epoch": epoch}), flush=True)
        time.sleep(pause)
        return row

    NetworkTrainer.train = trained
    try:
        with interruptible(), registered():
            run = train(images(given) if isinstance(given, int) else given, out=Path(folder), **how)
    except InputError as error:
        fail(str(error))
    print(json.dumps(found | {"metrics": run.metrics}), flush=True)
