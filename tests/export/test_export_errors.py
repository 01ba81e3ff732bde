"""What cannot be exported or compared: an error of one line, and nothing left on the disk."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.data import from_arrays
from keras_inception.export import saved_model
from keras_inception.export.tflite import convert, flatbuffer

PREPROCESSING = Preprocessing(size=(8, 8))
INPUTS = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 3)).astype(np.float32)


def small(classes=3, size=8, end="softmax"):
    image = keras.Input((size, size, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(classes, activation=end, name="predictions")(x), name="small")


class Subclassed(keras.Model):
    def call(self, x):
        return x


@keras.saving.register_keras_serializable()
class Fourier(layers.Layer):
    def call(self, x):
        return tf.abs(tf.signal.fft2d(tf.cast(x, tf.complex64)))


@keras.saving.register_keras_serializable()
class Digamma(layers.Layer):
    def call(self, x):
        return tf.math.digamma(tf.abs(x) + 1.0)


def through(layer):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layer(image), name="through")


def two_outputs(names):
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(image)
    outputs = [layers.Dense(2, name=f"d_{name}")(x) for name in names]
    return keras.Model(image, dict(zip(names, outputs, strict=True)), name="pair_of_outputs")


def two_inputs():
    images = [keras.Input((8, 8, 3), name=name) for name in ("left", "right")]
    return keras.Model(images, layers.Add()(images), name="pair")


def diverged():
    model = small()
    model.set_weights([np.full_like(w, np.nan) if w.ndim == 4 else w for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return small()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return SimpleNamespace(
        saved_model=export.to_saved_model(model, folder / "server"),
        tflite=export.to_tflite(model, folder / "phone.tflite"),
        pixels=export.to_tflite(model, folder / "pixels.tflite", preprocessing=PREPROCESSING),
    )


@contextmanager
def one_line(*words):
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


# ------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Subclassed(name="mine"), ["mine (Subclassed)", "functional"]),
        (lambda: keras.Sequential([layers.Dense(3)], name="unbuilt"), ["unbuilt", "functional"]),
        (lambda: "nowhere", ["nowhere", "not a run directory"]),
        (lambda: [1, 2], ["list", "keras.Model"]),
        (lambda: through(layers.Lambda(lambda x: x * 2, name="double")), ["double", "Lambda"]),
        (lambda: two_outputs(["boxes", "scores"]), ["2 outputs (boxes, scores)", "predictions"]),
        (two_inputs, ["2 inputs (left, right)"]),
        (diverged, ["conv2d", "kernel holds 108 values", "NaN"]),
    ],
    ids=lambda value: None if callable(value) else value[0],
)
def test_models(build, words, tmp_path):
    for to, name in ((export.to_saved_model, "new/server"), (export.to_tflite, "new/phone.tflite")):
        with one_line(*words):
            to(build(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["cat", "dog"]}, ["2 labels", "(None, 3)"]),
        ({"preprocessing": Preprocessing(size=(9, 8))}, ["(8, 8, 3)", "(9, 8, 3)"]),
        ({"quantization": "int4"}, ["'int4'", "int16x8"]),
        ({"edge": "float16"}, ["'float16'", "uint8"]),
        ({"edge": "uint8"}, ["edge='uint8'", "quantization='int8'"]),
        ({"quantization": "int8"}, ["calibration=", "(n, 8, 8, 3)"]),
        ({"calibration": INPUTS}, ["calibration=", "int8", "'none'", "leave it out"]),
        ({"quantization": "dynamic", "calibration": INPUTS}, ["calibration=", "'dynamic'"]),
        ({"exits": True}, ["small has no early exits"]),
        ({"quantization": "int8", "calibration": INPUTS[:0]}, ["calibration is empty"]),
        ({"quantization": "int8", "calibration": INPUTS[:1]}, ["calibration is one image", "some hundred"]),
        ({"quantization": "int8", "calibration": (x for x in INPUTS)}, ["generator", "array"]),
        ({"quantization": "int8", "calibration": INPUTS[:, :4]}, ["(6, 4, 8, 3)", "(n, 8, 8, 3)"]),
        ({"quantization": "int8", "calibration": INPUTS[0]}, ["(8, 8, 3)", "(n, 8, 8, 3)"]),
        ({"quantization": "int16x8", "calibration": INPUTS * np.nan}, ["NaN"]),
        ({"quantization": "int8", "calibration": INPUTS * 127 + 128, "preprocessing": PREPROCESSING}, ["0 to 255"]),
        ({"quantization": "int8", "calibration": "nowhere"}, ["nowhere", "does not exist"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_options(model, options, words, tmp_path):
    with one_line(*words):
        export.to_tflite(model, tmp_path / "new" / "phone.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_images_for_calibration_need_preprocessing(model, tmp_path):
    digits = from_arrays(np.arange(8 * 8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 8, 3), np.arange(8) % 2)
    with one_line("preprocessing="):
        export.to_tflite(model, tmp_path / "phone.tflite", quantization="int8", calibration=digits.train)


@pytest.mark.parametrize(("folder", "words"), [(None, ["arrays"]), ("gone", ["gone"])])
def test_a_run_whose_images_are_gone(model, folder, words, tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    model.save(path / "model.keras")
    data = {"folder": folder, "validation": 0.2}
    run = Run(builder="-", kwargs={}, labels=("a", "b", "c"), preprocessing=PREPROCESSING, data=data, path=path)
    with one_line(*words, "--images DIR"):
        export.to_tflite(run, tmp_path / "phone.tflite", quantization="int8")
    with one_line(*words):
        export.agreement(export.to_tflite(run, tmp_path / "phone.tflite"), run)


def test_a_free_size_needs_preprocessing(tmp_path):
    image = keras.Input((None, None, 3))
    free = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image)))
    with one_line("(None, None, 3)", "preprocessing="):
        export.to_tflite(free, tmp_path / "phone.tflite")
    file = export.to_tflite(free, tmp_path / "phone.tflite", preprocessing=PREPROCESSING)
    assert export.agreement(file, free, INPUTS).max_difference < 1e-5


@pytest.mark.parametrize(("layer", "operator"), [(Fourier, "FFT2D"), (Digamma, "Digamma")])
def test_operators_that_no_phone_has(layer, operator, tmp_path, capfd):
    with one_line(operator, "phones"):
        export.to_tflite(through(layer()), tmp_path / "phone.tflite")
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_what_the_converter_said_stays_with_the_error(tmp_path):
    with pytest.raises(InputError) as caught:
        export.to_tflite(through(Fourier()), tmp_path / "phone.tflite")
    assert "TF Select ops: FFT2D" in str(caught.value.__cause__)
    assert any("FFT2D" in note for note in caught.value.__notes__)


# -------------------------------------------------------------------------------------------------------------- output


@pytest.mark.parametrize("to", [export.to_saved_model, export.to_tflite])
def test_existing_output_is_kept_unless_told(to, model, tmp_path):
    path = to(model, tmp_path / "out")
    before = {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}
    with one_line(str(path), "exists", "overwrite"):
        to(model, path)
    with one_line("9 labels"):
        to(model, path, labels=["x"] * 9, overwrite=True)  # fails after the check of the path
    assert {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()} == before
    assert to(small(classes=5), path, overwrite=True) == path
    assert list(tmp_path.iterdir()) == [path]
    assert export.agreement(path, small(classes=5), INPUTS).n == len(INPUTS)  # it is the new one


def test_only_exports_are_overwritten(model, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "notes.txt").touch()
    for to, name in (
        (export.to_saved_model, "images"),
        (export.to_tflite, "images"),
        (export.to_saved_model, "notes.txt"),
        (export.to_tflite, "notes.txt"),
    ):
        with one_line(name, "is not a"):
            to(model, tmp_path / name, overwrite=True)
    assert (tmp_path / "images" / "a.jpg").exists()


def test_a_place_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").touch()
    for to in (export.to_saved_model, export.to_tflite):
        with one_line("could not be written", "not a folder"):
            to(model, tmp_path / "file" / "out")


FULL_DISK = """
import resource, sys
from pathlib import Path
import keras
from keras_inception import InputError, export
folder = Path(sys.argv[1])
model = keras.models.load_model(sys.argv[2], compile=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # no file may become larger, as on a full disk
for to, name in ((export.to_saved_model, "server"), (export.to_tflite, "phone.tflite")):
    for options in {"path": folder / "new" / name}, {"path": folder / name, "overwrite": True}:
        try:
            to(model, **options)
            print("written")
        except InputError as error:
            print(error)
"""


def test_full_disk(files, tmp_path):
    shutil.copytree(files.saved_model, tmp_path / "server")
    shutil.copy(files.tflite, tmp_path / "phone.tflite")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    image = keras.Input((8, 8, 3))
    large = keras.Model(image, layers.Dense(100)(layers.Flatten()(image)))  # 77 kB
    keras_file = tmp_path.parent / "large.keras"
    large.save(keras_file)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path, keras_file], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr[-2000:]
    assert all(re.fullmatch(r".+ could not be written: file too large; nothing is left", line) for line in lines)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["phone.tflite", "server"]


def test_an_interruption_leaves_nothing(model, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "with_record", interrupt)  # the file is converted, not yet written
    monkeypatch.setattr(saved_model.Record, "to_json", interrupt)  # all but the record is written
    for to in (export.to_saved_model, export.to_tflite):
        with pytest.raises(KeyboardInterrupt):
            to(model, tmp_path / "new" / "folders" / "out")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- agreement


def test_files_that_are_not_exports(model, files, tmp_path):
    (tmp_path / "text.tflite").write_text("hello, phone")
    (tmp_path / "cut.tflite").write_bytes(files.tflite.read_bytes()[:900])
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_text("hello, server")
    for name, word in (
        ("nothing", "does not exist"),
        ("text.tflite", "not a TFLite file"),
        ("cut.tflite", "refused by LiteRT"),
        ("empty", "not a SavedModel"),
        ("damaged", "refused by TensorFlow"),
    ):
        with one_line(str(tmp_path / name), word):
            export.agreement(tmp_path / name, model, INPUTS)


def test_a_file_with_tensorflow_operators_is_named(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
        def __call__(self, x):
            return tf.math.erf(x)

    module = Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    content = converter.convert()
    assert flatbuffer.foreign_operators(content) == {"FlexErf"}
    (tmp_path / "flex.tflite").write_bytes(content)
    with one_line("refused by LiteRT", "FlexErf"):
        export.agreement(tmp_path / "flex.tflite", small(), INPUTS)


@pytest.mark.parametrize("name", ["saved_model", "tflite"])
def test_data_that_does_not_fit(model, files, name):
    path = getattr(files, name)
    cases = [
        (model, None, ["give data"]),
        (model, INPUTS[:0], ["no images"]),
        (model, INPUTS[:, 1:], ["(None, 8, 8, 3)", "(6, 7, 8, 3)"]),
        (model, (INPUTS, np.zeros(5, int)), ["labels", "(6,)", "(5,)"]),
        (model, INPUTS * np.nan, ["the Keras model gives NaN", "6 of 6"]),
        (small(classes=4), INPUTS, ["(3,)", "(4,)", "another network"]),
        (small(size=9), np.zeros((2, 9, 9, 3)), ["8, 8, 3)", "(1, 9, 9, 3)", "another network"]),
    ]
    for keras_model, data, words in cases:
        with one_line(*words):
            export.agreement(path, keras_model, data)
    with one_line("limit", "0"):
        export.agreement(path, model, INPUTS, limit=0)


def test_inputs_that_cannot_be_pixels(model, files):
    with one_line("0 to 255", "once"):
        export.agreement(files.pixels, model, PREPROCESSING.normalize(INPUTS * 127 + 128).numpy() * 127)


def test_nan_in_the_file_is_told_from_nan_in_the_model(tmp_path):
    model = small(end="linear")
    weights = model.get_weights()
    model.set_weights([np.full_like(w, 3e38) for w in weights])  # finite, and too much for any sum
    path = export.to_tflite(model, tmp_path / "phone.tflite")
    model.set_weights(weights)
    with one_line(str(path), "NaN or infinite", "6 of 6"):
        export.agreement(path, model, np.abs(INPUTS))
