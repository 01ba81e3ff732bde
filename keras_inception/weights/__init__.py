"""Weights for a built network, from a file."""

from __future__ import annotations

from pathlib import Path

import keras

from ..errors import InputError
from .tflite import from_tflite

__all__ = ["from_tflite", "load"]


def load(model: keras.Model, source: str | Path) -> None:
    """Fill `model` with the weights in a `.weights.h5` or `.keras` file of the same network.

    Raises:
        InputError: there is no such file, it is of another kind, or it holds another network.
    """
    path = Path(source)
    if not path.name.endswith((".weights.h5", ".keras")):
        raise InputError(f"weights is None or the path of a .weights.h5 or .keras file; got {str(source)!r}")
    if not path.is_file():
        raise InputError(f"no weights file at {path}")
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} does not fit {model.name}: {reason}") from error
