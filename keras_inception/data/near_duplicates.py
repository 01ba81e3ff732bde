"""Near-duplicates: images on both sides of a split that are nearly the same, so that accuracy measures memory.

A difference hash has 128 bits: for each of 8 x 8 places, whether the image gets brighter to the right, and whether it
gets brighter downwards. Scaling, recompression and changes of brightness leave nearly all bits unchanged. (`imagehash`
computes the same, but it depends on SciPy and PyWavelets for what takes NumPy a line.)
"""

from __future__ import annotations

import numpy as np
from PIL import Image

NEAR = 12  # bits of 128 in which two images may differ and still be reported; all pairs found in CIFAR-10 were true
FLAT = 4.0  # grey levels; a thumbnail with a smaller deviation looks like any other blank image
BLOCK = 2**22  # pairs compared at a time


def difference_hash(pixels: np.ndarray) -> np.ndarray:
    """Return the difference hash of a uint8 (H, W, 3) image: two uint64, both 0 for an image of one shade."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 9), Image.Resampling.BOX), np.int16)
    if grey.std() < FLAT:
        return np.zeros(2, np.uint64)
    right, down = np.diff(grey[:8], axis=1), np.diff(grey[:, :8], axis=0)
    bits = np.packbits(np.array([right.ravel(), down.ravel()]) > 0, axis=1)
    return bits.view(np.uint64).reshape(2)


def find_near_duplicates(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    """Return the index pairs of nearly equal hashes in `a`, (n, 2), and `b`, (m, 2), in the order of `a`."""
    pairs = []
    step = max(1, BLOCK // max(1, len(b)))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        distance = np.bitwise_count(block[:, None] ^ b[None]).sum(axis=-1, dtype=np.uint8)
        near = (distance <= NEAR) & block.any(axis=1, keepdims=True)
        pairs += [(start + int(i), int(j)) for i, j in np.argwhere(near)]
    return pairs
