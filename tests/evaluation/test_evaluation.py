"""Several views of an image, and several networks together."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_inception.data import Augmentation, Crops, Shift, Split
from keras_inception.data.views import Colour
from keras_inception.errors import InputError
from keras_inception.evaluation import Ensemble, KerasPredictor
from keras_inception.preprocessing import LUMA, Preprocessing, scaled
from keras_inception.run import Run

from ..shown import shown

PLAIN = Preprocessing(size=(28, 28), mean=(0, 0, 0), std=(1, 1, 1))
SEED = 1
rng = np.random.default_rng(0)


def views(count: int, image: np.ndarray, preprocessing: Preprocessing = PLAIN) -> np.ndarray:
    return shown(Crops(count), image, preprocessing)


def test_ten_crops_are_corners_centre_and_mirrors() -> None:
    image = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)  # its central 32 x 32 needs no resizing
    square = image[:, 4:36].astype(np.float32)
    found = views(10, image)
    assert found.shape == (10, 28, 28, 3)
    for i, (top, left) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]):
        np.testing.assert_allclose(found[i], square[top : top + 28, left : left + 28], atol=1e-3)
    np.testing.assert_array_equal(found[5:], found[:5, :, ::-1])


def test_144_crops_are_twelve_at_each_scale_and_place() -> None:
    image = rng.integers(0, 256, (30, 60, 3), dtype=np.uint8)
    found = views(144, image)
    assert found.shape == (144, 28, 28, 3)
    np.testing.assert_array_equal(found[72:], found[:72, :, ::-1])
    whole = PLAIN.scale(image[:, 15:45]).numpy()
    assert sum(np.allclose(view, whole, atol=1e-3) for view in found) == 4  # the central square, once a scale
    twelve = views(12, image)
    assert all(any(np.allclose(view, other, atol=1e-3) for other in found) for view in twelve)
    assert np.allclose(twelve[5], whole, atol=1e-3)


def test_one_crop_is_what_training_measures() -> None:
    image = rng.integers(0, 256, (50, 41, 3), dtype=np.uint8)
    preprocessing = dataclasses.replace(PLAIN, crop=0.875)
    np.testing.assert_allclose(views(1, image, preprocessing)[0], preprocessing.resize(image), atol=0.01)


def classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 3))
    x = keras.layers.Conv2D(4, 5, 3, activation="relu")(inputs)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="predictions")(x))


SPLIT = Split(rng.integers(0, 256, (5, 40, 40, 3), dtype=np.uint8), np.array([0, 1, 2, 0, 1], np.int32), tuple("abc"))


@pytest.mark.parametrize("crops", [10, 12])
def test_answers_are_the_mean_over_the_views(crops: int) -> None:
    model, preprocessing = classifier(), scaled((28, 28))
    predictor = KerasPredictor(model=model, labels=SPLIT.classes, preprocessing=preprocessing, crops=crops)
    found = predictor.probabilities(SPLIT)["predictions"]
    by_hand = [
        np.asarray(model(preprocessing.normalize(views(crops, SPLIT.image(i), preprocessing)))).mean(0)
        for i in range(5)
    ]
    np.testing.assert_allclose(found, by_hand, atol=1e-5)
    with pytest.raises(InputError, match="crops must be 1, 10, 12 or 144; got 5"):
        dataclasses.replace(predictor, crops=5)


def test_an_ensemble_is_the_mean_of_its_runs(tmp_path, monkeypatch) -> None:
    models = {"a": classifier(), "b": classifier()}
    models["b"].set_weights([2 * w for w in models["b"].get_weights()])
    monkeypatch.setattr(Run, "model", lambda self: models[self.path.name])
    runs = [
        Run(builder="x", kwargs={}, labels=("a", "b", "c"), preprocessing=p, path=tmp_path / name)
        for name, p in (("a", scaled((28, 28))), ("b", PLAIN))  # each prepares images its own way
    ]
    apart = [run.probabilities(SPLIT)["predictions"] for run in runs]
    mean = Ensemble(runs).probabilities(SPLIT)["predictions"]
    np.testing.assert_allclose(mean, np.mean(apart, axis=0), atol=1e-6)
    other = dataclasses.replace(runs[1], labels=("c", "b", "a"))
    with pytest.raises(InputError, match="b has other classes than the first, or in another order"):
        Ensemble([runs[0], other])


def test_shifts_move_by_whole_pixels_and_fill_with_the_mean() -> None:
    preprocessing = Preprocessing(size=(28, 28), mean=(10.0, 20.0, 30.0), std=(1, 1, 1))
    image = rng.integers(100, 256, (28, 28, 3), dtype=np.uint8)
    framed = np.tile(np.float32(preprocessing.mean), (36, 36, 1))
    framed[4:-4, 4:-4] = image
    places = set()
    for seed in range(60):
        found = shown(Shift(flip=False), image, preprocessing, seed)[0]
        hits = [
            (y, x) for y in range(9) for x in range(9) if np.allclose(found, framed[y : y + 28, x : x + 28], atol=1e-3)
        ]
        assert len(hits) == 1
        places |= set(hits)
    assert len(places) > 30
    mirrored = [not np.allclose(shown(Shift(pixels=0), image, preprocessing, s)[0], image) for s in range(60)]
    assert 15 < sum(mirrored) < 45


def test_shifts_of_bgr_and_grey_networks_fill_with_their_mean_too() -> None:
    for channels, mean in (("BGR", (30.0, 20.0, 10.0)), ("L", (25.0,))):
        preprocessing = Preprocessing(size=(8, 8), channels=channels, mean=mean, std=(1.0,) * len(mean))
        black = Split(np.zeros((20, 8, 8, 3), np.uint8), np.zeros(20, np.int32), ("a",))
        [(seen, _)] = black.batches(preprocessing, 20, augmentation=Shift()).as_numpy_iterator()
        border = np.concatenate([x.reshape(-1, len(mean)) for x in seen])
        inside = np.isclose(border, -np.float32(mean), atol=1e-3).all(-1)
        assert np.isclose(border[~inside], 0, atol=1e-3).all()
        assert (~inside).any()


def test_colour_changes_keep_pixels_in_range_and_follow_the_seed() -> None:
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    plain = shown(Augmentation(), image, PLAIN, SEED)
    coloured, again, other = (shown(Augmentation(colour=1.0), image, PLAIN, seed) for seed in (SEED, SEED, 2))
    np.testing.assert_array_equal(coloured, again)
    assert np.abs(coloured - plain).mean() > 2
    assert not np.allclose(coloured, other)
    assert coloured.min() >= 0
    assert coloured.max() <= 255
    grey = np.repeat(rng.integers(60, 190, (40, 40, 1), dtype=np.uint8), 3, axis=-1)
    changed = shown(Augmentation(colour=1.0), grey, PLAIN, SEED)
    np.testing.assert_allclose(changed, changed.mean(-1, keepdims=True) * np.ones(3), atol=0.1)  # grey has no hue


def test_each_change_of_colour_does_what_it_says() -> None:
    pixels = rng.integers(60, 190, (500, 3)).astype(np.float64)
    mean, luma = pixels.mean(axis=0), np.array(LUMA)

    def changed(**colour: float) -> np.ndarray:
        return np.column_stack([pixels, np.ones(len(pixels))]) @ Colour(**colour).matrix(mean).T

    np.testing.assert_allclose(changed(), pixels, atol=1e-9)
    np.testing.assert_allclose(changed(brightness=7), pixels + 7, atol=1e-9)
    np.testing.assert_allclose(changed(contrast=0.5), (pixels + mean) / 2, atol=1e-9)
    grey = np.repeat(pixels @ luma[:, np.newaxis], 3, axis=1)
    np.testing.assert_allclose(changed(saturation=0), grey, atol=0.2)  # NTSC's chromas are rounded
    np.testing.assert_allclose(changed(hue=0.3) @ luma, pixels @ luma, atol=1e-9)
    np.testing.assert_allclose(changed(hue=1), pixels, atol=1e-9)
    turned = changed(hue=0.5)  # to the complementary colour
    assert np.corrcoef((turned - grey).ravel(), (pixels - grey).ravel())[0, 1] == pytest.approx(-1, abs=0.01)
