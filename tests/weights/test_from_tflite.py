"""`weights.from_tflite`: a `.tflite` file back into the float network that it was converted from."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import (
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
    Rescaling,
)

from keras_inception import InputError, MobileNetV1, cli, create_model, decode_predictions, preprocess_input
from keras_inception.analysis.cost import blueprint
from keras_inception.registry import get
from keras_inception.weights import from_tflite, recognise_tflite, tflite
from keras_inception.weights.wiring import Network

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
        (lambda: forked(), r"its layer 1 of 4 is .* \(3, 3, 3, 8\), forked's of 2 is left \(3, 3, 3, 8\)"),
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
    return keras.Model(
        inputs, Add()([Conv2D(8, 3, name="left")(inputs), Conv2D(8, 3, name="right")(inputs)]), name="forked"
    )


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


# ----------------------------------------------------------------------------------------------- networks with branches


def branched(
    *, order: int = 1, pool: type = MaxPooling2D, limit: float | None = None, scale: float = 0.2, twins: bool = False
) -> keras.Model:
    """Two 1x1 convolutions of one map, which only what is around them tells apart, and a scaled residual."""
    inputs = Input((12, 12, 3))
    x = ReLU(limit)(Conv2D(8, 3, name="stem")(inputs))
    paths = [Conv2D(4, 1, name="left")(x), Conv2D(4, 1, name="right")(x if twins else pool(3, 1, "same")(x))]
    y = Conv2D(8, 1, name="up")(Add()(paths) if twins else Concatenate()(paths[::order]))
    y = Add()([Rescaling(scale)(y), x])
    model = keras.Model(inputs, Dense(4)(GlobalAveragePooling2D()(y)), name="branched")
    rng = np.random.default_rng()
    model.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in model.weights])
    return model


@pytest.mark.parametrize("kind", ["float32", "dynamic"])
def test_branches_are_told_apart_by_their_connections(tmp_path: Path, kind: str) -> None:
    source, model = branched(), branched()
    from_tflite(model, convert(source, tmp_path / "file.tflite", kind=kind))
    atol = 1e-5 if kind == "float32" else 0.05
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), source.predict_on_batch(IMAGES), rtol=0, atol=atol)


def test_a_scale_that_the_file_has_in_its_weights_is_taken_out(tmp_path: Path) -> None:
    folded = branched(scale=1.0)
    model = branched(scale=0.25)
    from_tflite(model, convert(folded, tmp_path / "file.tflite"))
    np.testing.assert_allclose(model.predict_on_batch(IMAGES), folded.predict_on_batch(IMAGES), rtol=0, atol=1e-5)


@pytest.mark.parametrize("other", [{"order": -1}, {"pool": AveragePooling2D}, {"limit": 6.0}])
def test_other_connections_are_refused(tmp_path: Path, other: dict) -> None:
    file, model = convert(branched(), tmp_path / "file.tflite"), branched(**other)
    before = model.get_weights()
    with pytest.raises(InputError, match=r"connected otherwise, or with other pools, activations or padding"):
        from_tflite(model, file)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_layers_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    file = convert(branched(twins=True), tmp_path / "file.tflite")
    with pytest.raises(
        InputError, match=r"cannot be matched with certainty: it has several layers that are as .*1, 1, 8"
    ):
        from_tflite(branched(twins=True), file)


def test_a_bias_without_a_place_is_refused(tmp_path: Path) -> None:
    inputs = Input((12, 12, 3))
    biased, plain = (keras.Model(inputs, Conv2D(2, 3, use_bias=bias, name="one")(inputs)) for bias in (True, False))
    biased.layers[-1].bias.assign([1.0, 2.0])
    with pytest.raises(InputError, match=r"has a bias in .* and one of .* has no place for it"):
        from_tflite(plain, convert(biased, tmp_path / "file.tflite"))


# -------------------------------------------------------------------------------------------------------- recognised


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """Keras' own MobileNet with a background class, which is no code of ours."""
    model = keras.applications.MobileNet(
        (96, 96, 3), alpha=0.25, weights=None, classes=1001, classifier_activation=None
    )
    return model, convert(model, tmp_path_factory.mktemp("hosted") / "small.tflite")


def logits(model: keras.Model) -> np.ndarray:
    images = np.random.default_rng(2).uniform(-1, 1, (2, *model.input_shape[1:])).astype("float32")
    return np.asarray(model(images, training=False))


def test_a_file_is_recognised_and_is_weights_of_a_builder(small: tuple[keras.Model, Path]) -> None:
    source, file = small
    found = recognise_tflite(file)
    assert (found.network, found.background) == ("mobilenet_v1", True)
    assert found.arguments == {"input_shape": (96, 96, 3), "classes": 1000, "numerics": "tf", "alpha": 0.25}
    model = MobileNetV1(weights=file, classifier_activation=None)
    assert (model.input_shape, model.output_shape) == ((None, 96, 96, 3), (None, 1000))
    np.testing.assert_allclose(logits(model), logits(source)[:, 1:], rtol=0, atol=1e-5)
    body = MobileNetV1(weights=file, include_top=False, input_shape=(64, 64, 3))
    other = MobileNetV1(weights=file, classes=5, input_shape=(64, 64, 1))
    for layer in (other.get_layer("conv2d_13_pointwise_conv"), body.get_layer("conv2d_13_pointwise_conv")):
        np.testing.assert_array_equal(layer.kernel, model.get_layer(layer.name).kernel)
    stem = model.get_layer("conv2d_0_conv").kernel
    np.testing.assert_allclose(other.get_layer("conv2d_0_conv").kernel, np.sum(stem, 2, keepdims=True), atol=1e-6)


def test_what_does_not_fit_a_file_is_said(small: tuple[keras.Model, Path], tmp_path: Path) -> None:
    _, file = small
    with pytest.raises(InputError, match=r"holds mobilenet_v1, not mobilenet_v2$"):
        create_model("mobilenet_v2", weights=file)
    with pytest.raises(InputError, match=r"was made with alpha=0.25; got 0.5: leave alpha out$"):
        MobileNetV1(weights=file, alpha=0.5)
    with pytest.raises(InputError, match=r"was made with numerics='tf'; got 'torch'"):
        MobileNetV1(weights=file, numerics="torch")
    with pytest.raises(InputError, match=r"holds none of the networks that are recognised \(inception_v1_bn, "):
        MobileNetV1(weights=convert(network(), tmp_path / "other.tflite"))


def test_the_command_line_says_what_a_file_holds(
    small: tuple[keras.Model, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.app(["info", str(small[1])], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "holds mobilenet_v1 with input_shape=(96, 96, 3), classes=1000, numerics='tf', alpha=0.25, with a" in printed
    assert "conv2d_13" in printed
    cli.app(["info", str(small[1]), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["name"] == "mobilenet_v1"


def test_a_file_that_is_too_large_is_not_read(small: tuple[keras.Model, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"small.tflite has [\d,]+ bytes; more than 1,000 are not read"):
        recognise_tflite(small[1])


@pytest.mark.slow  # the conversion; `make weights` has all of them, from TF-Slim
def test_an_inception_is_recognised_and_filled(tmp_path: Path) -> None:
    source = keras.applications.InceptionV3(
        weights=None, input_shape=(75, 75, 3), classes=7, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for w in source.weights:
        if w.name in ("beta", "moving_mean"):
            w.assign(rng.normal(0, 0.1, w.shape))
    file = convert(source, tmp_path / "file.tflite")
    found = recognise_tflite(file)
    assert (found.network, found.arguments["classes"], found.background) == ("inception_v3", 7, False)
    model = create_model(found.network, weights=file, classifier_activation=None)
    np.testing.assert_allclose(logits(model), logits(source), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("mobilenet_v1_0.25_128_quant.tflite", {"input_shape": (128, 128, 3), "alpha": 0.25}),
        ("mobilenet_v2_1.0_224_quant.tflite", {"input_shape": (224, 224, 3), "alpha": 1.0}),
    ],
)
def test_hosted_files_are_recognised(data_folder: Path, file: str, arguments: dict) -> None:
    found = recognise_tflite(data_folder / file)
    assert found.network == file[:12]
    assert found.arguments == arguments | {"classes": 1000, "numerics": "tf"}
    assert found.background


@pytest.mark.parametrize(("fingerprint", "known"), tflite._known().items())
def test_fingerprints(fingerprint: str, known: tuple[str, dict]) -> None:
    name, arguments = known
    wiring = Network(blueprint(get(name).build, **arguments)).wiring
    assert wiring.fingerprint() == fingerprint, "`python -m docs.generate` renews keras_inception/weights/hosted.json"
