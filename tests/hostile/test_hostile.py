"""Hostile and broken input ends as documented. `judge` says what that is; the other modules have the cases."""

import pytest

from keras_inception.export.runtimes import trial

from . import images, records, settings, tflite_files, weights_files
from .judge import Case, judge

CASES: list[Case] = [
    *images.CASES,
    *weights_files.CASES,
    *tflite_files.CASES,
    *records.CASES,
    *settings.CASES,
]
ONE_IN = {
    "run.json": 12,
    "state.json": 24,
    "training": 3,
    ".keras": 6,
    "train": 6,
}  # of these cases, which load or train, by default
MUTATIONS, BATCH = 10_000, 500


def of_default(place: int, case: Case) -> bool:
    return place % ONE_IN.get(case.name.split(":")[0].split(" ")[0], 1) == 0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A .tflite file that does not end is stopped after a second, where users wait for minutes."""
    monkeypatch.setattr(trial, "SECONDS", 1)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=[] if of_default(i, c) else pytest.mark.slow) for i, c in enumerate(CASES)],
)
def test_it_ends_as_documented(case, tmp_path, record_property):
    record_property("hostile", (case.name, judge(case, tmp_path)))


def test_there_are_five_hundred_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 500


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, MUTATIONS, BATCH))
def test_ten_thousand_mutations_of_a_tflite_file(first, tmp_path, record_property):
    """Most are refused; of those that run, every tenth goes through what takes a second too."""
    for seed in range(first, first + BATCH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = tflite_files.mutation_case(seed, whole=seed % 10 == 0)
        record_property("hostile", (case.name, judge(case, folder)))
