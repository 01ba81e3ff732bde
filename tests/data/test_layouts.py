"""What data sets look like on disk: which trees are read, how, and which are refused with a suggestion."""

import os
import re
import shutil
import unicodedata
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from keras_inception import InputError
from keras_inception.data import folders, layout, load_folder, load_images, scan, tree

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)  # one black pixel; the scan below does not decode


def make(root, files):
    """Write files: images, or lists with their text after "="; a name that ends in "/" is an empty folder."""
    for file in files:
        name, _, text = file.partition("=")
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape") if text else PNG)
    return root


def each(*folders):
    return [f"{folder}/{i}.png" for folder in folders for i in range(2)]


@dataclass
class held:
    """Images per class on each side, and what must be said of others."""

    train: dict[str, int]
    val: dict[str, int] | None = None
    test: dict[str, int] | None = None
    unused: tuple[str, ...] = ()


CAT_DOG = {"cat": 2, "dog": 2}
TREES = {
    "one folder per class": (each("cat", "dog"), CAT_DOG),
    "more folders in the classes": (["cat/2024/may/1.png", "cat/2.png", "dog/x/1.png", "dog/y/2.png"], CAT_DOG),
    "tiny ImageNet's images/": (each("cat/images", "dog/images"), CAT_DOG),
    "wrapped once": (each("flowers/cat", "flowers/dog"), CAT_DOG),
    "wrapped three times": (["a/README.md=x", *each("a/b/c/cat", "a/b/c/dog")], CAT_DOG),
    "wrapped beside what macOS adds": ([*each("pets/cat", "pets/dog"), *each("__MACOSX/pets/cat")], CAT_DOG),
    "train alone": (each("train/cat", "train/dog"), CAT_DOG),
    "train and val": (each("train/cat", "train/dog", "val/cat", "val/dog"), held(CAT_DOG, CAT_DOG)),
    "capitals": (each("Training/cat", "Training/dog", "Testing/cat", "Testing/dog"), held(CAT_DOG, test=CAT_DOG)),
    "shouted": (each("TRN/cat", "TRN/dog", "Dev/cat", "Dev/dog"), held(CAT_DOG, CAT_DOG)),
    "with the word set": (
        each(*(f"{side}_set/{side}_set/{c}" for side in ("training", "test") for c in CAT_DOG)),
        held(CAT_DOG, test=CAT_DOG),
    ),
    "a wrapped split": (each("pets/train/cat", "pets/train/dog", "pets/valid/cat", "pets/valid/dog"),
                        held(CAT_DOG, CAT_DOG)),
    "all three sides": (
        each(*(f"{side}/{c}" for side in ("train", "test", "validation") for c in CAT_DOG)),
        held(CAT_DOG, CAT_DOG, CAT_DOG),
    ),
    "test images without classes": (
        [*each("train/cat", "train/dog", "val/cat", "val/dog"), "test/1.png"],
        held(CAT_DOG, CAT_DOG, unused=("test is not used: its 1 images are in no folder of a class",)),
    ),
    "test images in a folder that is no class": (
        each("train/cat", "train/dog", "test/unknown"),
        held(CAT_DOG, unused=("test is not used: none of its folders is named as a class in .*train",)),
    ),
    "an empty val": (
        [*each("train/cat", "train/dog"), "val/"], held(CAT_DOG, unused=("val is not used: it holds no",))
    ),
    "splits in the classes": (
        [*each("cat/train", "dog/train"), "cat/val/1.png", "dog/val/1.png", "dog/test/1.png"],
        held(CAT_DOG, {"cat": 1, "dog": 1}, {"cat": 0, "dog": 1}),
    ),
    "capital splits in classes": (each("cat/Train", "dog/Train", "cat/TEST", "dog/TEST"), held(CAT_DOG, test=CAT_DOG)),
    "images of trains": (each("bus", "train"), {"bus": 2, "train": 2}),
    "images of trains, some in folders": ([*each("bus", "train"), "train/2024/1.png"], {"bus": 2, "train": 3}),
    "a class test": (each("a", "test", "val"), {"a": 2, "test": 2, "val": 2}),
    "hidden at any depth": (
        [
            *each("cat", "dog"),
            *each(".cache", "cat/.ipynb_checkpoints", "cat/@eaDir", "dog/x/__MACOSX", "$RECYCLE.BIN"),
            *each("System Volume Information", "lost+found", "dog/__pycache__", "#recycle"),
            "cat/._1.png", "dog/Thumbs.db", "dog/desktop.ini", "cat/.DS_Store", "train/.gitkeep", "cat/.hidden.png",
        ],
        "class train holds no usable image",
    ),
    "system files and folders beside the classes": ([*each("cat", "dog", "@eaDir", ".git"), "Thumbs.db"], CAT_DOG),
    "names of any language": (["chat noir/1.png", "猫/1.png", "é/1.png"], {"chat noir": 1, "é": 1, "猫": 1}),
    "file names that are not UTF-8": (["cat/\udcff.png", "cat/2.png", "dog/\udce9.png", "dog/2.png"], CAT_DOG),
    "no images": (["cat/notes.doc", "dog/"], "holds no images: give it one folder of JPEG"),
    "loose images": (["1.png", "2.png"], r"holds 2 images, but none in a folder: .* per class$"),
    "loose images and a list": (["1.png", "l.csv=a"], r"but none in a folder.*; or give the list of them: .*l\.csv"),
    "loose images in splits": (["train/1.png", "test/1.png"], r"test/, train/ hold images, but not in folders of cl"),
    "Kaggle's": (["train/1.png", "test/2.png", "train.csv=id,label"], r"or give the list of them: .*train\.csv"),
    "one class": (["cat/1.png"], "holds one class, cat: two classes or more"),
    "one class in a split": (["train/cat/1.png"], "train holds one class, cat: two classes or more"),
    "only test": (each("test/cat", "test/dog"), r"holds .*test, but no images to train on: name them train/"),
    "splits beside classes": (each("train/cat", "val/cat", "dog"), r"holds train/, val/ beside dog/: is train/ a cl"),
    "two of one side": (each("Train/cat", "train/cat"), "holds both Train/, train/: merge them"),
    "two that are held out": (each("train/cat", "dev/cat", "val/cat"), "holds both dev/, val/: merge them, or rename"),
    "classes of splits differ": (
        each("train/cat", "train/dog", "Valid/cat", "Valid/Dog"), "same classes: only train/ has dog; only Valid/ has D"
    ),
    "classes of the test side differ": (
        each("train/cat", "train/dog", "test/cat"), "test/ in .* must hold the same classes: only train/ has dog"
    ),
    "splits in some classes": (each("cat/train", "cat/val", "dog"), "cat holds train/, val/, .*dog does not: divide"),
    "images beside splits in classes": (
        [*each("cat/train", "cat/val", "dog/train", "dog/val"), "dog/1.png"], "dog holds images beside train/, val/: m"
    ),
    "splits of unknown names": (each("first/cat", "first/dog", "second/cat", "second/dog"),
                                r"first and .*second both hold cat/ and dog/: if these are the classes, name the two"),
    "folds": (each(*(f"fold{i}/{c}" for i in (1, 2, 3) for c in "abc"[:i])), r"fold2 and .*fold3 both hold a/ and b/"),
    "case": (each("Cat", "cat"), "'Cat' and 'cat' differ only in case"),
    "Unicode form": (each("\u00e9t\u00e9", "e\u0301te\u0301"), "differ only in case, blanks or the form"),
    "blanks": (each("cat", "cat "), "'cat' and 'cat ' differ only in case"),
    "a class that is not UTF-8": (each("cat", "\udcffdog"), r"class name '\\udcffdog' is not UTF-8: rename it"),
    "a line break": (each("cat", "a\nb"), r"class name 'a\\nb' is blank, or has a line break"),
    "a tab": (each("cat", "a\tb"), r"class name 'a\\tb' is blank, or has a line break or tab in it: rename it"),
}  # fmt: skip


def counts(files):
    return None if files is None else {name: len(group) for name, group in files.groups.items()}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_read_or_refused(name, tmp_path, monkeypatch):
    # Only what the scan finds: every image decodes.
    monkeypatch.setattr(folders, "examine_all", lambda sources: scan.Scan(np.zeros(len(sources), scan.RECORD), {}))
    monkeypatch.setattr(folders, "_divided", lambda found, name, **shares: [found] * 3)
    files, expected = TREES[name]
    root = make(tmp_path / ".data set", files)  # the name of the root itself does not count
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as caught:
            load_folder(root)
        assert "\n" not in str(caught.value)
        return
    found = folders.find(root)
    if isinstance(expected, dict):
        expected = held(expected)
    assert (counts(found.train), counts(found.val)) == (expected.train, expected.val)
    assert counts(found.test) == expected.test
    assert list(found.train.groups) == sorted(found.train.groups)
    for line, pattern in zip(found.unused, expected.unused, strict=True):
        assert re.search(pattern, line)
    load_folder(root)


@pytest.mark.parametrize(
    ("name", "side"),
    [(n, side) for side, names in layout.SPLITS.items() for n in names]
    + [("Train Set", "train"), ("02-test", "test"), ("val_images", "val"), ("held_out", "val"), ("testset", "test")]
    + [(n, None) for n in ("bus", "images", "2024", "", "test tube", "validity", "trainers", "dataset", "__")],
)
def test_names_of_sides(name, side):
    assert layout.side_of(name) == side
    assert layout.side_of(name.upper()) == side


def test_known_classes_are_classes_whatever_they_are_called(tmp_path):
    def read(path, *classes):
        return counts(folders.find(path, classes).train)

    assert read(make(tmp_path / "a", each("train/x", "val/x")), "train", "val") == {"train": 2, "val": 2}
    assert read(make(tmp_path / "b", ["cat/2024/1.png"]), "cat", "dog") == {"cat": 1}
    assert read(make(tmp_path / "c", each("w/cat")), "cat", "dog") == {"cat": 2}
    assert read(make(tmp_path / "d", [*each("cat/in", "cat/out", "dog/in", "dog/out"), "emu/"]), "cat") == {
        "cat": 4, "dog": 4, "emu": 0,
    }  # fmt: skip
    inside = folders.find(make(tmp_path / "f", each("cat/train", "cat/val", "dog/train", "dog/val")), ["cat", "dog"])
    assert counts(inside.val) == CAT_DOG
    split = folders.find(
        make(tmp_path / "e", each("train/bus", "train/train", "val/bus", "val/train")), ["bus", "train"]
    )
    assert counts(split.val) == {"bus": 2, "train": 2}


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    make(tmp_path / "data", each("cat", "dog"))
    make(tmp_path / "elsewhere", ["more/3.png"])
    for link, target in {"cat/up": "data", "cat/self": "data/cat", "dog/twice": "elsewhere", "dog/again": "elsewhere",
                         "owl": "elsewhere", "dog/broken": "nowhere"}.items():  # fmt: skip
        (tmp_path / "data" / link).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = {folder.name: len(folder.below) for folder in tree.read(tmp_path / "data").folders}
    assert found == {"cat": 2, "dog": 4, "owl": 1}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    make(tmp_path, each("cat", "dog"))
    scan = os.scandir

    def scandir(path):
        if os.path.basename(path) == "dog":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"dog cannot be read: permission denied$"):
        load_folder(tmp_path)


def photo(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((8, 8), 60).convert("RGB").point(lambda v: min(255, v // 2 + shade)).save(path)


def test_a_split_data_set_is_measured_on_its_test_side_else_on_val(tmp_path, capsys):
    for i, name in enumerate(("train/a", "train/b", "val/a", "val/b", "test/b")):
        photo(tmp_path / name / "1.png", 30 * i)
    (tmp_path / "test" / "a").mkdir()

    def read(**options):
        split = load_images(tmp_path, ("a", "b", "c"), **options)
        return {file.parts[-3] for file in split.sources}, str(split), capsys.readouterr().err

    sides, called, said = read()
    assert (sides, called) == ({"test"}, "1 test images")
    assert said == f"{tmp_path} is split: the images are those of {tmp_path / 'test'}\n"
    assert read(side="train")[:2] == ({"train"}, "2 training images")
    shutil.rmtree(tmp_path / "test")
    assert read()[:2] == ({"val"}, "2 validation images")
    with pytest.raises(InputError, match=r"is split, but has no test images: name them test/$"):
        read(side="test")


def test_what_is_read_is_said_in_a_few_lines(tmp_path):
    for i in range(4):
        photo(tmp_path / "train" / "a" / f"{i}.png", i)
        photo(tmp_path / "train" / "b" / f"{i}.png", 100 + i)
    photo(tmp_path / "val" / "a" / "9.png", 50)
    photo(tmp_path / "val" / "b" / "9.png", 70)
    photo(tmp_path / "test" / "b" / "8.png", 90)
    (tmp_path / "test" / "a").mkdir()
    photo(tmp_path / "dev" / "1.png", 90)
    for i in range(3):
        (tmp_path / "train" / "a" / f"cut{i}.png").write_bytes(b"x")
    photo(tmp_path / "train" / "loose.png", 1)
    first, classes, unused, loose, broken = load_folder(tmp_path).describe()
    assert first == "11 images of 2 classes: 8 to train on, 2 for validation, 1 for test"
    assert classes == "of each class: a 4 + 1 + 0, b 4 + 1 + 1"
    assert unused.startswith(f"{tmp_path / 'dev'} is not used: its 1 images")
    assert loose == f"left out {tmp_path / 'train' / 'loose.png'}: not in the folder of a class"
    assert broken.startswith(f"left out 3 images, {tmp_path / 'train' / 'a' / 'cut0.png'} for example: ")


def test_many_classes_are_folded():
    from keras_inception.data import from_arrays

    labels = np.repeat(np.arange(30), np.r_[2, [5] * 29])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    lines = from_arrays(images, labels).describe()
    assert len(lines) == 2
    assert lines[1].startswith("of each class to train on, for validation: at least 1 (0), 1 (")


def test_forms_of_letters_are_compared_not_changed(tmp_path):
    name = unicodedata.normalize("NFD", "été")
    assert name in folders.find(make(tmp_path, each(name, "hiver"))).train.groups
