"""Images that are nearly the same: on both sides of a split they make its accuracy a memory test.

A difference hash says for each of 8 x 8 places whether the image gets brighter to the right, and for as many whether
it does downwards: 128 bits that scaling, recompression and a change of brightness leave nearly alone. (`imagehash` has
the same, but comes with SciPy and PyWavelets for what takes NumPy a line.)
"""

from __future__ import annotations

import numpy as np
from PIL import Image

NEAR = 12  # of 128 bits, in which two images may differ and still be reported: true of every pair met in CIFAR-10
FLAT = 4.0  # shades; a thumbnail that varies less looks like every other blank one
BLOCK = 2**22  # pairs compared at a time


def look(pixels: np.ndarray) -> np.ndarray:
    """The difference hash of an image, (H, W, 3) uint8: two uint64; both 0 where it is all of one shade."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 9), Image.Resampling.BOX), np.int16)
    if grey.std() < FLAT:
        return np.zeros(2, np.uint64)
    right, down = np.diff(grey[:8], axis=1), np.diff(grey[:, :8], axis=0)
    bits = np.packbits(np.array([right.ravel(), down.ravel()]) > 0, axis=1)
    return bits.view(np.uint64).reshape(2)


def near_pairs(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    """The indices of nearly equal ones of two lists of hashes, (n, 2) and (m, 2), in the order of the first."""
    pairs = []
    step = max(1, BLOCK // max(1, len(b)))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        distance = np.bitwise_count(block[:, None] ^ b[None]).sum(axis=-1, dtype=np.uint8)
        near = (distance <= NEAR) & block.any(axis=1, keepdims=True)
        pairs += [(start + int(i), int(j)) for i, j in np.argwhere(near)]
    return pairs
