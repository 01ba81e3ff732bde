"""Images at addresses: copied once, resumed, checked, and read from the copy; with a server on this machine."""

import shutil
import sys
from pathlib import Path

import pytest

from keras_inception import cli, data, transport
from keras_inception.data import load_folder, remote
from keras_inception.errors import InputError

fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")


@pytest.fixture
def bucket(home):
    """fsspec's store in memory, which has folders as gs:// and s3:// have them."""
    store = fsspec.filesystem("memory")
    store.rm("/bucket", recursive=True) if store.exists("/bucket") else None
    yield store
    store.store.clear()


def zipped(animals, tmp_path):
    return Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", animals)).read_bytes()


def served(server, folder, at):
    """Put the files of a folder on the server."""
    for file in folder.rglob("*"):
        if file.is_file():
            server.put(f"{at}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return f"{server.address}{at}"


def stored(store, folder, at="/bucket/animals"):
    """Put the files of a folder into the store."""
    for file in folder.rglob("*"):
        if file.is_file():
            store.pipe(f"{at}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return f"memory://{at.lstrip('/')}"


def watched(store, monkeypatch, copied, limit=1000):
    """Note what is copied from the store, whose connection ends after `limit` files."""
    get_file = type(store).get_file

    def noted(self, path, *args, **kwargs):
        copied.append(path)
        if len(copied) > limit:
            raise ConnectionError("the line is dead")
        return get_file(self, path, *args, **kwargs)

    monkeypatch.setattr(type(store), "get_file", noted)


def got(server):
    """The paths that were asked for since the last time."""
    paths = [path for path, _ in server.asked]
    server.asked.clear()
    return paths


# ----------------------------------------------------------------------------------------------------------------- http


def test_an_archive_is_copied_once(server, home, animals, tmp_path):
    address = server.put("/some/animals.zip", zipped(animals, tmp_path))
    found = load_folder(address)
    assert data.fingerprint(found) == data.fingerprint(load_folder(animals))
    assert got(server) == ["/some/animals.zip"] * 2  # its size and tag, its content
    load_folder(address)
    assert got(server) == ["/some/animals.zip"]
    server.files["/some/animals.zip?token=7"] = server.files["/some/animals.zip"]
    assert len(data.as_images(f"{address}?token=7")[0]) == 24


def test_an_archive_that_changed_is_copied_again(server, home, animals, tmp_path):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    before = data.fingerprint(load_folder(address))
    (animals / "cat" / "0.jpg").unlink()
    server.put("/animals.zip", zipped(animals, tmp_path))
    assert data.fingerprint(load_folder(address)) != before


def test_a_connection_that_breaks_off_is_resumed(server, home, animals, tmp_path):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    server.cuts = [1, 3000, 2000]  # the first byte alone, and twice in the file
    assert len(load_folder(address).train)
    assert [wanted for _, wanted in server.asked] == ["bytes=0-0", None, "bytes=3000-", "bytes=5000-"]


def test_a_download_that_ends_early_is_resumed_by_the_next_command(server, home, animals, tmp_path):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    server.cuts = [1, 3000, *[0] * 9]
    with pytest.raises(InputError, match="keeps breaking off; what was copied is kept, and the same command resumes"):
        load_folder(address)
    server.cuts.clear()
    server.asked.clear()
    assert len(load_folder(address).train)
    assert [wanted for _, wanted in server.asked] == ["bytes=0-0", "bytes=3000-"]


def test_shards_are_copied_and_checked(server, home, animals, tmp_path):
    data.write_shards(animals, tmp_path / "shards", per_shard=8)
    address = served(server, tmp_path / "shards", "/data/shards")
    found = load_folder(address)
    assert data.fingerprint(found) == data.fingerprint(load_folder(animals))
    got(server)
    for same in (address, f"{address}/", f"{address}/shards.json"):
        load_folder(same)
        assert got(server) == ["/data/shards/shards.json"]
    other = served(server, tmp_path / "shards", "/other")
    damaged = bytearray(server.files["/other/val-00000-of-00001.tfrecord"])
    damaged[50] ^= 1
    server.files["/other/val-00000-of-00001.tfrecord"] = bytes(damaged)
    with pytest.raises(InputError, match="tfrecord came with other bytes than stated"):
        load_folder(other)
    server.files["/other/val-00000-of-00001.tfrecord"] = bytes(damaged[:50])
    with pytest.raises(InputError, match=r"came with 50 of \S+ bytes"):
        load_folder(other)


def test_a_list_brings_its_images(server, home, animals):
    rows = [f"{f.parent.name}/{f.name},{f.parent.name}" for f in sorted(animals.rglob("*.*"))]
    text = "\n".join(["path,label", *rows, "cat/gone.jpg,cat", "../outside.jpg,cat"])
    served(server, animals, "/lists")
    address = server.put("/lists/list.csv", text.encode())
    found = load_folder(address)
    assert len(found.train) + len(found.val) == 24
    assert {file.reason for file in found.rejected} == {"no such file"}
    assert not any("outside" in path for path in got(server))
    load_folder(address)
    assert "/lists/cat/0.jpg" not in got(server)


def test_an_image_is_predicted(server, home, animals):
    address = server.put("/a%20cat.jpg", (animals / "cat" / "0.jpg").read_bytes())
    split, names, rejected = data.as_images([address])
    assert len(split) == 1
    assert names[0].endswith("/a cat.jpg")
    assert not rejected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/none.zip", "/none.zip answers 404 Not Found"),
        (
            "/none",
            r"is not named as a file that is read \(.zip, .*\), and over http no folder but one of shards can be",
        ),
        ("/list.html", "is not named as a file that is read"),
    ],
)
def test_what_is_not_there_is_one_line(path, message, server, home):
    with pytest.raises(InputError, match=message) as caught:
        load_folder(server.address + path)
    assert "\n" not in str(caught.value)


def test_without_a_server_a_complete_copy_is_used(server, home, animals, tmp_path, capsys, monkeypatch):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    server.status = [503] * 4
    with pytest.raises(InputError, match=r"127.0.0.1:\d+ answers 503, and .* holds no complete copy of http://"):
        load_folder(address)
    load_folder(address)
    server.status = [503] * 4
    load_folder(address)
    assert "answers 503: the copy in" in capsys.readouterr().err
    monkeypatch.setenv(transport.OFFLINE, "1")
    got(server)
    load_folder(address)
    assert not got(server)
    with pytest.raises(InputError, match=r"KERAS_INCEPTION_OFFLINE is set, and .* holds no complete copy"):
        load_folder(f"{server.address}/other.zip")


def test_no_more_is_copied_than_there_is_room(server, home, animals, tmp_path, monkeypatch):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**4, 0, 100))
    with pytest.raises(InputError, match=r"needs 0\.0 GB; .* has 0\.0 GB: set KERAS_INCEPTION_HOME"):
        load_folder(address)
    server.length = server.ranges = False
    with pytest.raises(InputError, match="does not end: stopped after 100 bytes"):
        load_folder(address)


# --------------------------------------------------------------------------------------------------------------- stores


def test_a_folder_of_a_store(bucket, animals, home):
    address = stored(bucket, animals)
    bucket.pipe("/bucket/animals/.hidden.jpg", b"")
    bucket.pipe("/bucket/animals/notes.doc", b"")
    assert data.fingerprint(load_folder(address)) == data.fingerprint(load_folder(animals))
    names = {path.name for path in home.rglob("*")}
    assert not names & {".hidden.jpg", "notes.doc"}


def test_only_what_is_new_is_copied(bucket, animals, home, monkeypatch):
    address = stored(bucket, animals)
    load_folder(address)
    copied = []
    watched(bucket, monkeypatch, copied)
    load_folder(address)
    assert not copied
    bucket.pipe("/bucket/animals/dog/new.jpg", (animals / "cat" / "0.jpg").read_bytes())
    bucket.rm("/bucket/animals/dog/0.jpg")
    assert len(data.as_images(address)[0]) == 24
    assert copied == ["/bucket/animals/dog/new.jpg"]


def test_a_copy_that_breaks_off_is_resumed(bucket, animals, home, monkeypatch):
    address = stored(bucket, animals)
    copied = []
    monkeypatch.setattr(remote, "THREADS", 1)
    with monkeypatch.context() as patch:
        watched(bucket, patch, copied, limit=6)
        with pytest.raises(InputError, match="cannot be read: the line is dead; what was copied is kept, and the same"):
            load_folder(address)
    before = len({path for path in home.rglob("*.*g") if not path.name.startswith(".")})
    assert before == 6
    watched(bucket, monkeypatch, copied)
    copied.clear()
    load_folder(address)
    assert len(copied) == 24 - 6


def test_shards_and_files_of_a_store(bucket, animals, home, tmp_path):
    data.write_shards(animals, tmp_path / "shards", per_shard=8)
    address = stored(bucket, tmp_path / "shards", "/bucket/shards")
    assert data.fingerprint(load_folder(address)) == data.fingerprint(load_folder(animals))
    bucket.pipe("/bucket/animals.zip", zipped(animals, tmp_path))
    assert data.fingerprint(load_folder("memory://bucket/animals.zip")) == data.fingerprint(load_folder(animals))
    content = bytearray(bucket.cat_file("/bucket/shards/index.npz"))
    content[300] ^= 1
    stored(bucket, tmp_path / "shards", "/bucket/other")
    bucket.pipe("/bucket/other/index.npz", bytes(content))
    with pytest.raises(InputError, match="npz came with other bytes than stated"):
        load_folder("memory://bucket/other")


def test_addresses_that_lead_nowhere_are_one_line(bucket, home, monkeypatch):
    bucket.pipe("/bucket/notes/notes.doc", b"")
    for address, message in (
        ("memory://bucket/none", "there is nothing at memory://bucket/none"),
        ("memory://bucket/notes", "holds no images, lists or Parquet files"),
        ("nowhere://bucket/x", "nowhere:// is no kind of address that is known"),
        ("smb://host/share", "cannot be read: .*smbprotocol"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_folder(address)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"needs fsspec: pip install 'keras-inception\[remote\]'"):
        load_folder("gs://bucket/x")


def test_names_that_lead_out_of_the_copy_are_not_copied(bucket, animals, home, tmp_path):
    address = stored(bucket, animals)
    bucket.store["/bucket/animals/../../../evil.jpg"] = bucket.store["/bucket/animals/cat/0.jpg"]
    load_folder(address)
    assert not list(tmp_path.rglob("evil.jpg"))


# ----------------------------------------------------------------------------------------------------- the command line


def test_commands_take_addresses(server, home, animals, tmp_path, capsys):
    address = server.put("/animals.zip", zipped(animals, tmp_path))
    cli.app(["shards", address, "--out", str(tmp_path / "shards")], standalone_mode=False)
    assert "24 images of 2 classes" in capsys.readouterr().err
