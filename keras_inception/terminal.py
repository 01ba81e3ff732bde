"""The terminal: the console that progress and remarks go to, and silence for what writes there by itself."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(stderr=True)

_STREAMS = threading.RLock()  # they belong to the whole process: one thread would restore another's silence


@contextmanager
def quiet() -> Iterator[None]:
    """Keep everything written to stdout and stderr within the block, by C++ too, off the terminal.

    TensorFlow and its converter write there whatever their log levels say. If the block raises, what they wrote is
    added to the exception as a note. Python's loggers write to the cell in a notebook, and are kept quiet too.
    """
    with _STREAMS, tempfile.TemporaryFile("w+b") as captured:
        logged = logging.root.manager.disable
        logging.disable(max(logged, logging.WARNING))
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [os.dup(stream) for stream in (1, 2)]
        try:
            for stream in (1, 2):
                os.dup2(captured.fileno(), stream)
            yield
        except BaseException as error:
            captured.seek(0)
            error.add_note(captured.read().decode(errors="replace"))
            raise
        finally:
            logging.disable(logged)
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
