"""The terminal: nothing is cut where there is none, a progress bar only where there is one, silence that ends."""

import ctypes
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref

import pytest
from rich.table import Table

from keras_inception.terminal import (
    foreign_call,
    heard_again,
    interruptible,
    note,
    print_table,
    progress,
    progress_bar,
    quiet,
    say,
    uninterrupted,
)

LONG = "word " * 60 + "[end] :smile: $5_$ 100%"


def table() -> Table:
    made = Table("name", "what it is", box=None)
    made.add_row("a", LONG)
    return made


@pytest.mark.parametrize("columns", ["20", None])
def test_nothing_is_cut_or_wrapped_without_a_terminal(columns, monkeypatch, capsys) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    note(LONG)
    print_table(table())
    out, err = capsys.readouterr()
    assert err == f"{LONG}\n"
    assert [line.split() for line in out.splitlines()][1] == ["a", *LONG.split()]
    assert len(out.splitlines()) == 2


def test_a_table_fits_the_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(table())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in lines) <= 40


ROW = {"file": "runs/flowers/exports/float32.tflite", "bytes": "1,234,567", "milliseconds": "12.25"}


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_narrow_terminal_cuts_no_number_and_no_name(columns, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    made = Table(box=None)
    for name in ROW:
        made.add_column(name, justify="left" if name == "file" else "right")
    made.add_row(*ROW.values())
    print_table(made)
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= columns
    assert all(any(number in line for line in lines) for number in ("1,234,567", "12.25"))
    text = "".join(re.sub(r"(1,234,567|12\.25|bytes|milliseconds)", "", line).replace(" ", "") for line in lines)
    assert ROW["file"] in text
    assert "…" not in text


@pytest.mark.parametrize("columns", ["0", "many", ""])
def test_columns_that_are_no_number(columns, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    say(LONG)
    note(LONG)
    assert capsys.readouterr() == (f"{LONG}\n", f"{LONG}\n")


def test_without_streams(monkeypatch) -> None:
    """As in pythonw, or where stdout is closed."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with quiet():
        os.write(1, b"from C")
    print_table(table())
    say("text")
    note("remark")
    with progress_bar("first") as advance:
        advance(1)


def test_silence_for_streams_without_a_descriptor(monkeypatch) -> None:
    """As in a notebook, where they write into the cell."""
    cell = io.StringIO()
    monkeypatch.setattr(sys, "stdout", cell)

    @quiet()
    def fails() -> None:
        print("from Python")
        os.write(1, b"from C")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as raised:
        fails()
    print("after")
    assert cell.getvalue() == "after\n"
    assert "from Python\nfrom C" in raised.value.__notes__[0]


def test_silence_where_no_file_can_be_made(monkeypatch, capfd) -> None:
    def fails(*args, **kwargs) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", fails)
    with quiet():
        os.write(1, b"from C")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_process_is_as_ctrl_c(number) -> None:
    started = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored
    written = []

    @interruptible()
    def writes() -> None:
        with uninterrupted():
            signal.raise_signal(number)
            written.append("the end")
        written.append("more")

    with pytest.raises(KeyboardInterrupt) as raised:
        writes()
    assert written == ["the end"]
    assert raised.value.args == (number,)
    assert signal.signal(number, started) is signal.SIG_DFL


def test_a_signal_within_a_callback_is_not_lost(capfd) -> None:
    def callback(reference: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0)

    things = [threading.Event()]
    reference = weakref.ref(things[0], callback)

    @interruptible()
    def releases() -> None:
        things.clear()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt) as raised:
        releases()
    assert raised.value.args == (signal.SIGTERM,)
    assert reference() is None
    assert capfd.readouterr() == ("", "")


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # under nohup
    with interruptible():
        signal.raise_signal(signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


@pytest.mark.skipif(sys.platform == "win32", reason="ctypes finds C's signal in the process itself elsewhere")
def test_a_handler_that_a_library_has_replaced_is_heard_again() -> None:
    with interruptible():
        ctypes.CDLL(None).signal(signal.SIGTERM, signal.SIG_IGN)  # as TensorFlow, unknown to Python
        signal.raise_signal(signal.SIGTERM)
        heard_again()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def terminal(monkeypatch):
    """Switch to one."""

    def switch() -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
        monkeypatch.setenv("TERM", "xterm")

    return switch


def test_a_progress_bar_only_on_a_terminal(terminal, capsys) -> None:
    assert list(progress(iter("abc"), "Reading [x]", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
    terminal()
    assert list(progress(iter("abc"), "Reading [x]")) == ["a", "b", "c"]
    with progress_bar("weights", 2**20, done=2**19, in_bytes=True) as advance:
        advance(2**18)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Reading [x]" in err
    assert "weights" in err
    assert "MB" in err


def test_a_bar_shows_steps_a_second(terminal, capsys) -> None:
    terminal()
    with progress_bar("Reading", 4000) as advance:
        for _ in range(4):
            advance(1000)
            time.sleep(0.1)
    rates = [float(found.replace(",", "")) for found in re.findall(r"([\d,.]+)/s", capsys.readouterr().err)]
    assert 100 < max(rates) < 1e6


def test_notes_and_other_bars_within_a_bar(terminal, capsys) -> None:
    terminal()
    for _ in progress([0], "first"):
        note("remark")
        assert list(progress([1], "second")) == [1]
    err = capsys.readouterr().err
    assert all(text in err for text in ("first", "remark", "second"))


def test_a_loop_that_is_left_early_ends_its_progress_bar(terminal, capsys) -> None:
    terminal()
    for _ in progress([1, 2], "first"):
        break
    with progress_bar("second"):
        pass
    assert "second" in capsys.readouterr().err


def test_silence_holds_for_c_and_is_in_the_exceptions_notes(capfd) -> None:

    @quiet()
    def fails() -> None:
        os.write(1, b"from C")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as raised:
        fails()
    print("after")
    assert capfd.readouterr() == ("after\n", "")
    [told] = raised.value.__notes__
    assert "from C" in told


def test_silence_lets_a_ctrl_c_pass(capfd) -> None:

    @quiet()
    def is_interrupted() -> None:
        os.write(2, b"pages of a converter's text")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        is_interrupted()
    assert not hasattr(raised.value, "__notes__")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


SCRIPT = """
import signal
from keras_inception.terminal import foreign_call, interrupt
signal.signal(signal.SIGINT, interrupt)
with foreign_call():
    print("ready", flush=True)
    sum(range(10**11))  # in C, deaf to signals
"""


def test_ctrl_c_ends_a_foreign_call_of_the_command_line_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=2) == -signal.SIGINT
    process.stdout.close()


def test_a_foreign_call_leaves_anothers_handler_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with foreign_call():
        assert signal.getsignal(signal.SIGINT) is before
