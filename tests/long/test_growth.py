"""Memory does not grow with what is done; `make growth` does it more often, and growth.md is what it found."""

import json
import subprocess
import sys

import pytest

from ..markdown import rows_in
from .growth import MOST, PAGE, TIMES


def slope(what: str, times: int) -> float:
    command = [sys.executable, "-m", "tests.long.growth", what, str(times)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["slope"]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "times"), [("exports", 40), ("predictions", 2_000)])
def test_memory_does_not_grow(what: str, times: int) -> None:
    assert slope(what, times) <= MOST[what]


@pytest.mark.slow
def test_a_batch_that_is_kept_is_found() -> None:
    assert slope("leaks", 400) > MOST["steps"]


def test_the_table_has_no_failures() -> None:
    columns = ("what", "times", "first", "last", "slope", "most", "ok")
    rows = rows_in(PAGE.read_text(encoding="utf-8"), columns)
    assert [row["what"] for row in rows] == [work.__name__ for work in TIMES]
    assert {row["what"] for row in rows if row["ok"] != "yes"} == set()
