"""Models that this package did not build: each road exports them with full agreement, or refuses them in one line."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_inception import Preprocessing, export
from keras_inception.errors import InputError
from keras_inception.export.optimize import Graph
from keras_inception.export.optimize.simplify import AUGMENTATION
from keras_inception.export.tflite.flatbuffer import float_operators
from keras_inception.model_graph import call_of

IMAGES = 60
AS_IT_IS = Preprocessing(size=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)


def images(shape, dtype):
    """Noise around a dark or a bright grey, and which of the two: (n, *shape) and (n,)."""
    rng, y = np.random.default_rng(0), np.arange(IMAGES) % 2
    shape = [16 if side is None else side for side in shape]
    x = 0.3 * rng.normal(size=(IMAGES, *shape)) + np.where(y, 1, -1).reshape(-1, *[1] * len(shape))
    return (np.clip(127 + 60 * x, 0, 255) if "int" in dtype else x).astype(dtype), y


def taught(model):
    """The model with a last dense layer that is sure of these images."""
    call = call_of(model.outputs[0])
    while not isinstance(call.operation, layers.Dense):
        call = call_of(call.inputs[0])
    x, y = images(model.inputs[0].shape[1:], model.inputs[0].dtype)
    features = keras.Model(model.inputs[0], call.inputs[0])
    batch = model.inputs[0].shape[0] or IMAGES
    seen = np.concatenate([np.float64(features(x[i : i + batch])) for i in range(0, IMAGES - batch + 1, batch)])
    dark, bright = seen[y[: len(seen)] == 0].mean(0), seen[y[: len(seen)] == 1].mean(0)
    slope = 8 * (bright - dark) / np.sum((bright - dark) ** 2)
    kernel, bias = slope[:, np.newaxis], -slope @ (dark + bright)[np.newaxis].T / 2
    if call.operation.units > 1:
        kernel, bias = kernel * [-0.5, 0.5], bias * [-0.5, 0.5]
    getattr(call.operation, "_kernel", call.operation.kernel).assign(kernel)
    call.operation.bias.assign(bias)
    return model


def image(dtype=None, **shape):
    return keras.Input(**(shape or {"shape": (16, 16, 3)}), dtype=dtype)


def classes(x, units=2):
    return layers.Dense(units, activation="softmax" if units > 1 else "sigmoid")(layers.GlobalAveragePooling2D()(x))


def through(*before, dtype=None, units=2, **shape):
    """Layers, then a convolution and a classifier."""
    x = inputs = image(dtype, **shape)
    for layer in (*before, layers.Conv2D(4, 3, activation="relu"), layers.Activation("relu")):
        x = layer(x)
    return taught(keras.Model(inputs, classes(x, units)))


def transfer():
    """The model of Keras' guide to transfer learning: a model of augmentations and a backbone in it, two deep."""
    inputs, inner = image("uint8"), image()
    x = keras.Sequential([layers.RandomFlip(), layers.RandomZoom(0.1)], name="augmentation")(inputs)
    x = layers.Rescaling(1 / 127.5, -1)(x)
    block = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()], name="block")
    x = keras.Model(inner, block(inner), name="backbone")(x, training=False)
    return taught(keras.Model(inputs, classes(layers.Dropout(0.2)(x))))


def bytes_to_floats():
    """A model of floats called on bytes, which it converts."""
    inner = keras.Sequential([image(), layers.Conv2D(4, 3), layers.ReLU()])
    inputs = image("uint8")
    return taught(keras.Model(inputs, classes(inner(inputs))))


def operations():
    inputs = image("uint8")
    x = layers.Conv2D(4, 3)(ops.cast(inputs, "float32") / 127.5 - 1.0)
    x = ops.relu(1.0 - x * np.float32([1, 2, 1, -2]))
    return taught(keras.Model(inputs, classes(x + ops.sigmoid(x) * 2.0)))


def fitted_without_input():
    model = keras.Sequential([layers.Conv2D(4, 3), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = images((16, 16, 3), "float32")
    model.fit(x[:32], y[:32], verbose=0)
    assert model.input_shape[0] == 32
    return taught(model)


def of_policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return through(layers.BatchNormalization())
    finally:
        keras.config.set_dtype_policy(before)


def binary_after_activation():
    inputs = image()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    return taught(keras.Model(inputs, layers.Activation("sigmoid")(layers.Dense(1)(x))))


def odd_names():
    inputs = image()
    x = layers.Conv2D(4, 3, name="Schicht ä 1")(inputs)
    x = layers.GlobalAveragePooling2D(name="平均")(layers.BatchNormalization(name="norm: 2")(x))
    return keras.Model(inputs, layers.Dense(2, name="_end (é)")(x), name="mein Modell")


def outputs(**units):
    inputs = image()
    x = layers.Conv2D(4, 3)(inputs)
    return keras.Model(inputs, {name: classes(x, count) for name, count in units.items()})


def shared():
    inputs, twice = image(), keras.Sequential([image(), layers.Conv2D(3, 3, padding="same")])
    return taught(keras.Model(inputs, classes(twice(twice(inputs)))))


def channels_first():
    inputs, form = keras.Input((3, 16, 16)), {"data_format": "channels_first"}
    x = layers.MaxPooling2D(2, **form)(layers.Conv2D(4, 3, activation="relu", **form)(inputs))
    return taught(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D(**form)(x))))


def sequence(*between, end=None):
    inputs = image()
    x = layers.Reshape((16, 48))(inputs)
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x if end is None else end(x)))


def attention():
    inputs = image()
    x = layers.Reshape((16, 48))(inputs)
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x))
    return taught(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))))


def volume():
    inputs = keras.Input((8, 8, 8, 1))
    x = layers.Conv3D(4, 3, activation="relu")(inputs)
    return taught(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling3D()(x))))


def segmentation():
    inputs = image()
    x = layers.Conv2D(4, 3, 2, padding="same", activation="relu")(inputs)
    x = layers.Conv2DTranspose(4, 3, 2, padding="same")(layers.UpSampling2D(2, interpolation="bilinear")(x))
    return keras.Model(inputs, layers.Conv2D(3, 1, strides=2)(x))


def two_images():
    left, right = image(), image()
    return keras.Model([left, right], classes(layers.Add()([left, right])))


def strings():
    inputs = keras.Input((1,), dtype="string")
    codes = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")(inputs)
    return keras.Model(inputs, layers.Dense(2)(codes))


def quantized():
    model = through()
    with warnings.catch_warnings(action="ignore"):  # of layers that it leaves as they are
        model.quantize("int8")
    return model


def lora():
    inputs = image()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    return taught(keras.Model(inputs, layers.Dense(2, lora_rank=1)(x)))


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    def call(self, x):
        return x * 2


class Subclassed(keras.Model):
    def call(self, x):
        return ops.mean(x, (1, 2))


FLOAT, INT8, QAT, SERVER, OPTIMIZE = "none", "int8", "qat", "saved_model", "optimize"
ROADS = FLOAT, INT8, QAT, SERVER, OPTIMIZE


@dataclass(frozen=True)
class Kind:
    """How a kind of model is built, what each road answers that refuses it, and the roads that the quick tests take."""

    build: Callable[[], keras.Model]
    refused: dict[str, str] = field(default_factory=dict)
    quick: tuple[str, ...] = (OPTIMIZE,)


def everywhere(words, *but):
    return dict.fromkeys(set(ROADS) - {*but}, words)


def no_qat(layer):
    return {QAT: f"is a {layer}, which cannot be trained quantised"}


PHONES = FLOAT, INT8
UNROLL = dict.fromkeys(PHONES, "give unroll=True to recurrent layers")
LAMBDA = "is a Lambda, whose code no file can hold"

KINDS = {
    "uint8, Rescaling": Kind(lambda: through(layers.Rescaling(1 / 255), dtype="uint8"), quick=(FLOAT, SERVER)),
    "uint8, Normalization": Kind(
        lambda: through(layers.Normalization(mean=[99, 90, 80], variance=[60**2, 70**2, 80**2]), dtype="uint8"),
    ),
    "uint8, augmented, models in models": Kind(transfer, quick=(FLOAT, INT8, QAT)),
    "uint8, a model of floats": Kind(bytes_to_floats, quick=(FLOAT,)),
    "uint8, operations": Kind(operations, quick=(INT8,)),
    "int32": Kind(lambda: through(layers.RandomFlip(), layers.Rescaling(1 / 255), dtype="int32"), quick=(SERVER,)),
    "Normalization": Kind(lambda: through(layers.Normalization(mean=[1, 2, 3], variance=[4, 5, 6]))),
    "fitted without Input": Kind(fitted_without_input, quick=(FLOAT,)),
    "a fixed batch": Kind(lambda: through(batch_shape=(20, 16, 16, 3)), quick=(SERVER,)),
    "a free size": Kind(lambda: through(shape=(None, None, 3)), dict.fromkeys((*PHONES, QAT), "give preprocessing=")),
    "one sigmoid": Kind(lambda: through(units=1)),
    "a sigmoid after its dense layer": Kind(binary_after_activation),
    "mixed_float16": Kind(lambda: of_policy("mixed_float16")),
    "mixed_bfloat16": Kind(lambda: of_policy("mixed_bfloat16")),
    "float64": Kind(lambda: of_policy("float64")),
    "a float64 input": Kind(lambda: through(dtype="float64"), quick=(FLOAT,)),
    "odd names": Kind(odd_names, quick=(SERVER,)),
    "a dict of one": Kind(lambda: outputs(scores=2)),
    "a dict with predictions": Kind(lambda: outputs(predictions=2, other=3)),
    "a dict without": Kind(lambda: outputs(boxes=2, scores=3), everywhere("2 outputs (boxes, scores)", OPTIMIZE)),
    "shared layers": Kind(shared, {QAT: "is called twice"}),
    "channels first": Kind(channels_first, {QAT: "has channels first"}),
    "attention": Kind(attention, no_qat("MultiHeadAttention")),
    "GRU": Kind(lambda: sequence(layers.GRU(4)), UNROLL | no_qat("GRU"), quick=(*PHONES, OPTIMIZE)),
    "LSTM": Kind(lambda: sequence(layers.Bidirectional(layers.LSTM(4))), UNROLL | no_qat("Bidirectional")),
    "LSTM, unrolled": Kind(lambda: sequence(layers.LSTM(2, unroll=True)), no_qat("LSTM")),
    "Conv1D": Kind(
        lambda: taught(sequence(layers.Conv1D(4, 3), end=layers.GlobalAveragePooling1D())), no_qat("Conv1D")
    ),
    "Conv3D": Kind(volume, no_qat("Conv3D")),
    "a map of outputs": Kind(segmentation, no_qat("UpSampling2D"), quick=(FLOAT,)),
    "LoRA": Kind(lora, {QAT: "has LoRA weights"}),
    "a registered layer": Kind(lambda: through(Doubled()), no_qat("Doubled")),
    "two inputs": Kind(two_images, everywhere("has 2 inputs", OPTIMIZE), quick=ROADS),
    "strings": Kind(strings, everywhere("takes strings", OPTIMIZE), quick=(FLOAT, INT8, QAT, SERVER)),
    "quantised by Keras": Kind(quantized, everywhere("is quantised to int8", OPTIMIZE), quick=(FLOAT, INT8, QAT)),
    "Lambda": Kind(lambda: through(layers.Lambda(lambda x: 2 * x)), everywhere(LAMBDA), quick=ROADS),
    "subclassed": Kind(Subclassed, everywhere("is not a functional model"), quick=ROADS),
}

QUICK = [(name, road) for name, kind in KINDS.items() for road in kind.quick]
SLOW = [(name, road) for name in KINDS for road in ROADS if (name, road) not in QUICK]


def exported(model, road, x, y, path, **options):
    """The file that a road writes."""
    if road == SERVER:
        return export.to_saved_model(model, path, **options)
    if road == QAT:
        settings = export.FineTuning(epochs=1, learning_rate=1e-6)
        return export.quantize_aware(model, (x, y), path, training=settings, **options).path
    if road == INT8:
        options["calibration"] = x
    return export.to_tflite(model, path, quantization=road, **options)


@pytest.mark.parametrize(("name", "road"), [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)])
def test_kind(name, road, tmp_path):
    keras.utils.set_random_seed(0)
    kind, path = KINDS[name], tmp_path / "file"
    try:
        model = kind.build()
    except tf.errors.UnimplementedError:
        pytest.skip("TensorFlow computes channels-first convolutions on this processor only with oneDNN")
    [given, *_] = model.inputs if getattr(model, "inputs", None) else [image()]
    x, y = images(given.shape[1:], given.dtype) if given.dtype != "string" else (np.array([["x"]]), np.zeros(1, int))
    if road in kind.refused:
        with pytest.raises(InputError) as caught:
            export.optimize(model) if road == OPTIMIZE else exported(model, road, x, y, path)
        assert kind.refused[road] in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    if road == OPTIMIZE:
        export.optimize(model)  # that it computes the same, the other roads and test_optimize show
        return
    measured = export.agreement(exported(model, road, x, y, path), model, x)
    if road in (FLOAT, SERVER):
        assert measured.max_difference < (1e-2 if "mixed" in name else 1e-5)
    if name != "a map of outputs":  # whose positions are not sure
        assert measured.agreement == 1.0
    if road in (INT8, QAT) and name not in ("attention", "Conv3D"):
        assert not float_operators(path.read_bytes())
    if road in (FLOAT, INT8, QAT):
        assert export.doctor(path).ready


# ---------------------------------------------------------------------------------------------------- two labels


@pytest.mark.parametrize(
    ("build", "road"),
    [
        (lambda: through(units=1), SERVER),
        (binary_after_activation, INT8),
        pytest.param(lambda: through(units=1), QAT, marks=pytest.mark.slow),
    ],
)
def test_two_labels_for_a_sigmoid(build, road, tmp_path):
    model = build()
    x, y = images((16, 16, 3), "float32")
    path = exported(model, road, x, y, tmp_path / "file", labels=["no", "yes"])
    measured = export.agreement(path, model, (x, y))
    assert measured.agreement == measured.top1 == measured.keras_top1 == 1.0
    assert measured.max_difference < (0.01 if road in (INT8, QAT) else 1e-6)


def test_two_labels_need_a_sigmoid(tmp_path):
    inputs = image()
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(InputError, match=r"two for a single sigmoid"):
        export.to_tflite(model, tmp_path / "m.tflite", labels=["no", "yes"])


# ------------------------------------------------------------------------------------------------- bytes and pixels


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_preprocessing_in_front_of_integers(dtype, tmp_path):
    """A resized image is not of whole numbers: nothing is cut off."""
    model = through(layers.Rescaling(1 / 255), dtype=dtype)
    x, y = images((16, 16, 3), dtype)
    path = export.to_tflite(model, tmp_path / "m.tflite", preprocessing=AS_IT_IS, labels=["dark", "bright"])
    assert export.doctor(path).signatures == {
        "serving_default": "pixels FLOAT32 1x16x16x3 -> probabilities FLOAT32 1x2"
    }
    assert export.agreement(path, model, (x, y)).max_difference < 1e-5


def test_bytes_at_the_edge_have_a_scale_of_one(tmp_path):
    model = through(layers.Rescaling(1 / 255), dtype="uint8")
    x, _ = images((16, 16, 3), "uint8")
    path = export.to_tflite(model, tmp_path / "m.tflite", quantization="int8", calibration=x // 2, edge="uint8")
    from ai_edge_litert.interpreter import Interpreter

    [given] = Interpreter(model_path=str(path)).get_input_details()
    assert given["dtype"] is np.uint8
    assert given["quantization"] == (1.0, 0)


# ------------------------------------------------------------------------------------------------------ the graph


@pytest.mark.parametrize("kind", AUGMENTATION, ids=lambda kind: kind.__name__)
def test_augmentations_do_nothing_in_inference(kind):
    count = sum(p.default is p.empty for p in inspect.signature(kind).parameters.values() if p.name != "kwargs")
    layer = kind(*[4 if kind is layers.RandomPosterization else 0.2] * count)
    x = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_a_cast_outlives_the_layers_around_it():
    model = through(layers.RandomFlip(), layers.Rescaling(1 / 255), dtype="uint8")
    optimized = export.optimize(model)
    assert not any(isinstance(layer, layers.RandomFlip | layers.Rescaling) for layer in optimized.layers)
    assert optimized.inputs[0].dtype == "uint8"
    x, _ = images((16, 16, 3), "uint8")
    np.testing.assert_allclose(optimized(x), model(x, training=False), atol=1e-6)
    again = export.optimize(optimized)
    np.testing.assert_allclose(again(x), model(x, training=False), atol=1e-6)


def test_names_are_cleaned_for_tensorflow():
    names = {layer.name for layer in Graph(odd_names()).model().layers}
    assert {"Schicht___1", "norm__2", "layer__", "layer_end____"} <= names


# -------------------------------------------------------------------------------------------------------- Keras 2


@pytest.fixture(scope="module")
def keras2():
    tfmot = pytest.importorskip("keras_inception.export.quantization.qat.tfmot", reason="needs the extra qat")
    return tfmot.tf_keras


class Depthwise(keras.layers.DepthwiseConv2D):  # as the troubleshooting page shows it
    def __init__(self, *, groups=1, **config):
        super().__init__(**config)


@pytest.mark.parametrize("depthwise", [False, True])
def test_keras_2(keras2, depthwise, tmp_path):
    kind = keras2.layers.DepthwiseConv2D(3) if depthwise else keras2.layers.Conv2D(4, 3)
    pool = keras2.layers.GlobalAveragePooling2D()
    model = keras2.Sequential(
        [keras2.layers.InputLayer((16, 16, 3)), kind, keras2.layers.BatchNormalization(), pool, keras2.layers.Dense(2)]
    )
    path = tmp_path / "model.h5"
    with pytest.warns(UserWarning, match="legacy"):
        model.save(path)
    with pytest.raises(InputError, match=r"of Keras 2 \(tf_keras\): save it as model.h5"):
        export.to_tflite(model, tmp_path / "m.tflite")
    with pytest.raises(InputError, match=r"is a file: give the model, keras.models.load_model\("):
        export.to_tflite(path, tmp_path / "m.tflite")
    if depthwise:
        with pytest.raises(TypeError, match="DepthwiseConv2D"):
            keras.models.load_model(path, compile=False)
    loaded = keras.models.load_model(path, compile=False, custom_objects={"DepthwiseConv2D": Depthwise})
    x, _ = images((16, 16, 3), "float32")
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-5)
    assert export.agreement(export.to_tflite(loaded, tmp_path / "m.tflite"), loaded, x).max_difference < 1e-5
