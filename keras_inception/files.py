"""Files that are whole or not there: the atomic writer, the lock, the cache directory."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tensorflow as tf

from .errors import InputError

HOME = "KERAS_INCEPTION_HOME"  # where the cache is

_TENSORFLOW_OS_ERRORS = tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError, tf.errors.PermissionDeniedError


def cache_directory() -> Path:
    """The folder that downloads, features and manifests are kept in."""
    return Path(os.environ.get(HOME) or Path.home() / ".cache" / "keras_inception").expanduser()


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file, and put it at `path` only when it is whole."""
    part = path.with_name(f"part.{path.name}")  # the ending stays: Keras goes by it
    with _ctrl_c_waits():
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hear of a Ctrl-C behind the block: within zip and HDF5 files it would come out as an error of theirs."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield  # no handler that could raise here
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def new_output(path: Path, *, overwrite: bool, kind: str, is_kind: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the block leaves there becomes `path` when the block ends well.

    Folders above are made. When the block raises, everything that was made is gone and what was at `path` is untouched.

    Raises:
        InputError: `path` exists and may not be replaced (with `overwrite` only a `kind` is), or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise InputError(f"{path} exists: give another path, or say overwrite to replace it")
        if not is_kind(path):
            raise InputError(f"{path} exists and is not a {kind}, so it is not replaced: give another path")
    made = [folder for folder in path.parents if not folder.exists()]
    above = path.parents[len(made)]
    if not above.is_dir():
        raise InputError(f"{path} could not be written: {above} is not a folder; give another path")
    done = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield work / path.name
            _put(work / path.name, path, aside=work / "replaced")
            done = True
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except (OSError, *_TENSORFLOW_OS_ERRORS) as error:
        raise InputError(f"{path} could not be written: {reason(error)}; nothing was left behind") from error
    finally:
        if not done:
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()


def _put(new: Path, path: Path, *, aside: Path) -> None:
    """Rename `new` to `path`; a folder that is there steps aside first, since only a file can be replaced at once."""
    if path.is_dir():
        path.rename(aside)
    try:
        new.replace(path)
    except OSError:
        if aside.exists():
            aside.rename(path)
        raise


def reason(error: OSError | tf.errors.OpError) -> str:
    """Why a file could not be written, in a few words; TensorFlow says "path; reason [Op:name]"."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return error.message.splitlines()[0].rsplit("; ", 1)[-1].split(" [")[0].lower()
