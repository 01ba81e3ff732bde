"""The tensors of a published file and where they go, small enough to commit.

The names are a tree of their parts. Siblings with equal content are merged: {"layer1.": {"0. 1.": {...}}}. The name of
a Keras layer is written "=" if the names of its weights repeat it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_inception.weights.matching import match
from keras_inception.weights.publishers import LAYOUTS
from keras_inception.weights.readers import read

if TYPE_CHECKING:
    from .proofs import Proof, Result

FOLDER = Path(__file__).parents[1] / "goldens" / "weights"
PART = re.compile(r"([^._/|]*[._/|]?)(.*)")
Shapes = Mapping[str, tuple[int, ...]]


def fold(shapes: Shapes) -> dict[str, Any]:
    """{"a.0.w": (1, 2), "a.1.w": (1, 2)} -> {"a.": {"0. 1.": {"w": "1x2"}}}."""
    return _folded({_short(name): "x".join(map(str, shape)) for name, shape in shapes.items()})


def _folded(leaves: Mapping[str, str]) -> dict[str, Any]:
    groups: dict[str, dict[str, str]] = {}
    for name, shape in leaves.items():
        part, rest = PART.fullmatch(name).groups()
        groups.setdefault(part, {})[rest] = shape
    merged: dict[str, list[str]] = {}
    for part, inner in groups.items():
        content = json.dumps(inner[""] if list(inner) == [""] else _folded(inner))
        merged.setdefault(content, []).append(part)
    return {" ".join(parts): json.loads(content) for content, parts in merged.items()}


def unfold(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """The reverse, in any order."""
    for parts, inner in tree.items():
        for part in parts.split(" "):
            if isinstance(inner, str):
                yield _long(before + part), tuple(int(n) for n in inner.split("x") if n)
            else:
                yield from unfold(inner, before + part)


def _short(name: str) -> str:
    layer, bar, weight = name.partition("|")
    return layer + bar + (f"={weight.removeprefix(layer)}" if weight.startswith(layer) else weight)


def _long(name: str) -> str:
    layer, bar, weight = name.partition("|")
    return layer + bar + (layer + weight[1:] if weight.startswith("=") else weight)


def places(model: keras.Model, network: str, layout: str, tensors: Mapping[str, np.ndarray]) -> str:
    """A digest of the pairs of tensors and variables."""
    matches, _, _ = match(model, network, LAYOUTS[layout], tensors)
    pairs = sorted(f"{name} {layer.name} {variable.name}" for name, layer, variable, _ in matches)
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()[:16]


def write(proof: Proof, result: Result) -> None:
    """Record a successful proof."""
    tensors, record = read(result.path), proof.record
    golden = {
        "reference": proof.reference[0],
        "version": result.version,
        "date": datetime.now(UTC).date().isoformat(),
        "largest": float(f"{result.difference:.1e}"),
        **({} if result.written is None else {"written": float(f"{result.written:.1e}")}),
        **({} if result.hosted is None else {"hosted": float(f"{result.hosted:.1e}")}),
        "places": places(result.model, record.model, record.layout, tensors),
        "tensors": fold({name: array.shape for name, array in tensors.items()}),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in golden.items())
    (FOLDER / f"{proof.id}.json").write_text("{\n " + ",\n ".join(lines) + "\n}\n")
