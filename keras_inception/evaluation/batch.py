"""A network's function over batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np

from ..data.split import AHEAD

A = TypeVar("A")
B = TypeVar("B")


def ahead(function: Callable[[A], B], items: Iterable[A]) -> Iterator[tuple[A, B]]:
    """Each item with what the function makes of it, computed by threads while the one before is in use.

    For a few images a tf.data pipeline takes longer to build than the network to run, and keeps memory.
    """
    pool, waiting = ThreadPoolExecutor(AHEAD), deque[tuple[A, Future[B]]]()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > AHEAD:
                done, made = waiting.popleft()
                yield done, made.result()
        for done, made in waiting:
            yield done, made.result()
    finally:
        pool.shutdown(cancel_futures=True)


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
