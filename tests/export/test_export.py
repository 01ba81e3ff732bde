"""Exported files compared with their Keras model, each in its own runtime, on real digits."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from sklearn.datasets import load_digits

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.data import from_arrays
from keras_inception.evaluation import scores
from keras_inception.export import saved_model
from keras_inception.export.comparison import same_class
from keras_inception.export.inputs import Exportable
from keras_inception.export.quantization import calibration
from keras_inception.export.tflite import convert, flatbuffer, metadata

# Every channel differs in weight, mean and deviation, so that no two can be mistaken for each other.
PREPROCESSING = Preprocessing(size=(32, 32), crop=0.9, channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))
TINT = np.array([1.0, 0.7, 0.4])
NAMES = {"saved_model": "saved_model", "tflite float32": "none", "tflite float16": "float16",
         "tflite dynamic": "dynamic", "tflite int8": "int8", "tflite int16x8": "int16x8"}  # fmt: skip
LIMIT = 120


def conv(x, filters, kernel, strides=1):
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))


def network():
    """The parts of a classic network: a residual, a depthwise convolution, branches, an average pool."""
    image = keras.Input((32, 32, 3))
    x = conv(image, 16, 3, 2)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(y))
    x = layers.Add()([x, conv(y, 16, 1)])
    pool = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    x = layers.Concatenate()([conv(x, 16, 1), conv(x, 16, 3), conv(pool, 16, 1)])
    x = layers.GlobalAveragePooling2D()(conv(x, 48, 3, 2))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="predictions")(x))


@pytest.fixture(scope="module")
def digits():
    sample = load_digits()
    images = np.round(sample.images[..., np.newaxis] * (255 / 16) * TINT).astype(np.uint8)
    return from_arrays(images, sample.target, [f"digit {name}" for name in sample.target_names])


@pytest.fixture(scope="module")
def model(digits):
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(PREPROCESSING(digits.train.sources), digits.train.labels, epochs=5, verbose=0)
    return model


@pytest.fixture(scope="module")
def exported(model, digits, tmp_path_factory):
    """A file in each format, by its `Agreement.format`."""
    folder, files = tmp_path_factory.mktemp("exported"), {}
    known = {"labels": digits.classes, "preprocessing": PREPROCESSING}
    for name, quantization in NAMES.items():
        if name == "saved_model":
            files[name] = export.to_saved_model(model, folder / name, **known)
        else:
            images = digits.train if "int" in quantization else None
            files[name] = export.to_tflite(
                model, folder / f"{name}.tflite", quantization=quantization, calibration=images, **known
            )
    return files


@pytest.fixture(scope="module")
def results(exported, model, digits):
    return {name: export.agreement(file, model, digits.val, limit=LIMIT) for name, file in exported.items()}


# ------------------------------------------------------------------------------------------------------- same outputs


@pytest.mark.parametrize("name", NAMES)
def test_file_agrees_with_the_model(results, name):
    result = results[name]
    assert result.format == name
    assert result.n == LIMIT
    assert result.keras_top1 >= 0.9  # without a trained network agreement means nothing
    assert result.top1 >= result.keras_top1 - 0.02
    assert result.agreement >= 0.98
    assert 0 < result.mean_difference < result.max_difference
    assert result.milliseconds > 0
    assert json.loads(json.dumps(result.to_dict()))["n"] == LIMIT


@pytest.mark.parametrize(("name", "bar"), [("saved_model", 1e-5), ("tflite float32", 1e-5), ("tflite float16", 0.02)])
def test_float_files_are_close(results, name, bar):
    assert results[name].max_difference < bar


def test_sizes_follow_the_precision(results, model, exported):
    weights = 4 * model.count_params()
    size = {name: result.bytes for name, result in results.items()}
    assert weights < size["saved_model"] < weights + 420_000  # the decoder of image files has 2,000 operators
    kernel = model.layers[-1].get_weights()[0].tobytes()
    assert (exported["saved_model"] / "saved_model.pb").read_bytes().count(kernel) == 1  # not once per signature
    assert weights < size["tflite float32"] < 1.2 * weights
    assert size["tflite float16"] < 0.62 * size["tflite float32"]
    assert size["tflite int8"] < 0.45 * size["tflite float32"]


def test_agreement_finds_a_difference(exported, digits):
    other = network()  # not trained
    result = export.agreement(exported["tflite float32"], other, digits.val, limit=LIMIT)
    assert result.agreement < 0.5
    assert result.top1 > 0.9 > result.keras_top1


@pytest.mark.parametrize("units", [3, 1])
def test_ties_count_as_in_evaluation(units, tmp_path):
    """Equal outputs for all classes: a tie counts as a chance, in the file as in the Keras model."""
    image = keras.Input((4, 4, 3))
    end = layers.Dense(units, "softmax" if units > 1 else "sigmoid", kernel_initializer="zeros")
    model = keras.Model(image, end(layers.Flatten()(image)))
    x, labels = np.random.default_rng(0).uniform(-1, 1, (60, 4, 4, 3)).astype(np.float32), np.zeros(60, int)
    path = export.to_tflite(model, tmp_path / "int8.tflite", quantization="int8", calibration=x)
    result = export.agreement(path, model, (x, labels))
    classes = max(units, 2)
    assert result.top1 == result.keras_top1 == pytest.approx(1 / classes)
    want = np.full((60, classes), 1 / classes, np.float32)
    assert scores(want, labels)["top1"] == result.top1
    assert result.agreement == 1  # both say the same


def test_the_same_class_where_classes_tie():
    single, tied, all_equal = np.array([[0.8, 0.1, 0.1]]), np.array([[0.4, 0.4, 0.2]]), np.full((1, 3), 1 / 3)
    assert same_class(tied, tied) == same_class(single, single) == 1
    assert same_class(single, tied) == same_class(tied, single) == pytest.approx(1 / 2)
    assert same_class(single, all_equal) == pytest.approx(1 / 3)  # a constant output agrees by chance only


@pytest.mark.parametrize("name", ["saved_model", "tflite float32", "tflite int8"])
def test_agreement_on_network_inputs(exported, results, model, digits, name):
    sample = digits.val.sample(LIMIT)
    inputs = PREPROCESSING(sample.sources)
    alone = export.agreement(exported[name], model, inputs)
    labelled = export.agreement(exported[name], model, (inputs, sample.labels))
    assert alone.top1 is alone.keras_top1 is None
    assert (labelled.top1, labelled.agreement) == (results[name].top1, results[name].agreement)
    assert labelled.max_difference == pytest.approx(results[name].max_difference, abs=1e-5)
    assert export.agreement(exported[name], model, inputs, limit=7).n == 7


# ---------------------------------------------------------------------------------------------------------- SavedModel

CLIENT = """
import json, sys
for name in ("keras", "keras_inception"):
    sys.modules[name] = None  # an import of either fails
import numpy as np, tensorflow as tf
model, image = tf.saved_model.load(sys.argv[1]), np.load(sys.argv[2])
serve, encoded, own = (model.signatures[k] for k in ("serving_default", "encoded", "preprocessed"))
large = np.repeat(np.repeat(image, 12, 0), 9, 1)
files = [tf.io.encode_png(image), tf.io.encode_jpeg(large, quality=100), tf.io.encode_png(large)]
replies = [
    serve(image=tf.constant(image[None])),
    encoded(image_bytes=tf.stack(files)),
    serve(image=tf.constant(np.stack([large, 255 - large]))),
    own(input=tf.constant(np.load(sys.argv[3]))),
]
plain = lambda v: v.numpy().astype("U" if v.dtype == tf.string else float).tolist()
print(json.dumps([{k: plain(v) for k, v in reply.items()} for reply in replies]))
"""


def test_saved_model_serves_without_keras_or_this_package(exported, model, digits, tmp_path):
    image = digits.val.image(0)
    prepared = PREPROCESSING(image[np.newaxis])
    want = model(prepared, training=False).numpy()[0]
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "input.npy", np.repeat(prepared, 3, axis=0))
    arguments = [exported["saved_model"], tmp_path / "image.npy", tmp_path / "input.npy"]
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    from_image, from_files, from_large, from_input = json.loads(done.stdout)
    best = digits.classes[want.argmax()]
    assert from_image["label"] == [best]
    assert (exported["saved_model"] / "assets.extra" / "labels.txt").read_text().splitlines() == list(digits.classes)
    np.testing.assert_allclose(from_image["probabilities"], [want], atol=1e-5)
    np.testing.assert_allclose(from_files["probabilities"][0], want, atol=1e-5)
    np.testing.assert_allclose(from_files["probabilities"][2], from_large["probabilities"][0], atol=1e-5)
    np.testing.assert_allclose(from_files["probabilities"][1], from_large["probabilities"][0], atol=0.1)  # a JPEG loses
    np.testing.assert_allclose(from_input["probabilities"], [want] * 3, atol=1e-5)
    assert from_input["label"] == [best] * 3


def test_saved_model_stores_frozen_weights_once(exported, model):
    path = exported["saved_model"]
    folded = export.optimize(model).get_weights()
    largest = max(folded, key=lambda w: w.size).tobytes()
    assert (path / "saved_model.pb").read_bytes().count(largest) == 1
    assert not tf.saved_model.load(str(path)).signatures["serving_default"].variables


@pytest.mark.parametrize("asked", [True, False])
def test_networks_keep_variables_if_asked_or_large(asked, model, digits, tmp_path, monkeypatch):
    about = {"labels": digits.classes, "preprocessing": PREPROCESSING}
    if asked:
        about |= {"weights": "variables"}
    else:
        monkeypatch.setattr(saved_model, "FREEZE_BELOW", 1000)
    path = export.to_saved_model(model, tmp_path / "large", **about)
    loaded = tf.saved_model.load(str(path))
    assert len(loaded.signatures["serving_default"].variables) == len(export.optimize(model).weights)
    assert export.agreement(path, model, digits.val, limit=10).max_difference < 1e-5


def test_without_preprocessing_the_network_is_served_as_it_is(model, tmp_path):
    path = export.to_saved_model(model, tmp_path / "bare")
    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    assert list(signatures) == ["serving_default"]
    assert list(signatures["serving_default"].structured_outputs) == ["probabilities"]
    inputs = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    assert export.agreement(path, model, inputs).max_difference < 1e-5


# -------------------------------------------------------------------------------------------------------------- TFLite


def activations(path):
    """The types of a .tflite file's tensors, without constants."""
    content = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    types = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    [graph] = content.subgraphs
    return [types[t.type] for t in graph.tensors if content.buffers[t.buffer].data is None]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "saved_model"])
def test_tflite_file_is_clean(exported, name):
    content = exported[name].read_bytes()
    operators = flatbuffer.operators(content)
    assert operators.count("CONV_2D") == 7  # six, and the normalisation
    # No trace of batch norm, of a free batch or of variables; in int8 a pool at the border is a product.
    norm = {"SUB"} if name == "tflite int8" else {"SUB", "MUL"}
    assert not set(operators) & (norm | {"SHAPE", "PACK", "STRIDED_SLICE", "VAR_HANDLE", "READ_VARIABLE"})
    assert not flatbuffer.foreign_operators(content)
    interpreter = Interpreter(model_content=content)
    [signature] = interpreter.get_signature_list().values()
    assert signature == {"inputs": ["pixels"], "outputs": ["probabilities"]}
    [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["shape_signature"].tolist() == [1, 32, 32, 3]
    assert output["shape_signature"].tolist() == [1, 10]
    assert given["dtype"] == output["dtype"] == np.float32


@pytest.mark.parametrize(("name", "inside"), [("tflite int8", "INT8"), ("tflite int16x8", "INT16")])
def test_full_integer_files_compute_in_integers_only(exported, name, inside):
    types = activations(exported[name])
    assert types.count("FLOAT32") == 2  # the edges
    assert set(types) == {"FLOAT32", inside}
    operators = flatbuffer.operators(exported[name].read_bytes())
    assert (operators[0], operators[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert operators.count("DEQUANTIZE") == 1  # a QUANTIZE may also go from one integer scale to another


def test_int8_file_with_bytes_at_the_edge(model, digits, results, tmp_path):
    path = export.to_tflite(
        model,
        tmp_path / "bytes.tflite",
        quantization="int8",
        calibration=PREPROCESSING(digits.train.sources[:100]),
        preprocessing=PREPROCESSING,
        labels=digits.classes,
        edge="uint8",
    )
    interpreter = Interpreter(model_path=str(path))
    [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == output["dtype"] == np.uint8
    assert given["quantization"] == (1.0, 0)  # a byte is a byte, whatever the images contain
    assert "FLOAT32" not in activations(path)
    result = export.agreement(path, model, digits.val, limit=LIMIT)
    assert result.format == "tflite int8"
    assert result.agreement >= 0.98


def test_without_preprocessing_the_file_takes_the_networks_input(model, digits, tmp_path):
    path = export.to_tflite(model, tmp_path / "bare.tflite")
    content = path.read_bytes()
    assert list(Interpreter(model_content=content).get_signature_list().values()) == [
        {"inputs": ["input"], "outputs": ["probabilities"]}
    ]
    assert replace(metadata.read_record(content), runtime=None) == export.Record()  # nothing is known
    inputs = PREPROCESSING(digits.val.sources[:20])
    assert export.agreement(path, model, inputs).max_difference < 1e-5
    with pytest.raises(InputError, match="neither the model nor the file knows"):
        export.agreement(path, model, digits.val)


@pytest.mark.parametrize("name", NAMES)
def test_record_travels_in_the_file(exported, digits, name):
    if name == "saved_model":
        record = export.Record.from_json((exported[name] / saved_model.RECORD_FILE).read_text(encoding="utf-8"))
    else:
        record = metadata.read_record(exported[name].read_bytes())
    takes = "image" if name == "saved_model" else "pixels"
    assert replace(record, calibration=None, runtime=None) == export.Record(
        input=takes, preprocessing=PREPROCESSING, labels=digits.classes
    )
    assert bool(record.runtime) == (name != "saved_model")
    assert bool(record.calibration) == ("int" in name)


def test_constants_stay_aligned(exported):
    """The format wants 16 bytes; Python's packing of flatbuffers alone would put them anywhere."""
    content = exported["tflite float32"].read_bytes()
    file, start = schema.Model.GetRootAs(content, 0), np.frombuffer(content, np.uint8).ctypes.data
    data = [file.Buffers(i).DataAsNumpy() for i in range(file.BuffersLength()) if file.Buffers(i).DataLength()]
    assert len(data) > 10
    assert {(d.ctypes.data - start) % 16 for d in data} == {0}


@pytest.mark.parametrize(
    "preprocessing",
    [
        PREPROCESSING,
        Preprocessing(size=(2, 2)),
        Preprocessing(size=(2, 2), channels="L", mean=(33.0,), std=(78.0,)),
        Preprocessing(size=(2, 2), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    ],
    ids=lambda p: p.channels,
)
def test_normalisation_as_one_convolution(preprocessing):
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 6, 5, 3)).astype(np.float32)
    want = preprocessing.normalize(pixels).numpy()
    np.testing.assert_allclose(convert._normalize(preprocessing)(pixels), want, atol=2e-6)
    back = calibration.to_pixels(want, preprocessing)
    if preprocessing.channels == "L":
        back = back[..., :1]
        pixels = back  # any grey of that brightness will do
    np.testing.assert_allclose(back, pixels, atol=1e-4)
    np.testing.assert_allclose(preprocessing.normalize(calibration.to_pixels(want, preprocessing)), want, atol=2e-6)


# -------------------------------------------------------------------------------------------- what can be exported


def test_a_run_brings_its_own_images_labels_and_preprocessing(model, digits, tmp_path):
    images, path = tmp_path / "images", tmp_path / "run"
    for i, label in enumerate(digits.val.labels[:150]):
        folder = images / digits.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(folder / f"{i}.png", digits.val.image(i), scale=False)
    path.mkdir()
    model.save(path / "model.keras")
    run = Run(
        builder="-",
        kwargs={},
        labels=digits.classes,
        preprocessing=PREPROCESSING,
        data={"folder": str(images), "validation": 0.3},
        path=path,
    )
    run.save()
    file = export.to_tflite(path, tmp_path / "int8.tflite", quantization="int8")
    assert metadata.read_record(file.read_bytes()).labels == digits.classes
    result = export.agreement(file, run)  # on what the run held out
    assert 20 < result.n < 80
    assert result.top1 >= 0.85
    assert result.agreement >= 0.95


def test_mixed_precision_is_exported_in_float32_and_the_model_left_alone(tmp_path):
    keras.utils.set_random_seed(0)
    half = keras.DTypePolicy("mixed_float16")
    backbone_input = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, dtype=half)(backbone_input)
    x = layers.BatchNormalization(dtype=half)(x)
    backbone = keras.Model(backbone_input, layers.GlobalAveragePooling2D(dtype=half)(layers.ReLU(dtype=half)(x)))
    image = keras.Input((16, 16, 3))
    x = backbone(image)  # nested, as transfer learning leaves it
    outputs = {
        "aux_1": layers.Dense(5, activation="softmax")(x),
        "predictions": layers.Dense(4, activation="softmax", dtype="float32")(x),
    }
    model = keras.Model(image, outputs)
    before, config = [w.copy() for w in model.get_weights()], json.dumps(model.get_config(), default=str)
    inputs = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype(np.float32)
    for file in (
        export.to_saved_model(model, tmp_path / "server"),
        export.to_tflite(model, tmp_path / "phone.tflite"),
    ):
        assert export.agreement(file, model, inputs).max_difference < 2e-3  # float16's own error
    assert set(activations(tmp_path / "phone.tflite")) == {"FLOAT32"}
    assert json.dumps(model.get_config(), default=str) == config
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_output_is_named_for_what_it_is():
    image = keras.Input((8,))
    logits = layers.Dense(3)(image)
    names = {
        "output": logits,
        "probabilities": layers.Softmax()(logits),
    }
    for name, tensor in names.items():
        assert Exportable.of(keras.Model(image, tensor)).output_name == name
    nested = keras.Sequential([keras.Input((8,)), keras.Model(image, layers.Activation("softmax")(logits))])
    assert Exportable.of(nested).output_name == "probabilities"


# ------------------------------------------------------------------------------------------------------------- silence


def small():
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def test_nothing_is_printed(tmp_path, capfd):
    environment = dict(os.environ)
    model, inputs = small(), np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    capfd.readouterr()
    export.to_tflite(model, tmp_path / "a.tflite", quantization="int8", calibration=inputs)
    export.to_saved_model(model, tmp_path / "a")
    for name in ("a", "a.tflite"):
        export.agreement(tmp_path / name, model, inputs)
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == environment


def test_threads_do_not_lose_the_terminal(tmp_path, capfd):
    models = [small() for _ in range(3)]
    threads = [
        threading.Thread(target=export.to_tflite, args=(model, tmp_path / f"{i}.tflite"))
        for i, model in enumerate(models)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.tflite", "1.tflite", "2.tflite"]
    capfd.readouterr()
    os.write(1, b"still here\n")
    assert capfd.readouterr().out == "still here\n"


def test_public_names_exist():
    assert set(export.__all__) <= set(vars(export))
    assert Path(export.__file__).parent.name == "export"
