"""The terminal: nothing is cut where there is none, a progress bar only where there is one, silence that ends."""

import os
import re
import signal
import subprocess
import sys

import pytest
from rich.table import Table

from keras_inception.terminal import foreign_call, note, print_table, progress, progress_bar, quiet

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
