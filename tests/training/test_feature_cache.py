"""Features on disk: the backbone's own output, computed once for the same images, backbone and preprocessing."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_inception.data import Split
from keras_inception.files import PART
from keras_inception.preprocessing import scaled
from keras_inception.training import feature_cache as module
from keras_inception.training.feature_cache import batches, features, key

PREPROCESSING = scaled((8, 8))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path))
    return tmp_path / "features"


def backbone(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(x), name="backbone")


def split(n: int = 10) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return Split(images, np.arange(n, dtype=np.int32) % 2, ("a", "b"))


def test_features_are_the_backbones_output_and_computed_once(monkeypatch) -> None:
    images = split()
    (found,) = features(backbone(), [images], PREPROCESSING, batch_size=4)
    expected = [np.asarray(backbone()(PREPROCESSING(images.image(i))[None]))[0] for i in range(10)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    monkeypatch.setattr(module, "_compute", None)
    np.testing.assert_array_equal(
        features(backbone(), [images], PREPROCESSING)[0], found
    )  # a backbone of the same weights


def test_whatever_decides_features_is_in_their_key(tmp_path) -> None:
    images, other = split(), split()
    other.sources[3, 0, 0, 0] ^= 1
    keys = {
        key(backbone(), images, PREPROCESSING),
        key(backbone(), other, PREPROCESSING),
        key(backbone(1), images, PREPROCESSING),
        key(backbone(), images, replace(PREPROCESSING, crop=1.0)),
        key(backbone(), images.select(np.arange(9)), PREPROCESSING),
    }
    assert len(keys) == 5
    assert key(backbone(), split(), PREPROCESSING) in keys
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"content")
    files = [Split(np.array([tmp_path / name], object), np.zeros(1, np.int32), ("a",)) for name in ("x.png", "y.png")]
    assert key(backbone(), files[0], PREPROCESSING) == key(backbone(), files[1], PREPROCESSING)


def test_batches_hold_each_image_once_in_the_order_of_the_seed() -> None:
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
        features(backbone(seed), [split()], PREPROCESSING)
    assert 1 <= len(list(home.glob("*.npy"))) < 4


def test_the_temporary_files_of_others_stay_until_they_are_abandoned(home, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0)
    home.mkdir()
    parts = [home / f"{PART}1.a.npy", home / f"{PART}2.b.npy"]
    for part in parts:
        part.write_bytes(b"half a file")
    os.utime(parts[1], (0, time.time() - 2 * module.ABANDONED))
    (found,) = features(backbone(), [split()], PREPROCESSING)
    assert [part.exists() for part in parts] == [True, False]
    assert found.shape == (10, 4)


def test_a_file_that_another_process_deletes_meanwhile_is_no_matter(home, monkeypatch) -> None:
    home.mkdir()
    glob = type(home).glob
    monkeypatch.setattr(type(home), "glob", lambda self, pattern: [*glob(self, pattern), self / "gone.npy"])
    features(backbone(), [split()], PREPROCESSING)


def test_an_interruption_leaves_no_half_file(home, monkeypatch) -> None:
    def cut(images):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_frozen", lambda backbone: cut)
    with pytest.raises(KeyboardInterrupt):
        features(backbone(), [split()], PREPROCESSING)
    assert list(home.iterdir()) == []


def test_ctrl_c_ends_the_computation_within_a_batch(home, monkeypatch) -> None:
    calls = []

    def answer(x: np.ndarray) -> np.ndarray:
        calls.append(x)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return np.zeros((len(x), 4), np.float32)

    monkeypatch.setattr(module, "_frozen", lambda backbone: answer)
    with pytest.raises(KeyboardInterrupt):
        features(backbone(), [split()], PREPROCESSING, batch_size=2)
    assert len(calls) == 2
    assert list(home.iterdir()) == []


OTHER = """
import time
import numpy as np
from keras_inception.training import feature_cache
from tests.training.test_feature_cache import PREPROCESSING, backbone, split

def slow(backbone):
    print("computes", flush=True)
    return lambda x: (time.sleep(0.5), np.full((len(x), 4), 7, np.float32))[1]

feature_cache._frozen = slow
feature_cache.features(backbone(), [split()], PREPROCESSING, batch_size=5)
"""


def test_two_processes_compute_them_once(home, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "_compute", None)
    with subprocess.Popen([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "computes\n"
        (found,) = features(backbone(), [split()], PREPROCESSING)
    assert other.returncode == 0
    np.testing.assert_array_equal(found, np.full((10, 4), 7, np.float32))
    assert capsys.readouterr().err.startswith(f"process {other.pid} on ")
    assert [path.suffix for path in home.iterdir()] == [".npy"]
