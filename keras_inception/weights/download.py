"""A published file, in the cache: downloaded once, whole, and the one that was published.

Every source is a plain address, Hugging Face's files included, whose `resolve` address serves the file itself: so one
road has the hash, the lock, the mirror and the offline switch, and there is one cache.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..errors import InputError

if TYPE_CHECKING:
    from .record import Checkpoint

HOME = "KERAS_INCEPTION_HOME"  # where the cache is
MIRROR = "KERAS_INCEPTION_MIRROR"  # an address that stands before host and path of every other
OFFLINE = "KERAS_INCEPTION_OFFLINE"  # use what is in the cache only

TRIES = 4  # connections in a row that bring nothing
PAUSE = 1.0  # seconds before the second of them; doubled before each further one
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces
PIECE = 2**16  # bytes
LARGEST = 2**31  # bytes of a file, unpacked: three times the largest that is published

console = Console(stderr=True)


def cache() -> Path:
    """The folder that downloaded files are kept in."""
    return Path(os.environ.get(HOME) or Path.home() / ".cache" / "keras_inception").expanduser()


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
    path = cache() / name
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
    return path.is_file() and _misses(path, digest or _read(_first_seen(path))) is None


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
    announced = _download(url, part)
    try:
        _verify(part, announced, url)
        if _zipped(url):
            _unpack(part, url)
        _verify(part, digest, url)
        if not digest:
            with open(part, "rb") as file:
                _first_seen(path).write_text(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
        part.replace(path)
    finally:
        _forget(part)


def _verify(part: Path, digest: str, url: str) -> None:
    if found := _misses(part, digest):
        algorithm, _, published = digest.partition(":")
        raise InputError(
            f"{url} is not the file that was published: its {algorithm} is {found}, not {published}; "
            "try again, and if it stays so choose another tag: the source has changed"
        )


# --------------------------------------------------------------------------------------------------------- the network


def _download(url: str, part: Path) -> str:
    """All of `url` into `part`, over as many connections as it takes; the digest that the server announces, or ""."""
    idle = 0
    while True:
        before = _size(part)
        try:
            return _pull(url, part)
        except InputError:
            _forget(part)
            raise
        except requests.RequestException as error:
            idle = 0 if _size(part) > before else idle + 1
            if idle == TRIES:
                raise InputError(_unreachable(url, part, error)) from error
        time.sleep(PAUSE * 2**idle / 2)


def _unreachable(url: str, part: Path, error: requests.RequestException) -> str:
    answer = getattr(error.response, "status_code", None)
    reason = f"answers {answer}" if answer else "cannot be reached" if not _size(part) else "keeps breaking off"
    rest = f"; the {_size(part):,} bytes that came are kept, the same call goes on" if _size(part) else ""
    return (
        f"{urlsplit(url).netloc} {reason}{rest}; try later, name a mirror in {MIRROR}, or "
        f"{_by_hand(url, part.with_name(part.name.removeprefix('part.')))}"
    )


def _pull(url: str, part: Path) -> str:
    """One connection: the rest of the file behind what `part` has, if the server still has the same one."""
    headers = {"Accept-Encoding": "identity"}
    if (had := _size(part)) and (validator := _read(_validator(part))):
        headers |= {"Range": f"bytes={had}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            _forget(part)
            raise requests.ConnectionError("there is more here than there")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise InputError(f"{url} answers {response.status_code} {response.reason}: it is not there any more")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            had = 0
        elif _first_byte(response) != had:
            _forget(part)
            raise requests.ConnectionError("another part than was asked for")
        _validator(part).write_text(_strong_validator(response))
        whole = had + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if (whole or 0) > LARGEST:
            raise InputError(f"{url} has {whole:,} bytes; no published file has more than {LARGEST:,}")
        with open(part, "ab" if had else "wb") as file, _bar(part, had, whole) as advance:
            for piece in response.iter_content(PIECE):
                file.write(piece)
                advance(len(piece))
                if file.tell() > LARGEST:
                    raise InputError(f"{url} does not end: stopped behind {LARGEST:,} bytes")
        return next(filter(None, map(_announced, [*response.history, response])), "")


def _announced(response: requests.Response) -> str:
    """The file's digest as Hugging Face says it, on the way to the file, and Google's storage; "" from all others."""
    if found := re.fullmatch(r'"?([0-9a-f]{64})"?', response.headers.get("X-Linked-ETag", "")):
        return f"sha256:{found[1]}"
    if found := re.search(r"md5=([\w+/]{22}==)", response.headers.get("x-goog-hash", "")):
        return f"md5:{base64.b64decode(found[1]).hex()}"
    return ""


def _strong_validator(response: requests.Response) -> str:
    """What the file is known by when the download goes on; nothing where the server gives nothing that is exact."""
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _first_byte(response: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


@contextmanager
def _bar(part: Path, had: int, whole: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar, on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    with progress:
        task = progress.add_task(part.name.removeprefix("part."), total=whole, completed=had)
        yield lambda count: progress.advance(task, count)


# ----------------------------------------------------------------------------------------------------- parts and zips


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _forget(part: Path) -> None:
    for path in (part, _validator(part)):
        path.unlink(missing_ok=True)


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
                shutil.copyfileobj(packed, file, PIECE)
        member.replace(part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{url} is not a zip that can be read: {error}; try again") from error
    finally:
        member.unlink(missing_ok=True)
