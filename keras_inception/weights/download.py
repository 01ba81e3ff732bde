"""Published files in the cache: downloaded once, complete, and verified.

Every file has a plain URL, also those of Hugging Face, whose `resolve` URLs serve the file itself. So the hash, the
lock, the mirror and the offline switch work the same for all, and there is one cache.
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

from .. import transport
from ..errors import InputError
from ..files import HOME, cache_directory
from ..terminal import note
from ..transport import OFFLINE, is_offline, other_digest
from .readers import LARGEST

if TYPE_CHECKING:
    from .record import Checkpoint

MIRROR = "KERAS_INCEPTION_MIRROR"  # a URL that is put before the host and path of every download


def fetch(checkpoint: Checkpoint) -> Path:
    """The checkpoint's file in the cache, downloaded if it is missing.

    Raises:
        InputError: the file or the connection is missing, the cache cannot be written, it is not the published file, or
            it is one that a person has to download.
    """
    path = cache_directory() / file_name(checkpoint)
    if checkpoint.page and not _good(path, checkpoint.hash):
        raise InputError(
            f"{checkpoint.page} serves {checkpoint.page_file} to browsers only: download it there, and give its path "
            f"as weights, or put it at {path}"
        )
    if not path.is_file() and not is_offline():
        size = f", {checkpoint.bytes / 1e6:,.0f} MB" if checkpoint.bytes else ""
        note(f"downloading {checkpoint.id}{size}, licence {checkpoint.license}", style="")
    return cached(addresses(checkpoint), file_name(checkpoint), checkpoint.hash)


def addresses(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The URLs of its file, tried in order, or the page where a person downloads it."""
    if checkpoint.hf_repo:
        revision = checkpoint.hf_revision or "main"
        return (f"https://huggingface.co/{checkpoint.hf_repo}/resolve/{revision}/{checkpoint.hf_file}",)
    return checkpoint.urls or (checkpoint.page,)


def file_name(checkpoint: Checkpoint) -> str:
    """The name of its file in the cache: "inception_v3.tf_in1k.safetensors"."""
    address = checkpoint.page_file or urlsplit(addresses(checkpoint)[0]).path
    published = PurePosixPath(address.removesuffix(".zip"))
    return checkpoint.id + (".tar.gz" if published.name.endswith(".tar.gz") else published.suffix)


def cached(urls: Sequence[str], name: str, digest: str = "") -> Path:
    """The file of that name in the cache, downloaded from the first of `urls` that has it if it is missing.

    `digest` is that of the file, as in `Checkpoint.hash`, or "". If a URL is a zip, the file is its only member. Only a
    file with that digest is put at the returned path. Without a published digest the first download is compared with
    the digest that the server announces, and its SHA-256 is pinned: later downloads must have the same. An interrupted
    download is resumed. Of two processes one waits for the other.
    """
    path = cache_directory() / name
    if _good(path, digest or _pinned(path)):
        return path
    if is_offline():
        state = "is damaged" if path.exists() else "is not in the cache"
        raise InputError(f"{name} {state}, and {OFFLINE} is set: {_by_hand(urls[0], path)}")
    with _writing(path), FileLock(path.with_name(f".{name}.lock")):
        for i, url in enumerate(urls):
            if _good(path, digest or _pinned(path)):  # downloaded by another process meanwhile
                break
            try:
                _download(_mirrored(url), path, digest)
            except InputError:
                if i == len(urls) - 1:
                    raise
    return path


def _good(path: Path, digest: str) -> bool:
    """Whether the file is there and has the digest."""
    return path.is_file() and has_digest(path, digest)


def _pin(path: Path) -> Path:
    """The file with the hash of the first download, for a file whose publisher states none."""
    return path.with_name(f"{path.name}.sha256")


def _pinned(path: Path) -> str:
    return _pin(path).read_text().strip() if _pin(path).exists() else ""


def has_digest(path: Path, digest: str) -> bool:
    """Whether a file has this digest; every file has ""."""
    return other_digest(path, digest) is None


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
    """Make the cache directory; an error in writing there is an InputError."""
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


def _download(url: str, path: Path, digest: str) -> None:
    """Download, verify, unpack, and then put the file at `path`; a file that is not the published one is deleted."""
    part = path.with_name(f"part.{path.name}")
    try:
        announced = transport.download(url, part, largest=LARGEST)
    except requests.RequestException as error:
        raise InputError(_unreachable(url, part, error)) from error
    try:
        _verify(part, announced, url)
        if _zipped(url):
            _unpack(part, url)
        _verify(part, digest, url)
        if not digest:
            _verify_pin(part, path, announced, url)
        part.replace(path)
    finally:
        transport.remove(part)


def _verify_pin(part: Path, path: Path, announced: str, url: str) -> None:
    """Compare a file without a published hash with the first download; pin the hash of the first and say so."""
    with open(part, "rb") as file:
        seen = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if not (pinned := _pinned(path)):
        _pin(path).write_text(seen)
        server = "it is as its server announced" if announced else "its server announces none"
        note(f"{path.name} has no published hash; {server}; pinned to {seen}")
    elif seen != pinned:
        raise InputError(
            f"{url} has changed since its first download: it is {seen}, not {pinned}; "
            f"to accept the new file delete {_pin(path)}"
        )


def _verify(part: Path, digest: str, url: str) -> None:
    if found := other_digest(part, digest):
        algorithm, _, published = digest.partition(":")
        raise InputError(
            f"{url} is not the file that was published: its {algorithm} is {found}, not {published}; "
            "try again; if it stays so, the source has changed: choose another tag"
        )


def _unreachable(url: str, part: Path, error: requests.RequestException) -> str:
    came = transport.size(part)
    rest = f"; {came:,} bytes are kept, and the same call resumes the download" if came else ""
    return (
        f"{urlsplit(url).netloc} {transport.why(error, part)}{rest}; try later, name a mirror in {MIRROR}, or "
        f"{_by_hand(url, part.with_name(part.name.removeprefix('part.')))}"
    )


def _unpack(part: Path, url: str) -> None:
    """Replace a zip by its only member."""
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
        raise InputError(f"{url} is not a readable zip: {error}; try again") from error
    finally:
        member.unlink(missing_ok=True)
