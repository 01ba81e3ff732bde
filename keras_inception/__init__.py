"""The classic CNNs, LeNet to SENet, exact to their papers, in Keras 3.

Every network is a function that returns a functional `keras.Model`: `keras_inception.InceptionV3()`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Look a public name up where it is defined: TensorFlow loads for seconds, so not before it is needed."""
    return getattr(importlib.import_module(".public", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module(".public", __name__).__all__})
