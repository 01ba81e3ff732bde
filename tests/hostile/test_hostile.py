"""Hostile and broken input ends as documented. `judge` says what that is; the other modules have the cases."""

import pytest

from keras_inception.export.runtimes import trial

from . import images, records, tflite_files, weights_files
from .judge import Case, judge

CASES: list[Case] = [*images.CASES, *tflite_files.CASES, *weights_files.CASES, *records.CASES]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A .tflite file that does not end is stopped after a second, where users wait for minutes."""
    monkeypatch.setattr(trial, "SECONDS", 1)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_as_documented(case, tmp_path, record_property):
    record_property("hostile", (case.name, judge(case, tmp_path)))
