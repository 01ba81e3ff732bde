"""The limit of memory that a large network's process has, and what `make long` found."""

import sys

import pytest

from ..markdown import rows_in
from .large import NETWORKS, ROWS, TABLE, within

# TensorFlow and tf2onnx hold too many copies of the weights; OpenVINO's converter ends by a signal.
OPEN = {
    *(f"{name} / onnx" for name in ("fractalnet34", "nasnet_large", "vgg19", "senet154")),
    "senet154 / openvino",
}


def test_a_process_that_holds_too_much_is_ended() -> None:
    with pytest.raises(MemoryError, match=r"more than 0\.2 GB"):
        within([sys.executable, "-c", "import time; held = bytearray(400_000_000); time.sleep(60)"], 0.2)


def test_a_process_that_fails_says_why() -> None:
    assert within([sys.executable, "-c", "print('done')"], 1) == "done\n"
    with pytest.raises(RuntimeError, match="ValueError: no"):
        within([sys.executable, "-c", "raise ValueError('no')"], 1)
    with pytest.raises(RuntimeError, match="ended with -9"):
        within([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 1)


def test_the_table_has_no_failures_but_those_that_are_open() -> None:
    """This concerns the rows that were measured, which need not be all."""
    rows = rows_in(TABLE.path.read_text(encoding="utf-8"), TABLE.all_columns)
    assert {row[TABLE.key] for row in rows} <= {*ROWS}
    assert {row[TABLE.key].split(" / ")[0] for row in rows} <= {*NETWORKS}
    assert {row[TABLE.key] for row in rows if row["ok"] != "yes"} == OPEN
