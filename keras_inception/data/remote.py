"""Images at an address, copied into the cache and read there.

`https://` and `http://` are read by `transport`, which resumes a file where it broke off. All other addresses (`gs://`,
`s3://` ...) are read by `fsspec`, which has a package for each kind. An epoch reads every image once, so that reading
over the network would cost each epoch what copying costs once; and training does not need the network while it runs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import requests

from .. import transport
from ..errors import InputError, first_line
from ..files import HOME, PART, cache_directory, locked, write_file
from ..terminal import note, progress_bar
from .archives import ENDINGS
from .lists import files_in, is_list_name
from .parquet import ENDING as PARQUET
from .shards import RECORD, checksums, parse_record
from .tree import LISTS, is_hidden, is_image_name

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
THREADS = 8  # files that are copied at a time
LISTING = "listing.json"  # what the copy is to hold, written before it is filled
DATA = (*ENDINGS, *sorted(LISTS), PARQUET)
TAGS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated", "created")


def is_remote(path: str | Path) -> bool:
    """Whether this is an address."""
    return bool(ADDRESS.match(str(path)))


def copied(address: str) -> Path:
    """Return the copy in the cache of the file or folder at an address.

    The address is asked each time what it has, and what is new or has another size or tag (ETag, time) is copied. A
    copy that was interrupted is resumed. Where the address cannot be reached, or `KERAS_INCEPTION_OFFLINE` is set, a
    complete copy is used as it is. Of a list, the images that it names by relative paths are copied too.

    Raises:
        InputError: there is nothing that is known, nothing to reach it by, or no room.
    """
    address = address.rstrip("/").removesuffix(f"/{RECORD}")
    source = _Web(address) if address.lower().startswith(("https://", "http://")) else _Store(address)
    place = cache_directory() / "remote" / sha256(address.encode()).hexdigest()[:16] / source.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.parent, f"copying {address} to"):
        copy = _Copy(source, place.parent)
        if transport.is_offline():
            return copy.kept(f"{transport.OFFLINE} is set") / source.name
        try:
            listed = source.listed()
        except _UnreachableError as error:
            return copy.kept(str(error)) / source.name
        try:
            if is_list_name(source.name):  # images that it named before stay until it is read
                copy.fill(copy.files | listed)
                listed |= _named_by(place)
            copy.fill(listed)
        except _UnreachableError as error:
            raise InputError(f"{error}; what was copied is kept, and the same command resumes") from error
    return place


@dataclass(frozen=True)
class _File:
    """What is known of a file before it is copied: its size, what changes when it does, its SHA-256 hash."""

    size: int | None = None
    tag: str = ""
    sha256: str = ""
    optional: bool = False  # an image in a list may be missing, and is reported as in any list


class _UnreachableError(Exception):
    """The address, or the way to it, does not answer; another time it may."""


class _Source(Protocol):
    """What is at an address. Files are named by their paths from the folder that the copy is made in."""

    address: str
    name: str  # of the file or folder that was asked for

    def listed(self) -> dict[str, _File]:
        """The files that belong to the copy."""

    def get(self, name: str, part: Path, advance: Callable[[int], object]) -> str:
        """Copy a file to `part`; the digest that the server announces, or ""."""


# ------------------------------------------------------------------------------------------------------------ the copy


class _Copy:
    """A folder in the cache, and the listing of the files that it is to hold."""

    def __init__(self, source: _Source, folder: Path):
        self.source, self.folder, self.listing = source, folder, folder / LISTING
        self.files: dict[str, _File] = {}
        self.complete = False
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(self.listing.read_text(encoding="utf-8"))
            self.files = {name: _File(**file) for name, file in state["files"].items()}
            self.complete = state["complete"]

    def kept(self, why: str) -> Path:
        """The folder of a complete copy.

        Raises:
            InputError: there is none.
        """
        if not self.complete:
            raise InputError(f"{why}, and {self.folder} holds no complete copy of {self.source.address}")
        note(f"{why}: the copy in {self.folder} is used", style="")
        return self.folder

    def fill(self, wanted: Mapping[str, _File]) -> None:
        """Make the folder hold these files: what changed or is gone is removed, what is missing is copied."""
        for name, file in self.files.items():
            if wanted.get(name) != file:
                (self.folder / name).unlink(missing_ok=True)
                self.complete = False
        missing = {name: file for name, file in wanted.items() if not (self.folder / name).is_file()}
        if self.complete and self.files == wanted and all(file.optional for file in missing.values()):
            return
        self.files = dict(wanted)
        self._save(complete=False)
        sizes = [file.size for file in missing.values()]
        needed, free = sum(size or 0 for size in sizes), shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"{self.source.address} needs {needed / 1e9:.1f} GB; {self.folder} has {free / 1e9:.1f} GB: set {HOME} "
                "to a folder with more room"
            )
        total = None if None in sizes else needed
        pool = ThreadPoolExecutor(THREADS)
        try:
            with progress_bar(f"Copying {self.source.name}", total, in_bytes=True) as advance:
                for _ in pool.map(lambda name: self._fetch(name, wanted[name], advance), missing):
                    pass
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
        self._save(complete=True)

    def _save(self, *, complete: bool) -> None:
        state = {"files": {name: asdict(file) for name, file in self.files.items()}, "complete": complete}
        write_file(self.listing, lambda part: part.write_text(json.dumps(state), encoding="utf-8"))
        self.complete = complete

    def _fetch(self, name: str, file: _File, advance: Callable[[int], object]) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{PART}{target.name}")
        try:
            announced = self.source.get(name, part, advance)
        except InputError:
            if file.optional:
                return
            raise
        came, digest = part.stat().st_size, f"sha256:{file.sha256}" if file.sha256 else announced
        if file.size not in (None, came) or transport.other_digest(part, digest):
            transport.remove(part)
            what = f"{came:,} of {file.size:,} bytes" if file.size not in (None, came) else "other bytes than stated"
            raise InputError(f"{self.source.address}: {name} came with {what}: try again, or put it there again")
        part.replace(target)
        transport.remove(part)


def _named_by(table: Path) -> dict[str, _File]:
    """The images that a list names by relative paths."""
    names = {PurePosixPath(name.replace("\\", "/")).as_posix() for name in files_in(table)}
    return {name: _File(optional=True) for name in sorted(names) if _is_below(name) and is_image_name(name)}


def _is_below(name: str) -> bool:
    """Whether a relative path leads to something in its folder that is not hidden."""
    path = PurePosixPath(name)
    return not path.is_absolute() and not any(is_hidden(part) for part in path.parts)  # ".." is hidden, too


def _shards(folder: str, text: bytes, address: str) -> dict[str, _File]:
    """The files of a shard set, by what its `shards.json` says."""
    files = {f"{folder}/{RECORD}": _File(len(text), sha256=sha256(text).hexdigest())}
    for file, (size, digest) in checksums(parse_record(text, f"{address}/{RECORD}")).items():
        files[f"{folder}/{file}"] = _File(size, sha256=digest)
    return files


# --------------------------------------------------------------------------------------------------------- the sources


class _Web:
    """A file at an `https://` or `http://` address, or a folder of shards: no other folder can be listed."""

    def __init__(self, address: str):
        self.address, self._url = address, urlsplit(address)
        path = PurePosixPath(unquote(self._url.path))
        self._is_file = path.name.lower().endswith(DATA) or is_image_name(path.name)
        self._folder = path.parent if self._is_file else path
        self.name = path.name if self._is_file else self._folder.name or "shards"

    def listed(self) -> dict[str, _File]:
        if self._is_file:
            with self._reached():
                return {self.name: _File(*transport.describe(self.address))}
        with TemporaryDirectory() as folder:
            part = Path(folder) / RECORD
            try:
                self.get(f"{self.name}/{RECORD}", part, lambda count: None)
            except InputError as error:
                raise InputError(
                    f"{self.address} is not named as a file that is read ({', '.join(DATA)}, or an image), and over "
                    f"http no folder but one of shards can be listed: {error}"
                ) from error
            return _shards(self.name, part.read_bytes(), self.address)

    def get(self, name: str, part: Path, advance: Callable[[int], object]) -> str:
        with self._reached(part):
            return transport.download(self._of(name), part, largest=_room(part), advance=advance)

    def _of(self, name: str) -> str:
        """The address of a file of the copy."""
        if self._is_file and name == self.name:
            return self.address
        path = self._folder / (name if self._is_file else name.removeprefix(f"{self.name}/"))
        return urlunsplit(self._url._replace(path=quote(str(path))))

    @contextmanager
    def _reached(self, part: Path | None = None) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as error:
            raise _UnreachableError(f"{self._url.netloc} {transport.why(error, part)}") from error


class _Store:
    """A file or folder at an address that `fsspec` reads."""

    def __init__(self, address: str):
        self.address = address
        kind = address.partition("://")[0]
        try:
            import fsspec
        except ImportError as error:
            raise InputError(f"{address} needs fsspec: pip install 'keras-inception[remote]'") from error
        try:
            self._system, path = fsspec.core.url_to_fs(address)
        except ImportError as error:  # its message names the package
            raise InputError(f"{address} cannot be read: {first_line(error)} (pip install ...)") from error
        except ValueError as error:
            known = "https, gs, s3 or another of fsspec"
            raise InputError(f"{address}: {kind}:// is no kind of address that is known: give {known}") from error
        self._path = path.rstrip("/")
        self.name = PurePosixPath(self._path).name or kind
        self._root = self._path.removesuffix(self.name)

    def listed(self) -> dict[str, _File]:
        with self._reached():
            self._system.invalidate_cache()
            if self._system.isfile(self._path):
                return {self.name: _described(self._system.info(self._path))}
            if not (found := self._system.find(self._path, detail=True)):
                raise FileNotFoundError
            inside = {path.removeprefix(self._root): info for path, info in found.items()}
            if (record := f"{self.name}/{RECORD}") in inside:
                return _shards(self.name, self._system.cat_file(self._root + record), self.address)
        files = {name: _described(info) for name, info in inside.items() if _is_below(name) and _is_data(name)}
        if not files:
            raise InputError(f"{self.address} holds no images, lists or Parquet files")
        return files

    def get(self, name: str, part: Path, advance: Callable[[int], object]) -> str:
        with self._reached():
            self._system.get_file(self._root + name, str(part))
        advance(part.stat().st_size)
        return ""

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"there is nothing at {self.address}") from error
        except InputError:
            raise
        except Exception as error:  # of the network, of missing rights, of any package that fsspec uses
            raise _UnreachableError(f"{self.address} cannot be read: {first_line(error)}") from error


def _described(info: Mapping[str, Any]) -> _File:
    return _File(info.get("size"), next((str(info[key]) for key in TAGS if info.get(key)), ""))


def _is_data(name: str) -> bool:
    return is_image_name(PurePosixPath(name).name) or name.lower().endswith((*LISTS, PARQUET))


def _room(part: Path) -> int:
    return shutil.disk_usage(part.parent).free
