"""Keras 2 copies of Keras 3 networks: the same outputs, layer by layer, and the way back for the weights."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError
from keras_inception.export.quantization.qat import bridge, fake_quantized
from keras_inception.export.quantization.qat.quantizable import quantizable
from keras_inception.export.quantization.qat.tfmot import quiet_tfmot
from keras_inception.layers import ChannelPadding, DropPath, LocalResponseNormalization, shuffle
from keras_inception.models.fractalnet import ColumnChoice, FractalJoin
from keras_inception.registry import get

SHAPE = (12, 10, 8)


def functional(*chain):
    x = image = keras.Input(SHAPE)
    for layer in chain:
        x = layer(x)
    return keras.Model(image, x)


def merging(*merge):
    image = keras.Input(SHAPE)
    x = [image, layers.ReLU()(image), layers.Conv2D(8, 1)(image)]
    for layer in merge:
        x = layer(x)
    return keras.Model(image, x)


def with_random_weights(model):
    rng = np.random.default_rng(0)
    model.set_weights([np.abs(rng.normal(0.5, 0.4, w.shape)) + 0.05 for w in model.get_weights()])
    return model


def as_keras2(model):
    with quiet_tfmot():
        return bridge.build(bridge.plan(model))


def assert_same(model, copy):
    x = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    want = np.asarray(model(x, training=False))
    scale = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(copy.model.predict_on_batch(x) / scale, want / scale, rtol=0, atol=1e-5)


CHAINS = {
    "conv": [layers.Conv2D(6, 3, 2, "same", activation="relu")],
    "conv grouped": [layers.Conv2D(16, 3, groups=4, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0)],
    "conv dilated": [layers.Conv2D(6, 3, dilation_rate=2, activation="tanh")],
    "depthwise": [layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), layers.LeakyReLU(0.2)],
    "separable": [layers.SeparableConv2D(5, 3, 1, "same", depth_multiplier=2, activation="relu6")],
    "dense and norm": [layers.Flatten(), layers.Dense(7), layers.BatchNormalization(scale=False), layers.ReLU()],
    "lone norm": [layers.BatchNormalization(epsilon=0.1), layers.ReLU(), layers.BatchNormalization(center=False)],
    "pools": [layers.ZeroPadding2D(((0, 1), (2, 1))), layers.MaxPooling2D(3, 2, "same"), layers.AveragePooling2D(2)],
    "average of a border": [layers.AveragePooling2D(3, 1, "same"), layers.Cropping2D(((1, 0), (0, 2)))],
    "vector": [layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax")],
    "vector kept a map": [layers.GlobalMaxPooling2D(keepdims=True), layers.Conv2D(3, 1, activation="sigmoid")],
    "scaled": [layers.Rescaling(0.17), layers.Rescaling([0.1] * 8, [0.5] * 8), layers.Flatten(), layers.Rescaling(2.0)],
    "wider": [ChannelPadding(20)],
    "local response": [LocalResponseNormalization(5, 0.1, 0.75, 2.0), LocalResponseNormalization(4, 0.2, 0.6, 1.0)],
    "shuffle": [lambda x: shuffle(x, 4, name="shuffle")],
    "training only": [layers.Dropout(0.5), DropPath(0.3), layers.GaussianNoise(1.0), layers.RandomFlip()],
    **{
        kind: [layers.Conv2D(4, 1, activation=kind), layers.Activation(kind)]
        for kind in ("silu", "hard_sigmoid", "hard_silu", "sigmoid")
    },
}


@pytest.mark.parametrize("name", CHAINS)
def test_layers(name):
    model = with_random_weights(functional(*CHAINS[name]))
    assert_same(model, as_keras2(model))


@pytest.mark.parametrize("merge", [layers.Add, layers.Multiply, layers.Average, layers.Concatenate])
def test_merges(merge):
    model = with_random_weights(merging(merge()))
    assert_same(model, as_keras2(model))


def test_fractal_join():
    image = keras.Input(SHAPE)
    columns = [layers.Conv2D(4, 3, padding="same")(image) for _ in range(3)]
    model = keras.Model(image, FractalJoin(0.1)([ColumnChoice(3, 0.5)(image), *columns]))
    assert_same(model, as_keras2(model))


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_a_lone_batch_norm_as_scale_and_shift_and_back(options):
    norms = [layers.BatchNormalization(**options) for _ in range(2)]
    model = with_random_weights(functional(norms[0], layers.ReLU(), layers.Flatten(), norms[1]))
    with quiet_tfmot():
        copy = bridge.build(quantizable(bridge.plan(model)))
    assert not any(isinstance(node.layer, bridge.Norm) for node in copy.plan.nodes)
    assert_same(model, copy)
    for variable in copy.model.trainable_variables:
        variable.assign(variable * 1.1 + 0.01)
    copy.weights_to(model)
    assert_same(model, copy)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet20"])
def test_networks(name):
    model = get(name).build(input_shape=(32, 32, 3), classes=5)
    assert_same(model, as_keras2(model))


def test_trained_weights_come_back():
    chain = [layers.SeparableConv2D(5, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    model = with_random_weights(functional(*chain))
    before = model.get_weights()
    copy = as_keras2(model)
    for variable in copy.model.trainable_variables:
        variable.assign(variable * 1.5)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))  # the copy has its own
    clone = keras.models.clone_model(model)
    copy.weights_to(clone)
    assert_same(clone, copy)
    moved = [not np.array_equal(a, b) for a, b in zip(before, clone.get_weights(), strict=True)]
    assert moved == [any(w is v for v in model.trainable_variables) for w in model.weights]


@pytest.mark.parametrize("trainable", [True, False])
def test_batch_norm_that_is_not_trainable_keeps_its_statistics(trainable):
    model = with_random_weights(functional(layers.Conv2D(6, 3), layers.BatchNormalization(trainable=trainable)))
    copy, x = as_keras2(model), np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    in_training = copy.model(x, training=True).numpy()
    assert np.allclose(in_training, model(x, training=False), atol=1e-5) != trainable
    clone = keras.models.clone_model(model)
    copy.weights_to(clone)
    moved = not np.allclose(clone.layers[-1].moving_mean, model.layers[-1].moving_mean)
    assert moved == trainable


def test_constants_are_not_trained():
    model = functional(layers.Rescaling(0.1), layers.Conv2D(3, 1, name="trained"), LocalResponseNormalization())
    assert [tuple(v.shape) for v in as_keras2(model).model.trainable_variables] == [(1, 1, 8, 3), (3,)]


class Strange(layers.Layer):
    def call(self, x):
        return -x


SHARED = layers.Conv2D(8, 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: functional(Strange(name="odd")),
            "layer odd is a Strange, which .* layers of these types: .*Add",
        ),
        (
            lambda: functional(layers.Conv2D(2, 1, activation="gelu", name="c")),
            "c_activation has .*'gelu', which",
        ),
        (lambda: functional(SHARED, SHARED), "is called twice: use a layer of its own for each call"),
        (lambda: functional(lambda x: x + 1.0), "is a Add, which .* replace it with layers"),
        (lambda: functional(layers.BatchNormalization(axis=1, name="n")), "batch norm n is along the axis 1"),
        (lambda: functional(functional(layers.ReLU())), "contains the model"),
    ],
)
def test_what_cannot_be_bridged_is_named(model, message):
    with pytest.raises(InputError, match=message):
        bridge.plan(model())


def test_a_free_size_is_refused_or_given():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(image))
    with pytest.raises(InputError, match="give input_shape"):
        bridge.plan(model)
    assert bridge.plan(model, (8, 8, 3)).nodes[-1].shape == (6, 6, 2)


PROCESS = """
import json, os, sys
if len(sys.argv) > 1:
    os.environ["TF_USE_LEGACY_KERAS"] = sys.argv[1]
before = dict(os.environ)
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation")
import keras, numpy as np
from keras_inception.export.quantization.qat import bridge
import tensorflow as tf
same = dict(os.environ) == before
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
print(json.dumps({"same": same, "keras": keras.__version__, "tf.keras": tf.keras.__version__,
                  "fits": type(model).__module__.split(".")[0]}))
"""


@pytest.mark.parametrize("variable", [[], ["0"]], ids=["unset", "0"])
def test_the_process_keeps_its_keras_and_its_environment(variable):
    done = subprocess.run([sys.executable, "-c", PROCESS, *variable], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"same": True, "keras": keras.__version__, "tf.keras": keras.__version__, "fits": "keras"}


LEGACY = """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import keras_inception
from keras_inception.export.quantization.qat import bridge
model = keras_inception.LeNet5(classes=3, weights=None)
print(bridge.build(bridge.plan(model)).model.output_shape, os.environ["TF_USE_LEGACY_KERAS"])
"""


def test_legacy_keras_in_the_environment_does_not_matter():
    done = subprocess.run([sys.executable, "-c", LEGACY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "(None, 3) 1"


def test_observing_is_of_one_copy():
    """A copy that is observed does not change how another one rounds."""
    model = with_random_weights(functional(layers.Conv2D(6, 3), layers.ReLU()))
    x = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    with quiet_tfmot():
        first, second = (fake_quantized.fake_quantized(bridge.plan(model)) for _ in range(2))
    fake_quantized.observe(first, [x])
    before = first.model(x).numpy()
    seen = []

    def batches():
        yield x
        seen.append(first.model(x).numpy())

    fake_quantized.observe(second, batches())
    np.testing.assert_array_equal(seen[0], before)


GROUPED = """
import numpy as np, keras
from keras import layers
from keras_inception import export
from keras_inception.layers import LocalResponseNormalization
x = image = keras.Input((6, 6, 4))
for layer in (layers.Conv2D(4, 3, groups=2, activation="relu"), LocalResponseNormalization(), layers.Flatten()):
    x = layer(x)
model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
images = np.ones((4, 6, 6, 4), "float32"), np.arange(4) % 2
export.prune(model, images, sparsity=0.5, training=export.FineTuning(epochs=1, batch_size=4))
"""


def test_a_response_norm_after_a_grouped_convolution_trains_with_onednn():
    """In a process of its own: TensorFlow would end it."""
    with_onednn = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run([sys.executable, "-c", GROUPED], capture_output=True, text=True, check=False, env=with_onednn)
    assert done.returncode == 0, done.stderr[-2000:]
