"""Exported files of each resize mode see what the pipeline sees, and say how they were made."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception import Preprocessing, export
from keras_inception.data import Augmentation, Shift, as_images
from keras_inception.export.tflite.metadata import read_record
from keras_inception.outputs import MAIN

OWN = Preprocessing(size=(24, 24), channels="BGR", mean=(103.0, 116.0, 123.0), std=(1.0, 1.0, 1.0))
MODES = {
    "crop": Preprocessing(**OWN.to_dict() | {"crop": 0.875}),
    "stretch": OWN.with_resize("stretch"),
    "letterbox": OWN.with_resize("letterbox"),
    "letterbox on white": OWN.with_resize("letterbox", 255),
}
LABELS = ("a", "b", "c")
SHAPES = (40, 60), (60, 40), (24, 24), (7, 90), (301, 200)


def file(shape):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


@pytest.fixture(scope="module")
def network():
    """A network whose probabilities show where in the input a change is."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(4, 5, 4)(keras.layers.Rescaling(1 / 128)(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name=MAIN)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("mode", MODES)
def test_signatures_see_the_pixels_of_the_pipeline(mode, tmp_path):
    """Through a network that returns its input, within one grey level."""
    image = keras.Input((24, 24, 3))
    model = keras.Model(image, keras.layers.Flatten()(image))
    path = export.to_saved_model(model, tmp_path / "saved", preprocessing=MODES[mode])
    signatures = tf.saved_model.load(str(path)).signatures
    contents, images = zip(*map(file, SHAPES), strict=True)
    split, _, rejected = as_images(list(contents))
    assert not rejected
    wanted = np.concatenate([x for x, _ in split.batches(MODES[mode], 2)]).reshape(len(SHAPES), -1)
    found = signatures["encoded"](image_bytes=tf.constant(contents))["output"]
    np.testing.assert_allclose(found, wanted, atol=1.0)
    for pixels, row in zip(images, wanted, strict=True):
        found = signatures["image"](image=tf.constant(pixels[np.newaxis]))["output"]
        np.testing.assert_allclose(found[0], row, atol=1.0)


@pytest.mark.parametrize("mode", MODES)
def test_files_record_the_mode_and_are_fed_by_it(mode, network, tmp_path):
    known = {"preprocessing": MODES[mode], "labels": LABELS}
    split = as_images([content for content, _ in map(file, SHAPES)])[0]
    inputs = np.concatenate([x for x, _ in split.batches(MODES[mode], 8)])
    wanted = network.predict(inputs, verbose=0)
    lite = export.to_tflite(network, tmp_path / "model.tflite", **known)
    assert read_record(lite.read_bytes()).preprocessing == MODES[mode]
    for path in (lite, export.to_saved_model(network, tmp_path / "saved", **known)):
        predictor = export.open_predictor(path)
        assert predictor.preprocessing == MODES[mode]
        np.testing.assert_allclose(predictor.probabilities(split)[MAIN], wanted, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_calibration_images_are_in_the_mode(mode):
    split = as_images([content for content, _ in map(file, SHAPES)])[0]
    calibration = export.CalibrationSet.of(split, MODES[mode])
    wanted = [np.round(MODES[mode].resize(split.image(i))) for i in range(len(split))]
    np.testing.assert_array_equal(calibration.inputs, wanted)


@pytest.mark.parametrize("augmentation", [Augmentation(), Shift(pixels=6)])
def test_borders_stay_when_a_network_normalises_itself(augmentation):
    """Quantisation-aware training moves the normalisation into the network: mean 0 must not make borders black."""
    images = as_images([file((40, 90))[0]])[0]
    for preprocessing in (MODES["crop"], MODES["letterbox"]):
        outside, inside = (
            next(iter(images.batches(p, 1, augmentation=augmentation, seed=3)))[0]
            for p in (preprocessing, preprocessing.unnormalized)
        )
        np.testing.assert_allclose(preprocessing.normalize(inside), outside, atol=1e-5)


@pytest.mark.parametrize(("mode", "cure"), [
    ("crop", "cut out the image's middle"), ("letterbox", "add the borders"), ("stretch", None),
])  # fmt: skip
def test_the_doctor_knows_that_mediapipe_stretches(mode, cure, network, tmp_path):
    path = export.to_tflite(network, tmp_path / "model.tflite", preprocessing=MODES[mode], labels=LABELS)
    found = [finding for finding in export.doctor(path).findings if "MediaPipe stretches" in finding.problem]
    if cure is None:
        assert not found
    else:
        [finding] = found
        assert finding.level == "warning"
        assert mode in finding.problem
        assert cure in finding.cure
        assert "--resize stretch" in finding.cure


def test_the_doctor_speaks_of_mediapipe_only_where_it_takes_the_file(network, tmp_path):
    options = {"preprocessing": MODES["crop"], "batch": 2}
    for path in (
        export.to_tflite(network, tmp_path / "two.tflite", **options),
        export.to_tflite(network, tmp_path / "bare.tflite"),
    ):
        assert not any("stretches" in finding.problem for finding in export.doctor(path).findings)
