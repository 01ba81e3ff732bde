"""Archives of images, unpacked once into the cache."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import InputError
from ..files import cache_directory, locked
from ..terminal import progress
from .tree import LISTS, is_hidden, is_image_name

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UTF8_NAMES = 0x800  # a flag of zip files
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError)


def is_archive(path: Path) -> bool:
    """Whether a file is named as an archive that `unpacked` reads."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpacked(path: Path) -> Path:
    """Return the folder of an archive's images and lists, written into the cache on first use.

    It is made again when the archive's path, size or time changes. Hidden files and links are left out.

    Raises:
        InputError: the archive is damaged, encrypted, or holds paths outside itself; or there is no room for it.
    """
    return unpacked_once(path, [path], lambda folder: _unpack(path, folder))


def unpacked_once(path: Path, files: Sequence[Path], unpack: Callable[[Path], object]) -> Path:
    """Return the folder in the cache that `unpack` fills from the files at a path, on first use and when they change.

    Raises:
        InputError: the files are damaged, or there is no room.
    """
    about = [(file.resolve(), file.stat()) for file in files]
    key = hashlib.sha256(
        " ".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in about).encode(errors="surrogateescape")
    )
    folder = cache_directory() / "archives" / key.hexdigest()[:16] / path.name.split(".")[0]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, f"unpacking {path} to"):
        if folder.is_dir():
            return folder
        part = folder.with_name(".part")
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        try:
            part.mkdir()
            unpack(part)
            part.rename(folder)
        except DAMAGED as error:
            raise InputError(f"{path} cannot be unpacked: {_reason(error)}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _unpack(path: Path, folder: Path) -> None:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            members = {_name(member): member for member in archive.infolist() if _is_file(member)}
            wanted = {name: member for name, member in members.items() if _wanted(name, path)}
            if any(member.flag_bits & 1 for member in wanted.values()):
                raise InputError(f"{path} is encrypted: unpack it, and give the folder")
            _check_room(path, sum(member.file_size for member in wanted.values()), folder)
            for name, member in progress(wanted.items(), f"Unpacking {path.name}", len(wanted)):
                try:
                    with archive.open(member) as source:
                        _write(source, folder / name)
                except NotImplementedError as error:
                    raise InputError(f"{path} cannot be unpacked: {error}: unpack it, and give the folder") from error
    else:
        with tarfile.open(path) as archive:
            for name, source in progress(_tar_files(archive, path, folder), f"Unpacking {path.name}"):
                _write(source, folder / name)


def _tar_files(archive: tarfile.TarFile, path: Path, folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The files in their order: a compressed archive is read once."""
    for member in archive:
        if member.isfile() and _wanted(member.name, path):
            _check_room(path, member.size, folder)
            source = archive.extractfile(member)
            assert source is not None  # it is a file
            yield member.name, source


def _write(source: IO[bytes], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as target:
        shutil.copyfileobj(source, target)


def _is_file(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 from Windows
    return not member.is_dir() and kind in (0, stat.S_IFREG)


def _name(member: zipfile.ZipInfo) -> str:
    """A member's path. Some tools write UTF-8 without saying so, and Windows' own once wrote backslashes."""
    name = member.filename
    if not member.flag_bits & UTF8_NAMES:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")


def _wanted(name: str, archive: Path) -> bool:
    """Whether a member is an image or a list that is not hidden.

    Raises:
        InputError: its path leads out of the archive.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(f"{archive} holds the path {name!r}, outside of itself: it is not unpacked")
    named = is_image_name(path.name) or path.suffix.lower() in LISTS
    return named and not any(is_hidden(part) for part in path.parts if part != ".")


def _check_room(path: Path, size: int, folder: Path) -> None:
    if size > (free := shutil.disk_usage(folder).free):
        raise InputError(f"{path} needs {size / 1e9:.1f} GB to unpack; {folder.parent} has {free / 1e9:.1f} GB")


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0].lower()
