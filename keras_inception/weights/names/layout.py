"""A layout: how one publisher's files name the weights of the networks that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .frameworks import Framework
from .rules import Table

Tensors = Mapping[str, np.ndarray]


def _as_they_are(tensors: Tensors) -> Tensors:
    return tensors


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One table for each network that the publisher has, by its registry name; see `rules` for what a table says."""

    name: str
    framework: Framework
    tables: Mapping[str, Table]
    prepare: Callable[[Tensors], Tensors] = _as_they_are  # to names that a table can speak of

    def ignores(self, name: str) -> bool:
        """Whether a tensor of that name is none of a model's weights."""
        return bool(self.framework.ignored.fullmatch(name))
