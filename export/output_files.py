"""Output that is whole or not there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tensorflow as tf

from keras_inception.errors import InputError

_TENSORFLOW_OS_ERRORS = tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError, tf.errors.PermissionDeniedError


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
