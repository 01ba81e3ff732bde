"""Which Keras is imported, and with which backend: both are decided at its first import, for the whole process."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

TENSORFLOW = "tensorflow"
BACKENDS = TENSORFLOW, "jax", "torch"  # of networks, their weights and callbacks; the rest is written with TensorFlow
VARIABLE = "KERAS_BACKEND"


def check_backend() -> None:
    """Refuse a backend that networks do not run on before Keras is imported, which fails for one not installed.

    A file `keras.py` or `tensorflow.py` that Python would import in place of the package is refused too.

    In a process of the command line the refusal is a line on stderr and exit code 1, and TensorFlow is the only one.

    Raises:
        ImportError: Keras uses, or would use, another backend, or is not Keras.
    """
    on_command_line = "keras_inception" in sys.orig_argv or Path(sys.argv[0]).name == "keras-inception"
    allowed = (TENSORFLOW,) if on_command_line else BACKENDS
    if (problem := _hidden() or _another("keras_inception", allowed)) is None:
        return
    if on_command_line:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
    raise ImportError(problem)


def need_tensorflow(room: str) -> None:
    """Refuse other backends where code is written with TensorFlow: images, training, evaluation, export.

    Raises:
        ImportError: Keras uses another backend.
    """
    if problem := _another(room, (TENSORFLOW,)):
        raise ImportError(f"{problem}. Networks, weights and callbacks run on {_listed(BACKENDS)}, by Keras' own fit")


def _hidden() -> str | None:
    for package in ("keras", "tensorflow"):
        spec = None if package in sys.modules else find_spec(package)
        if spec and spec.submodule_search_locations is None:
            return f"{spec.origin} hides the package {package}: rename the file, or work in another folder"
    return None


def _another(what: str, allowed: tuple[str, ...]) -> str | None:
    """Why `what` cannot be imported, if Keras uses, or would use, a backend that is not allowed."""
    wanted = _listed(allowed)
    if (config := getattr(sys.modules.get("keras"), "config", None)) and hasattr(config, "backend"):
        found = config.backend()
        cure = f"Keras was imported before with {found}: set {VARIABLE}={TENSORFLOW} and start Python again"
    elif found := os.environ.get(VARIABLE):
        cure = f"{VARIABLE} is {found}: unset it, or set it to {wanted}"
    else:
        file, found = _from_file()
        cure = f'"backend" in {file} is {found}: change it to {wanted}, or set {VARIABLE}={TENSORFLOW}'
    return None if found in allowed else f"{what} needs the backend {wanted} of Keras; {cure}"


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _from_file() -> tuple[Path, str]:
    """The path of keras.json as Keras looks for it, and the backend that it names."""
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME") or os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    file = Path(folder).expanduser() / "keras.json"
    try:
        return file, json.loads(file.read_text(encoding="utf-8")).get("backend", TENSORFLOW)
    except (OSError, ValueError, AttributeError):  # no such file, or one that Keras ignores too
        return file, TENSORFLOW
