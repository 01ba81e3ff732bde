"""What augmentation does to pixels and labels, and how it is asked for."""

import re
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception.data import Augmentation, Shift, Split, presets
from keras_inception.data.augmentation import ERASED, from_record, to_record
from keras_inception.data.operations import CHANGES, GREATEST, ONE_WAY, RANDAUGMENT, Operation, randaugment
from keras_inception.data.presets import NONE, PRESETS, in_words, words_of
from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing, scaled

from ..shown import shown

RNG = np.random.default_rng(0)
PLAIN = Preprocessing(size=(40, 48), fill=(10.0, 200.0, 30.0))
PHOTO = np.asarray(
    Image.fromarray(RNG.integers(60, 200, (5, 6, 3), np.uint8)).resize((48, 40), Image.Resampling.BICUBIC)
)
IMAGE = Image.fromarray(PHOTO)
FILL = (10, 200, 30)
PRIMARIES = Split(  # red, green and blue images: the mean colour of a mixed one is its classes' shares
    np.tile(np.eye(3, dtype=np.uint8)[np.arange(24) % 3][:, None, None] * 255, (1, 16, 16, 1)),
    (np.arange(24) % 3).astype(np.int32),
    ("red", "green", "blue"),
)
SHARES = Preprocessing(size=(16, 16), mean=(0, 0, 0), std=(255, 255, 255))


def same(batch, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(batch, other, strict=True))


# ---------------------------------------------------------------------------------------------------------- operations


@pytest.mark.parametrize("name", CHANGES)
def test_an_operation_changes_an_image_and_keeps_its_size(name: str) -> None:
    changed = Operation(name, GREATEST.get(name, 1.0))(IMAGE, FILL)
    assert (changed.size, changed.mode) == (IMAGE.size, "RGB")
    assert np.array_equal(changed, IMAGE) == (name == "identity")


@pytest.mark.parametrize("name", GREATEST)
def test_nothing_changes_by_an_amount_of_zero(name: str) -> None:
    np.testing.assert_array_equal(Operation(name, 0.0)(IMAGE, FILL), IMAGE)


def test_geometry_is_about_the_centre_and_fills_what_comes_from_outside() -> None:
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    for name in ("shear_x", "shear_y", "rotate"):
        turned = np.asarray(Operation(name, GREATEST[name])(Image.fromarray(dot), FILL))
        assert turned[..., 0].argmax() == 20 * 41 + 20
        assert (turned == FILL).all(axis=-1).any()
    shifted = np.asarray(Operation("translate_x", 0.25)(IMAGE, FILL))
    np.testing.assert_array_equal(shifted[:, :36], PHOTO[:, 12:])
    assert (shifted[:, 36:] == FILL).all()


def test_randaugment_draws_two_of_its_operations_in_both_directions() -> None:
    drawn = [randaugment(0.5, RNG) for _ in range(300)]
    assert {len(pair) for pair in drawn} == {2}
    amounts: dict[str, set[float]] = {}
    for operation in chain.from_iterable(drawn):
        amounts.setdefault(operation.name, set()).add(operation.amount)
    assert set(amounts) == set(RANDAUGMENT)
    assert len(RANDAUGMENT) == 14
    for name, found in amounts.items():
        most = GREATEST.get(name, 0.0) / 2
        assert found == ({most} if name in ONE_WAY or not most else {most, -most})


# --------------------------------------------------------------------------------------------------------------- views


@pytest.mark.parametrize("mode", ["crop", "stretch", "letterbox"])
def test_none_shows_what_evaluation_sees(mode) -> None:
    preprocessing = scaled((20, 24), crop=0.875).with_resize(mode)
    image = RNG.integers(0, 256, (50, 70, 3), np.uint8)
    np.testing.assert_allclose(shown(NONE, image, preprocessing)[0], preprocessing.resize(image), atol=1e-3)


def test_a_rotation_turns_by_at_most_its_degrees() -> None:
    bar = np.zeros((61, 61, 3), np.uint8)
    bar[:, 28:33] = 255
    turning = Augmentation(area=1.0, flip=False, rotation=20.0)
    slopes = []
    for seed in range(20):
        pixels = shown(turning, bar, Preprocessing(size=(61, 61), fill=(0.0,) * 3), seed)[0, ..., 0]
        places = (pixels * np.arange(61)).sum(axis=1)[15:46] / pixels.sum(axis=1)[15:46]
        slopes.append(np.degrees(np.arctan(np.polyfit(range(15, 46), places, 1)[0])))
    assert min(slopes) < -8
    assert max(slopes) > 8
    assert np.abs(slopes).max() < 20.5


def test_the_share_of_images_that_are_blurred() -> None:
    noise = RNG.integers(0, 256, (224, 224, 3), np.uint8)
    found = [
        shown(Augmentation(area=1.0, flip=False, blur=0.5), noise, Preprocessing(size=(224, 224)), seed).std()
        for seed in range(16)
    ]
    assert 3 < sum(std < 0.99 * noise.std() for std in found) < 13


def test_a_rectangle_of_the_border_s_colour_is_erased() -> None:
    shares = []
    for seed in range(60):
        pixels = shown(Augmentation(area=1.0, flip=False, erasing=1.0), PHOTO, PLAIN, seed)[0]
        erased = (pixels == PLAIN.border).all(axis=-1)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        assert erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        np.testing.assert_array_equal(pixels[~erased], PHOTO[~erased])
        shares.append(erased.mean())
    assert min(shares) < 0.08
    assert 0.3 < max(shares) < ERASED[1] + 0.03
    half = [
        (shown(Augmentation(erasing=0.5), PHOTO, PLAIN, seed)[0] == PLAIN.border).all(-1).any() for seed in range(40)
    ]
    assert 10 < sum(half) < 30


@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_changed_pixels_are_normalised_as_unchanged_ones(channels: str) -> None:
    """A blur that is none to the eye: only what `operations` adds to the way of a pixel is left."""
    mean, std = ((120.0, 110.0, 100.0), (60.0, 55.0, 50.0)) if len(channels) == 3 else ((110.0,), (55.0,))
    preprocessing = Preprocessing(size=(40, 48), channels=channels, mean=mean, std=std)
    (view,) = NONE.views(40, 48, preprocessing, RNG)
    found = np.empty(preprocessing.input_shape, np.float32)
    object.__setattr__(view, "operations", (Operation("identity"),))
    view.render(PHOTO, preprocessing, found)
    np.testing.assert_allclose(found, preprocessing(PHOTO), atol=1e-5)


# -------------------------------------------------------------------------------------------------------------- mixing


@pytest.mark.parametrize("words", [["mixup=1"], ["cutmix=1"], ["mixup=0.1", "cutmix=0.5"]])
def test_labels_are_mixed_as_pixels_are(words: list[str]) -> None:
    changes = in_words(["none", *words], None)
    batches = list(PRIMARIES.batches(SHARES, 10, training=True, augmentation=changes, seed=1).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [10, 10, 4]
    pixels, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    exact = "cutmix" not in "".join(words)  # a rectangle has whole pixels, its share has not
    np.testing.assert_allclose(pixels.mean((1, 2)), labels, atol=1e-5 if exact else 0.14)
    assert 0.05 < np.sort(labels, axis=1)[:, 1].mean() < 0.5


def test_of_both_one_is_drawn_for_each_batch() -> None:
    changes = in_words(["none", "mixup=1", "cutmix=1"], None)
    cut = [
        bool(np.isin(pixels, (0, 1)).all())
        for pixels, _ in PRIMARIES.batches(SHARES, 4, augmentation=changes).repeat(3).as_numpy_iterator()
    ]
    assert 2 < sum(cut) < 16


@pytest.mark.parametrize("seed", [0, 2**31 + 5, 2**62])
def test_batches_follow_their_seed_alone(seed: int) -> None:
    def epochs(seed: int) -> list:
        batches = PRIMARIES.batches(SHARES, 9, training=True, augmentation=PRESETS["strong"], seed=seed)
        return [batch for _ in range(2) for batch in batches.as_numpy_iterator()]

    first, again, other = epochs(seed), epochs(seed), epochs(seed + 1)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(first[0], other[0])
    assert not same(first[0], first[3])


# ------------------------------------------------------------------------------------------------------------ in words


def test_words_are_a_preset_and_values() -> None:
    assert in_words(["medium"], None) == PRESETS["medium"]
    assert in_words(["none"], Augmentation()) is None
    assert in_words(["mixup=0.2", "light", "area=0.25"], Shift()) == Augmentation(mixup=0.2, area=0.25)
    assert in_words(["flip=false"], Augmentation(colour=1.0)) == Augmentation(colour=1.0, flip=False)
    assert in_words(["pixels=6", "flip=true"], Shift(flip=False)) == Shift(pixels=6)
    assert in_words(["none", "mixup=0.2"], Augmentation()) == Augmentation(area=1.0, flip=False, mixup=0.2)
    assert in_words(["erasing=0.5"], None) == Augmentation(area=1.0, flip=False, erasing=0.5)
    assert in_words([], Shift()) == Shift()


@pytest.mark.parametrize(
    ("words", "base", "message"),
    [
        (
            ["heavy"],
            None,
            "augment is none, light, medium, strong, shift, or NAME=VALUE .* of area, .*; got 'heavy'",
        ),
        (["light", "strong"], None, "one preset of augmentation at a time; got light and strong"),
        (["size=2"], None, "the augmentation Augmentation has no 'size'; it has area, flip, colour, .*cutmix$"),
        (["mixup=0.2"], Shift(), "Shift has no 'mixup'; it has pixels, flip; name a preset first, light for example"),
        (["area=big"], None, "area must be a number; got 'big'"),
        (["flip=1"], None, "flip must be true or false; got '1'"),
        (["pixels=1.5"], Shift(), "pixels must be an integer; got '1.5'"),
        (["mixup=0.01"], None, "mixup must be 0, or a number from 0.1 to 1; got 0.01"),
        (["cutmix=2"], None, "cutmix must be 0, or a number from 0.1 to 1; got 2"),
        (["rotation=200"], None, "rotation must be a number from 0 to 180; got 200"),
        (["blur=nan"], None, "blur must be a number; got nan"),
        (["erasing=-1"], None, "erasing must be a number from 0 to 1; got -1"),
        (["randaugment=9"], None, "randaugment must be a number from 0 to 1; got 9"),
        (["mixup="], None, "mixup must be a number; got ''"),
    ],
)
def test_words_that_say_nothing_are_refused(words, base, message) -> None:
    with pytest.raises(InputError, match=message):
        in_words(words, base)


def test_the_documentation_has_the_numbers_of_the_presets() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "fine_tune.md"
    for text in (presets.__doc__, page.read_text(encoding="utf-8")):
        rows = re.findall(rf"^ *\| `?({'|'.join(PRESETS)})`? \|(.*)\|$", text, re.M)
        assert {
            name: [float({"yes": 1, "no": 0}.get(cell.strip(), cell)) for cell in row.split("|")] for name, row in rows
        } == {name: list(map(float, asdict(preset).values())) for name, preset in PRESETS.items() if name != "shift"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (None, ["none"]),
        (PRESETS["strong"], ["strong"]),
        (Shift(pixels=2), ["shift", "pixels=2"]),
        (replace(PRESETS["light"], area=0.25, flip=False), ["light", "area=0.25", "flip=false"]),
    ],
)
def test_an_augmentation_in_words_and_back(changes, words) -> None:
    assert in_words(words_of(changes), None) == changes
    assert in_words(words, None) == changes


@pytest.mark.parametrize("changes", [None, Shift(pixels=2), PRESETS["strong"]])
def test_changes_survive_a_record(changes) -> None:
    assert from_record(to_record(changes)) == changes
    with pytest.raises(InputError, match="unknown augmentation 'Mirrored'; there are Augmentation, Shift"):
        from_record({"kind": "Mirrored"})
