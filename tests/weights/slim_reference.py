"""The TF-Slim side of a proof, run in a Python that has it: build a network, write its checkpoint, return logits.

The networks are those of research/slim in tensorflow/models, whose folder is given in PYTHONPATH. They run in
TensorFlow 2.15, the last with which TF-Slim works: it looks for `tf_keras.legacy_tf_layers`, which tf_keras has under
`tf_keras.src`, and NASNet for `tensorflow.contrib`, which ended with TensorFlow 1.
"""

import importlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
import tf_keras.src.legacy_tf_layers as legacy
from tf_keras.src.legacy_tf_layers import normalization

from .exchange import serve


class HParams(SimpleNamespace):
    """What NASNet uses of `tensorflow.contrib.training`."""

    def set_hparam(self, name: str, value: Any) -> None:
        setattr(self, name, value)


training = ModuleType("tensorflow.contrib.training")
training.HParams = HParams
sys.modules |= {
    "tf_keras.legacy_tf_layers": legacy,
    "tf_keras.legacy_tf_layers.normalization": normalization,
    "tensorflow.contrib": ModuleType("tensorflow.contrib"),
    "tensorflow.contrib.training": training,
}
sys.modules["tensorflow.contrib"].training = training

import tf_slim as slim  # noqa: E402

# network -> its module in research/slim, and its arguments for any size of image
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "inception_v1": ("inception_v1", {"global_pool": True}),
    "inception_v2": ("inception_v2", {"global_pool": True}),
    "inception_v3": ("inception_v3", {}),
    "inception_v4": ("inception_v4", {}),
    "inception_resnet_v2": ("inception_resnet_v2", {}),
    **{f"resnet_v1_{depth}": ("resnet_v1", {}) for depth in (50, 101, 152)},
    **{f"resnet_v2_{depth}": ("resnet_v2", {}) for depth in (50, 101, 152)},
    "vgg_16": ("vgg", {}),
    "vgg_19": ("vgg", {}),
    "mobilenet_v1": ("mobilenet_v1", {"global_pool": True}),
    "mobilenet": ("mobilenet.mobilenet_v2", {}),
    "build_nasnet_mobile": ("nasnet.nasnet", {}),
    "build_nasnet_large": ("nasnet.nasnet", {}),
}
SCOPES = {
    **{f"resnet_v{i}": "resnet_arg_scope" for i in (1, 2)},
    **{"vgg": "vgg_arg_scope", "mobilenet.mobilenet_v2": "training_scope"},
    **{f"inception_v{i}": f"inception_v{i}_arg_scope" for i in (1, 2, 3, 4)},
}


def build(network: str, kwargs: Mapping[str, Any], images: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The logits of TF-Slim's network, and its endpoints."""
    name, options = NETWORKS[network]
    module = importlib.import_module(f"nets.{name}")
    scope = SCOPES.get(name, f"{network.removeprefix('build_')}_arg_scope")
    inference = {"is_training": False}
    with slim.arg_scope(getattr(module, scope)(**inference if "mobilenet" in name else {})):
        own = {} if scope == "training_scope" else inference
        return getattr(module, network)(images, **options, **kwargs, **own)


def randomize(variables: list[tf.Variable], session: tf.Session) -> None:
    """Give weights of order one; see `torch_reference`. The moving statistics follow when the network runs."""
    rng = np.random.default_rng(0)
    values = {}
    for variable in variables:
        shape, name = tuple(variable.shape), variable.op.name.rpartition("/")[2]
        if name == "gamma":
            value = rng.uniform(0.75, 1.25, shape)
        elif len(shape) > 1:
            inputs = np.prod(shape[:2]) if name == "depthwise_weights" else np.prod(shape[:-1])
            quarter = 0.25 if shape[-1] in (1000, 1001) else 1.0  # a classifier
            value = quarter * rng.normal(0, np.sqrt(2 / inputs), shape)
        else:
            value = rng.normal(float(name == "beta"), 0.1, shape)
        values[variable.initializer.inputs[1]] = value.astype("float32")
    session.run([variable.initializer for variable in variables], values)


@contextmanager
def settled() -> Iterator[None]:
    """Batch norms built inside set their moving statistics before they run, so that later layers get the new output."""
    rng, call = np.random.default_rng(1), normalization.BatchNormalization.call

    def settle(norm: Any, x: tf.Tensor, training: Any = None, **kwargs: Any) -> Any:
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        variance = tf.maximum(variance, 0.05 * tf.reduce_mean(variance) + 1e-3)
        mean += rng.normal(0, 0.1, x.shape[-1]).astype("float32") * tf.sqrt(variance)
        variance *= rng.uniform(0.6, 1.6, x.shape[-1]).astype("float32")
        with tf.control_dependencies([norm.moving_mean.assign(mean), norm.moving_variance.assign(variance)]):
            return call(norm, x, training=training, **kwargs)

    normalization.BatchNormalization.call = settle
    try:
        yield
    finally:
        normalization.BatchNormalization.call = call


def save(prefix: Path, variables: Mapping[str, tf.Variable], session: tf.Session, averaged: bool, version: int) -> None:
    """Write the variables; `averaged` as moving averages, beside others and an optimizer's that must not be read."""
    tensors = {name: variable.value() for name, variable in variables.items()}
    if averaged:
        others = {name: tf.zeros_like(tensor) for name, tensor in tensors.items()}
        tensors = {f"{name}/ExponentialMovingAverage": tensor for name, tensor in tensors.items()}
        tensors |= others | {f"{name}/RMSProp": other for name, other in others.items()}
        tensors["global_step"] = tf.zeros((), tf.int64)
    names, values = list(tensors), list(tensors.values())
    if version == 1:
        session.run(tf.raw_ops.Save(filename=str(prefix), tensor_names=names, data=values))
    else:
        whole = [""] * len(names)
        session.run(tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=whole, tensors=values))


def convert(
    network: str, kwargs: Mapping[str, Any], size: tuple[int, ...], values: Mapping[str, np.ndarray], path: Path
) -> None:
    """Write the network as TensorFlow's hosted files were written: float, and beside it uint8 with one scale a tensor.

    TOCO, the converter of that time, makes both. It takes one range for all maps; the weights have their own.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, (1, *size), name="input")
        logits, endpoints = build(network, kwargs, x)
        variables = tf.global_variables()
        session.run([v.initializer for v in variables], {v.initializer.inputs[1]: values[v.op.name] for v in variables})
        for quantised in (False, True):
            predictions = endpoints.get("Predictions", tf.nn.softmax(logits))
            converter = tf.lite.TFLiteConverter.from_session(session, [x], [predictions])
            converter.experimental_new_converter = False
            if quantised:
                converter.inference_type = tf.uint8
                converter.quantized_input_stats = {"input": (127.5, 127.5)}
                converter.default_ranges_stats = (-8, 8)
                path = path.with_name(f"quant_{path.name}")
            path.write_bytes(converter.convert())


def answer(request: Mapping[str, Any], images: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    network, kwargs = request["reference"].partition(":")[2], dict(request["kwargs"])
    name, averaged, version = (kwargs.pop(key) for key in ("checkpoint", "averaged", "format"))
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, images.shape)
        with settled():
            logits, endpoints = build(network, kwargs, x)
        heads = [logits, endpoints["AuxLogits"]][: len(request["outputs"])] if "AuxLogits" in endpoints else [logits]
        randomize(tf.global_variables(), session)
        found = session.run(heads, {x: images})  # settles the statistics first, each time to the same values
        if "tflite" in request:
            values = dict(
                zip([v.op.name for v in tf.global_variables()], session.run(tf.global_variables()), strict=True)
            )
            convert(network, kwargs, images.shape[1:], values, Path(request["tflite"]))
        save(Path(folder, name), {v.op.name: v for v in tf.model_variables()}, session, averaged, version)
        with tarfile.open(request["path"], "w:gz", compresslevel=0) as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.add(file, file.name)
    outputs = {k: v.reshape(len(images), -1) for k, v in zip(request["outputs"], found, strict=True)}
    return outputs, f"tf_slim {metadata.version('tf-slim')}, tensorflow {tf.__version__}"


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # TOCO is a program there
    tf.disable_eager_execution()
    serve(answer)
