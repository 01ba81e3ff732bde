"""What tests of the command line share."""

import sys

import pytest
import tensorflow as tf

from keras_inception import cli


@pytest.fixture
def call(monkeypatch, capfd):
    """Run a command in this process: (exit code, stdout, stderr)."""

    tf.zeros(())  # looks for devices, of which C++ writes a line, once

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-inception", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call
