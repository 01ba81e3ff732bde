"""Downloads from a real server on this machine: complete, verified, once; and every way in which they fail."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from keras_inception import InputError, transport
from keras_inception.weights import download
from keras_inception.weights.download import cached

from ..server import Server, serving

CONTENT = np.random.default_rng(0).bytes(1_000_003)


def digest(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


pytestmark = pytest.mark.usefixtures("home", "small_pieces")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PIECE", 1000)


def kept(home: Path) -> dict[str, bytes]:
    """The files in the cache, without the locks, which stay."""
    return {p.name: p.read_bytes() for p in home.iterdir() if not p.name.endswith(".lock")} if home.is_dir() else {}


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
def test_a_file_is_downloaded_once(server: Server, home: Path, algorithm: str) -> None:
    url = server.put("/m/weights.h5", CONTENT)
    for _ in range(2):
        path = cached([url], "m.tag.h5", digest(CONTENT, algorithm))
        assert path == home / "m.tag.h5"
        assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert list(kept(home)) == ["m.tag.h5"]


def test_the_first_digits_of_a_hash_are_enough(server: Server) -> None:
    assert cached([server.put("/w.pth", CONTENT)], "w.pth", digest(CONTENT).replace(":", "-prefix:")[:25]).exists()


@pytest.mark.parametrize("cuts", [[400_000], [100_000, 300_000, 1_000, 500_000]])
def test_an_interrupted_download_is_resumed(server: Server, cuts: list[int]) -> None:
    server.cuts = list(cuts)
    assert cached([server.put("/w.h5", CONTENT)], "w.h5", digest(CONTENT)).read_bytes() == CONTENT
    resumed = [f"bytes={sum(cuts[:i])}-" for i in range(1, len(cuts) + 1)]
    assert [wanted for _, wanted in server.asked] == [None, *resumed]


def test_a_later_call_resumes_it_too(server: Server, home: Path) -> None:
    url = server.put("/w.h5", CONTENT)
    server.cuts = [400_000, 0]
    with pytest.raises(InputError, match=r"keeps breaking off; 400,000 bytes are kept") as caught:
        cached([url], "w.h5", digest(CONTENT))
    assert "\n" not in str(caught.value)
    assert not (home / "w.h5").exists()
    server.asked.clear()
    cached([url], "w.h5", digest(CONTENT))
    assert server.asked == [("/w.h5", "bytes=400000-")]
    assert kept(home) == {"w.h5": CONTENT}


def test_a_file_that_changed_is_downloaded_from_its_start(server: Server, home: Path) -> None:
    url = server.put("/w.h5", b"the old one" * 1000)
    server.cuts = [5000, 0]
    with pytest.raises(InputError, match="keeps breaking off"):
        cached([url], "w.h5", digest(CONTENT))
    server.put("/w.h5", CONTENT)
    assert cached([url], "w.h5", digest(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize("lacks", ["ranges", "etag", "length"])
def test_a_server_that_knows_less(server: Server, lacks: str) -> None:
    setattr(server, lacks, False)
    server.cuts = [] if lacks == "length" else [300_000]  # without a length a cut is seen only by the hash
    assert cached([server.put("/w.h5", CONTENT)], "w.h5", digest(CONTENT)).read_bytes() == CONTENT


def test_a_server_in_trouble_is_asked_again(server: Server) -> None:
    server.status = [503, 429, 500]
    assert cached([server.put("/w.h5", CONTENT)], "w.h5", digest(CONTENT)).exists()


def test_more_here_than_there(server: Server, home: Path) -> None:
    home.mkdir()
    (home / "part.w.h5").write_bytes(CONTENT + b"more")
    (home / "part.w.h5.etag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert cached([server.put("/w.h5", CONTENT)], "w.h5", digest(CONTENT)).read_bytes() == CONTENT
    assert kept(home) == {"w.h5": CONTENT}


@pytest.mark.parametrize("length", [True, False])
def test_another_content_is_not_used_and_not_kept(server: Server, home: Path, length: bool) -> None:
    server.length = length
    url = server.put("/w.h5", b"something else")
    with pytest.raises(
        InputError, match=r"w\.h5 is not the file that was published: its sha256 is \w{64}, not"
    ) as caught:
        cached([url], "w.h5", digest(CONTENT))
    assert "\n" not in str(caught.value)
    assert kept(home) == {}


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "w.h5").write_bytes(CONTENT[:-1])
    url = server.put("/w.h5", CONTENT)
    monkeypatch.setenv(download.OFFLINE, "1")
    with pytest.raises(InputError, match=r"w\.h5 is damaged, and KERAS_INCEPTION_OFFLINE is set: put http.*/w\.h5 at"):
        cached([url], "w.h5", digest(CONTENT))
    monkeypatch.setenv(download.OFFLINE, "0")
    assert cached([url], "w.h5", digest(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing.h5", [], r"/nothing\.h5 answers 404 Not Found"),
        ("/w.h5", [403], r"/w\.h5 answers 403 Forbidden"),
        ("/w.h5", [416], r"/w\.h5 answers with a part of the file, or none"),
        (
            "/w.h5",
            [500] * 9,
            r"127\.0\.0\.1:\d+ answers 500; try later, name a mirror in KERAS_INCEPTION_MIRROR, or put",
        ),
    ],
)
def test_a_server_that_says_no(server: Server, home: Path, path: str, status: list[int], says: str) -> None:
    server.put("/w.h5", CONTENT)
    server.status = status
    with pytest.raises(InputError, match=says) as caught:
        cached([server.address + path], "w.h5", digest(CONTENT))
    assert "\n" not in str(caught.value)
    assert kept(home) == {}


def test_nobody_there(home: Path) -> None:
    with serving() as gone:
        pass
    with pytest.raises(InputError, match=rf"cannot be reached; .* put {gone.address}/w\.h5 at {home}/w\.h5"):
        cached([f"{gone.address}/w.h5"], "w.h5", digest(CONTENT))


def test_a_server_that_falls_silent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TIMEOUT", (1, 0.1))
    monkeypatch.setattr(transport, "TRIES", 2)
    server.pause = 0.5
    with pytest.raises(InputError, match="cannot be reached"):
        cached([server.put("/w.h5", CONTENT)], "w.h5", digest(CONTENT))


def test_a_file_without_end(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST", 500_000)
    url = server.put("/w.h5", CONTENT)
    for length, says in ((True, "has 1,000,003 bytes"), (False, "does not end")):
        server.length = length
        with pytest.raises(InputError, match=says):
            cached([url], "w.h5", digest(CONTENT))
        assert kept(home) == {}


def test_the_second_address_is_for_where_the_first_fails(server: Server) -> None:
    urls = [f"{server.address}/nothing.h5", server.put("/w.h5", CONTENT)]
    assert cached(urls, "w.h5", digest(CONTENT)).exists()
    with pytest.raises(InputError, match=r"/nothing\.h5 answers 404"):
        cached(urls[:1] * 2, "v.h5", digest(CONTENT))


@pytest.mark.parametrize("header", ["X-Linked-ETag", "x-goog-hash"])
def test_without_a_published_hash_the_announced_one_counts(
    server: Server, home: Path, header: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.put("/w.h5", CONTENT)
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    announced = {"X-Linked-ETag": f'"{hashlib.sha256(CONTENT).hexdigest()}"', "x-goog-hash": f"crc32c=x, md5={md5}"}
    server.headers = {header: announced[header]}
    server.put("/w.h5", CONTENT[1:])
    with pytest.raises(InputError, match="is not the file that was published"):
        cached([url], "w.h5")
    assert kept(home) == {}
    server.put("/w.h5", CONTENT)
    assert cached([url], "w.h5").read_bytes() == CONTENT
    assert kept(home)["w.h5.sha256"] == digest(CONTENT).encode()
    assert "w.h5 has no published hash; it is as its server announced; pinned to sha256:" in capsys.readouterr().err
    (home / "w.h5").write_bytes(CONTENT[1:])  # its hash is pinned now
    assert cached([url], "w.h5").read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("lost", ["missing", "damaged"])
def test_the_hash_of_the_first_download_stays_pinned(server: Server, home: Path, lost: str) -> None:
    url = server.put("/w.h5", CONTENT)
    path = cached([url], "w.h5")
    path.unlink() if lost == "missing" else path.write_bytes(CONTENT[1:])
    before = kept(home)
    server.put("/w.h5", b"another file")
    accept = rf"has changed since its first download: .*, not {digest(CONTENT)}; .* delete {home}/w\.h5\.sha256$"
    for _ in range(2):
        with pytest.raises(InputError, match=accept) as caught:
            cached([url], "w.h5")
        assert "\n" not in str(caught.value)
        assert kept(home) == before
    server.put("/w.h5", CONTENT)
    assert cached([url], "w.h5").read_bytes() == CONTENT
    server.put("/w.h5", b"another file")
    path.unlink()
    (home / "w.h5.sha256").unlink()  # as the message says
    assert cached([url], "w.h5").read_bytes() == b"another file"


def test_the_user_is_told_that_no_hash_is_known(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.put("/w.h5", CONTENT)
    for said in (f"server announces none; pinned to {digest(CONTENT)}\n", ""):
        cached([url], "w.h5")
        assert capsys.readouterr().err.endswith(said)
    assert len(server.asked) == 1


def test_a_file_brought_by_hand_without_a_published_hash(home: Path) -> None:
    home.mkdir()
    (home / "w.h5").write_bytes(CONTENT)
    assert cached(["http://127.0.0.1:1/w.h5"], "w.h5") == home / "w.h5"


# ----------------------------------------------------------------------------------------------------- mirror, offline


def test_offline_says_which_file_goes_where(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(download.OFFLINE, "1")
    url = server.put("/w.h5", CONTENT)
    with pytest.raises(InputError, match=rf"put {url} at {home}/w\.h5$") as caught:
        cached([url], "w.h5", digest(CONTENT))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=rf"put what is in {url}\.zip at {home}/w\.h5$"):
        cached([f"{url}.zip"], "w.h5", digest(CONTENT))
    home.mkdir()
    (home / "w.h5").write_bytes(CONTENT)  # as the message says
    assert cached([url], "w.h5", digest(CONTENT)) == home / "w.h5"
    assert not server.asked


def test_a_mirror_is_put_before_every_url(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("/files/example.org/a/w.h5", CONTENT)
    monkeypatch.setenv(download.MIRROR, f"{server.address}/files/")
    assert cached(["https://example.org/a/w.h5"], "w.h5", digest(CONTENT)).exists()
    monkeypatch.setenv(download.MIRROR, "example.com")
    with pytest.raises(InputError, match=r"KERAS_INCEPTION_MIRROR is an address .* got 'example\.com'"):
        cached(["https://example.org/a/v.h5"], "v.h5", digest(CONTENT))


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.put("/w.h5", CONTENT)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "cache", Path("/proc/cache")):
        monkeypatch.setenv(download.HOME, str(place))
        with pytest.raises(InputError, match=rf"cannot write to the cache {place}: .*; set KERAS_INCEPTION_HOME") as e:
            cached([url], "w.h5", digest(CONTENT))
        assert "\n" not in str(e.value)
    assert not server.asked


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with one file, and a process that may not write there; root gives up its rights."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "w.h5").write_bytes(CONTENT)
        Path(folder).chmod(0o555)
        monkeypatch.setenv(download.HOME, folder)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(user)
        Path(folder).chmod(0o755)


def test_a_read_only_cache_still_gives_what_it_has(server: Server, read_only: Path) -> None:
    url = server.put("/w.h5", CONTENT)
    assert cached([url], "w.h5", digest(CONTENT)) == read_only / "w.h5"
    with pytest.raises(InputError, match=rf"cannot write to the cache {read_only}: permission denied; set"):
        cached([url], "v.h5", digest(CONTENT))
    assert not server.asked


# ---------------------------------------------------------------------------------------------------------------- zips


def test_a_zip_is_unpacked_and_its_member_verified(server: Server, home: Path) -> None:
    url = server.put("/w.h5.zip", zipped(**{"folder/w.h5": CONTENT}))
    assert cached([url], "w.h5", digest(CONTENT, "sha1")).read_bytes() == CONTENT
    assert kept(home) == {"w.h5": CONTENT}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(**{"../../w.h5": CONTENT}), "holds '../../w.h5': it is not used"),
        (zipped(**{"/etc/w.h5": CONTENT}), "holds '/etc/w.h5': it is not used"),
        (zipped(**{"a": b"1", "b": b"2"}), "holds 'a', 'b': it is not used"),
        (zipped(), "holds nothing: it is not used"),
        (zipped(**{"w.h5": bytes(3_000_000)}), "unpacks to 3,000,000 bytes: it is not used"),
        (zipped(**{"w.h5": CONTENT})[:-100], "is not a readable zip"),
        (b"not a zip", "is not a readable zip"),
        (zipped(**{"w.h5": CONTENT[1:]}), "is not the file that was published"),
    ],
    ids=["up", "absolute", "two", "empty", "bomb", "truncated", "none", "other"],
)
def test_a_zip_that_is_not_used(
    server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str
) -> None:
    monkeypatch.setattr(download, "LARGEST", 2_000_000)
    with pytest.raises(InputError, match=says) as caught:
        cached([server.put("/w.h5.zip", content)], "w.h5", digest(CONTENT))
    assert "\n" not in str(caught.value)
    assert kept(home) == {}
    assert {p.name for p in tmp_path.iterdir()} == {"cache"}


# ------------------------------------------------------------------------------------------------------- two at a time


def test_of_two_threads_one_waits(server: Server) -> None:
    server.pause = 0.3
    url, found = server.put("/w.h5", CONTENT), []
    threads = [threading.Thread(target=lambda: found.append(cached([url], "w.h5", digest(CONTENT)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(server.asked) == 1


# Without the package's __init__, whose imports take seconds.
PROCESS = """
import os, sys, types
import keras_inception
package = types.ModuleType("keras_inception.weights")
package.__path__ = [keras_inception.__path__[0] + "/weights"]
sys.modules[package.__name__] = package
from keras_inception import transport
from keras_inception.weights import download
"""


def command(program: str, url: str) -> list[str]:
    """A process with `url` and the digest of the content as its arguments."""
    return [sys.executable, "-c", PROCESS + program, url, digest(CONTENT)]


def test_of_two_processes_one_waits(server: Server, home: Path) -> None:
    server.pause = 1.0  # the other has time to start
    program = command("print(download.cached(sys.argv[1:2], 'w.h5', sys.argv[2]))", server.put("/w.h5", CONTENT))
    both = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == [str(home / "w.h5")] * 2
    assert len(server.asked) == 1
    assert kept(home) == {"w.h5": CONTENT}


def test_the_download_of_a_killed_process_is_resumed(server: Server, home: Path) -> None:
    server.cuts = [11 * 2**16, 0]
    url = server.put("/w.h5", CONTENT)
    killed = """
transport.size = lambda part, size=transport.size: os._exit(9) if size(part) else 0
download.cached(sys.argv[1:2], 'w.h5', sys.argv[2])
"""
    assert subprocess.run(command(killed, url)).returncode == 9
    assert (home / "part.w.h5").stat().st_size == 11 * 2**16
    server.cuts = []
    assert cached([url], "w.h5", digest(CONTENT)).read_bytes() == CONTENT
    assert server.asked[-1] == ("/w.h5", f"bytes={11 * 2**16}-")
