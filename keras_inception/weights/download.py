"""A published file, in the cache: downloaded once, whole, and the one that was published.

Every source is a plain address, Hugging Face's files included, whose `resolve` address serves the file itself: so one
road has the hash, the lock, the mirror and the offline switch, and there is one cache.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from filelock import FileLock

from ..errors import InputError
from ..files import HOME, cache_directory
from ..terminal import note
from . import transport
from .readers import LARGEST

if TYPE_CHECKING:
    from .record import Checkpoint

MIRROR = "KERAS_INCEPTION_MIRROR"  # an address that stands before host and path of every other
OFFLINE = "KERAS_INCEPTION_OFFLINE"  # use what is in the cache only


def fetch(checkpoint: Checkpoint) -> Path:
    """The checkpoint's file in the cache, downloaded if it is not there.

    Raises:
        InputError: there is no such file, no connection, no place for it, or it is not the published one.
    """
    return cached(addresses(checkpoint), file_name(checkpoint), checkpoint.hash)


def addresses(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Where its file is, the first that answers."""
    if checkpoint.hf_repo:
        revision = checkpoint.hf_revision or "main"
        return (f"https://huggingface.co/{checkpoint.hf_repo}/resolve/{revision}/{checkpoint.hf_file}",)
    return checkpoint.urls


def file_name(checkpoint: Checkpoint) -> str:
    """What its file is called in the cache: "inception_v3.tf_in1k.safetensors"."""
    published = PurePosixPath(urlsplit(addresses(checkpoint)[0]).path.removesuffix(".zip"))
    return checkpoint.id + published.suffix


def cached(urls: Sequence[str], name: str, digest: str = "") -> Path:
    """The file of that name in the cache, downloaded from the first of `urls` that has it if it is not there.

    `digest` is "sha256:...", "sha1:..." or "md5:..." of the file, or "sha256-prefix:..." of its first digits; where a
    URL is of a zip, the file is its one member. What does not have it is never at the returned path. Without a digest
    the file is held against what the server announces, and from then on against what came. A download that was cut goes
    on where it stopped, and of two processes one waits for the other's.
    """
    path = cache_directory() / name
    if _good(path, digest):
        return path
    if os.environ.get(OFFLINE, "0").lower() not in ("", "0", "false"):
        state = "is damaged" if path.exists() else "is not in the cache"
        raise InputError(f"{name} {state}, and {OFFLINE} is set: {_by_hand(urls[0], path)}")
    with _writing(path), FileLock(path.with_name(f".{name}.lock")):
        for i, url in enumerate(urls):
            if _good(path, digest):  # another process may have brought it meanwhile
                break
            try:
                _bring(_mirrored(url), path, digest)
            except InputError:
                if i == len(urls) - 1:
                    raise
    return path


def _good(path: Path, digest: str) -> bool:
    """Whether the file is there, and the one that was published."""
    if not path.is_file():
        return False
    if not digest and _first_seen(path).exists():
        digest = _first_seen(path).read_text()
    return _misses(path, digest) is None


def _first_seen(path: Path) -> Path:
    """Where the hash is kept of a file whose publisher states none."""
    return path.with_name(f"{path.name}.sha256")


def has_digest(path: Path, digest: str) -> bool:
    """Whether a file has a published hash."""
    return _misses(path, digest) is None


def _misses(path: Path, digest: str) -> str | None:
    """The file's own hash, as far as the published one goes, if it is another."""
    if not digest:
        return None
    algorithm, _, published = digest.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm.removesuffix("-prefix")).hexdigest()[: len(published)]
    return None if found == published else found


def _mirrored(url: str) -> str:
    if not (mirror := os.environ.get(MIRROR)):
        return url
    if not mirror.startswith(("https://", "http://")):
        raise InputError(f"{MIRROR} is an address that starts with https://; got {mirror!r}")
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}"


def _by_hand(url: str, path: Path) -> str:
    what = f"what is in {url}" if _zipped(url) else url
    return f"put {what} at {path}"


def _zipped(url: str) -> bool:
    return urlsplit(url).path.endswith(".zip")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the cache; a place that cannot be written is the user's to change."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or isinstance(error, requests.RequestException):
            raise
        reason = os.strerror(error.errno).lower() if error.errno else error
        raise InputError(
            f"cannot write to the cache {path.parent}: {reason}; set {HOME} to a folder that can be written"
        ) from error


def _bring(url: str, path: Path, digest: str) -> None:
    """Download, verify, unpack, and only then put it at `path`; what is not what was published goes."""
    part = path.with_name(f"part.{path.name}")
    try:
        announced = transport.bring(url, part)
    except requests.RequestException as error:
        raise InputError(_unreachable(url, part, error)) from error
    try:
        _verify(part, announced, url)
        if _zipped(url):
            _unpack(part, url)
        _verify(part, digest, url)
        if not digest:
            _trust(part, path, announced)
        part.replace(path)
    finally:
        transport.forget(part)


def _trust(part: Path, path: Path, announced: str) -> None:
    """Take a file whose publisher states no hash for the one, and say so."""
    with open(part, "rb") as file:
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    _first_seen(path).write_text(f"sha256:{seen}")
    word = "what came is what its server announced" if announced else "and its server announces none"
    note(f"{path.name} has no published hash; {word}; held to sha256 {seen} from now on")


def _verify(part: Path, digest: str, url: str) -> None:
    if found := _misses(part, digest):
        algorithm, _, published = digest.partition(":")
        raise InputError(
            f"{url} is not the file that was published: its {algorithm} is {found}, not {published}; "
            "try again, and if it stays so choose another tag: the source has changed"
        )


def _unreachable(url: str, part: Path, error: requests.RequestException) -> str:
    answer, came = getattr(error.response, "status_code", None), transport.size(part)
    reason = f"answers {answer}" if answer else "keeps breaking off" if came else "cannot be reached"
    rest = f"; the {came:,} bytes that came are kept, the same call goes on" if came else ""
    return (
        f"{urlsplit(url).netloc} {reason}{rest}; try later, name a mirror in {MIRROR}, or "
        f"{_by_hand(url, part.with_name(part.name.removeprefix('part.')))}"
    )


def _unpack(part: Path, url: str) -> None:
    """Put the one member of a zip in its place."""
    member = part.with_name(f"{part.name}.member")
    try:
        with zipfile.ZipFile(part) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            name = PurePosixPath(files[0].filename if len(files) == 1 else "")
            if len(files) != 1 or name.is_absolute() or ".." in name.parts or "\\" in str(name):
                listed = ", ".join(repr(info.filename) for info in files[:3]) or "nothing"
                raise InputError(f"{url} should hold one file, and holds {listed}: it is not used")
            if files[0].file_size > LARGEST:
                raise InputError(f"{url} unpacks to {files[0].file_size:,} bytes: it is not used")
            with archive.open(files[0]) as packed, open(member, "wb") as file:
                shutil.copyfileobj(packed, file)
        member.replace(part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{url} is not a zip that can be read: {error}; try again") from error
    finally:
        member.unlink(missing_ok=True)
