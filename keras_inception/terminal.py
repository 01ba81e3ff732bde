"""The terminal: one console for remarks, one progress bar, tables, and silence for libraries that print."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

T = TypeVar("T")

UNLIMITED = 10_000  # columns of a table in a file or pipe

_STREAMS = threading.RLock()  # they belong to the whole process: one thread would restore another's silence


def _stderr() -> Console:
    """A new one each time, since it finds out when it is made whether it is on a terminal."""
    return Console(stderr=True)


def note(text: str, style: str = "yellow") -> None:
    """Print a remark on stderr as it is: the terminal wraps a long line, a file gets it whole."""
    _stderr().print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table of plain text on stdout, as wide as the terminal; in a file or pipe no cell is cut or wrapped."""
    width = None if sys.stdout.isatty() else UNLIMITED
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


@contextmanager
def progress_bar(
    description: str, total: int | None = None, *, done: int = 0, in_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs, on a terminal only. Yields `advance(count)`.

    Args:
        description: what is being done, "Checking images".
        total: how many steps, or bytes, there are; None if that is unknown.
        done: how many of them were done before.
        in_bytes: count bytes, and show the speed.
    """
    count: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn()]
    columns = TextColumn("{task.description}", markup=False), BarColumn(), *count, TimeRemainingColumn()
    console = _stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The same items, with a progress bar over them."""
    with progress_bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)


def interrupt(number: int, frame: object) -> NoReturn:
    """The command line's handler of Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def foreign_call() -> Iterator[None]:
    """Run a long call of code that keeps the interpreter to itself, as TensorFlow's converters do for a minute.

    Python hears of Ctrl-C only after such a call. In the command line (`interrupt` is the handler) Ctrl-C ends the
    process at once instead: what it was writing has a temporary name, which the next export to that path removes.
    In another's process nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is interrupt
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, interrupt)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what is written to stdout and stderr within the block off the terminal, from C++ too.

    TensorFlow and its converters write there whatever their log levels are. If the block raises an exception, the
    captured text is added to it as a note. Python's loggers, which write to the cell in a notebook, are disabled too.
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
        except Exception as error:
            sys.stdout.flush()
            sys.stderr.flush()
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
