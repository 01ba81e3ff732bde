"""The Preprocessing record: windows, resizing and normalisation, by values worked out by hand or by Pillow."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing, scaled

IMAGENET = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_survives_json():
    record = Preprocessing(size=(20, 30), crop=0.875, channels="BGR", **IMAGENET)
    assert Preprocessing.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("size", [(24, 24), (20, 30)])
@pytest.mark.parametrize("shape", [(24, 24), (20, 30), (57, 91), (91, 57), (5, 7), (1, 1), (1, 300)])
def test_any_image_becomes_the_input_shape(shape, size):
    preprocessing = scaled(size)
    result = preprocessing(noise(*shape))
    assert result.shape == preprocessing.input_shape
    assert result.dtype == tf.float32
    assert np.abs(result).max() <= 1


def test_a_image_of_the_right_size_is_only_normalised():
    image = noise(24, 24)
    result = Preprocessing(size=(24, 24), **IMAGENET)(image)
    np.testing.assert_allclose(result, (image - np.array(IMAGENET["mean"])) / IMAGENET["std"], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "size", "crop", "rows", "columns"),
    [
        ((40, 80), (10, 10), 1.0, slice(0, 40), slice(20, 60)),
        ((80, 40), (10, 10), 1.0, slice(20, 60), slice(0, 40)),
        ((64, 64), (14, 14), 0.875, slice(4, 60), slice(4, 60)),
        ((60, 60), (10, 20), 0.5, slice(22, 37), slice(15, 45)),
    ],
)
def test_the_window_is_central_and_of_the_inputs_aspect_ratio(shape, size, crop, rows, columns):
    image = noise(*shape)
    outside = np.ones(shape, bool)
    outside[rows, columns] = False
    changed = image.copy()
    changed[outside] = 255 - changed[outside]
    preprocessing = scaled(size, crop=crop)
    np.testing.assert_array_equal(preprocessing(image), preprocessing(changed))
    expected = np.asarray(Image.fromarray(image[rows, columns]).resize(size[::-1], Image.Resampling.BILINEAR))
    # Pillow's bilinear filter is antialiased too, and rounds to whole levels on both axes.
    np.testing.assert_allclose(preprocessing.resize(image), expected, atol=1.01)


def test_resizing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = scaled((8, 8), crop=1.0).resize(stripes)[:, 1:-1]
    np.testing.assert_allclose(inner, 127.5, atol=1.5)  # without it, pure black or white


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(10, 10), (60, 50)])
def test_a_filter_is_pillows(name, size):
    image = noise(40, 40)
    pillows = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[name]
    colours = [Image.fromarray(image[..., i].astype(np.float32)) for i in range(3)]
    expected = np.stack([np.asarray(colour.resize(size[::-1], pillows)) for colour in colours], axis=-1)
    assert (expected.max() > 260) == (name == "bicubic" and size > image.shape)  # it overshoots
    resized = Preprocessing(size=size, interpolation=name).scale(image)
    np.testing.assert_allclose(resized, expected.clip(0, 255), atol=0.01)


def test_channel_order():
    red = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    per_channel = {"mean": (1, 2, 3), "std": (10, 20, 50)}
    rgb = Preprocessing(size=(4, 4), **per_channel)(red)
    bgr = Preprocessing(size=(4, 4), channels="BGR", **per_channel)(red)
    np.testing.assert_allclose(rgb[0, 0], [19.9, 4.9, 0.94], rtol=1e-6)
    np.testing.assert_allclose(bgr[0, 0], [4.9, 4.9, 3.94], rtol=1e-6)


def test_grey_is_pillows_grey_and_keeps_grey_levels():
    grey = Preprocessing(size=(24, 24), channels="L", mean=(0,), std=(1,))
    image = noise(24, 24)
    np.testing.assert_allclose(grey(image)[..., 0], np.asarray(Image.fromarray(image).convert("L")), atol=1)
    levels = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None] * 11, (24, 24, 3))
    np.testing.assert_allclose(grey(levels)[..., 0], levels[..., 0], atol=1e-4)


@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_a_compiled_graph_and_a_batch_give_the_same_bits(channels):
    per_channel = {k: v[: len(channels)] for k, v in IMAGENET.items()}
    preprocessing = Preprocessing(size=(24, 20), crop=0.875, channels=channels, **per_channel)
    compiled = tf.function(preprocessing.__call__, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    for shape in [(50, 40), (24, 20), (7, 9)]:
        image = noise(*shape)
        np.testing.assert_array_equal(compiled(image), preprocessing(image))
        np.testing.assert_array_equal(preprocessing(image[np.newaxis])[0], preprocessing(image))


@pytest.mark.parametrize("given", [noise(9, 7), noise(9, 7).tolist(), np.stack([noise(9, 7)] * 2)])
def test_arrays_become_arrays_and_tensors_become_tensors(given):
    preprocessing = scaled((8, 8))
    result = preprocessing(given)
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float32
    of_tensor = preprocessing(tf.constant(given))
    assert tf.is_tensor(of_tensor)
    np.testing.assert_array_equal(result, of_tensor)
    traced = tf.function(lambda: preprocessing(given))()  # inside a graph there are only tensors
    assert tf.is_tensor(traced)
    np.testing.assert_allclose(result, traced, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 7, 4), (9, 7, 2), (2, 9, 7, 1), (9, 7)])
def test_images_of_other_channels_are_refused_in_one_line(shape):
    for image in (np.zeros(shape, np.uint8), tf.zeros(shape, tf.uint8)):
        with pytest.raises(InputError, match=rf"images are RGB.*, as `data.decode` returns them; got {shape[-1]} chan"):
            scaled((8, 8))(image)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": "RGBA"}, "channels must be"),
        ({"channels": "L"}, "L needs 1 means"),
        ({"crop": 0.0}, "crop must be"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"interpolation": "nearest"}, "interpolation must be"),
    ],
)
def test_impossible_records_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(size=(8, 8), **wrong)
