"""Parquet files and image folders of Hugging Face's `datasets`, as data sets of images."""

import json
import sys

import pytest

from keras_inception import data
from keras_inception.data import load_folder
from keras_inception.errors import InputError

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")


def write(file, files, labels, *, names=("cat", "dog"), image="image", label="label", metadata=True):
    """A file of images and labels, with the schema that `datasets` writes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    table = pyarrow.table({image: rows, label: labels})
    if metadata:
        features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, file)
    return file


@pytest.fixture
def rows(animals):
    files = sorted(animals.rglob("*.*"))
    return files, [int(file.parent.name == "dog") for file in files]


def test_a_file_is_the_same_data_set_as_the_folder(animals, rows, home, tmp_path):
    file = write(tmp_path / "animals.parquet", *rows, names=("cat", "a/b"))
    assert load_folder(file).classes == ("a/b", "cat")
    assert data.fingerprint(load_folder(write(file, *rows))) == data.fingerprint(load_folder(animals))
    assert data.is_data_file(file)
    assert len(data.as_images(file)[0]) == len(rows[0])


@pytest.mark.parametrize("inside", ["", "data"])
def test_the_files_of_a_repository_have_their_sides(inside, rows, home, tmp_path):
    files, labels = rows
    folder = tmp_path / "repository" / inside
    write(folder / "train-00000-of-00002.parquet", files[::4], labels[::4])
    write(folder / "train-00001-of-00002.parquet", files[1::4], labels[1::4])
    write(folder / "validation-00000-of-00001.parquet", files[2:3], labels[2:3])  # of one class
    found = load_folder(tmp_path / "repository")
    assert (len(found.train), len(found.val)) == (12, 1)
    assert found.classes == ("cat", "dog")


def test_other_names_of_columns(rows, home, tmp_path):
    files, labels = rows
    assert load_folder(write(tmp_path / "a.parquet", files, labels, image="photo", label="kind")).classes
    names = [str(label) for label in labels]
    assert load_folder(write(tmp_path / "b.parquet", files, names, metadata=False)).classes == ("0", "1")
    with pytest.raises(InputError, match="has the columns photo, kind: a column `image` of bytes and a column `label`"):
        load_folder(write(tmp_path / "c.parquet", files, labels, image="photo", label="kind", metadata=False))


def test_labels_that_are_kept_secret_are_left_out(rows, home, tmp_path):
    files, labels = rows
    found = load_folder(write(tmp_path / "a.parquet", files, [-1, *labels[1:]]))
    assert len(found.train) + len(found.val) == len(files) - 1


def test_shards_of_a_parquet_file(rows, home, tmp_path):
    file = write(tmp_path / "animals.parquet", *rows)
    data.write_shards(file, tmp_path / "shards")
    assert data.fingerprint(load_folder(tmp_path / "shards")) == data.fingerprint(load_folder(file))


def test_what_cannot_be_read_is_one_line(rows, home, tmp_path, monkeypatch):
    files, labels = rows
    file = write(tmp_path / "a.parquet", files, labels)
    content = file.read_bytes()
    for cut in (b"", content[:100], content[: len(content) // 2]):
        file.write_bytes(cut)
        with pytest.raises(InputError, match="parquet cannot be read: ") as caught:
            load_folder(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="has the label 7, but 2 names of classes"):
        load_folder(write(file, files, [7, *labels[1:]]))
    table = pyarrow.table({"image": [{"bytes": None, "path": "x.jpg"}], "label": [0]})
    parquet.write_table(table, file)
    with pytest.raises(InputError, match="names image files, but does not hold them"):
        load_folder(file)
    write(tmp_path / "train-00000-of-00001.parquet", files, labels)
    with pytest.raises(InputError, match="holds files that are named as a side, and others"):
        load_folder(tmp_path)
    assert not list(home.rglob(".part"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs PyArrow: pip install 'keras-inception\[parquet\]'"):
        load_folder(file)


# -------------------------------------------------------------------------------------------------------- image folders


def listed(folder, files, labels, *, lines=False, **more):
    """Images beside a `metadata` file that says their classes."""
    folder.mkdir(parents=True)
    names = [f"{i}{file.suffix}" for i, file in enumerate(files)]
    for name, file in zip(names, files, strict=True):
        (folder / name).write_bytes(file.read_bytes())
    rows = [{"file_name": name, "label": label} for name, label in zip(names, labels, strict=True)]
    if lines:
        (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row | more)}\n" for row in rows))
    else:
        text = "".join(f"{row['file_name']},{row['label']}\n" for row in rows)
        (folder / "metadata.csv").write_text(f"file_name,label\n{text}")


@pytest.mark.parametrize("lines", [False, True])
def test_an_image_folder_with_metadata(lines, rows, tmp_path):
    files, labels = rows
    listed(tmp_path / "one", files, [("cat", "dog")[label] for label in labels], lines=lines)
    found = load_folder(tmp_path / "one")
    assert found.classes == ("cat", "dog")
    assert len(found.train) + len(found.val) == len(files)
    listed(tmp_path / "two" / "train", files[::2], labels[::2], lines=lines)
    listed(tmp_path / "two" / "validation", files[1:3], labels[1:3], lines=lines)
    found = load_folder(tmp_path / "two")
    assert (len(found.train), len(found.val)) == (12, 2)
    assert found.classes == ("0", "1")


def test_captions_are_no_classes(animals):
    (animals / "metadata.csv").write_text("file_name,text\ncat/0.jpg,a cat\n")
    assert load_folder(animals).classes == ("cat", "dog")


def test_lines_that_are_no_json_are_one_line(animals, tmp_path):
    (tmp_path / "list.jsonl").write_text("{")
    with pytest.raises(InputError, match="is not a file of JSON objects, one a line"):
        load_folder(tmp_path / "list.jsonl")
