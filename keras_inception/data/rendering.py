"""Batches of inputs from images of any kind, on all cores.

A batch is divided among threads. Each reads, decodes and resizes its images in libraries that work outside of Python's
lock; per image Python itself is busy for about a tenth of a millisecond.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..preprocessing import Preprocessing
from .augmentation import Changes, Crops
from .decoding import Decoded, Opened, opened

ALIGNMENT = 64  # bytes

T = TypeVar("T")


class Renderer:
    """Renders images of `Split.sources` as `changes` says, or their central views: indices -> (n, *shape) float32."""

    def __init__(self, sources: np.ndarray, preprocessing: Preprocessing, changes: Changes | None):
        self.sources, self.preprocessing = sources, preprocessing
        self.changes = changes or Crops()
        views = len(self.changes.views(*preprocessing.size, preprocessing, np.random.default_rng(0)))
        self.shape = preprocessing.input_shape if changes is None or views == 1 else (views, *preprocessing.input_shape)

    def __call__(self, indices: np.ndarray, seed: int | np.ndarray = 0, rows: slice = slice(None)) -> np.ndarray:
        """Render these rows of a batch; `seed` is of what is random in the whole of it.

        Raises:
            InputError: an image can no longer be read.
        """
        random = np.random.default_rng(seed)
        randoms = [random] * len(indices) if isinstance(self.changes, Crops) else random.spawn(len(indices))
        sources = self.sources[indices[rows]]
        inputs = _aligned((len(sources), *self.shape))
        _on_all_cores(self._render, list(zip(sources, randoms[rows], inputs, strict=True)))
        return inputs

    def attempt(self, count: int) -> tuple[np.ndarray, dict[int, InputError]]:
        """Render all images into a batch of `count`, at least as many: what is not filled is 0.

        Returns:
            (count, *shape) float32; and why an image cannot be read, by its place.
        """
        inputs, failed = _aligned((count, *self.shape)), dict[int, InputError]()
        inputs[len(self.sources) :] = 0
        random = np.random.default_rng(0)

        def attempted(tasks: Sequence[tuple[int, Any, np.ndarray]]) -> None:
            for i, source, out in tasks:
                try:
                    self._render([(source, random, out)])
                except InputError as error:
                    failed[i], out[:] = error, 0

        _on_all_cores(attempted, list(zip(range(len(self.sources)), self.sources, inputs, strict=False)))
        return inputs, failed

    def _render(self, tasks: Sequence[tuple[Any, np.random.Generator, np.ndarray]]) -> None:
        for source, random, out in tasks:
            self._image(Decoded(as_rgb(source)) if isinstance(source, np.ndarray) else opened(source), random, out)

    def _image(self, image: Opened, random: np.random.Generator, out: np.ndarray) -> None:
        views = self.changes.views(*image.size, self.preprocessing, random)
        reduction = min(view.reduction for view in views)
        pixels = image.pixels(reduction, exact=all(view.exact for view in views))
        if pixels.shape[:2] == image.size:
            reduction = 1  # it cannot be reduced
        for view, target in zip(views, out.reshape(-1, *self.preprocessing.input_shape), strict=True):
            view.render(pixels, self.preprocessing, target, reduction=reduction)


def _on_all_cores(function: Callable[[Sequence[T]], None], tasks: Sequence[T]) -> None:
    """Divide tasks among the threads; raises what one of them raises."""
    workers = min(cores(), len(tasks))
    list(_threads().map(function, (tasks[i::workers] for i in range(workers))))


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An array that TensorFlow takes as it is: it copies what does not begin at a multiple of 64 bytes."""
    memory = np.empty(math.prod(shape) + ALIGNMENT // 4, np.float32)
    first = -memory.ctypes.data % ALIGNMENT // 4
    return memory[first : first + math.prod(shape)].reshape(shape)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Grey or RGB images, (..., H, W), (..., H, W, 1) or (..., H, W, 3), as (..., H, W, 3)."""
    if image.ndim == 2:
        image = image[..., np.newaxis]
    return np.broadcast_to(image, (*image.shape[:-1], 3))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="images")
