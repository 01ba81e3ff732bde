"""The command line. Each command is a call of the library; its heavy imports wait until a command is given."""

from __future__ import annotations

import errno
import io
import os
import sys

from ..errors import InputError, first_line
from ..terminal import interruptible
from . import config, exporting, measuring, networks, output, sharding, sharing, training
from .app import app, fail

__all__ = ["app", "config", "exporting", "main", "measuring", "networks", "output", "sharding", "sharing", "training"]


def main() -> None:
    """Run the command line: an expected failure is one line on stderr, and the exit code is 0 only on success."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an encoding may lack what class and file names have
    try:
        try:
            with interruptible():
                app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except InputError as error:
        fail(str(error))
    except BrokenPipeError:  # of `| head`; what is left in the buffer cannot be written either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            fail("the disk is full: free some space and run the same command again")
        if error.errno is None:  # of HDF5, or of Matplotlib where no folder can be written
            fail(first_line(error))
        fail(f"{error.filename or 'file'}: {os.strerror(error.errno).lower()}")
