"""The loops of `views`, compiled to machine code at the first use and kept; they run outside of Python's lock.

Numba compiles them, because no library fuses cropping, an antialiased resize, colours and normalisation: SciPy's sparse
products, Pillow and OpenCV pass over the image once for each, and TensorFlow's resize is four times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

BLACK, WHITE = np.float32(0), np.float32(255)
ONE, TWO, THREE, FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for these types (an `Array` that ends with True may be read-only), and keep it where that is possible."""

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        def compile_(cache: bool) -> Callable[..., Any]:
            return numba.njit(signature, cache=cache, nogil=True, fastmath=True, error_model="numpy")(function)

        try:
            return compile_(cache=True)
        except RuntimeError:  # neither beside the file nor in a home folder
            return compile_(cache=False)

    return compiled


@_compiled("(f4[::1], u8[::1], f4[:, ::1], f4[::1])")
def _across(line: Any, starts: Any, weights: Any, rgbx: Any) -> None:
    """Resize a line of RGB pixels to RGBX pixels; a fourth sum, which nobody reads, is faster than none."""
    for x in range(starts.size):
        red = green = blue = unused = BLACK
        place = THREE * starts[x]  # unsigned: a signed index is checked for being negative
        for i in range(weights.shape[1]):
            weight = weights[x, i]
            red += weight * line[place]
            green += weight * line[place + ONE]
            blue += weight * line[place + TWO]
            unused += weight * line[place + THREE]
            place += THREE
        pixel = FOUR * np.uint64(x)
        rgbx[pixel] = red
        rgbx[pixel + ONE] = green
        rgbx[pixel + TWO] = blue
        rgbx[pixel + THREE] = unused


@_compiled("(Array(u1, 1, 'C', True), f4, f4[::1])")
def _weighed(taken: Any, weight: Any, line: Any) -> None:
    for x in range(line.size):
        line[x] = weight * taken[x]


@_compiled("(Array(u1, 1, 'C', True), f4, f4[::1])")
def _added(taken: Any, weight: Any, line: Any) -> None:
    for x in range(line.size):
        line[x] += weight * taken[x]


@_compiled("(f4[::1],)")
def _limited(line: Any) -> None:
    for x in range(line.size):
        line[x] = min(max(line[x], BLACK), WHITE)


@_compiled("(f4[::1], f4[::1], f4[::1])")
def _mixed(rgbx: Any, mix: Any, line: Any) -> None:
    red, green, blue, constant, low, high = mix[0], mix[1], mix[2], mix[3], mix[4], mix[5]
    for x in range(line.size):
        pixel = FOUR * np.uint64(x)
        mixed = red * rgbx[pixel] + green * rgbx[pixel + ONE] + blue * rgbx[pixel + TWO] + constant
        line[x] = min(max(mixed, low), high)


@_compiled("(f4[::1], i8, i8, f4[::1])")
def _put(line: Any, channel: Any, channels: Any, out: Any) -> None:
    place, step = np.uint64(channel), np.uint64(channels)
    for x in range(line.size):
        out[place] = line[x]
        place += step


@_compiled("(Array(u1, 2, 'C', True), i8[::1], f4[:, ::1], i8[::1], f4[:, ::1], f4[:, ::1], b1, f4[:, :, ::1], i8, i8)")
def resample(
    lines: Any,
    row_starts: Any,
    row_weights: Any,
    column_starts: Any,
    column_weights: Any,
    mix: Any,
    overshoots: Any,
    out: Any,
    top: Any,
    left: Any,
) -> None:
    """Write a resized image into `out`, (h, w, channels), from (top, left) on.

    Args:
        lines: the image, (H, W * 3).
        row_starts: for each row to write the first row of the image that it is made of.
        row_weights: the weights of that row and of those after it, (rows, n).
        column_starts: the same for columns.
        column_weights: the same for columns.
        mix: for each channel the factors of red, green and blue, what is added, the lowest and the highest result:
            (channels, 6).
        overshoots: whether the weights may lead out of 0..255, to which the colours are then limited first.
        out: the input.
        top: its first row to write.
        left: its first column to write.
    """
    n, channels = column_starts.size, out.shape[2]
    first, end = column_starts.min(), column_starts.max() + column_weights.shape[1]
    columns = (column_starts - first).astype(np.uint64)
    line = np.zeros(3 * (end - first) + 1, np.float32)
    taken, rgbx, mixed = line[:-1], np.empty(4 * n, np.float32), np.empty(n, np.float32)
    # Loops over whole slices from 0 on: only these are compiled to vector instructions.
    for y in range(row_starts.size):
        _weighed(lines[row_starts[y], 3 * first : 3 * end], row_weights[y, 0], taken)
        for i in range(1, row_weights.shape[1]):
            _added(lines[row_starts[y] + i, 3 * first : 3 * end], row_weights[y, i], taken)
        _across(line, columns, column_weights, rgbx)
        if overshoots:
            _limited(rgbx)
        target = out[top + y].reshape(-1)[left * channels :]
        for k in range(channels):
            _mixed(rgbx, mix[k], mixed)
            _put(mixed, k, channels, target)
