"""A network's function over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np


def in_batches(function: Callable[[Any], Any], batches: Iterable[Any]) -> Iterator[Any]:
    """The function's outputs for each batch, as float32.

    A shorter last batch is padded to the size of the first: another shape would be traced anew.
    """
    size = 0
    for x in batches:
        n = len(x)
        size = size or n
        padded = np.concatenate([x, np.zeros((size - n, *x.shape[1:]), np.float32)]) if n < size else x
        outputs = function(padded)
        yield keras.tree.map_structure(lambda output, n=n: np.asarray(output, np.float32)[:n], outputs)
