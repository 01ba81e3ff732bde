"""Resumable HTTP download. Bytes are appended to a file `part`; its validator is kept in `part.etag`.

A partial download is resumed only if the server confirms that the file has not changed: If-Range with the stored strong
ETag or Last-Modified.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter, Retry

from .errors import InputError
from .terminal import progress_bar

OFFLINE = "KERAS_INCEPTION_OFFLINE"  # use only files that are in the cache
TRIES = 4  # requests in a row without an answer, or with one that asks to come back later
BACKOFF = 0.5  # seconds; the pause doubles with each further request
LATER = (408, 429, 500, 502, 503, 504)  # status codes of a server in trouble
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of the body
PIECE = 2**16  # bytes
WHOLE = {"Accept-Encoding": "identity"}  # the bytes of the file itself


def is_offline() -> bool:
    """Whether only files that are in the cache may be used."""
    return os.environ.get(OFFLINE, "0").lower() not in ("", "0", "false")


def download(url: str, part: Path, *, largest: int, advance: Callable[[int], object] | None = None) -> str:
    """Download `url` into `part`, reconnecting as long as each connection brings something.

    Args:
        url: the address.
        part: the file to write; what is there is resumed.
        largest: the most bytes to take.
        advance: called with the number of bytes that came; by default there is a progress bar.

    Returns:
        The digest that the server announces, "sha256:..." or "md5:...", or "".

    Raises:
        InputError: there is no such file, or it is too large; `part` is removed.
        requests.RequestException: there is no connection; `part` stays, and another call resumes the download.
    """
    with _session() as session:
        while True:
            before = size(part)
            try:
                return _connect(session, url, part, largest, advance)
            except InputError:
                remove(part)
                raise
            except requests.RequestException as error:
                if error.response is not None or size(part) <= before:
                    raise


def describe(url: str) -> tuple[int | None, str]:
    """The size in bytes, if the server says it, and the validator (ETag or Last-Modified, or "") of the file at `url`.

    The first byte is asked for, since addresses that are signed for GET refuse HEAD.

    Raises:
        InputError: there is no such file.
        requests.RequestException: there is no connection.
    """
    first = WHOLE | {"Range": "bytes=0-0"}
    with _session() as session, session.get(url, headers=first, stream=True, timeout=TIMEOUT) as response:
        headers, tag = response.headers, response.headers.get("ETag") or response.headers.get("Last-Modified", "")
        if response.status_code == requests.codes.requested_range_not_satisfiable:  # an empty file
            return 0, tag
        _check(response, url)
        if response.status_code == requests.codes.partial_content:
            total = headers.get("Content-Range", "").rpartition("/")[2]
            _ = response.content
        else:
            total = headers.get("Content-Length", "")
        return int(total) if total.isdecimal() else None, tag


def why(error: requests.RequestException, part: Path | None = None) -> str:
    """What is wrong with the server of a download, into `part`, in a few words."""
    if answer := getattr(error.response, "status_code", None):
        return f"answers {answer}"
    return "keeps breaking off" if part and size(part) else "cannot be reached"


def other_digest(path: Path, digest: str) -> str | None:
    """The file's own digest where it is not `digest`, cut to the same length; None where it is, or `digest` is "".

    `digest` is "sha256:...", "sha1:..." or "md5:...", "git-sha1:..." as git names a file, or "sha256-prefix:..." of the
    first digits.
    """
    if not digest:
        return None
    algorithm, _, published = digest.partition(":")
    start = b"blob %d\0" % path.stat().st_size if algorithm.startswith("git-") else b""
    hasher = partial(hashlib.new, algorithm.removeprefix("git-").removesuffix("-prefix"), start)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, hasher).hexdigest()[: len(published)]
    return None if found == published else found


@contextmanager
def _session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        retry = Retry(TRIES - 1, backoff_factor=BACKOFF, status_forcelist=LATER, raise_on_status=False)
        retry.respect_retry_after_header = False  # it may ask for hours
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        yield session


def _connect(
    session: requests.Session, url: str, part: Path, largest: int, advance: Callable[[int], object] | None
) -> str:
    """One connection: the rest of the file, if the server still has the same file, otherwise the whole file."""
    headers = dict(WHOLE)
    if (had := size(part)) and (validator := _read(_validator(part))):
        headers |= {"Range": f"bytes={had}-", "If-Range": validator}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if _is_other_range(response, had):
            if not had:
                raise InputError(f"{url} answers with a part of the file, or none, to a request for all of it")
            remove(part)
            return _connect(session, url, part, largest, advance)
        _check(response, url)
        if response.status_code != requests.codes.partial_content:
            had = 0
        _validator(part).write_text(_strong_validator(response))
        total = had + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if (total or 0) > largest:
            raise InputError(f"{url} has {total:,} bytes; at most {largest:,} are taken")
        name = part.name.lstrip(".").removeprefix("part.")
        bar = nullcontext(advance) if advance else progress_bar(name, total, done=had, in_bytes=True)
        with open(part, "ab" if had else "wb") as file, bar as came:
            for piece in response.iter_content(PIECE):
                file.write(piece)
                came(len(piece))
                if file.tell() > largest:
                    raise InputError(f"{url} does not end: stopped after {largest:,} bytes")
        return next(filter(None, map(_announced, [*response.history, response])), "")


def _check(response: requests.Response, url: str) -> None:
    """Raise an InputError where the file is not there, an HTTPError where the server has trouble."""
    if 400 <= response.status_code < 500 and response.status_code not in LATER:
        raise InputError(f"{url} answers {response.status_code} {response.reason}: the file is no longer there")
    response.raise_for_status()


def _announced(response: requests.Response) -> str:
    """The file's digest in the headers of Hugging Face (of its redirect) and of Google's storage; "" from others."""
    if found := re.fullmatch(r'"?([0-9a-f]{64})"?', response.headers.get("X-Linked-ETag", "")):
        return f"sha256:{found[1]}"
    if found := re.search(r"md5=([\w+/]{22}==)", response.headers.get("x-goog-hash", "")):
        return f"md5:{base64.b64decode(found[1]).hex()}"
    return ""


def _strong_validator(response: requests.Response) -> str:
    """The value for If-Range, "" if the server gives none that is exact."""
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _is_other_range(response: requests.Response, start: int) -> bool:
    """Whether the server does not have the bytes from `start` on, or sends others."""
    if response.status_code == requests.codes.partial_content:
        return not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return response.status_code == requests.codes.requested_range_not_satisfiable


def size(part: Path) -> int:
    """How many bytes of the file are there."""
    return part.stat().st_size if part.exists() else 0


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def remove(part: Path) -> None:
    """Delete a partial download."""
    for path in (part, _validator(part)):
        path.unlink(missing_ok=True)
