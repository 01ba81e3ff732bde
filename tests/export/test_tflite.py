"""Files with early exits: a signature each, the weights once; and what int8 makes of awkward graphs."""

from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import keras_inception
from keras_inception import InputError, Preprocessing, export
from keras_inception.export.tflite import metadata
from keras_inception.export.tflite.flatbuffer import float_operators
from keras_inception.models import fractalnet

SIZE = 16
INPUTS = np.random.default_rng(0).uniform(-1, 1, (60, SIZE, SIZE, 3)).astype("float32")
QUANTIZATIONS = ["none", "float16", "dynamic", "int8", "int16x8"]
# Against Keras, over random images and weights: differences of probabilities, at most.
BARS = {"none": 1e-5, "float16": 2e-3, "dynamic": 2e-2, "int8": 3e-2, "int16x8": 2e-3}


def relu(x, filters, kernel, strides=1):
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def head(x, classes=4):
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(classes, activation="softmax")(layers.Dense(classes)(x))


def scrambled(model):
    """Weights as training leaves them: no batch norm is the identity."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.7, 1.3, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def stops_early():
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    first = relu(image, 64, 3, 2)
    second = layers.Concatenate()([first, relu(first, 128, 3)])
    third = relu(second, 128, 3)
    outputs = {"exit_1": head(first), "exit_2": head(second), "predictions": head(third)}
    return scrambled(keras.Model(image, outputs, name="stops_early"))


@pytest.fixture(scope="module")
def columns():
    """A small FractalNet, in the words of the registered ones."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = fractalnet.backbone(image, filters=(16, 32), columns=2, small=True)
    return scrambled(keras.Model(image, head(x), name="columns"))


@pytest.mark.parametrize("quantization", [
    q if q == "int8" else pytest.param(q, marks=pytest.mark.slow) for q in QUANTIZATIONS
])  # fmt: skip
def test_every_exit_is_a_signature_over_the_same_weights(stops_early, tmp_path, quantization):
    options = {"quantization": quantization, "calibration": INPUTS if "int" in quantization else None}
    path = export.to_tflite(stops_early, tmp_path / "exits.tflite", batch=7, **options)  # does not divide 60
    content = path.read_bytes()
    assert Interpreter(model_content=content).get_input_details()[0]["shape"].tolist() == [7, SIZE, SIZE, 3]
    assert sorted(Interpreter(model_content=content).get_signature_list()) == ["exit_1", "exit_2", "exit_3"]
    results = export.agreements(path, stops_early, INPUTS)
    assert [result.exit for result in results] == ["exit_1", "exit_2", "exit_3"]
    for result in results:
        assert result.max_difference < BARS[quantization]
        assert result.agreement >= 0.9
    # A program that knows no signatures runs the whole network, as does `agreement`.
    whole = export.agreement(path, stops_early, INPUTS)
    assert (whole.exit, whole.max_difference) == (None, results[-1].max_difference)
    alone = export.to_tflite(stops_early, tmp_path / "one.tflite", exits=False, **options)
    assert list(Interpreter(model_path=str(alone)).get_signature_list()) == ["serving_default"]
    heads = sum(w.size for layer in stops_early.layers if "dense" in layer.name for w in layer.get_weights())
    if quantization == "int8":
        assert export.layer_errors(path, stops_early, INPUTS[:2, np.newaxis])[0].snr > 20
    if quantization in ("none", "float16"):
        assert len(content) < 1.05 * (alone.stat().st_size + 4 * heads)


@pytest.mark.slow
def test_each_exit_is_quantised_as_if_it_were_alone(stops_early, tmp_path):
    """TensorFlow's converter mixes the ranges of several signatures in int16x8."""
    options = {"quantization": "int16x8", "calibration": INPUTS}
    path = export.to_tflite(stops_early, tmp_path / "exits.tflite", **options)
    together = {result.exit: result for result in export.agreements(path, stops_early, INPUTS)}
    for exit_, output in (("exit_1", "exit_1"), ("exit_3", "predictions")):
        single = keras.Model(stops_early.input, stops_early.output[output])
        alone = export.agreement(export.to_tflite(single, tmp_path / f"{exit_}.tflite", **options), single, INPUTS)
        assert together[exit_].max_difference == pytest.approx(alone.max_difference, rel=1e-3)


def test_a_file_of_batch_1_is_resized_only_without_a_flatten(tmp_path):
    """A Flatten fixes the batch: XNNPACK refuses another, with the words of the troubleshooting page."""
    image = keras.Input((SIZE, SIZE, 3))
    for middle, words in ((layers.GlobalAveragePooling2D(), None), (layers.Flatten(), "failed to reshape runtime")):
        model = keras.Model(image, layers.Dense(4)(middle(layers.Conv2D(4, 3)(image))))
        interpreter = Interpreter(str(export.to_tflite(model, tmp_path / f"{middle.name}.tflite")))
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (4, SIZE, SIZE, 3))
        with pytest.raises(RuntimeError, match=words) if words else nullcontext():
            interpreter.allocate_tensors()
        page = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
        assert words is None or f"XNNPack delegate {words}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("batch", [0, 2.0, True])
def test_a_batch_is_a_number_of_images(columns, tmp_path, batch):
    with pytest.raises(InputError, match=f"batch must be a whole number of at least 1; got {batch}"):
        export.to_tflite(columns, tmp_path / "file.tflite", batch=batch)


@pytest.mark.slow
def test_columns_of_a_fractalnet_are_exits_if_asked(columns, tmp_path):
    plain = export.to_tflite(columns, tmp_path / "plain.tflite")
    assert list(Interpreter(model_path=str(plain)).get_signature_list()) == ["serving_default"]
    path = export.to_tflite(columns, tmp_path / "exits.tflite", exits=True)
    results = export.agreements(path, columns, INPUTS)
    assert [result.exit for result in results] == ["exit_1", "exit_2", "exit_3"]  # two columns, and the whole
    assert max(result.max_difference for result in results) < 1e-5
    runner = Interpreter(model_path=str(path)).get_signature_runner("exit_1")
    want = fractalnet.extract_column(columns, 1).predict(INPUTS[:1], verbose=0)
    np.testing.assert_allclose(runner(input=INPUTS[:1])["probabilities"], want, atol=1e-5)
    assert path.stat().st_size < plain.stat().st_size + 30_000  # no column's weights twice


def test_exits_of_another_network(stops_early, columns, tmp_path):
    path = export.to_tflite(stops_early, tmp_path / "exits.tflite")
    single = keras.Model(stops_early.input, stops_early.output["predictions"], name="single")
    with pytest.raises(InputError, match="single has no early exits"):
        export.agreements(path, single, INPUTS)
    two = keras.Model(stops_early.input, {k: stops_early.output[k] for k in ("exit_1", "predictions")})
    with pytest.raises(InputError, match="has 3 exits, the model 2"):
        export.agreements(path, two, INPUTS)


def test_exits_with_pixels_labels_and_bytes_at_the_edge(stops_early, tmp_path):
    preprocessing, labels = Preprocessing(size=(SIZE, SIZE)), ["a", "b", "c", "d"]
    path = export.to_tflite(
        stops_early,
        tmp_path / "exits.tflite",
        quantization="int8",
        calibration=INPUTS,
        preprocessing=preprocessing,
        labels=labels,
        edge="uint8",
    )
    runner = Interpreter(model_path=str(path)).get_signature_runner("exit_2")
    pixels = np.round((INPUTS[:1] + 1) * 127.5).astype(np.uint8)
    output = runner(pixels=pixels)["probabilities"]
    want = stops_early.predict(INPUTS[:1], verbose=0)["exit_2"]
    np.testing.assert_allclose(output / 256, want, atol=BARS["int8"])
    assert max(result.max_difference for result in export.agreements(path, stops_early, INPUTS)) < BARS["int8"]
    assert metadata.read_record(path.read_bytes()).labels == tuple(labels)


def test_a_padding_and_a_concatenation_of_one_tensor_stay_in_int8(tmp_path):
    """The converter's newer quantiser leaves the padding, and the convolution after it, in float."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = relu(image, 8, 3)
    down = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(x))
    y = relu(layers.Concatenate()([x, relu(x, 8, 1)]), 8, 3, 2)
    model = keras.Model(image, head(layers.Concatenate()([down, y])))
    path = export.to_tflite(model, tmp_path / "int8.tflite", quantization="int8", calibration=INPUTS)
    assert not float_operators(path.read_bytes())
    assert export.agreement(path, model, INPUTS).max_difference < BARS["int8"]


def test_the_same_export_is_the_same_bytes(columns, tmp_path):
    options = {"quantization": "int8", "calibration": INPUTS, "labels": list("abcd"), "exits": True}
    first, second = (export.to_tflite(columns, tmp_path / name, **options).read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_msdnet_with_exits_is_hardly_larger_than_with_one(tmp_path, quantization):
    """Against a file with all weights in one signature, whose outputs are all exits."""
    keras.utils.set_random_seed(0)
    model = keras_inception.create_model("msdnet_cifar_budget")
    inputs = np.random.default_rng(0).uniform(-1, 1, (20, 32, 32, 3)).astype("float32")
    options = {"quantization": quantization, "calibration": inputs if "int" in quantization else None}
    path = export.to_tflite(model, tmp_path / "exits.tflite", **options)
    ends = [layers.Reshape((10, 1))(output) for output in model.output.values()]
    everything = keras.Model(model.input, layers.Concatenate()(ends))
    whole = export.to_tflite(everything, tmp_path / "one.tflite", **options)
    results = export.agreements(path, model, inputs)
    print(quantization, path.stat().st_size, whole.stat().st_size, [f"{r.max_difference:.1e}" for r in results])
    assert path.stat().st_size < 1.05 * whole.stat().st_size
    assert len(results) == 7
    assert max(result.max_difference for result in results) < BARS[quantization]
    if "int" in quantization:
        assert not float_operators(path.read_bytes())
