import hashlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from .decoding import decode
from .split import Rejected, Split


def fingerprint(dataset):
    h = []
    for side in (dataset.train, dataset.val):
        h.append(
            sorted(
                hashlib.sha256(
                    (s.read_bytes() if isinstance(s, Path) else s.tobytes()) + side.classes[l].encode()
                ).hexdigest()
                for s, l in zip(side.sources, side.labels)
            )
        )
    return hashlib.sha256(repr(h).encode()).hexdigest()


def as_images(images):
    images = images if isinstance(images, list) else [images]
    good, bad = [], []
    for i in images:
        try:
            decode(i)
            good.append(Path(i))
        except InputError as e:
            bad.append(Rejected(Path(i), str(e).split("read: ")[1]))
    src = np.empty(len(good), object)
    src[:] = good
    return Split(src, np.zeros(len(good), np.int32), ("",)), tuple(map(str, good)), tuple(bad)
