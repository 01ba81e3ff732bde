"""What `train` takes as images: pipelines of tf.data among them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception import InputError
from keras_inception.data import as_dataset, fingerprint, from_arrays, from_tf_data

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def pipeline(images=PIXELS, labels=LABELS, batch=5):
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    return data.batch(batch) if batch else data


def test_pixels_and_labels_are_those_of_the_arrays():
    expected = fingerprint(from_arrays(PIXELS, LABELS))
    forms = {
        "not batched": pipeline(batch=None),
        "batched": pipeline(),
        "floats": pipeline(PIXELS.astype("float32")),
        "one-hot": pipeline(labels=np.eye(3, dtype="float32")[LABELS]),
        "columns": pipeline(labels=LABELS[:, np.newaxis].astype("float32")),
        "shuffled": pipeline().unbatch().shuffle(12).batch(4).cache().prefetch(1),
        "of a generator": tf.data.Dataset.from_generator(
            lambda: zip(PIXELS, LABELS, strict=True),
            output_signature=(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64)),
        ),
    }
    for name, form in forms.items():
        assert fingerprint(as_dataset(form)) == expected, name


def test_a_pair_is_trained_on_and_held_out():
    data = as_dataset((pipeline(), pipeline(PIXELS[:2], LABELS[:2] + 1)))
    assert (len(data.train), len(data.val)) == (12, 2)
    assert data.classes == ("0", "1", "2")
    assert data.val.labels.tolist() == [1, 2]
    assert as_dataset([pipeline(labels=LABELS + 5), pipeline(labels=LABELS + 5)]).classes == ("5", "6", "7")


def test_three_are_the_three_sides():
    data = as_dataset((pipeline(), pipeline(PIXELS[:2], LABELS[:2] + 1), pipeline(PIXELS[:3], LABELS[:3])), test=0.2)
    assert [len(side) for side in data.sides] == [12, 2, 3]
    tested = from_tf_data(pipeline(), test=pipeline(PIXELS[:1], LABELS[:1]))
    whole = as_dataset(pipeline())
    assert [len(side) for side in tested.sides] == [len(whole.train), len(whole.val), 1]


def test_a_share_for_test():
    data = as_dataset(pipeline(), validation=0.3, test=0.3)
    assert fingerprint(data) == fingerprint(from_arrays(PIXELS, LABELS, validation=0.3, test=0.3))
    pair = as_dataset((pipeline(), pipeline(PIXELS[:2], LABELS[:2])), test=0.3)
    assert [len(side) for side in pair.sides] == [12 - len(data.test), 2, len(data.test)]
    np.testing.assert_array_equal(pair.test.sources, data.test.sources)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of 8 images of different sizes, in a folder whose own name is that of a class."""
    root = tmp_path_factory.mktemp("x") / "cat" / "images"
    for i in range(16):
        path = root / ("dog" if i % 2 else "cat") / "more" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (10 + i, 12, 3), dtype=np.uint8)).save(path)
    return root


def keras_data(folder, **options):
    return keras.utils.image_dataset_from_directory(folder, image_size=(7, 7), verbose=False, **options)


@pytest.mark.parametrize("mode", ["int", "binary", "categorical"])
def test_keras_loader_gives_its_files(mode, folder):
    data = as_dataset(keras_data(folder, label_mode=mode), validation=0.3)
    assert fingerprint(data) == fingerprint(as_dataset(folder, validation=0.3))
    assert all(data.classes[i] == file.parts[-3] for file, i in zip(data.train.sources, data.train.labels, strict=True))


def test_keras_loaders_of_both_sides(folder):
    data = as_dataset(keras_data(folder, subset="both", validation_split=0.25, seed=1))
    assert (len(data.train), len(data.val)) == (12, 4)
    assert not {*data.train.sources} & {*data.val.sources}
    three = as_dataset((*keras_data(folder, subset="both", validation_split=0.25, seed=1), keras_data(folder)))
    assert [len(side) for side in three.sides] == [12, 4, 16]
    reversed_names = keras_data(folder, class_names=["dog", "cat"])
    assert as_dataset(reversed_names).classes == ("dog", "cat")


def test_keras_loader_with_labels_of_its_own_is_read_from_its_pixels(folder):
    data = as_dataset(keras_data(folder, labels=[0] * 8 + [1] * 8))
    assert data.train.sources.shape[1:] == (7, 7, 3)
    assert data.classes == ("0", "1")


class Sequence(keras.utils.PyDataset):
    """What people train with elsewhere."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return PIXELS, LABELS


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda: pipeline().repeat(), r"never ends: leave out \.repeat"),
        (lambda: pipeline(PIXELS / 255), r"images from 0 to 1: leave out Rescaling and preprocess_input"),
        (lambda: pipeline(PIXELS / 127.5 - 1), "images from -1 to 1: leave out Rescaling"),
        (lambda: tf.data.Dataset.from_tensor_slices(PIXELS), r"yields one tensor \(6, 8, 3\): give pairs"),
        (lambda: pipeline().map(lambda x, y: (x, y, y)), "yields 3 parts: give pairs"),
        (lambda: pipeline().map(lambda x, y: {"x": x}), "yields dict: give pairs"),
        (lambda: pipeline(PIXELS[..., 0]), r"yields images of shape \(None, 6, 8\): give pairs"),
        (lambda: pipeline(PIXELS[:, 0, 0]), r"yields images of shape \(None, 3\): give pairs"),
        (lambda: pipeline(labels=np.ones((12, 3))), "rows of labels that are not one-hot"),
        (lambda: pipeline(labels=LABELS / 2), "yields labels float64 .* give integers"),
        (lambda: pipeline().take(0), "yields no images"),
        (lambda: pipeline(labels=LABELS * 0), "all images have the same label"),
        (lambda: (pipeline(labels=LABELS % 2), pipeline()), "none of the class 2"),
        (lambda: (PIXELS, LABELS), r"images are a tuple: give a folder, .*data\.from_arrays\(images, labels\)"),
        (lambda: PIXELS, "images are a ndarray: give a folder"),
        (lambda: Sequence(), r"images are a Sequence: give a folder, .* a tf\.data\.Dataset"),
        (lambda: iter(pipeline()), "images are a OwnedIterator: give"),
        (lambda: None, "images are a NoneType: give"),
    ],
)
def test_what_cannot_be_read_gets_one_clear_line(images, message):
    with pytest.raises(InputError, match=message) as caught:
        as_dataset(images())
    assert "\n" not in str(caught.value)


def test_sizes_must_agree():
    sizes = tf.data.Dataset.from_generator(
        lambda: iter([(PIXELS[0], 0), (PIXELS[0, :3], 1)]),
        output_signature=(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64)),
    )
    with pytest.raises(InputError, match="images of different sizes: resize them"):
        from_tf_data(sizes)
