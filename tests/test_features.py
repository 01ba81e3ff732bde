"""Features on disk: the body's own output, computed once for the same pictures, body and preprocessing."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_inception import features as module
from keras_inception.data import Split
from keras_inception.features import batches, features, key
from keras_inception.preprocessing import scaled

PREPROCESSING = scaled((8, 8))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path))
    return tmp_path / "features"


def body(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3), name="pictures")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(x), name="body")


def split(n: int = 10) -> Split:
    pictures = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return Split(pictures, np.arange(n, dtype=np.int32) % 2, ("a", "b"))


def test_features_are_the_bodys_output_and_computed_once(monkeypatch) -> None:
    pictures = split()
    found = features(body(), pictures, PREPROCESSING, batch_size=4)
    expected = [np.asarray(body()(PREPROCESSING(pictures.picture(i))[None]))[0] for i in range(10)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    monkeypatch.setattr(module, "_compute", None)
    np.testing.assert_array_equal(features(body(), pictures, PREPROCESSING), found)  # a body of the same weights


def test_whatever_decides_features_is_in_their_key(tmp_path) -> None:
    pictures, other = split(), split()
    other.sources[3, 0, 0, 0] ^= 1
    keys = {
        key(body(), pictures, PREPROCESSING),
        key(body(), other, PREPROCESSING),
        key(body(1), pictures, PREPROCESSING),
        key(body(), pictures, replace(PREPROCESSING, crop=1.0)),
        key(body(), pictures.select(np.arange(9)), PREPROCESSING),
    }
    assert len(keys) == 5
    assert key(body(), split(), PREPROCESSING) in keys
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"content")
    files = [Split(np.array([tmp_path / name], object), np.zeros(1, np.int32), ("a",)) for name in ("x.png", "y.png")]
    assert key(body(), files[0], PREPROCESSING) == key(body(), files[1], PREPROCESSING)


def test_batches_hold_each_picture_once_in_the_order_of_the_seed() -> None:
    found, labels = np.arange(10, dtype=np.float32)[:, None] * np.ones(3, np.float32), np.arange(10, dtype=np.int32)
    seen = [np.concatenate([y for _, y in batches(found, labels, 4, seed=seed)]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
    assert sorted(seen[0]) == list(range(10))
    for x, y in batches(found, labels, 4, seed=3):
        np.testing.assert_array_equal(x[:, 0], y)


def test_what_was_not_used_for_long_is_deleted(home, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEPT", 500)
    for seed in range(4):
        features(body(seed), split(), PREPROCESSING)
    assert 1 <= len(list(home.glob("*.npy"))) < 4


def test_an_interruption_leaves_no_half_file(home, monkeypatch) -> None:
    def cut(pictures):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_frozen", lambda body: cut)
    with pytest.raises(KeyboardInterrupt):
        features(body(), split(), PREPROCESSING)
    assert list(home.iterdir()) == []
