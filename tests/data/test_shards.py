"""Shard sets: what is in them, that an interrupted writing resumes, and that no damage goes unnoticed."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_inception import cli, data
from keras_inception.data import shard_writer, shards, write_shards
from keras_inception.errors import InputError
from keras_inception.files import PART


@pytest.fixture
def written(animals, tmp_path):
    write_shards(animals, tmp_path / "shards", per_shard=8)
    return tmp_path / "shards"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def examples(folder, pattern="*.tfrecord"):
    """The records as any tool of TensorFlow reads them."""
    files = sorted(map(str, folder.glob(pattern)))
    return [tf.train.Example.FromString(r).features.feature for r in tf.data.TFRecordDataset(files).as_numpy_iterator()]


# ----------------------------------------------------------------------------------------------------------- what it is


def test_a_shard_set_is_the_same_data_set_as_the_folder(animals, written):
    folder, shard_set = data.load_folder(animals), data.load_folder(written)
    assert data.fingerprint(shard_set) == data.fingerprint(folder)
    assert shard_set.classes == ("cat", "dog")
    for one, other in ((folder.train, shard_set.train), (folder.val, shard_set.val)):
        files = {path.read_bytes(): label for path, label in zip(one.sources, one.labels, strict=True)}
        assert {s.read_bytes(): label for s, label in zip(other.sources, other.labels, strict=True)} == files
    assert shard_set.train.image(0).dtype == np.uint8


def test_other_tools_read_the_shards(animals, written):
    found = examples(written)
    assert len(found) == 24
    assert set(found[0]) == {
        *("image/encoded", "image/format", "image/height", "image/width", "image/filename"),
        *("image/class/label", "image/class/text"),
    }
    for features in found:
        text, name = (features[f"image/{key}"].bytes_list.value[0].decode() for key in ("class/text", "filename"))
        content = features["image/encoded"].bytes_list.value[0]
        height, width = (features[f"image/{key}"].int64_list.value[0] for key in ("height", "width"))
        assert content == (animals / name).read_bytes()
        assert name.startswith(f"{text}/")
        assert features["image/class/label"].int64_list.value[0] == ("cat", "dog").index(text)
        assert tf.io.decode_image(content).shape == (height, width, 3)
        assert features["image/format"].bytes_list.value[0] in (b"JPEG", b"PNG")


def test_records_are_in_a_random_order_that_is_always_the_same(animals, written, tmp_path):
    labels = [f["image/class/label"].int64_list.value[0] for f in examples(written, "train-*")]
    assert labels != sorted(labels)
    write_shards(animals, tmp_path / "again", per_shard=8)
    assert contents(tmp_path / "again") == contents(written)


def test_the_sides_of_a_folder_are_kept(animals, tmp_path):
    for side in ("train", "val"):
        shutil.copytree(animals, tmp_path / "split" / side)
    for i in range(11):
        for file in (tmp_path / "split" / "val").glob(f"*/{i}.*"):
            file.unlink()
    found = write_shards(tmp_path / "split", tmp_path / "shards")
    assert {side: [s.images for s in files] for side, files in found.sides.items()} == {"train": [24], "val": [2]}
    dataset = data.load_folder(tmp_path / "shards")
    assert (len(dataset.train), len(dataset.val)) == (24, 2)
    assert len(dataset.near_duplicates) == 2  # by the hashes in the index
    assert f"{tmp_path}/shards/train-00000-of-00001.tfrecord: " in str(dataset.near_duplicates[0][0])


def test_a_test_side_is_held_out_and_read(animals, tmp_path):
    found = write_shards(animals, tmp_path / "shards", validation=0.2, test=0.2)
    assert list(found.sides) == ["train", "val", "test"]
    folder, shard_set = data.load_folder(animals, test=0.2), data.load_folder(tmp_path / "shards")
    assert data.fingerprint(shard_set) == data.fingerprint(folder)
    assert len(data.load_images(tmp_path / "shards", ("cat", "dog"))) == len(folder.test)


def test_shards_are_evaluated_on_and_predicted(written):
    assert len(data.load_images(written, ("bird", "cat", "dog"))) == len(data.load_folder(written).val)
    with pytest.raises(InputError, match="holds 'dog', which is none of the classes: cat"):
        data.load_images(written, ("cat",))
    split, names, rejected = data.as_images(written)
    assert len(split) == len(names) == 24
    assert not rejected
    assert names[0].startswith(f"{written}/train-00000-of-00003.tfrecord: ")


def test_shards_are_made_of_shards(written, tmp_path):
    again = write_shards(written, tmp_path / "again", per_shard=100)
    assert [len(files) for files in again.sides.values()] == [1, 1]
    one, other = (data.load_folder(path) for path in (written, tmp_path / "again"))
    assert data.fingerprint(one) == data.fingerprint(other)
    assert {s.name for s in one.train.sources} == {s.name for s in other.train.sources}


def test_images_are_not_decoded_again_at_the_start(written, monkeypatch):
    monkeypatch.setattr("keras_inception.data.scan.header_and_pixels", lambda *a, **k: pytest.fail("decoded"))
    assert len(data.load_folder(written).train)


def test_threads_read_at_the_same_time_and_few_files_stay_open(written, monkeypatch):
    monkeypatch.setattr(shards, "OPEN", 1)
    split = data.load_folder(written).train
    wanted = [bytes(digest) for digest in split.digests]
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(data.split.content_digest, split.sources)) == wanted
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    del split
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_of_any_bytes(animals, tmp_path):
    os.rename(animals / "cat" / "0.jpg", os.fsencode(animals / "cat") + b"/\xff\n.jpg")
    write_shards(animals, tmp_path / "shards")
    names = {
        s.name for side in (data.load_folder(tmp_path / "shards"),) for s in (*side.train.sources, *side.val.sources)
    }
    assert os.fsdecode(b"cat/\xff\n.jpg") in names


def test_lists_are_written(animals, tmp_path):
    rows = [f"animals/{f.parent.name}/{f.name},{f.parent.name}" for f in sorted(animals.rglob("*.*"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    write_shards(tmp_path / "list.csv", tmp_path / "shards")
    assert data.load_folder(tmp_path / "shards").classes == ("cat", "dog")


def test_images_that_cannot_be_decoded_are_left_out(animals, tmp_path, capsys):
    (animals / "cat" / "broken.jpg").write_bytes(b"no image")
    assert len(write_shards(animals, tmp_path / "shards").index) == 24
    assert "broken.jpg" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------- interruptions


def test_a_killed_writing_resumes(animals, written, tmp_path):
    """Killed in the second shard: the first is kept, the second written again, and the set is the same."""
    code = f"""
import os
from keras_inception.data import shard_writer
written, example = [], shard_writer._example
def killed(*args, **kwargs):
    written.append(1)
    if len(written) == 12:
        os._exit(9)
    return example(*args, **kwargs)
shard_writer._example = killed
shard_writer.write_shards({str(animals)!r}, {str(tmp_path / "cut")!r}, per_shard=8)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 9
    names = {path.name for path in (tmp_path / "cut").iterdir()}
    assert "train-00000-of-00003.tfrecord" in names
    assert "train-00001-of-00003.tfrecord" not in names
    assert any(name.startswith(PART) for name in names)
    with pytest.raises(InputError, match="cut is not finished: run the same"):
        data.load_folder(tmp_path / "cut")
    kept = (tmp_path / "cut" / "train-00000-of-00003.tfrecord").stat()
    write_shards(animals, tmp_path / "cut", per_shard=8)
    assert contents(tmp_path / "cut") == contents(written)
    assert (tmp_path / "cut" / "train-00000-of-00003.tfrecord").stat().st_mtime_ns == kept.st_mtime_ns


def interrupted(animals, out, monkeypatch, after=1):
    """Stop once so many shards are finished."""
    finished, done = shard_writer._finished, []

    def stop(*args):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(finished(*args))
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "_finished", stop)
        with pytest.raises(KeyboardInterrupt):
            write_shards(animals, out, per_shard=8)


def test_a_kept_shard_that_is_damaged_is_written_again(animals, written, tmp_path, monkeypatch):
    interrupted(animals, tmp_path / "cut", monkeypatch)
    file = tmp_path / "cut" / "train-00000-of-00003.tfrecord"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    write_shards(animals, tmp_path / "cut", per_shard=8)
    assert contents(tmp_path / "cut") == contents(written)


def test_another_request_does_not_resume(animals, tmp_path, monkeypatch):
    interrupted(animals, tmp_path / "cut", monkeypatch)
    before = contents(tmp_path / "cut")
    for change in ({"per_shard": 9}, {"per_shard": 8, "validation": 0.5}):
        with pytest.raises(InputError, match="holds unfinished shards of other images, another split or another size"):
            write_shards(animals, tmp_path / "cut", **change)
    (animals / "cat" / "0.jpg").unlink()
    with pytest.raises(InputError, match="unfinished shards of other images"):
        write_shards(animals, tmp_path / "cut", per_shard=8)
    assert contents(tmp_path / "cut") == before


def test_a_file_that_changes_meanwhile_is_noticed(animals, tmp_path):
    dataset = data.load_folder(animals)
    dataset.train.sources[0].write_bytes(dataset.train.sources[1].read_bytes())
    with pytest.raises(InputError, match="was changed while the shards were written"):
        write_shards(dataset, tmp_path / "shards")
    dataset.train.sources[0].unlink()
    with pytest.raises(InputError, match="cannot be read: no such file"):
        write_shards(dataset, tmp_path / "shards")


def test_a_full_disk_is_one_line(animals, tmp_path, monkeypatch):
    class Full:
        def __init__(self, path):
            raise tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", Full)
    with pytest.raises(InputError, match="could not be written: no space left on device; the same command resumes"):
        write_shards(animals, tmp_path / "shards")
    monkeypatch.undo()
    assert len(write_shards(animals, tmp_path / "shards").index) == 24


def test_what_the_disk_returns_otherwise_is_noticed(animals, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "_read_back", lambda file, plan: None)
    with pytest.raises(InputError, match="is not what was written when it is read back: check the disk"):
        write_shards(animals, tmp_path / "shards")
    assert not (tmp_path / "shards" / shards.RECORD).exists()


# -------------------------------------------------------------------------------------------------------- what is there


def test_what_exists_is_not_touched(animals, written, tmp_path):
    before = contents(written)
    with pytest.raises(InputError, match="holds finished shards: give another --out"):
        write_shards(animals, written, per_shard=8)
    assert contents(written) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is neither empty nor an unfinished set of shards"):
        write_shards(animals, tmp_path / "mine")
    with pytest.raises(InputError, match="exists and is not a folder"):
        write_shards(animals, tmp_path / "mine" / "thesis.txt")
    assert contents(tmp_path / "mine") == {"thesis.txt": b"mine"}


def test_input_that_cannot_be_used_leaves_nothing(animals, tmp_path):
    arrays = data.from_arrays(np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3), [0, 0, 1, 1])
    for images, options, message in (
        (arrays, {}, "arrays have no files"),
        (animals, {"per_shard": 0}, "room for 1 image or more; got 0"),
        (animals, {"validation": 2}, "validation must be a fraction"),
        (tmp_path / "none", {}, "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            write_shards(images, tmp_path / "shards", **options)
    assert not (tmp_path / "shards").exists()


# --------------------------------------------------------------------------------------------------------------- damage


def change(file, edit):
    content = bytearray(file.read_bytes())
    edit(content)
    file.write_bytes(content)


def test_damage_in_a_shard_is_named_when_it_is_read(written):
    dataset = data.load_folder(written)
    source = dataset.train.sources[0]
    place = source._set.index.offset[source._row] + 5
    change(written / "train-00000-of-00003.tfrecord", lambda c: c.__setitem__(place, c[place] ^ 1))
    damaged = data.load_folder(written).train.sources[0]
    with pytest.raises(InputError, match=r"00003.tfrecord: \w+/\d+\.\w+ cannot be read: its bytes are not"):
        data.decode(damaged)


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (
            "train-00001-of-00003.tfrecord",
            lambda c: c.pop(),
            "bytes, not the .* that were written: write",
        ),
        ("train-00001-of-00003.tfrecord", None, "train-00001-of-00003.tfrecord is missing: write the shards again"),
        ("index.npz", None, "index.npz is missing"),
        ("index.npz", lambda c: c.__setitem__(slice(200, 900), bytes(700)), "index.npz is damaged"),
        ("shards.json", lambda c: c.pop(3), "shards.json is damaged"),
        ("shards.json", lambda c: c.clear(), "shards.json is damaged"),
        ("shards.json", lambda c: c.__setitem__(slice(None), b'{"kind": "x", "schema": 1}'), "shards.json is damaged"),
        ("shards.json", None, "holds train-.*, but no shards.json, the index that `keras-inception shards` writes"),
    ],
)
def test_a_damaged_set_is_one_line(written, file, edit, message):
    change(written / file, edit) if edit else (written / file).unlink()
    for read in (data.load_folder, data.as_images):
        with pytest.raises(InputError, match=message) as caught:
            read(written)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "of a newer keras-inception"),
        ({"sides": {"train": [{"file": "../x", "images": 1, "bytes": 1, "sha256": ""}]}}, "is damaged"),
        ({"sides": {"train": [{"file": "x.tfrecord"}]}}, "is damaged"),
        ({"classes": []}, "is damaged"),
    ],
)
def test_a_changed_record_is_one_line(written, change, message):
    record = json.loads((written / "shards.json").read_text())
    (written / "shards.json").write_text(json.dumps(record | change))
    with pytest.raises(InputError, match=message):
        data.load_folder(written)


@pytest.mark.parametrize("name", ["mnist-train.tfrecord-00000-of-00001", "train-00003-of-01024", "images.tfrecord"])
def test_shards_of_other_tools_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"holds {name}, but no shards.json"):
        data.load_folder(tmp_path)


# ----------------------------------------------------------------------------------------------------- the command line


def run(capsys, *words):
    cli.app([*map(str, words)], standalone_mode=False)
    return capsys.readouterr()


def test_the_command(animals, tmp_path, capsys):
    out = run(capsys, "shards", animals, "--out", tmp_path / "shards", "--per-shard", 8)
    assert "train" in out.out
    assert f"wrote {tmp_path}/shards" in out.out
    assert "24 images of 2 classes" in out.err
    rows = json.loads(run(capsys, "shards", tmp_path / "shards", "--out", tmp_path / "again", "--json").out)
    assert [row["side"] for row in rows] == ["train", "val"]
    assert sum(row["images"] for row in rows) == 24


def test_an_interrupted_command_says_that_it_resumes(animals, tmp_path, capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt(15)

    monkeypatch.setattr(shard_writer, "_finished", interrupt)
    with pytest.raises(SystemExit) as ended:
        run(capsys, "shards", animals, "--out", tmp_path / "shards")
    assert ended.value.code == 128 + 15
    assert "interrupted; the same command resumes" in capsys.readouterr().err
    assert Path(tmp_path / "shards" / shards.UNFINISHED).exists()
