"""What a network's input shows of an image, and its pixels: what `Preprocessing` defines as a graph, in NumPy.

Resizing with antialiasing is linear: each row of the result is a weighted sum of a few rows of the image, and each
column one of a few columns. Cropping, mirroring, resizing and placing are therefore one sparse matrix for the rows and
one for the columns. SciPy multiplies by them outside of Python's lock, twice as fast as Pillow resizes and four times
as fast as TensorFlow does, and within a thousandth of a grey level of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy import sparse

from ..preprocessing import LUMA, Preprocessing

LARGE = 2**22  # values of a window: more are converted to floats in stripes, to bound memory
OPERATORS = 256  # matrices that are kept: the images of a folder often have the same size
# Red, green and blue to luma and two chromas, in which a change of hue is a rotation (NTSC).
YIQ = np.array([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], np.float32)
RGB = np.linalg.inv(YIQ)


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A change of colours, linear in them. The order is brightness, saturation, hue, contrast.

    `brightness` is added, in grey levels. `saturation` and `contrast` are factors of the distance from the pixel's luma
    and from the image's mean colour. `hue` is a rotation, in turns.
    """

    brightness: float = 0.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast: float = 1.0

    def applied(self, pixels: np.ndarray) -> np.ndarray:
        """Change pixels: (..., 3, n), 0..255 -> the same shape, 0..255."""
        mean = pixels[::4].mean(axis=(0, 2))  # of every fourth column is near enough
        angle = 2 * np.pi * self.hue
        turn = np.array([(1, 0, 0), (0, np.cos(angle), -np.sin(angle)), (0, np.sin(angle), np.cos(angle))])
        matrix = RGB @ turn @ np.diag([1, self.saturation, self.saturation]) @ YIQ
        offset = (1 - self.contrast) * (matrix @ mean) + matrix.sum(axis=1) * self.brightness
        changed = np.matmul((self.contrast * matrix).astype(np.float32), pixels)
        changed += offset.astype(np.float32)[:, np.newaxis]
        return np.clip(changed, 0, 255, out=changed)


@dataclass(frozen=True, kw_only=True)
class View:
    """What an input shows: a window of the image, resized and put somewhere in the input.

    `window` is (top, left, rows, columns) of the image in pixels; it is resized to `size`, (rows, columns), whose
    corner is put at `place`, (row, column) of the input. What reaches out of the input is cut; what the window does not
    cover is filled with the colour `fill`, RGB. `mirrored` exchanges left and right of the whole input.
    Unless it is `exact`, it may be shown of a JPEG file that is decoded at a smaller size, and so much faster.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    place: tuple[int, int] = (0, 0)
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mirrored: bool = False
    colour: Colour | None = None
    exact: bool = True

    @property
    def reduction(self) -> int:
        """By how much a JPEG file may be reduced, 1, 2, 4 or 8, for twice the pixels that it is resized to."""
        if self.exact:
            return 1
        return min(
            next((n for n in (8, 4, 2) if 2 * n * size <= side), 1)
            for size, side in zip(self.size, self.window[2:], strict=True)
        )

    def render(self, image: np.ndarray, preprocessing: Preprocessing, out: np.ndarray, *, reduction: int = 1) -> None:
        """Write the network's input, (*size, channels) float32, into `out`.

        `image` is (H, W, 3) uint8, whose sides are 1/`reduction` of those that `window` refers to.
        """
        rows, columns = (
            _Axis(self.window[i] / reduction, self.window[i + 2] / reduction, image.shape[i], self.size[i])
            for i in (0, 1)
        )
        height, width = preprocessing.size
        down = rows.operator(self.place[0], height, preprocessing.interpolation)
        across = columns.operator(self.place[1], width, preprocessing.interpolation, mirrored=self.mirrored)
        pixels = _product(across, _planes(_product(down, image[rows.part, columns.part])))
        pixels = pixels.reshape(width, 3, height)
        if self.colour is not None:
            pixels = self.colour.applied(pixels)
        elif preprocessing.interpolation != "bilinear":  # it overshoots at edges
            np.clip(pixels, 0, 255, out=pixels)
        self._fill(pixels)
        _normalized(pixels, preprocessing, out)

    def _fill(self, pixels: np.ndarray) -> None:
        """Fill what the window does not cover of pixels (w, 3, h)."""
        fill, (down, across), (rows, columns) = np.reshape(self.fill, (3, 1)), self.place, self.size
        if self.mirrored:
            across = len(pixels) - across - columns
        for line in (pixels[: max(0, across)], pixels[max(0, across + columns) :]):
            line[:] = fill
        for line in (pixels[..., : max(0, down)], pixels[..., max(0, down + rows) :]):
            line[:] = fill


@dataclass(frozen=True)
class _Axis:
    """The rows or the columns of a window: where it starts in the image, how long it is, and to what it is resized."""

    start: float
    length: float
    total: int
    resized: int
    part: slice = field(init=False)

    def __post_init__(self) -> None:
        end = min(self.total, int(np.ceil(self.start + self.length)))
        object.__setattr__(self, "part", slice(min(int(self.start), end - 1), end))

    def operator(self, place: int, n: int, interpolation: str, *, mirrored: bool = False) -> sparse.csr_array:
        pixels = self.part.stop - self.part.start
        return _operator(
            self.start - self.part.start, self.length, pixels, self.resized, place, n, interpolation, mirrored
        )


@lru_cache(OPERATORS)
def _operator(
    start: float, length: float, pixels: int, resized: int, place: int, n: int, interpolation: str, mirrored: bool
) -> sparse.csr_array:
    """The matrix (n, pixels) that resizes a line from `start`, `length` pixels long, to `resized`, and places it.

    The weights are those of `tf.image.resize(antialias=True)`: a filter as wide as a pixel of the smaller of the two.
    """
    kernel, radius = KERNELS[interpolation]
    scale = length / resized
    width = max(scale, 1.0)
    at = np.arange(n) - place
    if mirrored:
        at = at[::-1]
    centre = start + (at + 0.5) * scale - 0.5
    first = np.ceil(centre - radius * width).astype(np.int32)
    taken = first[:, np.newaxis] + np.arange(int(2 * radius * width) + 1, dtype=np.int32)
    weights = kernel(np.abs(taken - centre[:, np.newaxis]) / width)
    weights[(taken < 0) | (taken >= pixels)] = 0
    total = weights.sum(axis=1, keepdims=True)
    weights /= np.where(total == 0, 1, total)  # 0 outside of the window, where `_fill` follows
    taken = np.minimum(np.maximum(taken, 0), pixels - 1)
    ends = np.arange(0, taken.size + 1, taken.shape[1], dtype=np.int32)
    return sparse.csr_array((weights.astype(np.float32).ravel(), taken.ravel(), ends), shape=(n, pixels))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - x)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' filter with a = -1/2, as in Pillow and in TensorFlow's antialiasing."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


Kernel = Callable[[np.ndarray], np.ndarray]
KERNELS: dict[str, tuple[Kernel, int]] = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2)}


def _product(operator: sparse.csr_array, lines: np.ndarray) -> np.ndarray:
    """The operator times lines, (pixels, ...) -> (n, values) float32."""
    if lines.size <= LARGE:
        return operator @ lines.astype(np.float32, copy=False).reshape(len(lines), -1)
    step = max(1, LARGE * lines.shape[1] // lines.size)
    parts = (lines[:, i : i + step] for i in range(0, lines.shape[1], step))
    return np.concatenate([_product(operator, part) for part in parts], axis=1)


def _planes(rows: np.ndarray) -> np.ndarray:
    """Rows of RGB pixels, (h, W * 3), as columns of a line for each colour: (W, 3, h)."""
    pixels = rows.reshape(len(rows), -1, 3)
    planes = np.empty((pixels.shape[1], 3, len(rows)), np.float32)
    for i in range(3):  # three times as fast as one transposition
        planes[:, i] = pixels[..., i].T
    return planes


def _normalized(pixels: np.ndarray, preprocessing: Preprocessing, out: np.ndarray) -> None:
    """`Preprocessing.normalize` of (w, 3, h) pixels, which are overwritten, into (h, w, channels)."""
    if preprocessing.channels == "L":
        pixels = np.matmul(np.array([LUMA], np.float32), pixels)
    elif preprocessing.channels == "BGR":
        pixels = pixels[:, ::-1]
    pixels -= np.array(preprocessing.mean, np.float32)[:, np.newaxis]
    pixels *= np.array([1 / std for std in preprocessing.std], np.float32)[:, np.newaxis]
    for i in range(pixels.shape[1]):
        out[..., i] = pixels[:, i].T
