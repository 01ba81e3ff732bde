"""What needs no network waits for no import of TensorFlow, which takes seconds."""

import subprocess
import sys

import pytest
import typer

from keras_inception.cli import app

COMMANDS = sorted(typer.main.get_command(app).commands)
PROBE = """
import sys
from keras_inception.cli import main
try:
    main()
finally:
    slow = {"tensorflow", "keras", "numpy", "matplotlib", "sklearn"} & set(sys.modules)
    print("loaded:", *slow, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        *((name, "--help") for name in COMMANDS),
        ("models",),
        ("models", "inception*", "--pretrained", "--json"),
        ("models", "nothing*"),
        ("info", "inception_v3"),
        ("info", "InceptionV3", "--json"),
        ("info", "inceptoin_v3"),
    ],
    ids=" ".join,
)
def test_nothing_slow_is_loaded(words):
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "loaded:", done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if words[-1] in ("nothing*", "inceptoin_v3") else 0)
