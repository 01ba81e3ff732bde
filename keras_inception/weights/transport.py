"""Resumable HTTP download. Bytes are appended to `part.<name>`; its validator is kept in `part.<name>.etag`.

A partial download is resumed only if the server confirms that the file has not changed: If-Range with the stored strong
ETag or Last-Modified.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter, Retry

from ..errors import InputError
from ..terminal import progress_bar
from .readers import LARGEST

TRIES = 4  # requests in a row without an answer, or with one that asks to come back later
BACKOFF = 0.5  # seconds; the pause doubles with each further request
LATER = (408, 429, 500, 502, 503, 504)  # status codes of a server in trouble
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of the body
PIECE = 2**16  # bytes


def download(url: str, part: Path) -> str:
    """Download `url` into `part`, reconnecting as long as each connection brings something.

    Returns:
        The digest that the server announces, "sha256:..." or "md5:...", or "".

    Raises:
        InputError: there is no such file, or it is too large; `part` is removed.
        requests.RequestException: there is no connection; `part` stays, and another call resumes the download.
    """
    with requests.Session() as session:
        retry = Retry(TRIES - 1, backoff_factor=BACKOFF, status_forcelist=LATER, raise_on_status=False)
        retry.respect_retry_after_header = False  # it may ask for hours
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        while True:
            before = size(part)
            try:
                return _connect(session, url, part)
            except InputError:
                remove(part)
                raise
            except requests.RequestException as error:
                if error.response is not None or size(part) <= before:
                    raise


def _connect(session: requests.Session, url: str, part: Path) -> str:
    """One connection: the rest of the file, if the server still has the same file, otherwise the whole file."""
    headers = {"Accept-Encoding": "identity"}
    if (had := size(part)) and (validator := _read(_validator(part))):
        headers |= {"Range": f"bytes={had}-", "If-Range": validator}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if _is_other_range(response, had):
            if not had:
                raise InputError(f"{url} answers with a part of the file, or none, to a request for all of it")
            remove(part)
            return _connect(session, url, part)
        if 400 <= response.status_code < 500 and response.status_code not in LATER:
            raise InputError(f"{url} answers {response.status_code} {response.reason}: the file is no longer there")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            had = 0
        _validator(part).write_text(_strong_validator(response))
        total = had + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if (total or 0) > LARGEST:
            raise InputError(f"{url} has {total:,} bytes; no published file has more than {LARGEST:,}")
        bar = progress_bar(part.name.removeprefix("part."), total, done=had, in_bytes=True)
        with open(part, "ab" if had else "wb") as file, bar as advance:
            for piece in response.iter_content(PIECE):
                file.write(piece)
                advance(len(piece))
                if file.tell() > LARGEST:
                    raise InputError(f"{url} does not end: stopped after {LARGEST:,} bytes")
        return next(filter(None, map(_announced, [*response.history, response])), "")


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
