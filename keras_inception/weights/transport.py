"""The rest of a file over HTTP, however often the connection breaks: what came is in a part, which says what it is of.

A part is gone on with only where the server says, by what it gave as its file's strong validator, that it still has the
same one.
"""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path

import requests

from ..errors import InputError
from ..terminal import progress_bar
from .readers import LARGEST

TRIES = 4  # connections in a row that bring nothing
PAUSE = 1.0  # seconds before the second of them; doubled before each further one
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces
PIECE = 2**16  # bytes


def bring(url: str, part: Path) -> str:
    """All of `url` into `part`, over as many connections as it takes; the digest that the server announces, or "".

    Raises:
        InputError: there is no such file, or it is none of ours: the part is gone.
        requests.RequestException: there is no connection; the part is there, for another call to go on with.
    """
    idle = 0
    while True:
        before = size(part)
        try:
            return _pull(url, part)
        except InputError:
            forget(part)
            raise
        except requests.RequestException:
            idle = 0 if size(part) > before else idle + 1
            if idle == TRIES:
                raise
        time.sleep(PAUSE * 2**idle / 2)


def _pull(url: str, part: Path) -> str:
    """One connection: the rest of the file behind what `part` has, if the server still has the same one."""
    headers = {"Accept-Encoding": "identity"}
    if (had := size(part)) and (validator := _read(_validator(part))):
        headers |= {"Range": f"bytes={had}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            forget(part)
            raise requests.ConnectionError("there is more here than there")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise InputError(f"{url} answers {response.status_code} {response.reason}: it is not there any more")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            had = 0
        elif _first_byte(response) != had:
            forget(part)
            raise requests.ConnectionError("another part than was asked for")
        _validator(part).write_text(_strong_validator(response))
        whole = had + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if (whole or 0) > LARGEST:
            raise InputError(f"{url} has {whole:,} bytes; no published file has more than {LARGEST:,}")
        bar = progress_bar(part.name.removeprefix("part."), whole, done=had, in_bytes=True)
        with open(part, "ab" if had else "wb") as file, bar as advance:
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


def size(part: Path) -> int:
    """How many bytes came."""
    return part.stat().st_size if part.exists() else 0


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def forget(part: Path) -> None:
    """Take the part away."""
    for path in (part, _validator(part)):
        path.unlink(missing_ok=True)
