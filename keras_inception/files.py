"""Files that are complete or absent: the atomic writer, locks between processes, the cache directory."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from .errors import InputError
from .terminal import note, uninterrupted

HOME = "KERAS_INCEPTION_HOME"  # where the cache is
PART = ".part."  # how the name of every temporary file starts
LOCK = ".lock"  # how the name of every lock ends
UNFINISHED = ".unfinished."  # how the name of a mark starts: the files beside it are not all there yet
# What a network drive, or a folder of another system that is mounted here, may answer to a lock or to `fsync`.
UNSUPPORTED = errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL
ARCHIVES = ".keras", ".h5", ".npz"  # zip and HDF5: interrupted inside, their writers raise errors of their own


def cache_directory() -> Path:
    """The folder for downloads, features, manifest: `KERAS_INCEPTION_HOME`, or `keras_inception` in the user's cache.

    Raises:
        InputError: the user has no home folder, as an account that exists only in a container.
    """
    try:
        if given := os.environ.get(HOME):
            return Path(given).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "keras_inception"
    except RuntimeError as error:
        raise InputError(
            f"there is no home folder to keep downloads and features in: set {HOME} to a folder"
        ) from error


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace `path` by the file that `write` makes, atomically: readers see the old file or the new one.

    `write` gets a temporary path beside `path`, with the same ending. While it writes an archive (`ARCHIVES`), Ctrl-C
    waits; compute what goes into one before the call.
    """
    part = path.with_name(f"{PART}{secrets.token_hex(4)}.{path.name}")
    try:
        with uninterrupted() if path.suffix in ARCHIVES else nullcontext():
            write(part)
            _flush(part)
            part.replace(path)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(path)  # the name that means something to the user
        raise
    finally:
        discard(part)


def parse_json(text: str | bytes) -> Any:
    """What JSON text says; a `ValueError` for all text that is none, lists in lists beyond Python's limit included."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure of Matplotlib, complete or not at all, in the format that the file's ending names.

    Raises:
        InputError: Matplotlib does not write that format, or the folder does not exist.
    """
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in formats:
        raise InputError(f"a plot is written as .{', .'.join(formats)}; got {str(path)!r}")
    need_folder(path)
    write_file(path, lambda part: figure.savefig(part, dpi=150))


def discard(path: Path) -> None:
    """Delete a file that nobody reads any more; an absent one is no error.

    It is emptied first: Google Drive, mounted as a folder, moves deleted files to its bin, where they count as used.
    """
    with suppress(OSError):
        if path.stat().st_nlink == 1:  # under another name, it is somebody's
            os.truncate(path, 0)
    path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, doing: str = "writing", *, wait: bool = True) -> Iterator[None]:
    """Let one process, and one thread of it, run the block for this path at a time.

    The lock is a file beside `path`, `.NAME.lock`, which is removed at the end; in a folder that is mounted where
    nothing can be written, it is `.lock` inside. The system frees it when a process dies. The folder of `path` must
    exist; `path` itself need not. A file system without locks is remarked on, and the block runs.

    Args:
        path: the file or folder to work on.
        doing: what the block does to it, for messages: "process 7 on HOST is writing PATH".
        wait: wait for the other process, which a line on stderr names, rather than fail.

    Raises:
        InputError: another process holds the lock and `wait` is False.
    """
    beside = path.absolute()
    file = beside.with_name(f".{beside.name}.lock")
    if beside.is_dir() and not os.access(beside.parent, os.W_OK):
        file = beside / LOCK
    lock = FileLock(file, fallback_to_soft=False)
    try:
        _acquire(lock, file, f"is {doing} {path}", wait=wait)
        yield
    finally:
        if lock.is_locked:
            file.unlink(missing_ok=True)  # while we hold it: who waits for it finds it unlinked and makes a new one
        lock.release()


def _acquire(lock: BaseFileLock, file: Path, does: str, *, wait: bool) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = f"{_holder(file)} {does}"
        if not wait:
            raise InputError(f"{holder}: wait until it has finished, or stop it") from None
        note(f"{holder}: waiting until it has finished", style="")
        lock.acquire()
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        file.unlink(missing_ok=True)
        note(f"{file.parent} is on a file system without locks: let no second process write there meanwhile")
        return
    file.write_text(f"{os.getpid()} {socket.gethostname()}", encoding="utf-8")


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        pid, host = lock.read_text(encoding="utf-8").split(maxsplit=1)
        return f"process {pid} on {host}"
    return "another process"


@contextmanager
def new_output(path: Path, *, overwrite: bool, kind: str, is_kind: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file or folder that the block makes there becomes `path`.

    Parent folders are created. When the block raises, Ctrl-C included, everything that was created is removed and what
    was at `path` is untouched.

    Raises:
        InputError: `path` exists and may not be replaced (`overwrite` replaces a `kind` only), another process is
            writing it, or it cannot be written.
    """
    if not path.name:
        raise InputError(f"{str(path)!r} is a folder that is there already: give the path of a new {kind}")
    try:
        with _parents_of(path), locked(path, wait=False):
            _check_replaceable(path, overwrite, kind, is_kind)
            for abandoned in path.parent.glob(
                f"{PART}{glob.escape(path.name)}.????????"
            ):  # by a process that was killed
                shutil.rmtree(abandoned, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=f"{PART}{path.name}.", dir=path.parent))
            try:
                yield work / path.name
                _flush(work / path.name)
                _put(work / path.name, path, aside=work / "replaced")
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except os_errors() as error:
        raise InputError(f"{path} could not be written: {reason(error)}; nothing is left") from error


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Make the folders above `path`; when the block raises, remove those that were made and are empty."""
    created = [folder for folder in path.parents if not folder.exists()]
    above = path.parents[len(created)]
    if not above.is_dir():
        raise InputError(f"{path} could not be written: {above} is not a folder; give another path")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for folder in created:
                folder.rmdir()
        raise


@contextmanager
def new_outputs(paths: Sequence[Path], request: object, *, overwrite: bool) -> Iterator[list[Path]]:
    """Let the block make several files or folders by `new_output`, and yield those that it need not make.

    A hidden, empty file beside the first says that the block is under way. If its process is killed, or it raises, what
    it has made stays, and is yielded when the same `request`, by its `repr`, comes again before any other. With
    `overwrite` all are made anew.

    Raises:
        InputError: a path exists, and not from such a block, or the folder cannot be written.
    """
    mark = paths[0].with_name(UNFINISHED + hashlib.sha256(repr(request).encode()).hexdigest()[:16])
    resumes = mark.exists() and not overwrite
    existing = [path for path in paths if path.exists()]
    if existing and not (overwrite or resumes):
        raise InputError(f"{existing[0]} exists; give --overwrite to replace it, or another place")
    with _parents_of(mark):
        try:
            for other in mark.parent.glob(f"{UNFINISHED}*"):  # what they call theirs may be another's from now on
                if other != mark or not resumes:
                    other.unlink(missing_ok=True)
            if not overwrite:
                mark.touch()
        except OSError as error:
            raise InputError(f"{mark.parent} could not be written: {reason(error)}") from error
        done = False
        try:
            yield existing if resumes else []
            done = True
        finally:
            if done or not any(path.exists() for path in paths):
                with suppress(OSError):  # left in a folder that is read-only by now, it does no harm
                    mark.unlink()


def _check_replaceable(path: Path, overwrite: bool, kind: str, is_kind: Callable[[Path], bool]) -> None:
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise InputError(f"{path} exists: give another path, or say overwrite to replace it")
        if not is_kind(path):
            raise InputError(f"{path} exists and is not a {kind}, so it is not replaced: give another path")


def _put(new: Path, path: Path, *, aside: Path) -> None:
    """Rename `new` to `path`. A folder is first renamed to `aside`: only a file can be replaced in one step."""
    with uninterrupted():
        try:
            if path.is_dir():
                path.rename(aside)
            new.replace(path)
        except BaseException:
            if aside.exists():
                aside.rename(path)
            raise


def _flush(path: Path) -> None:
    """Write a file, or every file in a folder, through to the disk: in a crash a rename may outlive the data."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as opened:
                try:
                    os.fsync(opened.fileno())
                except OSError as error:
                    if error.errno not in UNSUPPORTED:
                        raise


def os_errors() -> tuple[type[Exception], ...]:
    """OSError, and the errors that TensorFlow raises in its place if it is in use."""
    if (tensorflow := sys.modules.get("tensorflow")) is None:
        return (OSError,)
    errors = tensorflow.errors
    return OSError, errors.ResourceExhaustedError, errors.OutOfRangeError, errors.PermissionDeniedError


def reason(error: Exception) -> str:
    """Why a file could not be written, in a few words. `error` is an OSError or one of TensorFlow's."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    message = getattr(error, "message", str(error))  # "path; reason [Op:name]"
    return message.splitlines()[0].rsplit("; ", 1)[-1].split(" [")[0].lower()


def need_folder(path: Path) -> None:
    """Check that there is a folder to write a file into.

    Raises:
        InputError: there is none.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")


def need_writable(folder: Path) -> None:
    """Check, before long work, that files can be made in a folder, which need not exist yet.

    Raises:
        InputError: they cannot: the folder, or the nearest one above it that exists, is read-only.
    """
    folder = folder.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written, because {there} is read-only: give another place (--out)")
