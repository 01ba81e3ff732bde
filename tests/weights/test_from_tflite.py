"""`weights.from_tflite`: a `.tflite` file back into the float network that it was converted from."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import Add, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePooling2D, Input, ReLU

from keras_inception import InputError, MobileNetV1, decode_predictions, preprocess_input
from keras_inception.weights import from_tflite

IMAGES = np.random.default_rng(0).normal(size=(16, 12, 12, 3)).astype("float32")


def network(classes: int = 4, width: int = 8, dense: bool = True) -> keras.Model:
    """Every kind of layer that is read, each with other weights than the last time."""
    x = inputs = Input((12, 12, 3))
    x = ReLU(6.0)(BatchNormalization()(Conv2D(width, 3, 2, padding="same", use_bias=False)(x)))
    y = ReLU(6.0)(BatchNormalization(scale=False)(DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
    y = BatchNormalization()(Conv2D(width, 1, groups=2)(y))  # grouped, and a bias before batch norm
    x = GlobalAveragePooling2D(keepdims=not dense)(Add()([y, x]))
    x = Dense(classes)(x) if dense else keras.layers.Flatten()(Conv2D(classes, 1)(x))
    model = keras.Model(inputs, x, name="network")
    rng = np.random.default_rng()
    for w in model.weights:
        low, high = (0.5, 1.5) if w.path.endswith(("gamma", "variance")) else (-0.5, 0.5)
        w.assign(rng.uniform(low, high, w.shape))
    return model


def convert(model: keras.Model, path: Path, *, kind: str = "float32") -> Path:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: ([image[None]] for image in IMAGES)
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def source() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def file(source: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(source, tmp_path_factory.mktemp("tflite") / "float32.tflite")


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")  # the converter, of its own default
@pytest.mark.parametrize(
    ("kind", "tolerance"), [("float32", 1e-5), ("float16", 1e-3), ("dynamic", 0.05), ("int8", 0.05)]
)
def test_a_converted_network_comes_back(source: keras.Model, tmp_path: Path, kind: str, tolerance: float) -> None:
    model = network()
    expected = source.predict_on_batch(IMAGES)
    assert np.abs(model.predict_on_batch(IMAGES) - expected).max() > 0.5  # the test can fail
    from_tflite(model, convert(source, tmp_path / f"{kind}.tflite", kind=kind))
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), expected, rtol=0, atol=tolerance)
    in_training = np.asarray(model(IMAGES, training=True))  # its batch norms have no statistics to renew
    np.testing.assert_allclose(in_training, expected, rtol=0, atol=tolerance)


def test_dense_and_1x1_convolution_are_the_same(source: keras.Model, file: Path) -> None:
    model = network(dense=False)
    from_tflite(model, file)
    expected = source.predict_on_batch(IMAGES)
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), expected, rtol=0, atol=1e-5)


def test_background_class_is_left_out(source: keras.Model, file: Path) -> None:
    model = network(classes=3)
    from_tflite(model, file)
    expected = source.predict_on_batch(IMAGES)[:, 1:]
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: network(width=16), r"layer 1 of 4 is .* \(3, 3, 3, 8\), network's of 4 is conv2d.* \(3, 3, 3, 16\)"),
        (lambda: network(classes=5), r"layer 4 of 4 is .* \(1, 1, 8, 4\), network's of 4 is dense.* \(1, 1, 8, 5\)"),
        (lambda: headless(), r"layer 4 of 4 is .* \(1, 1, 8, 4\), network's of 3 is nothing"),
        (lambda: forked(), r"is not one path: right does not follow left"),
        (lambda: normed_first(), r"not first"),
    ],
)
def test_another_network_is_refused_and_left_alone(file: Path, build: Callable[[], keras.Model], message: str) -> None:
    model = build()
    before = model.get_weights()
    with pytest.raises(InputError, match=message) as raised:
        from_tflite(model, file)
    assert "\n" not in str(raised.value)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_preprocessing_and_labels_of_a_thousand_classes(tmp_path: Path) -> None:
    model = network(classes=1000)
    from_tflite(model, convert(model, tmp_path / "float32.tflite"))
    picture = np.full((20, 20, 3), 255, np.uint8)
    np.testing.assert_array_equal(preprocess_input(picture, model), np.ones((12, 12, 3)))
    best = decode_predictions(np.eye(1000)[:1], model, top=1)
    assert best == [[("n01440764", "tench", 1.0)]]


def test_a_file_of_bytes_says_how_pixels_are_scaled(data_folder: Path) -> None:
    model = MobileNetV1(alpha=0.25, input_shape=(128, 128, 3))
    from_tflite(model, data_folder / "mobilenet_v1_0.25_128_quant.tflite")
    prepared = preprocess_input(np.full((128, 128, 3), 128, np.uint8), model)
    np.testing.assert_allclose(prepared, 0, atol=0.01)


def headless() -> keras.Model:
    model = network()
    return keras.Model(model.input, model.layers[-2].output, name="network")


def forked() -> keras.Model:
    inputs = Input((12, 12, 3))
    return keras.Model(inputs, Add()([Conv2D(8, 3, name="left")(inputs), Conv2D(8, 3, name="right")(inputs)]))


def normed_first() -> keras.Model:
    inputs = Input((12, 12, 3))
    return keras.Model(inputs, Conv2D(8, 3)(BatchNormalization(name="first")(inputs)))


def test_no_file_another_file_and_damaged_files(file: Path, tmp_path: Path) -> None:
    model = network()
    before = model.get_weights()
    with pytest.raises(InputError, match=r"no .tflite file at .*none.tflite"):
        from_tflite(model, tmp_path / "none.tflite")
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"PK\3\4 something else")
    with pytest.raises(InputError, match="does not have the identifier TFL3"):
        from_tflite(model, bad)
    content = file.read_bytes()
    for length in (8, 100, len(content) // 2, len(content) - 500):
        bad.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"is damaged|holds another network"):
            from_tflite(model, bad)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
