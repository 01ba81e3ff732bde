"""Hostile and broken input ends as documented. `judge` says what that is; the other modules have the cases."""

import pytest

from . import images
from .judge import Case, judge

CASES: list[Case] = [*images.CASES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_as_documented(case, tmp_path, record_property):
    record_property("hostile", (case.name, judge(case, tmp_path)))
