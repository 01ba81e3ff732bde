"""The terminal: one console for remarks, one progress bar, tables, and silence for libraries that print."""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from typing import IO, Any, NoReturn, TypeVar

from rich.console import Console, Group
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

UNLIMITED = 10_000  # characters across a table in a file or pipe
LEGIBLE = 12  # characters that a column of text is not made narrower than, if it has words of that length
SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # Windows lacks it

_PROGRESS = ContextVar("progress", default=True)  # whether it is shown
_STREAMS = threading.RLock()  # they belong to the whole process: one thread would restore another's silence


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console for plain text on stdout, or on stderr. A new one each time: it finds out whether it is a terminal."""
    stated = os.environ.get("COLUMNS", "")
    if width is None and not (stated.isdecimal() and int(stated)):  # rich takes 0 columns literally
        width = shutil.get_terminal_size().columns
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def note(text: str, style: str = "yellow") -> None:
    """Print a remark on stderr as it is: the terminal wraps a long line, a file gets it whole."""
    console(stderr=True).print(text, style=style, soft_wrap=True)


def tell_progress(text: str) -> None:
    """Print a line about the progress of long work on stderr, where it is shown."""
    if _PROGRESS.get():
        note(text, style="")


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Whether progress is shown within the block; remarks always are."""
    token = _PROGRESS.set(shown)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def say(text: str) -> None:
    """Print text on stdout as it is: the terminal wraps a long line, a file gets it whole."""
    console().print(text, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table of plain text on stdout, as wide as the terminal; in a file or pipe no cell is cut or wrapped.

    Words wrap, numbers (columns justified to the right) do not: where the terminal is too narrow for the table, each
    row is printed as a list.
    """
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    out, needed = console(width=None if on_terminal else UNLIMITED), 0
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = column.justify == "right"
        text = Measurement.get(out, out.options, Group(str(column.header), *column.cells))
        needed += text.maximum if column.no_wrap else min(text.minimum, LEGIBLE)
    if needed + 2 * len(table.columns) <= out.width:
        out.print(table)
        return
    for row in zip(*(column.cells for column in table.columns), strict=True):
        for column, cell in zip(table.columns, row, strict=True):
            if cell:
                title = f"{column.header}: " if column.header else ""
                out.print(f"{title}{cell}", overflow="fold")
        out.print()


@contextmanager
def progress_bar(
    description: str, total: int | None = None, *, done: int = 0, in_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs, on a terminal only. Yields `advance(count)`.

    Args:
        description: what is being done, "Checking images".
        total: how many steps, or bytes, there are; None if that is unknown.
        done: how many of them were done before.
        in_bytes: count bytes, not steps.
    """
    count: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn(), _RateColumn()]
    )
    columns = TextColumn("{task.description}", markup=False), BarColumn(), *count, TimeRemainingColumn()
    err = console(stderr=True)
    hidden = not _PROGRESS.get() or not err.is_terminal or err.is_dumb_terminal
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.{0 if task.speed >= 10 else 1}f}/s")


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The same items, with a progress bar over them."""
    with progress_bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)


def interrupt(number: int, frame: object) -> NoReturn:
    """The command line's handler of Ctrl-C, and of the signals by which a terminal or a batch system ends a process."""
    raise KeyboardInterrupt(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let each of `SIGNALS` end the block as Ctrl-C does, unless it is ignored, as under nohup, or handled already."""
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    before = {s: handler for s in SIGNALS if (handler := signal.getsignal(s)) in defaults}
    with _handled(dict.fromkeys(before, interrupt)), _heard_in_callbacks():
        yield


@contextmanager
def _heard_in_callbacks() -> Iterator[None]:
    """Send a signal again that came within a finalizer or a weak reference's callback.

    Python drops what is raised there, `interrupt`'s exception too, and continues.
    """
    others = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        error = dropped.exc_value
        if isinstance(error, KeyboardInterrupt) and error.args:
            threading.Timer(0.01, os.kill, (os.getpid(), error.args[0])).start()  # after the callback
        else:
            others(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = others


@contextmanager
def foreign_call() -> Iterator[None]:
    """Run a long call of code that keeps the interpreter to itself, as TensorFlow's converters do for a minute.

    Python hears of Ctrl-C only after such a call. In the command line (`interrupt` is the handler) Ctrl-C ends the
    process at once instead: what it was writing has a temporary name, which the next export to that path removes.
    In another's process nothing changes.
    """
    with _handled({s: signal.SIG_DFL for s in SIGNALS if signal.getsignal(s) is interrupt}):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer `SIGNALS` until the block ends. For short writes and renames only: nothing else can end the block."""
    received: list[int] = []
    with _handled({s: lambda number, frame: received.append(number) for s in SIGNALS if callable(signal.getsignal(s))}):
        yield
    if received:
        signal.raise_signal(received[0])


@contextmanager
def preemptible() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP, where they end this process, end it after the block; yields those that came so far.

    For long work that looks at the list, and soon ends the block: a batch system kills what does not end. Who handles
    these signals in another way than the command line does hears of them at once, as before.
    """
    received: list[int] = []
    ending = [s for s in SIGNALS if s != signal.SIGINT and signal.getsignal(s) in (signal.SIG_DFL, interrupt)]
    try:
        with _handled({s: lambda number, frame: received.append(number) for s in ending}):
            yield received
    finally:
        if received:
            signal.raise_signal(received[0])


def heard_again() -> None:
    """Install Python's handlers of `SIGNALS` again where a library has replaced them without Python's knowledge.

    TensorFlow does that to SIGTERM, in a thread of its own, when several workers connect: then nothing hears of it.
    """
    with _handled({s: handler for s in SIGNALS if (handler := signal.getsignal(s)) is not None}):
        pass


@contextmanager
def _handled(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Handle signals so within the block; in another thread than the main one, which no signal interrupts, not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept(variable: str) -> Iterator[None]:
    """Put an environment variable back after the block."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what is written to stdout and stderr within the block off the terminal, from C++ too.

    TensorFlow and its converters write there whatever their log levels are. If the block raises an exception, the
    captured text is added to it as a note. Python's streams are replaced as well as the file descriptors, which they
    do not write to in a notebook; a descriptor that is closed stays so. Python's loggers are disabled.
    """
    with _STREAMS, _temporary_file() as captured:
        logged = logging.root.manager.disable
        logging.disable(max(logged, logging.WARNING))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        text = io.TextIOWrapper(captured, encoding="utf-8", errors="replace", write_through=True)
        saved = {stream: os.dup(stream) for stream in (1, 2) if _is_open(stream)}
        try:
            for stream in saved:
                os.dup2(captured.fileno(), stream)
            with redirect_stdout(text), redirect_stderr(text):
                yield
        except Exception as error:
            captured.seek(0)
            error.add_note(captured.read().decode(errors="replace"))
            raise
        finally:
            logging.disable(logged)
            for stream, copy in saved.items():
                os.dup2(copy, stream)
                os.close(copy)
            text.detach()


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile("w+b", buffering=0)
    except OSError:  # nowhere can be written to, as in a container with a read-only root
        return open(os.devnull, "w+b", buffering=0)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
