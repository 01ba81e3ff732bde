"""What changes of images show, as pixels."""

import numpy as np

from keras_inception.data import Changes
from keras_inception.preprocessing import Preprocessing


def shown(changes: Changes, image: np.ndarray, preprocessing: Preprocessing, seed: int = 0) -> np.ndarray:
    """The views of an image, (H, W, 3) uint8, before their normalisation: (n, *size, 3) float32, 0..255."""
    plain = preprocessing.unnormalized
    views = changes.views(*image.shape[:2], plain, np.random.default_rng(seed))
    pixels = np.empty((len(views), *plain.input_shape), np.float32)
    for view, out in zip(views, pixels, strict=True):
        view.render(image, plain, out)
    return pixels
