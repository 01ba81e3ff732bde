"""A scan of many files: exact near-duplicates, nothing read twice, damage noticed, little memory for each file."""

import hashlib
import os
import sqlite3
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_inception import data
from keras_inception.data import folders, load_folder, load_images, manifest, near_duplicates, scan
from keras_inception.data import split as split_module
from keras_inception.data.near_duplicates import NEAR, find_near_duplicates
from keras_inception.data.sources import Sources

RNG = np.random.default_rng(0)


# Near-duplicates


def hashes(n):
    return RNG.integers(0, 2**64, (n, 2), np.uint64)


def with_changes(of, *changed):
    """Copies of a hash (1, 2), each with these bits of it changed."""
    bits = np.unpackbits(of.view(np.uint8), axis=1).repeat(len(changed), axis=0)
    for row, places in zip(bits, changed, strict=True):
        row[list(places)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def some_bits(most):
    return RNG.choice(128, RNG.integers(0, most + 1), replace=False)


def compared(found):
    """All pairs, one by one."""
    near = np.bitwise_count(found[:, None] ^ found[None]).sum(axis=-1) <= NEAR
    near &= found.any(axis=1)[:, None] & found.any(axis=1)
    near = np.triu(near, 1)
    found = np.flatnonzero(near.any(axis=0))
    return np.array([(np.flatnonzero(near[:, j])[0], j) for j in found], int).reshape(-1, 2)


def same_band(n):
    """Hashes that are equal in one band, and random in the others."""
    bits = np.unpackbits(hashes(n).view(np.uint8), axis=1)
    bits[:, near_duplicates.BAND == 3] = 1
    return np.packbits(bits, axis=1).view(np.uint64)


def hashes_of(case):
    base = hashes(1)
    match case:
        case "random":
            return hashes(1500)
        case "copies, from none to too many bits changed":
            a = hashes(800)
            return np.vstack([a, *(with_changes(a[[i]], some_bits(16)) for i in RNG.integers(0, 800, 300))])
        case "one cluster":
            return with_changes(base, *(some_bits(20) for _ in range(900)))
        case "as many changes in each band as it can take":
            spread = [[np.flatnonzero(k == near_duplicates.BAND)[:count] for k in range(7)] for count in (1, 2)]
            changed = [np.concatenate([*spread[1][:6], spread[0][6][:extra]]) for extra in (0, 1)]  # 12 bits, and 13
            twice = (np.concatenate([*spread[1][1:], [0]][:6]) for _ in range(2))
            return np.vstack([base, with_changes(base, *changed, *twice)])
        case "a large bucket":
            return same_band(3000)
        case "nothing near a blank image":
            return np.array([[0, 0], [3, 0], [0, 0], [3, 0]], np.uint64)
        case "no images":
            return hashes(0)
    raise ValueError(case)


@pytest.mark.parametrize(
    "case",
    [
        "random",
        "copies, from none to too many bits changed",
        "one cluster",
        "as many changes in each band as it can take",
        "a large bucket",
        "nothing near a blank image",
        "no images",
    ],
)
def test_the_index_finds_what_comparing_all_pairs_finds(case):
    found = hashes_of(case)
    np.testing.assert_array_equal(find_near_duplicates(found), compared(found))


def test_bands_of_few_changes_cannot_all_differ_more():
    assert sum(changed + 1 for changed in near_duplicates.CHANGED) > NEAR
    assert near_duplicates.WIDTHS.sum() == near_duplicates.BITS


@pytest.mark.parametrize("most", [0, 6], ids=["equal", "alike"])
def test_many_images_that_are_alike_take_little_memory(most):
    base = hashes(1)
    few = with_changes(base, *(some_bits(most) for _ in range(50)))
    many = few[RNG.integers(0, 50, 50_000)]
    tracemalloc.start()
    found = find_near_duplicates(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 49_900 < len(found) < 50_000  # of 1,250 million combinations
    assert peak < 60e6


# The manifest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "cache"))
    manifest._note_once.cache_clear()
    return tmp_path / "cache" / manifest.NAME


@pytest.fixture
def images(tmp_path):
    return write(tmp_path / "images", dog=8, cat=6)


def write(root, **classes):
    """Images, each of another pattern, that were written a while ago."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            small = Image.fromarray(RNG.integers(0, 256, (5, 5, 3), np.uint8))
            small.resize((40, 30)).save(root / name / f"{i}.png")
            age(root / name / f"{i}.png")
    return root


def age(path, seconds=60):
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - int(seconds * 1e9)))


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read."""
    names = []
    examine = scan.examine

    def noted(source):
        names.append(Path(source).name)
        return examine(source)

    monkeypatch.setattr(scan, "examine", noted)
    return names


def test_an_unchanged_file_is_read_once(images, read, monkeypatch):
    first = load_folder(images)
    assert len(read) == 14
    second = load_folder(images)
    load_images(images / "dog" / "..", ("cat", "dog"))
    data.as_images([images / "cat", images / "dog" / "3.png"])
    monkeypatch.chdir(images)
    load_folder(".")
    assert len(read) == 14
    assert data.fingerprint(first) == data.fingerprint(second)
    for before, after in ((first.train, second.train), (first.val, second.val)):
        assert list(before.sources) == list(after.sources)
        np.testing.assert_array_equal(before.digests, after.digests)


def test_records_say_what_an_image_is(images, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (7, 5)).save(tmp_path / "turned.jpg", exif=exif)
    age(tmp_path / "turned.jpg")
    sources = [str(images / "dog" / "1.png"), str(tmp_path / "turned.jpg")]
    for _ in range(2):  # read, and found in the manifest
        png, jpeg = scan.examine_all(sources).records
        assert png["digest"].tobytes() == hashlib.sha256(Path(sources[0]).read_bytes()).digest()
        assert [png[n] for n in ("height", "width", "format", "mode", "orientation")] == [
            30,
            40,
            b"PNG",
            b"RGB",
            1,
        ]
        assert [jpeg[n] for n in ("height", "width", "format", "mode", "orientation")] == [5, 7, b"JPEG", b"CMYK", 6]


@pytest.mark.parametrize("change", ["size", "time", "both"])
def test_a_changed_file_is_read_again(change, images, read):
    load_folder(images)
    file = images / "dog" / "3.png"
    before = file.stat()
    if change != "time":
        file.write_bytes(file.read_bytes() + b"more")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + (change != "size")))
    read.clear()
    load_folder(images)
    assert read == ["3.png"]
    load_folder(images)
    assert read == ["3.png"]


def test_a_file_that_changed_just_now_is_read_again(images, read):
    age(images / "dog" / "3.png", -60)
    load_folder(images)
    read.clear()
    load_folder(images)
    assert read == ["3.png"]


def test_why_a_file_is_refused_is_remembered_but_not_that_it_cannot_be_opened(images, read, monkeypatch):
    for name in ("notes.jpg", "gone.jpg"):
        (images / "dog" / name).write_bytes(b"Dear Sir or Madam")
        age(images / "dog" / name)
    read_bytes = Path.read_bytes

    def fails(self):
        if self.name == "gone.jpg":
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", fails)
    first = load_folder(images)
    assert {r.path.name: r.reason for r in first.rejected} == {
        "notes.jpg": "not a JPEG, PNG, BMP, GIF or WebP image",
        "gone.jpg": "permission denied",
    }
    read.clear()
    assert load_folder(images).rejected == first.rejected
    assert read == ["gone.jpg"]


def test_an_interrupted_scan_resumes(images, read, monkeypatch):
    examine = scan.examine

    def interrupted(source):
        if len(read) == 9:
            raise KeyboardInterrupt
        return examine(source)

    monkeypatch.setattr(scan, "ThreadPoolExecutor", partial(ThreadPoolExecutor, 1))
    monkeypatch.setattr(scan, "examine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_folder(images)
    monkeypatch.setattr(scan, "examine", examine)
    load_folder(images)
    assert len(read) == 14


def garbage(content):
    return b"no database" * 1000


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """Of an entry, which SQLite does not notice."""
    place = content.index(b"RGB")
    return content[:place] + b"XGB" + content[place + 3 :]


@pytest.mark.parametrize("damage", [garbage, cut, flipped])
def test_a_damaged_manifest_is_made_anew(damage, images, read, cache, capsys):
    before = load_folder(images)
    cache.write_bytes(damage(cache.read_bytes()))
    read.clear()
    after = load_folder(images)
    assert read
    assert data.fingerprint(after) == data.fingerprint(before)
    assert f"{cache} is damaged, and is made anew" in capsys.readouterr().err
    read.clear()
    load_folder(images)
    load_folder(images)
    assert len(read) <= 14  # those of the folder that had been read before the damage was seen
    assert capsys.readouterr().err == ""


def test_no_damage_is_an_error_or_changes_what_is_found(images, cache):
    sources = [str(file) for file in sorted(images.rglob("*.png"))]
    want = scan.examine_all(sources).records
    whole = cache.read_bytes()
    for place in RNG.integers(0, len(whole), 60):
        cache.write_bytes(whole[:place] + RNG.bytes(4) + whole[place + 4 :])
        np.testing.assert_array_equal(scan.examine_all(sources).records, want)


def test_a_cache_that_cannot_be_written_is_said_once(images, read, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert len(load_folder(images).train) > 0
    assert len(read) == 28
    err = capsys.readouterr().err
    assert err.count("images are checked anew each time, because what is known of them cannot be kept") == 1


def test_a_manifest_that_can_only_be_read_is_read(images, read, cache, capsys):
    load_folder(images)
    write(images, emu=3)
    writer = sqlite3.connect(cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "PATIENCE", 0.1)
        writer.execute("BEGIN IMMEDIATE")  # as another process that never ends
        read.clear()
        load_folder(images)
        load_folder(images)
    writer.close()
    assert sorted(read) == ["0.png", "0.png", "1.png", "1.png", "2.png", "2.png"]
    assert "database is locked" in capsys.readouterr().err


def test_several_scans_at_once(images, cache, capsys):
    found, start = [], threading.Barrier(6)

    def work():
        start.wait()
        found.append(data.fingerprint(load_folder(images)))

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert capsys.readouterr().err == ""
    with sqlite3.connect(cache) as database:
        assert database.execute("SELECT count(*) FROM images").fetchone() == (14,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_the_least_recently_read_folders_are_deleted(monkeypatch, cache):
    entry = bytes(200)

    def files(folder):
        return [manifest.File(folder, b"%d.jpg" % i, 7, 8) for i in range(1000)]

    def known(folder):
        with manifest.Manifest("reader") as opened:
            return opened.find(files(folder)) == [entry] * 1000

    def add(folder):
        with manifest.Manifest("reader") as opened:
            opened.add((file, entry) for file in files(folder))

    add(b"/first")
    monkeypatch.setattr(manifest, "KEPT", 2.5 * cache.stat().st_size)
    add(b"/second")
    monkeypatch.setattr(manifest, "DAY", -1)  # every reading counts
    assert known(b"/first")
    add(b"/third")
    assert [known(folder) for folder in (b"/first", b"/second", b"/third")] == [True, False, True]
    with manifest.Manifest("another reader") as opened:
        assert opened.find(files(b"/first")) == [None] * 1000
    for i in range(5):
        add(b"/more %d" % i)
    assert cache.stat().st_size < 1.3 * manifest.KEPT


# Memory and order


def test_a_file_takes_little_memory_however_many_there_are(tmp_path, monkeypatch):
    record = np.zeros(1, scan.RECORD).tobytes()
    monkeypatch.setattr(scan, "examine", lambda source: (record, True))
    monkeypatch.setattr(scan, "BATCH", 250)
    root, peaks = tmp_path / "train" / "a folder whose name is as long as those of data sets", {}
    done = 0
    for count in (1000, 3000):
        for i in range(done, count):
            file = root / f"class_{i % 4}" / f"image_{i:012d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        done = count
        tracemalloc.start()
        found = folders._read(folders.find(root).train)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found.images) == count
    assert (peaks[3000] - peaks[1000]) / 2000 < 600


def test_paths_are_kept_as_text_and_read_as_paths():
    path, grey = Path("a/b.jpg"), np.zeros((3, 4), np.uint8)
    sources = Sources.of([path, "c.jpg", b"encoded", grey])
    assert sources[0] == path
    assert sources[1] == Path("c.jpg")
    assert sources[2] == b"encoded"
    assert sources[3] is grey
    assert list(sources[:2]) == [path, Path("c.jpg")]
    assert sources[np.array([True, False, True, False])][0] == path
    assert [type(item) for item in np.asarray(sources).view(np.ndarray)[:2]] == [str, str]


def test_fractions_and_classes():
    digests = RNG.integers(0, 256, (50, 32), np.uint8)
    want = [int.from_bytes(digest.tobytes()[:8]) / 2**64 for digest in digests]
    assert split_module.fractions(digests).tolist() == want
    labels = np.array([2, 0, 2, 5, 0])
    assert [group.tolist() for group in split_module.by_class(labels)] == [[1, 4], [0, 2], [3]]


def test_the_fingerprint_is_what_it_was(images):
    dataset, whole = load_folder(images), hashlib.sha256()
    for side in (dataset.train, dataset.val):
        names = [hashlib.sha256(name.encode()).digest() for name in side.classes]
        rows = sorted(d.tobytes() + names[label] for d, label in zip(side.digests, side.labels, strict=True))
        whole.update(hashlib.sha256(b"".join(rows)).digest())
    assert data.fingerprint(dataset) == whole.hexdigest()
