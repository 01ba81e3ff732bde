"""Every network against every property that a test of this folder has.

    make conformance                        # what is not in the table yet; hours
    python -m tests.conformance resnet18    # this network again

A row is the tests of one network, the slow ones included, and its references in tests/parity; a column is a file of
tests. What takes hours by itself has a table of its own, and its verdict is shown here.
"""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from keras_inception.registry import Architecture

from . import backends, qat, runtimes, tflite
from .table import Row, Table

FOLDER = Path(__file__).parent
PARITY = FOLDER.parent / "parity" / "test_goldens.py"
# A table has what these find for every network.
OF_TABLES = {"backends", "tflite", "versions"}
FILES = {path.stem.removeprefix("test_"): path for path in sorted(FOLDER.glob("test_*.py"))}
PROPERTIES = {name: path for name, path in FILES.items() if name not in OF_TABLES} | {"parity": PARITY}


class Outcomes:
    """A plugin for pytest: selects the tests of one network, and remembers which failed or were skipped."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed: dict[str, int] = defaultdict(int)
        self.others: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.name in _parts(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path, _, test = report.nodeid.partition("::")
        column = "parity" if Path(path).parent.name == "parity" else Path(path).stem.removeprefix("test_")
        if not report.passed:
            self.others[column].append(test)
        elif report.when == "call":
            self.passed[column] += 1

    def cell(self, column: str) -> str:
        """How many tests passed, and of how many where that is not all."""
        passed, others = self.passed[column], len(self.others[column])
        return (f"{passed} of {passed + others}" if others else str(passed)) if passed or others else ""


def _parts(item: pytest.Item) -> list[str]:
    """The parameters of a test, of which a network's name is one."""
    callspec = getattr(item, "callspec", None)
    return callspec.id.split("-") if callspec else []


def measure(architecture: Architecture) -> Row:
    outcomes = Outcomes(architecture.name)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
    with contextlib.redirect_stdout(sys.stderr):  # a row is what is printed
        pytest.main([*options, *map(str, PROPERTIES.values())], plugins=[outcomes])
    bad = [f"{column}: {test}" for column, tests in outcomes.others.items() for test in tests]
    return {column: outcomes.cell(column) for column in PROPERTIES} | {"ok": "; ".join(bad)[:200] or "yes"}


TABLE = Table(
    module="tests.conformance",
    path=FOLDER / "conformance.md",
    title="Every network, every property",
    notes=(
        "`make conformance` measures the rows that are missing. A column is a file of tests, "
        "tests/conformance/test_*.py, whose first line says what it is about; a cell is how many of its tests passed, "
        "and empty where it has none for the network. **parity** has tests/parity's references.",
        "**tflite**, **QAT**, **runtimes**, **backends**: what [tflite.md](tflite.md), [qat.md](qat.md), "
        "[runtimes.md](runtimes.md) and [backends.md](backends.md) say; empty where they have no row yet.",
    ),
    columns=tuple(PROPERTIES),
    packages=("tensorflow", "keras", "tensorflow-model-optimization", "ai-edge-litert", "openvino", "onnxruntime"),
    measure=measure,
    joined={"tflite": tflite.TABLE, "QAT": qat.TABLE, "runtimes": runtimes.TABLE, "backends": backends.TABLE},
)

if __name__ == "__main__":
    TABLE.main()
