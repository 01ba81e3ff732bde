"""SavedModels in TensorFlow's quantised kernels: what each operator computes, which stay in float, what is refused."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_inception import InputError, Preprocessing, export
from keras_inception.export import saved_model
from keras_inception.export.comparison import snr
from keras_inception.export.runtimes import benchmark, int8_in_float, processor, runners
from keras_inception.layers import DropPath

from .test_optimize import scrambled

PREPROCESSING = Preprocessing(size=(16, 16), mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))


def conv(filters=8, size=3, activation="relu", **options):
    return layers.Conv2D(filters, size, padding="same", activation=activation, **options)


def inception(x):
    """Two blocks: the second pools and joins what the first has joined."""
    for _ in range(2):
        pooled = conv(4, 1, "linear")(layers.AveragePooling2D(3, 1, "same")(x))
        x = layers.Concatenate()([conv()(x), layers.MaxPooling2D(3, 1, "same")(conv()(x)), layers.ReLU()(pooled)])
        x = layers.Concatenate()([conv(8, 3, strides=2)(x), layers.MaxPooling2D(3, 2, "same")(x)])
    return x


def residual(x):
    x = conv()(x)
    y = layers.ReLU()(layers.BatchNormalization()(conv(8, 3, "linear", use_bias=False)(x)))
    y = layers.BatchNormalization()(conv(8, 3, "linear", use_bias=False)(y))
    return layers.ReLU()(layers.Add()([x, DropPath(0.1)(y)]))


def inverted(x):
    """Signed maps between blocks, ReLU6 within."""
    for _ in range(2):
        y = layers.ReLU(6)(layers.BatchNormalization()(conv(24, 1, "linear")(x)))
        y = layers.ReLU(6)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y)))
        x = layers.BatchNormalization()(conv(8, 1, "linear")(y))
    return x


def bottleneck(x):
    """1x1 convolutions that give float32: with strides, with activations, and in sums as one summand or both."""
    shortcut, y = conv(8, 1, "linear", strides=2)(x), conv(8, 1, "relu6", strides=2)(x)
    x = layers.ReLU()(layers.Add()([shortcut, conv(8, 1, "linear")(conv()(y))]))
    x = layers.Add()([conv(8, 1, "linear")(x), x])
    x = layers.Add()([conv(8, 1, "silu")(x), x])
    return layers.Multiply()([conv(8, 1, "relu")(x), x])


def dense_block(x):
    for _ in range(3):
        y = conv(8, 3, "linear")(layers.ReLU()(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, y])
    return layers.ReLU()(layers.BatchNormalization()(x))


def convolutions(x):
    """Each activation, a stride, holes, and the reading of a signed map."""
    for options in ({}, {"activation": "relu6", "strides": 2}, {"activation": "linear"}, {"dilation_rate": 2}):
        x = conv(**options)(x)
    return conv(activation="silu")(x)


def in_float(x):
    """What has no kernel, between convolutions: groups, a transposed convolution, a layer that is called twice."""
    twice = conv()
    x = conv(groups=4)(conv()(x))
    return twice(twice(layers.Conv2DTranspose(8, 3)(conv()(x))))


# Each network of maps, and how many kernels of each kind the file has: those of int8, and what is in float32.
NETWORKS = {
    "convolutions": (convolutions, {"Quantized": 5}),
    "inception": (inception, {"Quantized": 11}),
    "residual": (residual, {"Quantized": 3}),
    "bottleneck": (bottleneck, {"Quantized": 8}),  # one is a pool, which takes a stride
    "inverted": (inverted, {"Quantized": 4, "DepthwiseConv2dNative": 2}),
    "separable": (lambda x: layers.SeparableConv2D(8, 3)(conv()(x)), {"Quantized": 2, "DepthwiseConv2dNative": 1}),
    "small numbers": (lambda x: conv()(layers.MaxPooling2D(3, 2)(conv()(x / 1000)) / 1000), {"Quantized": 2}),
    "dense block": (dense_block, {"Quantized": 3}),
    "in float": (in_float, {"Quantized": 2, "Conv2D": 3, "Conv2DBackpropInput": 1}),
}
COUNTED = "Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul"


def network(name):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.AveragePooling2D(4)(NETWORKS[name][0](image)))
    return scrambled(keras.Model(image, layers.Dense(10)(x)))


def pixels(n, seed):
    """Smooth images, each of its own."""
    small = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3)).astype(np.float32)
    return tf.image.resize(small, (16, 16)).numpy().astype(np.uint8)


@pytest.fixture(scope="module")
def inputs():
    return PREPROCESSING(pixels(40, 0))


@pytest.fixture(scope="module")
def files(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    return {
        name: (model, export.to_saved_model(model, folder / str(i), precision="int8", calibration=inputs))
        for i, name in enumerate(NETWORKS)
        for model in [network(name)]
    }


def operators(path):
    content = tf.saved_model.load(str(path)).signatures["serving_default"].graph.as_graph_def()
    return [node.op for function in content.library.function for node in function.node_def]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_carried(name, files, inputs):
    model, path = files[name]
    found = operators(path)
    kernels = [op for op in found if op in int8_in_float.KERNELS]
    expected = {"Quantized": 0, **dict.fromkeys(COUNTED, 0)} | NETWORKS[name][1]
    expected["Quantized"] += 1  # the dense layer
    assert {"Quantized": len(kernels)} | {op: found.count(op) for op in COUNTED} == expected
    opened = runners.open_file(path)
    assert opened.format == "saved_model int8"
    held_out = PREPROCESSING(pixels(40, 1))
    want, got = model(held_out, training=False).numpy(), opened.runners["input"](held_out)
    assert snr(want, got) > 27
    assert not np.array_equal(want, got)


LOADED = """
import sys
import numpy as np, tensorflow as tf
x = np.load(sys.argv[1])
for path in sys.argv[2:]:
    [output] = tf.saved_model.load(path).signatures["serving_default"](tf.constant(x)).values()
    np.save(f"{path}/got.npy", output.numpy())
"""


def test_tensorflows_own_kernels_compute_the_same(files, inputs, tmp_path):
    np.save(tmp_path / "x.npy", inputs)
    paths = [str(path) for _, path in files.values()]
    command = [sys.executable, "-c", LOADED, str(tmp_path / "x.npy"), *paths]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (_, path) in files.items():
        want, got = (
            int8_in_float.load(path).signatures["serving_default"](tf.constant(inputs)),
            np.load(path / "got.npy"),
        )
        [want] = (output.numpy() for output in want.values())
        bar = 35 if processor.sums_exactly() else 12  # without VNNI oneDNN halves signed numbers, and sums overflow
        assert snr(want, got) > bar, name


@pytest.mark.slow
def test_benchmark_turns_onednn_on(files):
    _, path = files["inverted"]
    with benchmark._worker_of(str(path), "tensorflow", 1) as ask:
        assert ask("turn").startswith("[")


def test_sums_are_of_whole_numbers(inputs, tmp_path):
    """A convolution alone, computed in integers by NumPy."""
    image = keras.Input((16, 16, 3))
    model = scrambled(keras.Model(image, layers.Conv2D(4, 1)(image)))
    path = export.to_saved_model(model, tmp_path / "one", precision="int8", calibration=inputs)
    kernel, bias = (v.numpy().astype(np.float64) for v in model.layers[1].weights)
    steps = np.abs(kernel).max((0, 1, 2)) / 127
    step = np.abs(inputs).max() / 127
    codes = np.round(inputs / step)
    want = codes @ np.round(kernel / steps)[0, 0] * (step * steps)
    got = runners.open_file(path).runners["input"](inputs)
    shift = np.median(got - want, (0, 1, 2))  # the bias, and its correction by what rounding the kernel costs
    assert np.quantile(np.abs(got - shift - want), 0.99) < 1e-5  # a number halfway between codes gets either
    np.testing.assert_allclose(shift, bias, atol=0.05)


def test_large_weights_in_float_stay_variables(files, inputs, tmp_path, monkeypatch):
    model, constants = files["inverted"]
    monkeypatch.setattr(saved_model, "FREEZE_BELOW", 0)
    path = export.to_saved_model(model, tmp_path / "large", precision="int8", calibration=inputs)
    assert operators(path).count("ReadVariableOp") == 4  # the kernels and biases of two depthwise convolutions
    found = [runners.open_file(p).runners["input"](inputs) for p in (path, constants)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_quarter_of_the_size(inputs, tmp_path):
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Dense(10)(layers.Flatten()(conv(256, 4, strides=4)(conv(256, 3)(image)))))
    sizes = [
        runners.size_of(export.to_saved_model(model, tmp_path / str(i), **options))
        for i, options in enumerate([{}, {"precision": "int8", "calibration": inputs}])
    ]
    assert sizes[1] - sizes[0] / 4 < 60_000


@pytest.mark.slow
def test_signatures_and_record(files, tmp_path):
    model, _ = files["inception"]
    labels = [f"class {i}" for i in range(10)]
    given = {"labels": labels, "preprocessing": PREPROCESSING, "calibration": PREPROCESSING(pixels(60, 0))}
    path = export.to_saved_model(model, tmp_path / "named", precision="int8", **given)
    loaded = int8_in_float.load(path)
    assert set(loaded.signatures) == {"image", "encoded", "preprocessed", "serving_default"}
    record = runners.saved_model_record(path)
    assert (record.labels, record.preprocessing) == (tuple(labels), PREPROCESSING)
    assert record.calibration["images"] == 60
    image = pixels(5, 1)
    found = loaded.signatures["image"](image=tf.constant(image))
    again = loaded.signatures["preprocessed"](input=tf.constant(PREPROCESSING(image)))
    np.testing.assert_allclose(found["output"], again["output"], atol=1e-5)
    assert found["label"].numpy().tolist() == [labels[i].encode() for i in found["output"].numpy().argmax(-1)]


@pytest.mark.parametrize(("options", "says"), [
    ({"precision": "int8"}, r"needs calibration=: some hundred typical images"),
    ({"calibration": np.zeros((9, 16, 16, 3))}, "calibration= is for int8"),
    ({"precision": "bfloat16", "calibration": np.zeros((9, 16, 16, 3))}, "calibration= is for int8"),
    ({"precision": "int8", "calibration": np.eye(8)[None, ..., None] * np.ones((2, 1, 1, 3))}, "calibration is one"),
    ({"precision": "int8", "jit_compile": True}, "XLA does not compile TensorFlow's int8 kernels"),
])  # fmt: skip
def test_what_is_refused(options, says, tmp_path):
    with pytest.raises(InputError, match=says):
        export.to_saved_model(network("residual"), tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def test_openvino_does_not_read_it(files, monkeypatch):
    monkeypatch.setattr(runners, "need", lambda *names: None)
    with pytest.raises(InputError, match="which OpenVINO does not read"):
        runners.open_file(files["residual"][1], "openvino")
