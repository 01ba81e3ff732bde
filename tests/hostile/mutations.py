"""Damage by a number: the same number does the same damage to the same bytes."""

import random

EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")


def mutated(content: bytes, seed: int, *, spare: int = 0) -> bytes:
    """The content with one to four places changed: a bit, a byte, or a number to one of its extremes.

    The first `spare` bytes stay, so that the file is still taken for one of its kind.
    """
    rng, changed = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(spare, len(changed) - 4)
        match rng.randrange(3):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place] = rng.randrange(256)
            case _:
                width = rng.choice((1, 2, 4))
                changed[place : place + width] = rng.choice(EDGES)[:width]
    return bytes(changed)
