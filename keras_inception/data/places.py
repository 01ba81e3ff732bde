"""Where images may be: a path, an address (`https://`, `gs://` ...), "tfds:NAME", an archive or a Parquet file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from ..arguments import checked
from . import archives, parquet, remote, tfds


def local(path: str | Path) -> tuple[Path, Callable[[str], str]]:
    """Bring images here.

    Returns:
        the folder, list or file; and the function from the name of a folder of a class there to the name of the class.

    Raises:
        InputError: what is remote or packed cannot be read, or there is no room for it.
    """
    name = str(path)
    if name.startswith(tfds.PREFIX):
        return tfds.folder_of(name), unquote
    place = remote.copied(name) if remote.is_remote(path) else Path(path)
    if archives.is_archive(place):
        return archives.unpacked(place), str
    if files := parquet.files_of(place):
        return parquet.unpacked(place, files), unquote
    return place, str


@checked
def lasting(path: str | Path) -> str:
    """Return the path in a form that holds in any working directory: absolute; an address or "tfds:NAME" unchanged.

    Raises:
        InputError: it is no path.
    """
    return str(path) if is_named(path) else str(Path(path).resolve())


@checked
def is_named(path: str | Path) -> bool:
    """Whether this is an address or "tfds:NAME", of which only reading tells whether it exists.

    Raises:
        InputError: it is neither text nor a path.
    """
    return str(path).startswith(tfds.PREFIX) or remote.is_remote(path)
