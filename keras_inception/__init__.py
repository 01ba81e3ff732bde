"""The classic CNNs, LeNet to SENet, exact to their papers, in Keras 3.

Every network is a function that returns a functional `keras.Model`: `keras_inception.InceptionV3()`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Find a module of the package, or a public name: TensorFlow loads for seconds, so not before it is needed."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    if importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f".{name}", __name__)
    return getattr(importlib.import_module(".public", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module(".public", __name__).__all__})
