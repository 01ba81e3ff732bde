"""Normalisations that several publishers use, as arguments of `Preprocessing`."""

from typing import Any

HALF: dict[str, Any] = {}  # 0..255 to -1..1, the default of Preprocessing
IMAGENET: dict[str, Any] = {
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}  # ImageNet's
