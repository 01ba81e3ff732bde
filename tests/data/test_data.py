"""Any image is decoded rightly, folders and arrays become splits, what cannot be used is said in one line."""

import io
import shutil
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception import data
from keras_inception.data import Augmentation, decode, from_arrays, input_errors, load_folder, load_images, scan
from keras_inception.data.decoding import Jpeg
from keras_inception.errors import InputError
from keras_inception.preprocessing import Preprocessing, scaled

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def noise(seed, height=16, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def jpeg(seed, size=64):
    """A smooth image, which JPEG keeps closely, and a different one for each seed."""
    small = Image.fromarray(noise(seed, 4, 4))
    return encoded(small.resize((size, size), Image.Resampling.BICUBIC), format="JPEG", quality=95)


def quarters(size=32):
    """Red, green, blue and white, from the upper left to the lower right."""
    image = Image.new("RGB", (size, size), WHITE)
    half = size // 2
    for corner, colour in {(0, 0): RED, (half, 0): GREEN, (0, half): BLUE}.items():
        image.paste(colour, (*corner, corner[0] + half, corner[1] + half))
    return image


def folder(path, **classes):
    """Write `classes`: name -> list of seeds, each a JPEG."""
    for name, seeds in classes.items():
        (path / name).mkdir(parents=True)
        for seed in seeds:
            (path / name / f"{seed}.jpg").write_bytes(jpeg(seed))
    return path


# Files that cannot be decoded


def png_header(width, height):
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind, backbone):
        return struct.pack(">I", len(backbone)) + kind + backbone + struct.pack(">I", zlib.crc32(kind + backbone))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


BROKEN = {
    "truncated.jpg": (jpeg(0)[:-200], "truncated"),
    "headless.png": (encoded(quarters(), format="PNG")[:60], "truncated"),
    "empty.png": (b"", "empty"),
    "letter.jpg": (b"Dear Sir or Madam, " * 20, "not a JPEG, PNG, BMP, GIF or WebP"),
    "photo.tif": (encoded(quarters(), format="TIFF"), "a TIFF or raw image: convert it"),
    "large.png": (png_header(8200, 8200), "declares more than 67 million pixels"),
    "bomb.png": (png_header(60000, 60000), "declares more than 67 million pixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_decoded_is_said_in_one_line(name, tmp_path):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read: .*{reason}") as caught:
        decode(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"the image cannot be read: .*{reason}"):
        decode(content)


def test_missing_image(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jpg cannot be read: no such file"):
        decode(tmp_path / "gone.jpg")


# Folders


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of 40, 30 and 20 images; only read it."""
    return folder(tmp_path_factory.mktemp("images"), dog=range(40), cat=range(100, 130), emu=range(200, 220))


def names(split):
    return {f"{file.parent.name}/{file.name}" for file in split.sources}


def test_a_folder_of_classes_is_split_by_class(images):
    dataset = load_folder(images)
    assert dataset.classes == ("cat", "dog", "emu")
    assert dataset.rejected == ()
    assert names(dataset.train).isdisjoint(names(dataset.val))
    assert len(dataset.train) + len(dataset.val) == 90
    for split in (dataset.train, dataset.val):
        assert [split.classes[label] for label in split.labels] == [file.parent.name for file in split.sources]
        assert split.labels.dtype == np.int32
    np.testing.assert_allclose(np.bincount(dataset.val.labels) / [30, 40, 20], 0.2, atol=0.15)
    assert 0.1 < len(dataset.val) / 90 < 0.3
    np.testing.assert_array_equal(dataset.val.image(3), decode(dataset.val.sources[3]))


def test_the_share_held_out(images):
    shares = [len(load_folder(images, validation=validation).val) / 90 for validation in (0.1, 0.3, 0.5, 0.7)]
    np.testing.assert_allclose(shares, (0.1, 0.3, 0.5, 0.7), atol=0.12)


def test_the_split_survives_added_and_renamed_images_and_another_place(images, tmp_path):
    before = load_folder(images, test=0.2)
    moved = shutil.copytree(images, tmp_path / "elsewhere")
    folder(moved, ant=range(300, 310))
    for seed in range(400, 430):
        (moved / "dog" / f"0{seed}.jpg").write_bytes(jpeg(seed))
    for side, after in zip(before.sides, load_folder(moved, test=0.2).sides, strict=True):
        assert names(side) <= names(after)
    for file in (moved / "emu").iterdir():
        file.rename(file.with_name(f"a{file.name}"))
    emus = {name.replace("emu/", "emu/a") for name in names(before.val) if name.startswith("emu")}
    assert emus <= names(load_folder(moved).val)


def test_copies_of_a_image_stay_on_one_side(images, tmp_path):
    twice = shutil.copytree(images, tmp_path / "twice")
    for file in (twice / "cat").glob("*"):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    for split in load_folder(twice, test=0.2).sides:
        contents = [file.read_bytes() for file in split.sources if file.parent.name == "cat"]
        assert all(contents.count(content) == 2 for content in contents)


@pytest.mark.parametrize("validation", [0.001, 0.999])
def test_each_class_has_a_image_on_each_side(validation, tmp_path):
    dataset = load_folder(folder(tmp_path / "few", a=[1, 2], b=[3, 4, 5], c=[6]), validation=validation)
    assert set(dataset.train.labels) == {0, 1, 2}
    assert set(dataset.val.labels) == {0, 1}  # one image alone is for training
    dataset = load_folder(tmp_path / "few", validation=validation, test=0.0005)
    assert [set(side.labels) for side in dataset.sides] == [{0, 1, 2}, {0, 1}, {1}]


def test_train_and_val_folders_are_taken_as_they_are(tmp_path):
    folder(tmp_path / "train", b=[1, 2], a=[3])
    folder(tmp_path / "val", a=[4], b=[5])
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("a", "b")
    assert names(dataset.train) == {"a/3.jpg", "b/1.jpg", "b/2.jpg"}
    assert names(dataset.val) == {"a/4.jpg", "b/5.jpg"}
    folder(tmp_path / "test", a=[6], b=[7, 8])
    dataset = load_folder(tmp_path, test=0.3)  # of what is split nothing is held out
    assert [len(side) for side in dataset.sides] == [3, 2, 3]
    assert names(dataset.test) == {"a/6.jpg", "b/7.jpg", "b/8.jpg"}


def test_test_images_stay_what_they_are_where_there_are_no_validation_images(tmp_path):
    """The epoch is never chosen on them."""
    folder(tmp_path / "train", a=range(10), b=range(10, 20))
    folder(tmp_path / "test", a=[40], b=[41])
    dataset = load_folder(tmp_path)
    assert names(dataset.test) == {"a/40.jpg", "b/41.jpg"}
    assert {file.parts[-3] for side in (dataset.train, dataset.val) for file in side.sources} == {"train"}
    assert set(dataset.val.labels) == {0, 1}


def test_a_share_for_test_comes_out_of_the_images_to_train_on(images, tmp_path):
    """With validation images and without; another share for one side does not move images of the other."""
    before, dataset = load_folder(images), load_folder(images, test=0.3)
    assert before.test is None
    assert names(dataset.val) == names(before.val)
    assert names(dataset.train) | names(dataset.test) == names(before.train)
    assert len(dataset.test) / 90 == pytest.approx(0.3, abs=0.12)
    assert set(dataset.test.labels) == {0, 1, 2}
    assert names(load_folder(images, test=0.3, validation=0.4).test) == names(dataset.test)
    shutil.copytree(images, tmp_path / "train")
    folder(tmp_path / "val", dog=[500], cat=[501], emu=[502])
    split = load_folder(tmp_path, test=0.3)
    assert names(split.val) == {"dog/500.jpg", "cat/501.jpg", "emu/502.jpg"}
    assert names(split.test) == names(dataset.test)


def test_a_train_folder_alone_is_split(tmp_path):
    folder(tmp_path / "train", a=range(5), b=range(10, 15))
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("a", "b")
    assert len(dataset.train) + len(dataset.val) == 10
    assert set(dataset.val.labels) == {0, 1}


def test_images_to_measure_on_take_the_labels_of_the_network(tmp_path):
    split = load_images(folder(tmp_path, dog=[1, 2], ant=[3]), ("ant", "cat", "dog"))
    assert split.labels.tolist() == [0, 2, 2]
    assert split.classes == ("ant", "cat", "dog")
    with pytest.raises(InputError, match="holds 'dog', which is none of the classes: ant, cat"):
        load_images(tmp_path, ("ant", "cat"))
    with pytest.raises(InputError, match="nowhere does not exist"):
        load_images(tmp_path / "nowhere", ("ant", "cat"))


def test_some_of_the_classes_are_enough_to_measure_on(tmp_path, capsys):
    folder(tmp_path, ant=[3])
    assert load_images(tmp_path, ("ant", "cat", "dog")).labels.tolist() == [0]
    folder(tmp_path, cat=[])
    broken_classes(tmp_path, dog=2)
    assert capsys.readouterr().err == ""
    assert load_images(tmp_path, ("ant", "cat", "dog")).labels.tolist() == [0]
    assert "left out 2 images" in capsys.readouterr().err
    (tmp_path / "loose.jpg").write_bytes(jpeg(9))
    for path, message in ((tmp_path / "cat", "holds no images"), (tmp_path / "ant", "holds 1 images, but none in a f")):
        with pytest.raises(InputError, match=message) as caught:
            load_images(path, ("ant", "cat", "dog"))
        assert "\n" not in str(caught.value)


def test_train_may_be_the_name_of_a_class(tmp_path):
    assert load_folder(folder(tmp_path / "vehicles", bus=[1, 2], train=[3, 4])).classes == ("bus", "train")


def test_nested_images_belong_to_their_class_and_hidden_and_other_files_are_ignored(tmp_path):
    folder(tmp_path, a=[1, 2], b=[3], **{"b/2024/may": [4]}, **{".git": [5]})
    for name in ("a/.DS_Store", "a/notes.txt", "a/Thumbs.db", "a/._1.jpg", "README"):
        (tmp_path / name).write_bytes(b"no image")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("a", "b")
    assert dataset.rejected == ()
    assert len(dataset.train) + len(dataset.val) == 4


def test_broken_images_are_left_out_and_reported(tmp_path):
    folder(tmp_path, a=range(6), b=range(10, 16))
    for name, (content, _) in BROKEN.items():
        (tmp_path / "a" / name).write_bytes(content)
    (tmp_path / "loose.jpg").write_bytes(jpeg(99))
    dataset = load_folder(tmp_path)
    assert len(dataset.train) + len(dataset.val) == 12
    reasons = {rejected.path.name: rejected.reason for rejected in dataset.rejected}
    assert reasons.pop("loose.jpg") == "not in the folder of a class"
    assert reasons.keys() == BROKEN.keys()
    for name, reason in reasons.items():
        assert BROKEN[name][1] in reason


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2, 50, 2000])
def test_a_truncated_jpeg_is_noticed_wherever_it_ends(missing, progressive, tmp_path):
    folder(tmp_path, a=[1, 2], b=[3, 4])
    whole = encoded(Image.fromarray(noise(0, 200, 200)), format="JPEG", progressive=progressive)
    (tmp_path / "a" / "cut.jpg").write_bytes(whole[:-missing])
    assert [rejected.path.name for rejected in load_folder(tmp_path).rejected] == ["cut.jpg"]


def test_a_progress_bar_only_on_a_terminal(images, monkeypatch, capsys):
    monkeypatch.setattr(scan, "MANY_FILES", 10)
    load_folder(images)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    load_folder(images)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Checking images" in err


def broken_classes(path, **classes):
    for name, count in classes.items():
        (path / name).mkdir()
        for i in range(count):
            (path / name / f"{i}.png").write_bytes(b"no image")


def make_bad(kind, path):
    match kind:
        case "file":
            path.rmdir()
            path.write_text("x")
        case "missing":
            path.rmdir()
        case "one class":
            folder(path, cats=[1, 2])
        case "no folders":
            (path / "1.jpg").write_bytes(jpeg(1))
        case "no images":
            (path / "a").mkdir()
            (path / "a" / "notes.txt").write_text("x")
        case "empty class":
            folder(path, a=[1, 2], b=[3], nothing=[])
        case "broken class":
            folder(path, a=[1, 2], b=[3, 4])
            broken_classes(path, c=3)
        case "all broken":
            broken_classes(path, a=2, b=3)
        case "different classes":
            folder(path / "train", a=[1], b=[2], c=[3])
            folder(path / "val", a=[4], b=[5], d=[6])
        case "nothing to hold out":
            folder(path, a=[1], b=[2])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist: give a folder that holds one folder of images per class, a .csv"),
        ("file", "is none of these: give a folder"),
        ("empty", "holds no images: give it one folder of JPEG"),
        ("no folders", "holds 1 images, but none in a folder"),
        ("no images", "holds no images"),
        ("one class", "holds one class, cats: two classes"),
        ("empty class", "class nothing holds no usable image; add"),
        ("broken class", "class c holds no usable image: all 3 are broken"),
        ("all broken", r"none of the 5 images in .*0\.png: not a JPEG"),
        ("different classes", "must hold the same classes: only train/ has c; only val/ has d"),
        ("nothing to hold out", "no class has two different images"),
    ],
)
def test_unusable_folders_get_one_clear_line(kind, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        load_folder(make_bad(kind, tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("validation", [0, 1, -0.2, 20])
def test_the_held_out_share_is_a_fraction(validation, images):
    with pytest.raises(InputError, match="between 0 and 1"):
        load_folder(images, validation=validation)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (1, "test must be a fraction from 0, for no test images, to below 1; got 1"),
        (-0.2, "test must be a fraction .* got -0.2"),
        (float("nan"), "test must be a number; got nan"),
        (0.8, "validation 0.2 and test 0.8 leave nothing to train on: give smaller ones"),
    ],
)
def test_the_share_for_test_is_a_fraction_too(test, message, images):
    with pytest.raises(InputError, match=message):
        load_folder(images, test=test)


def test_a_test_side_needs_three_different_images_of_a_class(tmp_path):
    folder(tmp_path, a=[1, 2], b=[3, 4])
    with pytest.raises(InputError, match="no class has three different images, so none can be held out; add images"):
        load_folder(tmp_path, test=0.1)


# Arrays


def digits(n=100, shape=(8, 8)):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 4


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_arrays_of_grey_and_colour(shape):
    images, labels = digits(shape=shape)
    dataset = from_arrays(images, labels, ["a", "b", "c", "d"])
    assert dataset.classes == ("a", "b", "c", "d")
    assert len(dataset.train) + len(dataset.val) == 100
    assert set(dataset.val.labels) == {0, 1, 2, 3}
    known = {
        np.broadcast_to(p.reshape(8, 8, -1), (8, 8, 3)).tobytes(): label
        for p, label in zip(images, labels, strict=True)
    }
    for split in (dataset.train, dataset.val):
        for i in range(len(split)):
            assert known.pop(split.image(i).tobytes()) == split.labels[i]
    assert not known


def test_the_split_of_arrays_follows_the_seed():
    first, again, other = (from_arrays(*digits(), seed=seed, test=0.2) for seed in (0, 0, 1))
    assert sum(map(len, first.sides)) == 100
    for side in ("val", "test"):
        a, b, c = (getattr(dataset, side).sources for dataset in (first, again, other))
        np.testing.assert_array_equal(a, b)
        assert a.tobytes() != c.tobytes()
    np.testing.assert_array_equal(first.val.sources, from_arrays(*digits()).val.sources)


def test_classes_from_labels():
    images, labels = digits()
    assert from_arrays(images, labels[:, np.newaxis] + 5).classes == ("5", "6", "7", "8")
    dataset = from_arrays(images, np.array(["dog", "cat"])[labels % 2])
    assert dataset.classes == ("cat", "dog")
    assert set(dataset.train.labels) == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p / 255.0, y), r"got float64 from 0 to 1: 255 \* images, then .round\(\).astype\('uint8'\)"),
        (lambda p, y: (p.astype(np.float32), y), "got float32 from 0 to 255: scale them"),
        (lambda p, y: (p, y[:-1]), r"labels must be \(100,\), one class for each image; got \(99,\)"),
        (lambda p, y: (p, np.eye(4)[y]), r"got \(100, 4\) \(of one-hot"),
        (lambda p, y: (p[0], y), r"images must be \(n, H, W\).*got \(8, 8\)"),
        (lambda p, y: (p[:0], y[:0]), r"got \(0, 8, 8, 1\)"),
        (lambda p, y: (np.stack([p] * 4, -1), y), r"got \(100, 8, 8, 4\)"),
        (lambda p, y: (p, y + 1, list("abcd")), "into the 4 classes; got some from 1 to 4"),
        (lambda p, y: (p, y / 2, list("abcd")), "into the 4 classes; got float64"),
        (lambda p, y: (p, y * 0), "same label"),
    ],
)
def test_unusable_arrays_get_one_clear_line(change, message):
    with pytest.raises(InputError, match=message) as caught:
        from_arrays(*change(*digits()))
    assert "\n" not in str(caught.value)


def test_a_sample_is_stratified_and_repeatable():
    images, _ = digits()
    whole = from_arrays(images, np.repeat([0, 1, 2], [50, 30, 20]), validation=0.01).train
    counts = np.bincount(whole.labels)
    sample = whole.sample(20)
    np.testing.assert_allclose(np.bincount(sample.labels), 20 * counts / counts.sum(), atol=1)
    assert set(whole.sample(3).labels) == {0, 1, 2}
    np.testing.assert_array_equal(sample.sources, whole.sample(20).sources)
    assert sample.sources.tobytes() != whole.sample(20, seed=1).sources.tobytes()
    assert len(np.unique(sample.sources, axis=0)) == 20
    assert len(whole.sample(10**6)) == len(whole)


# Batches


PREPROCESSING = Preprocessing(size=(20, 24), crop=0.875, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))


def test_evaluation_batches_equal_preprocessed_images_in_order(images):
    split = load_folder(images).val
    batches = split.batches(PREPROCESSING, 8)
    assert len(batches) == -(-len(split) // 8)
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert images.dtype == np.float32
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, split.labels)
    np.testing.assert_allclose(images, [PREPROCESSING(split.image(i)) for i in range(len(split))], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_of_arrays_equal_preprocessed_images(channels):
    split = from_arrays(*digits(40)).train
    preprocessing = scaled((28, 28), channels, crop=1.0)
    batches = split.batches(preprocessing, 16)
    assert batches.element_spec[0].shape.as_list() == [None, 28, 28, channels]
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images, [preprocessing(split.image(i)) for i in range(len(split))])


def epoch(batches):
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def test_training_reshuffles_every_epoch_by_the_seed():
    split = from_arrays(*digits()).train
    batches = split.batches(scaled((8, 8), crop=1.0), 16, training=True, seed=3)
    first, second = epoch(batches)[0], epoch(batches)[0]
    assert not np.array_equal(first, second)
    in_order = epoch(split.batches(scaled((8, 8), crop=1.0), 16))[0]
    for images in (first, second):  # each image once, unchanged
        assert sorted(p.tobytes() for p in images) == sorted(p.tobytes() for p in in_order)
    again = split.batches(scaled((8, 8), crop=1.0), 16, training=True, seed=3)
    np.testing.assert_array_equal(epoch(again)[0], first)
    np.testing.assert_array_equal(epoch(again)[0], second)
    other = split.batches(scaled((8, 8), crop=1.0), 16, training=True, seed=4)
    assert not np.array_equal(epoch(other)[0], first)


def test_labels_stay_with_their_images_when_shuffled_and_augmented():
    shades = np.arange(0, 250, 10, dtype=np.uint8)
    images = np.broadcast_to(shades[:, None, None], (25, 12, 12))
    preprocessing = Preprocessing(size=(6, 6), mean=(0, 0, 0), std=(10, 10, 10))
    train = data.Split(images[..., None], np.arange(25, dtype=np.int32), tuple(map(str, shades)))
    seen, labels = epoch(train.batches(preprocessing, 4, training=True, augmentation=Augmentation()))
    np.testing.assert_allclose(seen, np.broadcast_to(labels[:, None, None, None], seen.shape), atol=1e-4)


def test_augmentation_changes_windows_each_epoch_by_the_seed():
    split = from_arrays(*digits(shape=(24, 24))).train
    batches = split.batches(scaled((12, 12)), 16, augmentation=Augmentation(), seed=1)
    first, second = epoch(batches), epoch(batches)
    assert not np.array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])  # not `training`: the order stays
    again = epoch(split.batches(scaled((12, 12)), 16, augmentation=Augmentation(), seed=1))
    np.testing.assert_array_equal(again[0], first[0])


def ramp_epoch(augmentation):
    """64 images, dark on the left and bright on the right, as augmented: (64, 32, 32)."""
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None], (64, 64, 64, 1))
    split = data.Split(ramp, np.zeros(64, np.int32), ("ramp", "none"))
    preprocessing = Preprocessing(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    return epoch(split.batches(preprocessing, 64, augmentation=augmentation))[0][..., 0]


def test_flips_are_half_and_only_when_asked():
    slope = np.diff(ramp_epoch(Augmentation(flip=False)), axis=2).mean((1, 2))
    assert (slope > 0).all()
    slope = np.diff(ramp_epoch(Augmentation()), axis=2).mean((1, 2))
    assert 16 < (slope > 0).sum() < 48


def test_windows_keep_the_asked_area():
    def widths(area):  # of the windows, as fractions of the image's width
        seen = ramp_epoch(Augmentation(area=area, flip=False))
        return (seen.max((1, 2)) - seen.min((1, 2))) / 255

    # The area is width x height, and the width at least sqrt(area * 3 / 4) of a square image.
    assert 0.58 < widths(0.5).min() < 0.8
    assert widths(0.5).max() > 0.9
    assert widths(0.98).min() > 0.8
    assert widths(0.08).min() < 0.5


def test_large_jpegs_are_decoded_smaller_for_augmentation_only(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        for seed in (ord(name), ord(name) + 10):
            (tmp_path / name / f"{seed}.jpg").write_bytes(jpeg(seed, size=512))
    split = load_folder(tmp_path).train
    shapes = []
    decoded = Jpeg.pixels

    def spy(self, reduction=1, *, exact=True):
        image = decoded(self, reduction, exact=exact)
        shapes.append(image.shape)
        return image

    monkeypatch.setattr(Jpeg, "pixels", spy)
    epoch(split.batches(scaled((32, 32)), 2, augmentation=Augmentation(area=0.9)))
    assert set(shapes) == {(64, 64, 3)}  # of windows of 420 pixels and more
    shapes.clear()
    epoch(split.batches(scaled((32, 32)), 2, training=True))
    assert set(shapes) == {(512, 512, 3)}


@pytest.mark.parametrize("fit", [False, True])
def test_a_image_that_breaks_during_training_is_named_in_one_line(fit, images, tmp_path):
    split = load_folder(shutil.copytree(images, tmp_path / "images")).train
    split.sources[5].write_bytes(jpeg(5)[:-100])
    split.sources[7].unlink()
    batches = split.batches(scaled((8, 8)), 4, training=True)

    def loop():
        if fit:
            model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
            model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            model.fit(batches, shuffle=False, verbose=0)
        for _ in batches:
            pass

    with (
        pytest.raises(InputError, match=r"(5|7)\.jpg cannot be read: (image file is truncated|no such file)") as caught,
        input_errors(),
    ):
        loop()
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_other_errors_pass_through():
    with pytest.raises(tf.errors.OutOfRangeError), input_errors():
        raise tf.errors.OutOfRangeError(None, None, "the end")


# NearDuplicates


def test_nearly_the_same_image_on_both_sides_is_reported(tmp_path):
    folder(tmp_path / "train", a=[1, 2], b=[3, 4])
    folder(tmp_path / "val", a=[5], b=[6])
    copy = (
        Image.open(io.BytesIO(jpeg(3))).resize((100, 80)).point(lambda v: int(0.9 * v) + 9)
    )  # smaller, paler, lossier
    (tmp_path / "val" / "a" / "copy.jpg").write_bytes(encoded(copy, format="JPEG", quality=40))
    for side in ("train", "val"):
        for shade in ("white", "black"):  # blank pages are no copies
            Image.new("RGB", (50, 50), shade).save(tmp_path / side / "a" / f"{shade}.png")
    dataset = load_folder(tmp_path)
    [pair] = dataset.near_duplicates
    assert (pair.first.name, pair.second.name) == ("3.jpg", "copy.jpg")
    assert pair.sides == ("training", "validation")
    assert len(dataset.train) + len(dataset.val) == 11  # they stay
    folder(tmp_path / "test", a=[3, 7], b=[6])
    dataset = load_folder(tmp_path)
    pairs = [(pair.first.parts[-3:], pair.second.parts[-3:], pair.sides) for pair in dataset.leaks]
    assert pairs[1:] == [
        (("train", "b", "3.jpg"), ("test", "a", "3.jpg"), ("training", "test")),
        (("val", "b", "6.jpg"), ("test", "b", "6.jpg"), ("validation", "test")),
    ]


def test_nearly_the_same_images_with_different_labels_are_reported(tmp_path, capsys):
    folder(tmp_path, a=[1, 2, 3, 4], b=[5, 6, 7, 1, 2])
    dataset = load_folder(tmp_path)
    found = [(pair.first.name, pair.second.name, pair.classes) for pair in dataset.contradictions]
    assert found == [("1.jpg", "1.jpg", ("a", "b")), ("2.jpg", "2.jpg", ("a", "b"))]
    assert not {pair.sides for pair in dataset.leaks} - {("training", "validation")}


def test_different_images_are_no_near_duplicates(images):
    assert load_folder(images).near_duplicates == ()


# Unlabelled images


def test_images_from_anything(tmp_path, monkeypatch):
    folder(tmp_path / "a", x=[2, 1], **{"y/z": [3]})
    file, grey, colour = tmp_path / "a" / "x" / "1.jpg", np.full((5, 6), 7, np.uint8), noise(1, 4, 9)
    monkeypatch.chdir(tmp_path)
    split, names, rejected = data.as_images(["a", file, jpeg(4), grey, [colour], np.stack([colour] * 2)])
    assert names[:4] == ("a/x/1.jpg", "a/x/2.jpg", "a/y/z/3.jpg", str(file))
    assert names[4:] == ("bytes 4", "array 5", "array 6", "array 7", "array 8")
    assert not rejected
    assert set(split.labels) == {-1}
    np.testing.assert_array_equal(split.image(3), decode(file))
    np.testing.assert_array_equal(split.image(4), decode(jpeg(4)))
    np.testing.assert_array_equal(split.image(5), np.full((5, 6, 3), 7))
    np.testing.assert_array_equal(split.image(6), colour)
    preprocessing = scaled((8, 8))
    x = np.concatenate([x for x, _ in split.batches(preprocessing, 4)])
    for i in range(len(split)):
        np.testing.assert_allclose(x[i], preprocessing(split.image(i)), atol=1e-4)
    assert len(split.sample(4)) == 4


@pytest.mark.parametrize(
    ("shape", "n"), [((8, 9), 1), ((8, 9, 1), 1), ((8, 9, 3), 1), ((2, 8, 9), 2), ((2, 8, 9, 1), 2), ((2, 8, 9, 3), 2)]
)
def test_arrays_are_one_image_or_a_batch(shape, n):
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    split, names, _ = data.as_images(images)
    assert names == tuple(f"array {i}" for i in range(n))
    assert split.sources.dtype == np.uint8
    assert [split.image(i).shape for i in range(n)] == [(8, 9, 3)] * n
    np.testing.assert_array_equal(split.image(n - 1).ravel()[-1], images.ravel()[-1])


def test_bad_files_among_good_ones_are_named(tmp_path):
    (tmp_path / "good.jpg").write_bytes(jpeg(1))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    split, names, rejected = data.as_images([tmp_path, tmp_path / "none.jpg", b""])
    assert names == (str(tmp_path / "good.jpg"),)
    assert len(split) == 1
    assert [(str(r.path), r.reason) for r in rejected] == [
        (str(tmp_path / "bad.jpg"), "not a JPEG, PNG, BMP, GIF or WebP image"),
        (str(tmp_path / "none.jpg"), "no such file or directory"),
        ("bytes 3", "empty file"),
    ]
    assert len(data.as_images(tmp_path / "none.jpg")[0]) == 0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("*.jpg", r"there is no file \*.jpg: give a pattern without quotes"),
        (["nowhere://example/a.jpg"], "nowhere:// is no kind of address that is known: give https, gs, s3"),
        (None, "images must be a file, a folder, .*; got NoneType"),
        ([1], "got int"),
        ([], "no images were given"),
        (np.zeros((4, 4)), "got float64 from 0 to 0: 255"),
        (np.zeros((4, 4, 4, 4), np.uint8), r"must be \(H, W\).*got \(4, 4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), "got \\(0, 4, 3\\)"),
        (np.array(["x"]), "an array must be"),
        (np.array([["x"]]), "got <U1"),
    ],
)
def test_what_is_no_image_gets_one_clear_line(images, message):
    with pytest.raises(InputError, match=message) as caught:
        data.as_images(images)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_no_image(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        data.as_images(tmp_path)


# Fingerprint


def test_the_fingerprint_is_of_contents_classes_and_sides(images, tmp_path):
    first = load_folder(images)
    print_ = data.fingerprint(first)
    assert len(print_) == 64
    moved = tmp_path / "moved"
    for path in images.rglob("*.jpg"):
        target = moved / path.parent.name / f"{1000 - int(path.stem)}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    again = load_folder(moved)
    assert [p.name for p in again.train.sources] != [p.name for p in first.train.sources]
    assert data.fingerprint(again) == print_
    assert data.fingerprint(load_folder(images, validation=0.5)) != print_
    assert data.fingerprint(load_folder(images, test=0.2)) != print_
    assert data.fingerprint(data.Dataset(first.train, first.val, first.val)) != print_
    some = next(moved.rglob("*.jpg"))
    some.rename(next(p for p in moved.iterdir() if p != some.parent) / "other.jpg")
    relabelled = data.fingerprint(load_folder(moved))
    assert relabelled != print_
    (some.parent / "extra.jpg").write_bytes(jpeg(999))
    assert data.fingerprint(load_folder(moved)) not in (print_, relabelled)


def test_the_fingerprint_of_arrays_needs_no_stored_hashes():
    pixels, labels = digits()
    first = from_arrays(pixels, labels, list("abcd"))
    print_ = data.fingerprint(first)
    order = np.random.default_rng(1).permutation(100)
    assert data.fingerprint(from_arrays(pixels[order], labels[order], list("abcd"))) == print_
    bare = [data.Split(s.sources, s.labels, s.classes) for s in (first.train, first.val)]
    assert data.fingerprint(data.Dataset(*bare)) == print_
    for other in (
        from_arrays(pixels, labels, list("abcd"), seed=1),
        from_arrays(pixels, labels, list("abce")),
        from_arrays(np.where(np.arange(100)[:, None, None] == 3, 0, pixels).astype(np.uint8), labels, list("abcd")),
        data.Dataset(first.val, first.train),
    ):
        assert data.fingerprint(other) != print_
    assert first.train.sample(5).digests.shape == (5, 32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augmentation(area=0), "area must be a number above 0, at most 1; got 0"),
        (lambda: Augmentation(area=-0.5), "area must be"),
        (lambda: Augmentation(area=1.5), "area must be"),
        (lambda: Augmentation(area=float("nan")), "area must be .* got nan"),
        (lambda: Augmentation(area=True), "area must be .* got True"),
        (lambda: Augmentation(area="x"), "area must be .* got 'x'"),
        (lambda: Augmentation(area=None), "area must be .* got None"),
        (lambda: Augmentation(flip=1), "flip must be True or False; got 1"),
        (lambda: Augmentation(colour=-1), "colour must be a number from 0 to 2; got -1"),
        (lambda: Augmentation(colour=float("inf")), "colour must be"),
        (lambda: data.Shift(pixels=-1), "pixels must be an integer of at least 0; got -1"),
        (lambda: data.Shift(pixels=1.5), "pixels must be"),
        (lambda: data.Shift(pixels=True), "pixels must be"),
        (lambda: data.Shift(flip=None), "flip must be"),
        (lambda: data.Crops(2), "count must be 1, 10, 12 or 144; got 2"),
        (lambda: data.Crops(True), "count must be"),
        (lambda: data.Crops(10.0), "count must be"),
        (lambda: data.Crops("x"), "count must be"),
    ],
)
def test_bad_augmentations_are_refused_when_made(make, message):
    with pytest.raises(InputError, match=message):
        make()
