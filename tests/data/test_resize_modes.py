"""How an image that is not square becomes a network's input: the window, its place, and what training makes of it."""

from dataclasses import replace
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data import Augmentation, Crops, Shift, Split
from keras_inception.errors import InputError
from keras_inception.evaluation import KerasPredictor
from keras_inception.preprocessing import Preprocessing

from ..shown import shown

MODES = ("crop", "stretch", "letterbox")
PLAIN = Preprocessing(size=(20, 30), mean=(0.0,) * 3, std=(1.0,) * 3)
GREY, WHITE = (114.0,) * 3, (255.0,) * 3


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def nearest(number):
    return max(1, int(number + Fraction(1, 2)))


def exact(preprocessing, height, width):
    """(window, place) in rational numbers: top, left, rows, columns."""
    rows, columns = preprocessing.size
    whole, full = (0, 0, height, width), (0, 0, rows, columns)
    match preprocessing.resize_mode:
        case "crop":
            share = Fraction(preprocessing.crop).limit_denominator(10_000)
            zoom = share * min(Fraction(height, rows), Fraction(width, columns))
            window = nearest(zoom * rows), nearest(zoom * columns)
            return ((height - window[0]) // 2, (width - window[1]) // 2, *window), full
        case "stretch":
            return whole, full
    zoom = min(Fraction(rows, height), Fraction(columns, width))
    place = nearest(zoom * height), nearest(zoom * width)
    return whole, ((rows - place[0]) // 2, (columns - place[1]) // 2, *place)


SHAPES = [(1, 1), (1, 5000), (5000, 1), (375, 500), (500, 500), (8192, 8192), (1, 2**26), (2**26, 1), (9, 7)]
SHAPES += [tuple(map(int, shape)) for shape in np.random.default_rng(0).integers(1, 2000, (100, 2))]


@pytest.mark.parametrize("mode", MODES)
def test_the_geometry_is_exact_in_integers_and_in_a_graph(mode):
    """Also where a side is a half of a pixel (500 x 0.875), and where the product of sides exceeds 32 bits."""
    for size in ((224, 224), (299, 331)):
        for crop in (1.0,) if mode != "crop" else (1.0, 0.875, 224 / 232, 0.965, 1e-6):
            preprocessing = Preprocessing(size=size, crop=crop, resize_mode=mode)
            sides = tf.TensorSpec((), tf.int64)
            graph = tf.function(preprocessing.geometry, input_signature=[sides, sides])
            for height, width in SHAPES:
                wanted = exact(preprocessing, height, width)
                assert preprocessing.geometry(height, width) == wanted
                assert [tuple(map(int, box)) for box in graph(height, width)] == list(wanted)


def test_windows_and_places_lie_inside():
    for mode in MODES:
        preprocessing = Preprocessing(size=(33, 20), resize_mode=mode)
        for height, width in SHAPES:
            window, place = preprocessing.geometry(height, width)
            for box, (rows, columns) in ((window, (height, width)), (place, preprocessing.size)):
                assert box.top >= 0 <= box.left
                assert box.top + box.rows <= rows
                assert box.left + box.columns <= columns


@pytest.mark.parametrize("shape", [(20, 30), (57, 91), (91, 57), (5, 7), (1, 300), (300, 1)])
def test_the_modes_are_pillows_resize_of_the_window(shape):
    image = noise(*shape)
    for mode in MODES:
        preprocessing = replace(PLAIN, resize_mode=mode, fill=GREY)
        window, place = preprocessing.geometry(*shape)
        cut = image[window.top : window.top + window.rows, window.left : window.left + window.columns]
        small = Image.fromarray(cut).resize((place.columns, place.rows), Image.Resampling.BILINEAR)
        expected = np.full((20, 30, 3), 114.0)
        expected[place.top : place.top + place.rows, place.left : place.left + place.columns] = small
        np.testing.assert_allclose(preprocessing.resize(image), expected, atol=1.01)


def test_a_letterboxed_image_of_the_right_height_keeps_its_pixels():
    image = noise(20, 12)
    prepared = replace(PLAIN, resize_mode="letterbox", fill=WHITE)(image)
    np.testing.assert_array_equal(prepared[:, 9:21], image)
    np.testing.assert_array_equal(prepared[:, :9], 255)
    np.testing.assert_array_equal(prepared[:, 21:], 255)


@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_borders_of_the_mean_colour_are_0_after_normalisation(channels):
    mean = (123.0, 116.0, 103.0)[: len(channels)]
    letterbox = Preprocessing(size=(8, 8), channels=channels, mean=mean, std=(58.0,) * len(mean)).with_resize(
        "letterbox"
    )
    borders = letterbox(noise(8, 4))[:, [0, 1, 6, 7]]
    np.testing.assert_allclose(borders, 0, atol=1e-5)
    assert letterbox.fill == letterbox.border


@pytest.mark.parametrize("mode", MODES)
def test_graphs_and_batches_give_the_same_bits(mode):
    preprocessing = replace(PLAIN, resize_mode=mode, fill=GREY)
    compiled = tf.function(preprocessing.__call__, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    for shape in [(50, 40), (24, 20), (7, 99)]:
        image = noise(*shape)
        np.testing.assert_array_equal(compiled(image), preprocessing(image))
        np.testing.assert_array_equal(preprocessing(image[np.newaxis])[0], preprocessing(image))
    sources = np.stack([noise(24, 40, seed) for seed in range(5)])
    split = Split(sources, np.zeros(5, np.int32), ("a",))
    batches = split.batches(preprocessing, 2)
    assert batches.element_spec[0].shape.as_list() == [None, 20, 30, 3]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), [preprocessing(s) for s in sources])


# ------------------------------------------------------------------------------------------------------- as a setting


def test_other_modes_keep_the_whole_image():
    own = Preprocessing(size=(20, 30), crop=0.875)
    assert own.with_resize() == own
    assert own.with_resize("stretch") == Preprocessing(size=(20, 30), resize_mode="stretch")
    letterbox = own.with_resize("letterbox")
    assert (letterbox.crop, letterbox.fill) == (1.0, (127.5,) * 3)
    assert letterbox.with_resize(fill=114) == letterbox.with_resize("letterbox", (114, 114, 114))
    assert letterbox.with_resize(fill=114).with_resize("letterbox").fill == GREY
    assert letterbox.with_resize("crop") == Preprocessing(size=(20, 30))


def test_records_without_a_mode_are_of_crop():
    record = Preprocessing(size=(20, 30), crop=0.875).to_dict()
    older = {k: v for k, v in record.items() if k not in ("resize_mode", "fill")}
    assert Preprocessing.from_dict(older) == Preprocessing(size=(20, 30), crop=0.875)


@pytest.mark.parametrize(
    ("mode", "fill", "message"),
    [
        ("squash", None, "resize must be 'crop', 'stretch' or 'letterbox'; got 'squash'"),
        ("stretch", 0, "fill is for resize 'letterbox', which has borders; got 0 with 'stretch'"),
        (None, 114, "fill is for resize 'letterbox'"),
        ("letterbox", 256, "fill must be a grey level, or red, green and blue, each from 0 to 255; got 256"),
        ("letterbox", (1, 2), "fill must be a grey level"),
        ("letterbox", "white", "fill must be a grey level"),
        ("letterbox", float("nan"), "fill must be a grey level"),
    ],
)
def test_impossible_settings_are_refused(mode, fill, message):
    with pytest.raises(InputError, match=message):
        PLAIN.with_resize(mode, fill)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resize_mode": "pad"}, "resize_mode must be"),
        ({"resize_mode": "stretch", "crop": 0.875}, "stretch keeps the whole image: crop must be 1"),
        ({"resize_mode": "letterbox", "fill": (300.0, 0.0, 0.0)}, "fill must be"),
    ],
)
def test_impossible_records_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(size=(8, 8), **wrong)


# --------------------------------------------------------------------------------------------------------- in training


def augmented(augmentation, preprocessing, image, count=60):
    return np.concatenate([shown(augmentation, image, preprocessing, seed) for seed in range(count)])


def test_stretched_windows_have_proportions_around_the_images():
    """A gradient in each direction over a 3:1 image: its slopes say how large a part of either side a window has."""
    down, across = np.mgrid[0:1:120j, 0:1:360j]
    image = np.stack([255 * down, 255 * across, 0 * down], -1).astype(np.uint8)
    pixels = augmented(Augmentation(area=0.3), Preprocessing(size=(30, 30), resize_mode="stretch"), image)
    part_down = np.abs(np.diff(pixels[..., 0], axis=1).sum(1)).mean(1) / 255
    part_across = np.abs(np.diff(pixels[..., 1], axis=2).sum(2)).mean(1) / 255
    assert (part_down * part_across).min() > 0.2
    assert (part_down * part_across).std() > 0.05
    proportions = part_across / part_down  # 1 is the image's own
    assert 0.65 < proportions.min() < 0.9
    assert 1.1 < proportions.max() < 1.5


def test_letterboxed_windows_keep_proportions_and_the_colour_of_borders():
    image = noise(40, 80)
    preprocessing = Preprocessing(size=(32, 32), resize_mode="letterbox", fill=WHITE)
    pixels = augmented(Augmentation(colour=1.0), preprocessing, image, 20)
    assert pixels.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(pixels[:, 0], 255)
    np.testing.assert_array_equal(pixels[:, -1], 255)
    inside = np.array([(p != 255).any(axis=(1, 2)).sum() for p in pixels])
    assert len(set(inside)) > 3  # rows: windows have 3/4 to 4/3 of the image's 1:2
    assert inside.min() >= 11
    assert inside.max() <= 22


def test_a_shift_brings_in_the_border():
    preprocessing = Preprocessing(size=(8, 8), resize_mode="letterbox", fill=GREY)
    pixels = augmented(Shift(pixels=3), preprocessing, np.full((8, 8, 3), 200, np.uint8), 30)
    assert set(np.unique(pixels)) == {114.0, 200.0}


# --------------------------------------------------------------------------------------------------- several crops


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_crops_of_the_whole_image(mode):
    image, preprocessing = noise(60, 90), Preprocessing(size=(28, 28), resize_mode=mode)
    ten, twelve = (shown(Crops(count), image, preprocessing) for count in (10, 12))
    assert (ten.shape, twelve.shape) == ((10, 28, 28, 3), (12, 28, 28, 3))
    np.testing.assert_allclose(twelve[5], preprocessing.resize(image), atol=0.01)
    large = replace(preprocessing, size=(32, 32)).resize(image)
    expected = [large[y : y + 28, x : x + 28] for y, x in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))]
    np.testing.assert_allclose(ten[:5], expected, atol=0.01)
    np.testing.assert_array_equal(ten[5:], ten[:5, :, ::-1])


def test_144_crops_are_of_squares():
    with pytest.raises(InputError, match=r"144 crops are squares along the image.*\(stretch\): give 10 or 12"):
        KerasPredictor(
            model=keras.Sequential(), labels=("a",), preprocessing=replace(PLAIN, resize_mode="stretch"), crops=144
        )
