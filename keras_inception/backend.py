"""Which Keras is imported, and with which backend: both are decided at its first import, for the whole process."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

NAME = "tensorflow"
VARIABLE = "KERAS_BACKEND"


def check_backend() -> None:
    """Refuse another backend than TensorFlow before Keras is imported, which fails for one that is not installed.

    A file `keras.py` or `tensorflow.py` that Python would import in place of the package is refused too.

    In a process of the command line the refusal is a line on stderr and exit code 1.

    Raises:
        ImportError: Keras uses, or would use, another backend, or is not Keras.
    """
    if (problem := _problem()) is None:
        return
    if "keras_inception" in sys.orig_argv or Path(sys.argv[0]).name == "keras-inception":
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
    raise ImportError(problem)


def _problem() -> str | None:
    for package in ("keras", "tensorflow"):
        spec = None if package in sys.modules else find_spec(package)
        if spec and spec.submodule_search_locations is None:
            return f"{spec.origin} hides the package {package}: rename the file, or work in another folder"
    if (config := getattr(sys.modules.get("keras"), "config", None)) and hasattr(config, "backend"):
        found = config.backend()
        if found == NAME:
            return None
        cure = f"Keras was imported before with {found}: set {VARIABLE}={NAME} and start Python again"
    elif found := os.environ.get(VARIABLE):
        cure = f"{VARIABLE} is {found}: unset it, or set it to {NAME}"
    else:
        file, found = _from_file()
        cure = f'"backend" in {file} is {found}: change it to {NAME}, or set {VARIABLE}={NAME}'
    return None if found == NAME else f"keras_inception needs the TensorFlow backend of Keras; {cure}"


def _from_file() -> tuple[Path, str]:
    """The path of keras.json as Keras looks for it, and the backend that it names."""
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME") or os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    file = Path(folder).expanduser() / "keras.json"
    try:
        return file, json.loads(file.read_text(encoding="utf-8")).get("backend", NAME)
    except (OSError, ValueError, AttributeError):  # no such file, or one that Keras ignores too
        return file, NAME
