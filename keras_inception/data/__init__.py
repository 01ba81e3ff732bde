"""Images from folders, arrays and TensorFlow Datasets, as `tf.data` pipelines."""

from .arrays import from_arrays
from .augmentation import Augmentation, Changes, Crops, Shift
from .decoding import decode
from .folders import load_folder, load_images
from .split import Dataset, Rejected, Split, fingerprint, input_errors
from .tfds import lasting
from .unlabelled import as_images

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
