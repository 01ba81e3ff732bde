"""The names of ImageNet's classes, and images as a checkpoint takes them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_inception as ki
from keras_inception import InputError, Preprocessing
from keras_inception.weights import Checkpoint, ClassScore, imagenet_labels
from keras_inception.weights.record import Prepared, loaded

CHECKPOINT = Checkpoint(
    model="lenet5",
    tag="test",
    layout="keras",
    urls=("https://example.org/lenet5.h5",),
    unhashed="a test",
    license="none",
    source="a test",
    numerics="tf",
    preprocessing=Preprocessing(size=(32, 32), crop=0.875, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 56.0)),
)


def test_the_thousand_classes() -> None:
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert [label.synset for label in labels] == sorted({label.synset for label in labels})  # ImageNet's own order
    assert all(re.fullmatch(r"n\d{8}", label.synset) for label in labels)
    assert len({label.name for label in labels}) == 1000
    assert labels[0] == ("n01440764", "tench")
    assert labels[207] == ("n02099601", "golden retriever")
    assert labels[999] == ("n15075141", "toilet tissue")


def test_they_are_the_classes_of_the_published_networks(data_folder: Path) -> None:
    """Compare with the names that two of them come with, whose class 0 is the background; the sample has the ids."""
    background, *names = (data_folder / "imagenet_labels.txt").read_text().splitlines()
    assert background == "background"
    assert all(
        re.sub(r" \(.*", "", label.name) in name.split(", ")
        for label, name in zip(imagenet_labels(), names, strict=True)
    )


def test_decode_predictions() -> None:
    probabilities = np.full((2, 1000), 0.0001)
    probabilities[0, [207, 0, 999]] = 0.5, 0.2, 0.1
    probabilities[1, 1] = 0.9
    first, second = ki.decode_predictions(probabilities, CHECKPOINT, top=3)
    assert first == [
        ClassScore("n02099601", "golden retriever", 0.5),
        ClassScore("n01440764", "tench", 0.2),
        ClassScore("n15075141", "toilet tissue", 0.1),
    ]
    assert second[0].name == "goldfish"
    assert len(ki.decode_predictions(probabilities)[0]) == 5
    assert ki.decode_predictions({"predictions": probabilities, "aux_1": probabilities}, top=1)[0][0] == first[0]


def test_decode_predictions_with_a_background() -> None:
    probabilities = np.zeros((1, 1001))
    probabilities[0, [0, 1]] = 0.6, 0.4
    assert ki.decode_predictions(probabilities, top=2) == [[("", "background", 0.6), ("n01440764", "tench", 0.4)]]


@dataclass(frozen=True)
class Trained:
    """What a `Run` has of its network."""

    preprocessing: Preprocessing = CHECKPOINT.preprocessing
    labels: tuple[str, ...] = ("n01440764", "my cat", "dog")


def test_a_run_and_its_network_know_their_classes_and_their_preprocessing() -> None:
    run, model = Trained(), keras.Model(x := keras.Input((32, 32, 3)), x)
    loaded[model] = Prepared(preprocessing=run.preprocessing, labels=run.labels)
    for given in (run, model):
        [best] = ki.decode_predictions(np.array([[0.3, 0.6, 0.1]]), given, top=2)
        assert best == [("", "my cat", 0.6), ("n01440764", "tench", 0.3)]
        prepared = ki.preprocess_input(image(40, 50), given)
        np.testing.assert_array_equal(prepared, run.preprocessing(image(40, 50)))


@pytest.mark.parametrize(
    ("shape", "model", "says"),
    [
        ((2, 10), CHECKPOINT, r"N x 1000 or N x 1001 of ImageNet's classes; got 2 x 10; .*give its Run"),
        ((1000,), CHECKPOINT, "got 1000"),
        ((2, 1000), replace(CHECKPOINT, dataset="cifar10"), r"lenet5\.test has the classes of cifar10"),
        ((2, 1000), Trained(), "predictions are N x 3 of the run's classes; got 2 x 1000$"),
        ((2, 1000), "runs/a", "model must be a network with published weights, a checkpoint or a Run; got 'runs/a'"),
        ((2, 1000), keras.Sequential([keras.Input((2,))], name="mine"), "mine was not built with published weights"),
    ],
)
def test_predictions_that_cannot_be_decoded(shape: tuple, model: keras.Model | Checkpoint, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        ki.decode_predictions(np.zeros(shape), model)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- preprocess_input


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_images_are_prepared_by_the_checkpoints_preprocessing() -> None:
    big, small = image(50, 70), image(20, 20)
    for given in (big, big.astype(np.float32), tf.constant(big), big[None]):
        prepared = ki.preprocess_input(given, CHECKPOINT)
        np.testing.assert_array_equal(np.squeeze(prepared), CHECKPOINT.preprocessing(big))
        assert tf.is_tensor(prepared) == tf.is_tensor(given)
    both = ki.preprocess_input([big, small], CHECKPOINT)
    assert isinstance(both, np.ndarray)
    assert both.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(both[1], CHECKPOINT.preprocessing(small))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((8, 8), np.uint8), "RGB; got 8 x 8$"),
        (np.zeros((8, 8, 4), np.uint8), "RGB; got 8 x 8 x 4$"),
        (np.zeros((0, 8, 8, 3), np.uint8), "got 0 x 8 x 8 x 3$"),
        (image(8, 8) / 255, r"pixels are in 0\.\.255, not yet scaled or normalised; got 0\.?\d*\.\.0\.9"),
        (image(8, 8) / 127.5 - 1, r"not yet scaled or normalised; got -"),
        (np.full((8, 8, 3), np.nan), "not yet scaled or normalised; got nan"),
    ],
)
def test_images_of_another_shape_or_range(images: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        ki.preprocess_input(images, CHECKPOINT)
    assert "\n" not in str(caught.value)


def test_further_channels_are_normalised_as_the_colours_in_turn() -> None:
    model = keras.Model(x := keras.Input((32, 32, 5)), x)
    loaded[model] = CHECKPOINT
    red_green_blue = image(50, 70)
    more = np.concatenate([red_green_blue, red_green_blue[..., :2]], axis=-1)
    prepared = ki.preprocess_input(more, model)
    np.testing.assert_array_equal(prepared[..., :3], CHECKPOINT.preprocessing(red_green_blue))
    np.testing.assert_allclose(prepared[..., 3:], prepared[..., :2], rtol=1e-5)
    assert ki.preprocess_input([more, more], model).shape == (2, 32, 32, 5)
    with pytest.raises(InputError, match=r"H x W x 5 or N x H x W x 5, RGB first; got 50 x 70 x 3$"):
        ki.preprocess_input(red_green_blue, model)


def test_for_another_input() -> None:
    preprocessing = CHECKPOINT.preprocessing
    assert preprocessing.for_input((32, 32, 3)) == preprocessing
    assert preprocessing.for_input((None, None, 3)) == preprocessing
    assert preprocessing.for_input((64, 48, 3)) == replace(preprocessing, size=(64, 48))
    grey = preprocessing.for_input((64, 64, 1))
    assert (grey.channels, grey.crop) == ("L", 0.875)
    assert grey.mean == pytest.approx((344 / 3,))
    assert grey.std == pytest.approx((57,))
    with pytest.raises(InputError, match="got an input of 4 channels: prepare these inputs yourself"):
        preprocessing.for_input((64, 64, 4))
