"""Calibration images: where they come from, how they are checked, and their record in the file."""

import json
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.data import from_arrays, load_folder
from keras_inception.export import CalibrationSet
from keras_inception.export.tflite import metadata
from keras_inception.export.tflite.flatbuffer import float_operators

PREPROCESSING = Preprocessing(size=(8, 8), channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 12, 10, 3)).astype(np.uint8)
LABELS = np.repeat([0, 1, 2], [240, 54, 6])  # as lopsided as real classes are


@contextmanager
def one_line(*words):
    with pytest.raises(InputError) as caught:
        yield
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture(scope="module")
def split():
    return from_arrays(IMAGES, LABELS, ["many", "some", "few"], validation=0.1).train


@pytest.fixture
def folder(tmp_path):
    for i, image in enumerate(IMAGES[:40]):
        (tmp_path / "images" / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / f"class {i % 2}" / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="stem")(image)
    x = layers.Conv2D(8, 3, activation="relu", name="body")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="predictions")(x), name="small")


def inputs(n=60):
    return PREPROCESSING(IMAGES[:n])


def test_a_sample_has_all_classes_in_proportion_and_is_the_same_again(split):
    taken = CalibrationSet.of(split, PREPROCESSING, count=100)
    assert taken.inputs.shape == (100, 8, 8, 3)
    assert taken.inputs.dtype == np.uint8
    assert taken.absent == taken.notes == ()
    again = CalibrationSet.of(split, PREPROCESSING, count=100)
    assert taken.summary() == again.summary()
    assert taken.summary()["sha256"] != CalibrationSet.of(split, PREPROCESSING, count=100, seed=1).summary()["sha256"]


def test_images_are_prepared_as_the_file_takes_them(split):
    taken = CalibrationSet.of(split, PREPROCESSING, count=10)
    want = np.stack([PREPROCESSING.resize(split.image(i)).numpy() for i in range(len(split))])
    nearest = [np.abs(want - image).max(axis=(1, 2, 3)).min() for image in taken.inputs]
    assert max(nearest) <= 0.5  # rounded to whole levels, and in RGB though the network takes BGR
    from_inputs = CalibrationSet.of(PREPROCESSING.normalize(taken.inputs.astype(np.float32)).numpy(), PREPROCESSING)
    np.testing.assert_array_equal(from_inputs.inputs, taken.inputs)


def test_a_folder_and_a_run_say_where_images_are_from(folder, model, tmp_path):
    assert CalibrationSet.of(folder, PREPROCESSING).source == "the folder images"
    data = {"folder": str(folder), "validation": 0.2}
    path = tmp_path / "digits"
    path.mkdir()
    run = Run(
        builder="-", kwargs={}, labels=load_folder(folder).classes, preprocessing=PREPROCESSING, data=data, path=path
    )
    taken = CalibrationSet.of(run)
    assert taken.source == "the training images of digits"
    assert 20 < len(taken.inputs) < 40  # those held out are not among them


def test_a_set_travels_as_a_file(split, tmp_path):
    taken = CalibrationSet.of(split, PREPROCESSING, count=60)
    path = taken.save(tmp_path / "images")
    for read in (CalibrationSet.load(path), CalibrationSet.of(path)):
        assert read.summary() == taken.summary()
        assert read.preprocessing == PREPROCESSING
    with one_line("exists"):
        taken.save(path)
    (tmp_path / "text").write_text("hello")
    for name in ("text", "nothing"):
        with one_line(name, "not a calibration set"):
            CalibrationSet.load(tmp_path / name)


def test_the_file_says_how_it_was_calibrated(model, split, tmp_path):
    taken = CalibrationSet.of(split, PREPROCESSING, count=20)
    options = {"quantization": "int8", "preprocessing": PREPROCESSING}
    path = export.to_tflite(model, tmp_path / "a.tflite", calibration=taken, **options)
    record = metadata.read_record(path.read_bytes())
    assert json.loads(json.dumps(taken.summary())) == record.calibration
    assert record.calibration["images"] == 20
    assert [f.problem for f in export.doctor(path).findings if "20 images" in f.problem]
    taken.save(tmp_path / "images")
    again = export.to_tflite(model, tmp_path / "b.tflite", calibration=tmp_path / "images", **options)
    assert again.read_bytes() == path.read_bytes()
    with one_line("another preprocessing"):
        export.to_tflite(model, tmp_path / "c.tflite", quantization="int8", calibration=taken)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (inputs(1), ["one image"]),
        (np.repeat(inputs(1), 50, axis=0), ["one image 50 times"]),
        (inputs() * np.nan, ["NaN"]),
        (inputs(0), ["empty"]),
        (inputs() * 57, ["0 to 255", "once"]),
        (
            PREPROCESSING(np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)),
            ["blank"],
        ),
        (iter(inputs()), ["iterator", "array"]),
        (lambda: inputs(), ["function", "array"]),
        (3, ["int", "array of images"]),
    ],
    ids=["one", "one repeated", "nan", "empty", "scaled twice", "blank", "iterator", "generator", "number"],
)
def test_what_cannot_be_calibrated_with(wrong, words):
    with one_line(*words):
        CalibrationSet.of(wrong, PREPROCESSING)


def test_what_looks_wrong_is_noted(split):
    def notes(pixels, **about):
        return "; ".join(CalibrationSet(inputs=pixels, preprocessing=PREPROCESSING, **about).notes)

    pixels = CalibrationSet.of(split, PREPROCESSING, count=60).inputs
    assert not notes(pixels)
    assert "49 images" in notes(pixels[:49])
    assert "30 of 60" in notes(np.concatenate([pixels[:30]] * 2))
    assert "range from 128 to" in notes(np.maximum(pixels, 128))
    assert "channel 1" in notes(pixels * np.array([1, 0, 1], np.uint8))
    assert "2 classes, among them cat" in notes(pixels, absent=("cat", "dog"))


# ---------------------------------------------------------------------------------------------------- layers in float


def test_layer_errors_find_the_layer_and_float_layers_spare_it(model, tmp_path):
    """A layer whose channels differ a thousandfold in range is what int8 cannot do."""
    x = inputs()
    channel = keras.Model(model.input, model.get_layer("stem").output)(x).numpy().mean(axis=(0, 1, 2)).argmax()
    awkward = keras.models.clone_model(model)
    stem, bias, body, *others = model.get_weights()
    stem[..., channel] *= 1000
    body[:, :, channel] /= 1000
    awkward.set_weights([stem, bias, body, *others])
    options = {"quantization": "int8", "calibration": x}
    path = export.to_tflite(awkward, tmp_path / "int8.tflite", **options)
    errors = {e.layer: e.snr for e in export.layer_errors(path, awkward, (image[None] for image in x))}
    assert list(errors)[:2] == ["stem", "body"]
    assert errors["stem"] - errors["body"] > 10  # decibels lost by what the next layer reads
    spared = export.to_tflite(awkward, tmp_path / "spared.tflite", float_layers=["stem", "body"], **options)
    assert float_operators(spared.read_bytes()) == ["CONV_2D", "CONV_2D"]
    assert export.agreement(spared, awkward, x).snr > export.agreement(path, awkward, x).snr + 6
    assert any("2 of" in f.problem and "float" in f.problem for f in export.doctor(spared).findings)
    with one_line("'stam'", "layer_errors"):
        export.to_tflite(awkward, tmp_path / "no.tflite", float_layers=["stam"], **options)
    with one_line("float_layers=", "int8"):
        export.to_tflite(awkward, tmp_path / "no.tflite", float_layers=["stem"])
    with one_line("no layer in common"):
        other = keras.Model(image := keras.Input((8, 8, 3)), layers.Flatten()(image), name="other")
        export.layer_errors(path, other, [])
