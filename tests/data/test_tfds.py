"""Datasets of TensorFlow Datasets, on small ones made here."""

import sys
from urllib.parse import unquote

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_inception import InputError
from keras_inception.data import load_folder, load_images
from keras_inception.data import tfds as tfds_module

CLASSES = ["zebra", "a/b", "a_b"]


def image(label, i):
    rng = np.random.default_rng(100 * label + i)
    return np.clip(rng.normal(80 * label + 40, 20, (24, 20, 3)), 0, 255).astype(np.uint8)


class Tiny(tfds.core.GeneratorBasedBuilder):
    """Labelled images, a test set whose last labels are kept secret, and a split that nobody asks for."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 5, "test": 2, "extra": 1}  # noqa: RUF012
    ENCODING = "jpeg"

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3), encoding_format=self.ENCODING)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"photo": image, "kind": tfds.features.ClassLabel(names=CLASSES)})
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, n) for split, n in self.SPLITS.items()}

    def _generate_examples(self, split, n):
        for label, name in enumerate(CLASSES):
            for i in range(n):
                yield f"{split}{label}{i}", {"photo": image(label, 10 * len(split) + i), "kind": name}
        if split == "test":
            yield "secret", {"photo": image(0, 0), "kind": -1}


class TinyOneSide(Tiny):
    """No test split, and PNG."""

    SPLITS = {"train": 6}  # noqa: RUF012
    ENCODING = "png"


class TinyAllSides(Tiny):
    """As most are published."""

    SPLITS = {"train": 3, "validation": 2, "test": 1}  # noqa: RUF012


class TinyPairs(tfds.core.GeneratorBasedBuilder):
    """Two images in an example."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(8, 8, 3))
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"left": image, "right": image}))

    def _split_generators(self, dl_manager):
        return {}

    def _generate_examples(self):
        yield from ()


class TinyBroken(Tiny):
    """Its server is away."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host\nand a page more")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    return tmp_path


def test_labelled_images(home):
    data = load_folder("tfds:tiny")
    assert data.classes == ("a/b", "a_b", "zebra")
    assert (len(data.train) + len(data.val), len(data.test)) == (15, 6)
    assert (np.bincount([*data.train.labels, *data.val.labels]) == 5).all()
    for i, label in enumerate(data.test.labels):
        assert data.test.image(i).mean() == pytest.approx([120, 200, 40][label], abs=10)
    again = load_folder("tfds:tiny")
    assert list(again.train.sources) == list(data.train.sources)
    assert not list(home.rglob("*.part"))
    assert len(load_images("tfds:tiny", ["train", "test"])) == 21


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", "50%", "a%2Fb", "..", "猫"])
def test_any_class_name_is_a_folder_and_back(name, tmp_path):
    folder = tfds_module.folder_name(name)
    (tmp_path / folder).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert not folder.startswith(".")
    assert unquote(folder) == name


def test_all_three_sides():
    assert [len(side) for side in load_folder("tfds:tiny_all_sides").sides] == [9, 6, 3]


def test_without_a_second_split_some_are_held_out():
    data = load_folder("tfds:tiny_one_side", validation=0.3)
    assert len(data.train) + len(data.val) == 18
    assert len(data.val) >= 3
    assert data.train.sources[0].suffix == ".png"
    want = {image(label, 50 + i).tobytes() for label in range(3) for i in range(6)}
    assert {split.image(i).tobytes() for split in (data.train, data.val) for i in range(len(split))} == want


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:no_such_data_set", "tfds:no_such_data_set is none of TensorFlow Datasets: .*not found"),
        ("tfds:tiny_pairs", "tfds:tiny_pairs has left, right: give a dataset with one image and one class"),
        ("tfds:tiny_broken", "tfds:tiny_broken cannot be downloaded: no route to host$"),
    ],
)
def test_what_cannot_be_used_is_named(name, message, home):
    with pytest.raises(InputError, match=message):
        load_folder(name)
    assert not list(home.rglob("images*"))


def test_without_the_extra_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"tfds:tiny needs TensorFlow Datasets .* 'keras-inception\[tfds\]'"):
        load_folder("tfds:tiny")
