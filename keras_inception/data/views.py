"""What a network's input shows of an image, and its pixels: natively what `Preprocessing` computes as a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from ..preprocessing import LUMA, Box, Preprocessing
from .operations import Operation

KEPT = 4096  # weights of axes that are kept: images of a folder often have the same size
# Red, green and blue to luma and two chromas, in which a change of hue is a rotation (NTSC).
YIQ = np.array([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
RGB = np.linalg.inv(YIQ)
SPARE = 1.25  # sides of a reduced window over those of its place: the transform that reduces is a filter already
GRID = 16  # of so many rows and columns one is taken for the mean colour


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A change of colours, linear in them. The order is brightness, saturation, hue, contrast.

    `brightness` is added, in grey levels. `saturation` and `contrast` are factors of the distance from the pixel's luma
    and from the mean colour. `hue` is a rotation, in turns.
    """

    brightness: float = 0.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast: float = 1.0

    def matrix(self, mean: np.ndarray) -> np.ndarray:
        """(3, 4) for pixels around this mean colour: factors of red, green and blue, and what is added."""
        cos, sin = (self.saturation * f(2 * math.pi * self.hue) for f in (math.cos, math.sin))
        factors = RGB @ np.array([(1, 0, 0), (0, cos, -sin), (0, sin, cos)]) @ YIQ
        added = (1 - self.contrast) * (factors @ mean + self.brightness) + self.contrast * self.brightness
        return np.column_stack([self.contrast * factors, added])


@dataclass(frozen=True, kw_only=True)
class View:
    """What an input shows: the `window` of an image, resized to a `place` in the input.

    What reaches out of the input is cut; what the window does not cover has `Preprocessing.border`'s colour. `mirrored`
    exchanges left and right of the input. `operations` then change the input's pixels in their order, and what is
    `erased` gets the border's colour. Unless it is `exact`, a JPEG file may be decoded faster: at 1/2, 1/4 or 1/8 of
    its size, by an approximate transform, and without smoothing its chroma.
    """

    window: Box
    place: Box
    mirrored: bool = False
    colour: Colour | None = None
    operations: tuple[Operation, ...] = ()
    erased: Box | None = None
    exact: bool = True

    @property
    def reduction(self) -> int:
        """By how much a file may be reduced: 1, 2, 4 or 8."""
        if self.exact:
            return 1
        spare = min(self.window.rows / self.place.rows, self.window.columns / self.place.columns)
        return next((n for n in (8, 4, 2) if spare >= SPARE * n), 1)

    def render(self, image: np.ndarray, preprocessing: Preprocessing, out: np.ndarray, *, reduction: int = 1) -> None:
        """Write the network's input, (*size, channels) float32, into `out`.

        `image` is (H, W, 3) uint8, whose sides are 1/`reduction` of those that `window` refers to.
        """
        if self.operations:  # on pixels of the input's size, which are then normalised as a view of their own
            whole, pixels = Box(0, 0, *preprocessing.size), self._operated(image, preprocessing, reduction)
            View(window=whole, place=whole, erased=self.erased).render(pixels, preprocessing, out)
            return
        from .kernels import resample  # numba takes half a second

        (height, width), kind = preprocessing.size, preprocessing.interpolation
        window, place = _reduced(self.window, reduction, image), self.place
        rows = _axis(window.rows, place.top, place.rows, height, kind, False)
        columns = _axis(window.columns, place.left, place.columns, width, kind, self.mirrored)
        normal = _normal(preprocessing)
        blank = normal[:, :3] @ preprocessing.border + normal[:, 3]
        if len(rows.starts) < height or len(columns.starts) < width:
            out[:] = blank
        mix = normal if self.colour is None else _composed(normal, self.colour.matrix(_mean(image, window)))
        resample(
            np.ascontiguousarray(image).reshape(len(image), -1),
            window.top + rows.starts,
            rows.weights,
            window.left + columns.starts,
            columns.weights,
            np.concatenate([mix, _limits(preprocessing)], axis=1, dtype=np.float32),
            kind != "bilinear",
            out,
            rows.first,
            columns.first,
        )
        if self.erased:
            top, left, down, across = self.erased
            out[top : top + down, left : left + across] = blank

    def _operated(self, image: np.ndarray, preprocessing: Preprocessing, reduction: int) -> np.ndarray:
        """The pixels of the input after the operations: (*size, 3) uint8."""
        pixels = np.empty((*preprocessing.size, 3), np.float32)
        plain = replace(self, operations=(), erased=None)
        plain.render(image, preprocessing.unnormalized, pixels, reduction=reduction)
        changed = Image.fromarray(np.rint(pixels).astype(np.uint8))
        fill = tuple(round(level) for level in preprocessing.border)
        for operation in self.operations:
            changed = operation(changed, fill)
        return np.asarray(changed)


def _composed(normal: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(channels, 4) for pixels whose colours are changed first."""
    factors = normal[:, :3] @ colour
    factors[:, 3] += normal[:, 3]
    return factors


def central(height: int, width: int, preprocessing: Preprocessing) -> View:
    """The view that an evaluation has of an image of this size."""
    window, place = preprocessing.geometry(height, width)
    return View(window=window, place=place)


def _reduced(window: Box, reduction: int, image: np.ndarray) -> Box:
    """A window of a reduced image, in whole pixels of it."""
    if reduction == 1:
        return window
    top, left = window.top // reduction, window.left // reduction
    rows, columns = (max(1, round(side / reduction)) for side in (window.rows, window.columns))
    return Box(top, left, min(rows, image.shape[0] - top), min(columns, image.shape[1] - left))


def _mean(image: np.ndarray, window: Box) -> np.ndarray:
    top, left, rows, columns = window
    pixels = image[top : top + rows : GRID, left : left + columns : GRID].reshape(-1, 3)
    return pixels.sum(axis=0, dtype=np.uint32) / len(pixels)


@lru_cache(16)
def _normal(preprocessing: Preprocessing) -> np.ndarray:
    """`Preprocessing.normalize` as (channels, 4): factors of red, green and blue, and what is added."""
    colours = {"RGB": np.eye(3), "BGR": np.eye(3)[::-1], "L": np.array([LUMA])}[preprocessing.channels]
    std, mean = (np.array(values)[:, np.newaxis] for values in (preprocessing.std, preprocessing.mean))
    return np.concatenate([colours / std, -mean / std], axis=1)


@lru_cache(16)
def _limits(preprocessing: Preprocessing) -> np.ndarray:
    """What 0 and 255 become in each channel, the lower first: (channels, 2)."""
    normal = _normal(preprocessing)
    return np.sort(np.outer(normal[:, :3].sum(axis=1), (0, 255)) + normal[:, 3:], axis=1)


@dataclass(frozen=True)
class _Axis:
    """The lines of an input from `first` on that show an image: each is a weighted sum of lines of the image.

    `starts` (n,) are the first of these, `weights` (n, k) belong to it and to the k - 1 that follow.
    """

    first: int
    starts: np.ndarray
    weights: np.ndarray


@lru_cache(KEPT)
def _axis(length: int, place: int, resized: int, n: int, interpolation: str, mirrored: bool) -> _Axis:
    """Resize `length` lines to `resized`, which begin at the line `place` of `n`.

    The weights are those of `tf.image.resize(antialias=True)`: a filter as wide as a pixel of the smaller of the two.
    """
    kernel, radius = KERNELS[interpolation]
    scale = length / resized
    width = max(scale, 1.0)
    shown = np.arange(max(0, place), min(n, place + resized))
    centre = (shown - place + 0.5) * scale - 0.5
    taps = min(int(2 * radius * width) + 1, length)
    starts = np.clip(np.ceil(centre - radius * width).astype(np.int64), 0, length - taps)
    weights = kernel(np.abs(starts[:, np.newaxis] + np.arange(taps) - centre[:, np.newaxis]) / width)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    if mirrored:
        return _Axis(int(n - 1 - shown[-1]), starts[::-1], np.ascontiguousarray(weights[::-1]))
    return _Axis(int(shown[0]), starts, weights)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - x)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' filter with a = -1/2, as in Pillow and in TensorFlow's antialiasing."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


Kernel = Callable[[np.ndarray], np.ndarray]
KERNELS: dict[str, tuple[Kernel, int]] = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2)}
