"""Images are rendered natively as `Preprocessing` says in a graph, on any number of threads."""

import numba
import numpy as np
import pytest

from keras_inception.data import Augmentation, Crops, Split, kernels, rendering
from keras_inception.data.presets import PRESETS
from keras_inception.preprocessing import Preprocessing

from ..shown import shown

PLAIN = Preprocessing(size=(20, 20))
RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def split_of(*images: np.ndarray) -> Split:
    sources = np.empty(len(images), object)
    for i, image in enumerate(images):
        sources[i] = image
    return Split(sources, np.zeros(len(images), np.int32), ("a",))


def of_any_size() -> Split:
    return split_of(*(noise(20 + 7 * i, 60 - 5 * i) for i in range(9)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["crop", "stretch", "letterbox"])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_inputs_are_those_of_the_graph(interpolation: str, mode: str, channels: str) -> None:
    mean, std = ((120.0, 110.0, 100.0), (60.0, 55.0, 50.0)) if len(channels) == 3 else ((110.0,), (55.0,))
    for size, shape in (
        ((24, 36), (75, 100)),
        ((48, 32), (31, 40)),
        ((7, 9), (50, 50)),
        ((5, 5), (1, 1)),
        ((8, 8), (90, 3)),
    ):
        preprocessing = Preprocessing(
            size=size,
            crop=0.875 if mode == "crop" else 1.0,
            channels=channels,
            mean=mean,
            std=std,
            interpolation=interpolation,
            resize_mode=mode,
        )
        image = noise(*shape)
        [(found, _)] = split_of(image).batches(preprocessing, 1).as_numpy_iterator()
        np.testing.assert_allclose(found[0], preprocessing(image), atol=1e-4)


@pytest.mark.parametrize("augmentation", [Augmentation(colour=1.0), PRESETS["strong"]])
def test_threads_change_nothing(monkeypatch, augmentation: Augmentation) -> None:
    split, found = of_any_size(), []
    for n in (1, 4):
        monkeypatch.setattr(rendering, "cores", lambda n=n: n)
        rendering._threads.cache_clear()
        batches = split.batches(PLAIN, 4, training=True, augmentation=augmentation, seed=3)
        found.append([x for x, _ in batches.as_numpy_iterator()])
    rendering._threads.cache_clear()
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mirrored_views_are_mirrored() -> None:
    for size in ((20, 20), (21, 33)):
        views = shown(Crops(10), noise(50, 70), Preprocessing(size=size, resize_mode="letterbox", fill=(1.0, 2.0, 3.0)))
        np.testing.assert_allclose(views[5:], views[:5, :, ::-1], atol=1e-3)


def test_a_pipeline_ends_at_once() -> None:
    """TensorFlow's tuning sleeps for up to ten seconds before an iterator can end."""
    arrays = Split(RNG.integers(0, 256, (4, 9, 9, 3), dtype=np.uint8), np.zeros(4, np.int32), ("a",))
    for split in (arrays, of_any_size()):
        assert split.batches(PLAIN, 2).options().autotune.enabled is False


def test_kernels_compile_where_nothing_can_be_kept(monkeypatch) -> None:
    def without_a_place(*args, cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, settings["nogil"])

    monkeypatch.setattr(numba, "njit", without_a_place)
    assert kernels._compiled("(f4,)")(abs) == (abs, True)
