"""Labelled images, from folders or arrays, as `tf.data`."""

from .arrays import from_arrays
from .augmentation import Augmentation, Changes, Crops, Shift
from .decoding import decode
from .folders import load_folder, load_images
from .split import Dataset, Rejected, Split, input_errors
from .temporary import as_images, fingerprint
from .tfds import lasting

__all__ = [
    "Augmentation",
    "Changes",
    "Crops",
    "Dataset",
    "Rejected",
    "Shift",
    "Split",
    "as_images",
    "decode",
    "fingerprint",
    "from_arrays",
    "input_errors",
    "lasting",
    "load_folder",
    "load_images",
]
