"""Near-duplicates: nearly the same images. On both sides of a split they flatter accuracy; else labels may differ.

A difference hash has 128 bits: for each of 8 x 8 places, whether the image gets brighter to the right, and whether it
gets brighter downwards. Scaling, recompression and changes of brightness leave nearly all bits unchanged. (`imagehash`
computes the same, but it depends on SciPy and PyWavelets for what takes NumPy a line.)

They are found by multi-index hashing (Norouzi et al., 2012, arXiv:1307.2982). The bits are dealt out to 7 bands. Two
hashes that differ in at most 12 bits differ in at most one bit of one of the first 6 bands, or in none of the last:
otherwise there were 6 x 2 + 1 differences. So each hash is only compared with those that have its band, or its band
with one bit changed. Nothing is missed, and of a million images about one pair in 1,000 is compared.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

NEAR = 12  # bits of 128 in which two images may differ and still be reported; all pairs found in CIFAR-10 were true
FLAT = 4.0  # grey levels; a thumbnail with a smaller deviation looks like any other blank image
BITS = 128
CHANGED = 1, 1, 1, 1, 1, 1, 0  # bits that may differ in each band; with one more in each they exceed NEAR
FIRST = 16  # hashes of a bucket that are compared at first: most buckets hold fewer
BLOCK = 2**18  # pairs compared at a time

# Bit i is in band i % 7, which the matrix sums to a number: neighbouring bits, often equal, are in different bands.
BAND, PLACE = np.arange(BITS) % len(CHANGED), np.arange(BITS) // len(CHANGED)
WIDTHS = np.bincount(BAND)
NUMBERS = np.zeros((BITS, len(CHANGED)), np.float32)
NUMBERS[np.arange(BITS), BAND] = 2.0**PLACE


def difference_hash(pixels: np.ndarray) -> np.ndarray:
    """Return the difference hash of a uint8 (H, W, 3) image: two uint64, both 0 for an image of one shade."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 9), Image.Resampling.BOX))
    if grey.std() < FLAT:
        return np.zeros(2, np.uint64)
    here = grey[:8, :8]
    bits = np.packbits([grey[:8, 1:] > here, grey[1:, :8] > here])
    return bits.view(np.uint64)


def find_near_duplicates(hashes: np.ndarray) -> np.ndarray:
    """Return pairs (k, 2) of indices into hashes (n, 2): of each hash that is nearly equal to one before it, the first.

    The second indices are sorted. Where many images are alike there are at most as many pairs as images, not as
    combinations of them.
    """
    kept = np.flatnonzero(hashes.any(axis=1))
    hashes = hashes[kept]
    first = np.arange(len(hashes))  # itself, where none before it is found yet
    for numbers, width, changed in zip(_numbers(hashes), WIDTHS, CHANGED, strict=True):
        buckets = _Buckets(numbers, width, hashes)
        order = buckets.order  # in which memory is read in sequence
        numbers, found = numbers[order], first[order]
        for change in (0, *2 ** np.arange(width * changed)):
            buckets.search(numbers ^ change, buckets.halves, found)
        first[order] = found
    later = np.flatnonzero(first < np.arange(len(hashes)))
    return np.column_stack([kept[first[later]], kept[later]])


def _numbers(hashes: np.ndarray) -> np.ndarray:
    """The bands of hashes (n, 2) as numbers, (7, n) int32."""
    numbers = np.empty((len(WIDTHS), len(hashes)), np.int32)
    for start in range(0, len(hashes), BLOCK // BITS):
        block = np.ascontiguousarray(hashes[start : start + BLOCK // BITS])
        bits = np.unpackbits(block.view(np.uint8), axis=1)
        numbers[:, start : start + len(block)] = (bits.astype(np.float32) @ NUMBERS).T
    return numbers


class _Buckets:
    """Hashes in the order of their numbers in one band; those of number v are from starts[v] up to starts[v + 1]."""

    def __init__(self, numbers: np.ndarray, width: int, hashes: np.ndarray):
        self.order = np.argsort(numbers, kind="stable")  # in a bucket the first index comes first
        self.starts = np.bincount(numbers + 1, minlength=2**width + 1).cumsum(dtype=np.int32)
        self.halves = np.ascontiguousarray(hashes[self.order].T)

    def search(self, numbers: np.ndarray, halves: np.ndarray, first: np.ndarray) -> None:
        """Lower `first[j]` to the first index in the bucket `numbers[j]` whose hash is near `halves[:, j]`.

        Buckets are read in steps, as long as they hold an index below `first`: where many images are alike, the first
        of them is found soon.
        """
        start, end, step = self.starts[numbers], self.starts[numbers + 1], FIRST
        left = np.flatnonzero(start < end)
        while len(left := left[self.order[start[left]] < first[left]]):
            for some in np.array_split(left, -(-len(left) * step // BLOCK)):
                count = np.minimum(end[some] - start[some], step)
                j = np.repeat(some, count)
                i = np.arange(len(j)) + np.repeat(start[some] + count - np.cumsum(count), count)
                differ = 0
                for mine, other in zip(self.halves, halves, strict=True):  # most differ in the first half already
                    differ = differ + np.bitwise_count(mine[i] ^ other[j])
                    near = differ <= NEAR
                    i, j, differ = i[near], j[near], differ[near]
                np.minimum.at(first, j, self.order[i])
            start[left] += step
            left = left[start[left] < end[left]]
            step = min(4 * step, BLOCK)
