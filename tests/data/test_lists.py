"""Lists of images, and archives."""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception import InputError
from keras_inception.data import archives, as_images, folders, load_folder, load_images

IMAGES = ("a/1.png", "a/2.png", "b/3.png", "b/4.png", "name with blanks.jpg", "b/no-ending", "c/2.png", "\udcff.png")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images, of which lists in it tell the classes; only add lists."""
    root = tmp_path_factory.mktemp("images")
    for i, name in enumerate(IMAGES):
        (root / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name, "PNG")
    return root


def written(root, name, content):
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    (root / name).write_bytes(data)
    return root / name


def read(path):
    """The classes with the names of their files, on each side."""
    found = folders.find(path)
    return [
        files and {name: [str(Path(f).relative_to(path.parent)) for f in group] for name, group in files.groups.items()}
        for files in (found.train, found.val, found.test)
    ]


TWO = {"x": ["a/1.png"], "y": ["b/3.png"]}
LISTS = {
    "a table": ("l.csv", "file,label\na/1.png,x\nb/3.png,y\n", TWO),
    "Windows": ("l.csv", "\ufefffile;label\r\na\\1.png;x\r\n.\\b\\3.png;y\r\n", TWO),
    "tabs": ("l.tsv", "Label\tFile Name\nx\ta/1.png\ny\tb/3.png\n", TWO),
    "of a spreadsheet": ("l.txt", "image\tclass\na/1.png\tx\nb/3.png\ty\n".encode("utf-16"), TWO),
    "more columns": ("l.csv", "class id,filepaths,width,labels\n7,a/1.png,3,x\n8,b/3.png,4,y\n", TWO),
    "quotes": ("l.csv", '"path","category"\n"name with blanks.jpg","a, b"\n', {"a, b": ["name with blanks.jpg"]}),
    "identifiers": ("l.csv", "id,breed\n1,x\n3,y\n", TWO),
    "names in some folder": ("l.csv", "image_id,dx\n1.png,x\n3.png,y\n", TWO),
    "ends of paths": ("l.csv", "id,label\na/2,x\nc/2,y\n", {"x": ["a/2.png"], "y": ["c/2.png"]}),
    "a file without an ending": ("l.csv", "file,label\nb/no-ending,x\n", {"x": ["b/no-ending"]}),
    "Caffe's": ("l.txt", "a/1.png 0\nname with blanks.jpg 1\n", {"0": ["a/1.png"], "1": ["name with blanks.jpg"]}),
    "no header": ("l.csv", "a/1.png,x\nb/3.png,y\n\n", TWO),
    "numbers": ("l.csv", "path,target\na/1.png,10\na/2.png,9\nb/3.png,-1\n",
                {"-1": ["b/3.png"], "9": ["a/2.png"], "10": ["a/1.png"]}),
    "blanks and copies": ("l.csv", "file, label\na/1.png , x\n a/1.png,x \nb/3.png,y\n", TWO),
    "not UTF-8": ("l.csv", "file,label\n\udcff.png,x\n", {"x": ["\udcff.png"]}),
    "missing ones": ("l.csv", "file,label\na/1.png,x\nb/3.png,y\ngone.png,x\n2,y\na/2.png,\n", TWO),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read(name, images):
    file, content, expected = LISTS[name]
    train, *others = read(written(images, file, content))
    assert train == expected
    assert list(train) == list(expected)
    assert others == [None, None]


def test_what_a_list_leaves_out_is_told(images):
    path = written(images, *LISTS["missing ones"][:2])
    left_out = {str(r.path): r.reason for r in folders.find(path).train.left_out}
    assert left_out == {
        "gone.png": "no such file",
        "2": "2 files have this name: give their paths",
        "a/2.png": "no class in the list",
    }


def test_a_column_of_the_split(images):
    rows = "a/1.png,x,train\nb/3.png,y,Train\na/2.png,x,valid\nb/4.png,y,TEST\n"
    path = written(images, "l.csv", f"file,label,data set\n{rows}")
    assert read(path) == [TWO, {"x": ["a/2.png"], "y": []}, {"x": [], "y": ["b/4.png"]}]
    data = load_folder(path)
    assert [len(side) for side in data.sides] == [2, 1, 1]
    assert data.test.labels.tolist() == [1]
    assert load_images(path, ("z", "y", "x")).labels.tolist() == [1]


def test_a_list_trains_and_measures_wherever_it_is(images, tmp_path):
    every = [images / name for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png")]
    path = written(tmp_path, "l.txt", "".join(f"{file} {file.parent.name}\n" for file in every))
    data = load_folder(path)
    assert sorted([*data.train.sources, *data.val.sources]) == every
    one = written(tmp_path, "one.csv", f"file,label\n{every[0]},b\n")
    assert load_images(one, ("a", "b")).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: give lines of a file and its class"),
        ("file,label\n", "has no lines after its header"),
        ("width,height\n1,2\n", "starts with width, height: a list of images needs a column of files"),
        ("a note\nof words\n", "starts with a, note: a list of images needs"),
        ("file,label\na/1.png\n", r"has a line with 1 of 2 columns: a/1\.png"),
        ("file,label\nx.png,1\ny.png,2\n", r"none of the 2 images in .* x\.png: no such file; paths are relative to"),
        ("file,label\na/1.png,x\na/1.png,y\n", r"gives a/1\.png two classes, x and y"),
        ("file,label,split\na/1.png,x,train\na/1.png,x,val\n", r"gives a/1\.png two sides, train and val"),
        ("file,label,split\na/1.png,x,north\n", "has 'north' in its column of the split: the sides are train, val"),
        ("file,label\na/1.png,x\nb/3.png,X\n", "'X' and 'x' differ only in case"),
        ('file,label\na/1.png,"x\ny"\nb/3.png,z\n', "has a line break or tab"),
        ("file,label\na/1.png,x\n", "holds one class, x: two classes"),
        ("file,label,split\na/1.png,x,test\n", "holds test of .*, but no images to train on"),
        (b"file\0label", "is not a text file"),
        (
            "file,label\na/1.png,x|y\nb/3.png,y\nb/4.png,x\n",
            r"gives an image the labels x\|y: several labels per image",
        ),
        (
            "file,labels\na/1.png,\"['x', 'y']\"\nb/3.png,\"['y', 'z']\"\nb/4.png,\"['z', 'x']\"\n",
            "labels .*: several lab",
        ),
        ("image_name,tags\na/1.png,x y\nb/3.png,x z\n", "has a column of tags: several labels per image are not supp"),
        (
            "file,cat,dog,owl\na/1.png,1,0,1\nb/3.png,0,1,0\n",
            "has a column of 0 and 1 for each class .* several labels per",
        ),
    ],
)
def test_an_unusable_list_gets_one_clear_line(content, message, images):
    path = written(images, "bad.csv", content)
    with pytest.raises(InputError, match=message) as caught:
        load_folder(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# Archives


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_is_read_like_its_folder_and_unpacked_once(kind, images, tmp_path, cache, monkeypatch):
    tree = tmp_path / "tree" / "wrapped"
    for name in ("a", "b"):
        shutil.copytree(images / name, tree / name)
    (tree / "__MACOSX").mkdir()
    shutil.copy(images / "a/1.png", tree / "__MACOSX" / "._1.png")
    (tree / "setup.exe").write_bytes(b"x")
    path = shutil.make_archive(str(tmp_path / "pets"), kind, tmp_path / "tree")
    data = load_folder(path)
    assert data.classes == ("a", "b")
    assert len(data.train) + len(data.val) == 4
    assert {file.suffix for file in cache.rglob("*") if file.is_file()} == {".png"}
    assert len(as_images(path)[0]) == 4
    monkeypatch.setattr(archives, "_unpack", None)  # not again
    assert len(load_images(path, ("a", "b"))) == 4


def zipped(path, *members, cut=0):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, attributes in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            archive.writestr(info, b"text" * 50)
    path.write_bytes(content.getvalue()[: len(content.getvalue()) - cut])
    return path


@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png", "..\\out.png"])
def test_nothing_is_written_outside(name, tmp_path, cache):
    path = zipped(tmp_path / "z.zip", ("a/1.png", 0), (name, 0))
    with pytest.raises(InputError, match="outside of itself: it is not unpacked"):
        load_folder(path)
    assert not list(tmp_path.rglob("*.png"))
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name.replace("\\", "/")), io.BytesIO())
    with pytest.raises(InputError, match="outside of itself: it is not unpacked"):
        load_folder(tmp_path / "t.tar")
    assert not list(tmp_path.rglob("*.png"))


def test_links_in_archives_are_left_out(tmp_path, cache):
    path = zipped(tmp_path / "z.zip", ("a/link.png", stat.S_IFLNK | 0o777), ("a/1.png", stat.S_IFREG | 0o644))
    assert [file.name for file in archives.unpacked(path).rglob("*.png")] == ["1.png"]


@pytest.mark.parametrize("name", ["cut.zip", "text.zip", "text.tar.gz", "locked.zip", "names.zip"])
def test_damaged_and_locked_archives_get_one_line(name, tmp_path, cache):
    path = tmp_path / name
    message = "cannot be unpacked: "
    if name == "cut.zip":
        zipped(path, ("a/1.png", 0), cut=40)
    elif name == "locked.zip":
        zipped(path, ("a/1.png", 0))
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        content[6] |= 1
        path.write_bytes(content)
        message = "is encrypted: unpack it, and give the folder"
    elif name == "names.zip":  # UTF-8 names that are not said to be
        zipped(path, ("猫/1.png", 0))
        content = path.read_bytes().replace(b"\x00\x08", b"\x00\x00")
        path.write_bytes(content)
        message = "holds one class, 猫"
    else:
        path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=message) as caught:
        load_folder(path)
    assert "\n" not in str(caught.value)
