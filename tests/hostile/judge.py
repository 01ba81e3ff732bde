"""What a case is, and the one judge of all: it ends as documented, soon, in little memory, and nothing is half written.

A case passes if its call returns, or raises an `InputError` of one line that names the file or the value. Everything
else fails it: another exception, a call that does not end, a line on standard error for every byte of a file, memory
that grows with what a header claims, and a file that was changed, or left where none was finished.
"""

from __future__ import annotations

import faulthandler
import hashlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from keras_inception import InputError, cli
from keras_inception.files import PART

SECONDS = 20  # of a case on a loaded machine; most take a hundredth of one
KILLED = 3 * SECONDS  # after which the process ends with a traceback: native code hears of no exception
MEMORY = 400 * 2**20  # bytes that a case may add: the largest image that is decoded has 200 MB
LINES = 3  # of remarks and warnings

Ends = Literal["answer", "refused", "either"]


class TooLong(BaseException):
    """A case that does not end. No `except Exception` takes it."""


@dataclass(frozen=True)
class Case:
    """`write` makes something in an empty folder and returns what `call` is given beside a folder for its output.

    `ends` says how. A refusal names the file that `write` returned, or `names`.
    """

    name: str
    write: Callable[[Path], Any]
    call: Callable[[Any, Path], Any]
    ends: Ends = "refused"
    names: str | None = None
    memory: int = MEMORY
    lines: int = LINES

    def __str__(self) -> str:
        return self.name


class UsageError(Exception):
    """What the command line's parser says of an option, and exits with 2."""


def command(*arguments: Any) -> None:
    """Run a command of `keras-inception` in this process.

    Raises:
        InputError: it failed as documented: exit code 1, nothing on stdout but tables, "error: " and a line on stderr.
        UsageError: its parser refused an argument.
    """
    before, said = sys.argv, io.StringIO()
    sys.argv = ["keras-inception", *map(str, arguments)]
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as stop:
        remarks, _, message = said.getvalue().partition("error: ")
        print(remarks, end="", file=sys.stderr)
        if stop.code == 2:
            raise UsageError from None
        if stop.code:
            raise InputError(message.removesuffix("\n")) from None
    finally:
        sys.argv = before


def judge(case: Case, folder: Path) -> float:
    """Run a case in an empty folder; the seconds that its call took.

    Raises:
        AssertionError: it does not end as it should.
    """
    given, out = folder / "given", folder / "out"
    given.mkdir()
    out.mkdir()
    subject = case.write(given)
    before, empty = contents(given), contents(out)
    start = time.perf_counter()
    error: Exception | None = None
    with _limits(case), _said() as said, chdir(out):
        try:
            case.call(subject, out)
        except Exception as raised:
            error = raised
    seconds = time.perf_counter() - start
    assert contents(given) == before, f"changed what it was given: {set(contents(given)) ^ set(before)}"
    assert not [name for name in contents(out) if PART in name], "left a part of a file"
    assert sorted(os.listdir(folder)) == ["given", "out"], "wrote elsewhere"
    assert len(said) <= case.lines, f"{len(said)} lines: {said[:5]}"
    if error is None:
        assert case.ends != "refused", "accepted it"
        return seconds
    if isinstance(error, UsageError):
        assert case.names, "say which option the parser refuses"
        return seconds
    if not isinstance(error, InputError):
        raise AssertionError(f"raised a {type(error).__name__}: {error}") from error
    assert case.ends != "answer", str(error)
    check_refusal(error, case.names or (subject.name if isinstance(subject, Path) else str(subject)))
    assert contents(out) == empty, f"failed, and left {set(contents(out)) - set(empty)}"
    return seconds


def check_refusal(error: InputError, name: str) -> InputError:
    """The error, if its message is one line that has this name."""
    message, name = str(error), "\\n".join(name.splitlines())
    assert "\n" not in message, message
    assert "Traceback" not in message, message
    assert name in message, f"{message!r} does not name {name!r}"
    return error


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, links not followed: of a file its size and a hash of its start, of all else what it is."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(parent, name)
            regular = path.is_file() and not path.is_symlink()
            found[str(path.relative_to(folder))] = _hash(path) if regular else str(path.lstat().st_mode)
    return found


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"{path.stat().st_size} {hashlib.sha256(file.read(2**20)).hexdigest()}"
    except OSError as error:  # unreadable for us too
        return str(error.errno)


@contextmanager
def _limits(case: Case) -> Iterator[None]:
    """Time, and memory: that which may be asked for, and the peak of what is used."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = _memory("VmSize"), _peak_from_now()
    handler = signal.signal(signal.SIGALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (before[0] + 2**33, hard))
    faulthandler.dump_traceback_later(KILLED, exit=True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # and again, if a destructor swallowed it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    grown = _memory("VmHWM") - before[1]
    assert grown < case.memory, f"{case.name} took {grown / 2**20:,.0f} MiB"


def _too_long(*_: object) -> NoReturn:
    raise TooLong(f"it did not end within {SECONDS} s")


def _memory(field: str) -> int:
    with open("/proc/self/status", encoding="utf-8") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _peak_from_now() -> int:
    """Let the peak memory of this process be counted from now on; what it is now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _memory("VmRSS")


@contextmanager
def _said() -> Iterator[list[str]]:
    """What is said on standard error, by Python and by native code, and what is warned of: lines, after the block."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+") as file, warnings.catch_warnings(record=True, action="always") as warned:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with redirect_stderr(file):
                yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            lines += [*file.read().splitlines(), *(str(warning.message) for warning in warned)]
