"""The command line. Each command is a call of the library; its heavy imports wait until a command is given."""

from __future__ import annotations

import errno
import os
import signal

from ..errors import InputError
from ..terminal import interrupt
from . import exporting, measuring, networks, output, training
from .app import app, fail

__all__ = ["app", "exporting", "main", "measuring", "networks", "output", "training"]


def main() -> None:
    """Run the command line: an expected failure is one line on stderr, and the exit code is 0 only on success."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        app()
    except InputError as error:
        fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            fail("the disk is full: free some space and run the same command again")
        if error.errno is None:
            raise
        fail(f"{error.filename or 'file'}: {os.strerror(error.errno).lower()}")
    finally:
        signal.signal(signal.SIGINT, before)
