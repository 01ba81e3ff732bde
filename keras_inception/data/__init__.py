"""Images from folders, lists, archives, shards, arrays, tf.data and other places, as `tf.data` pipelines."""

from ..backend import need_tensorflow
from .arrays import from_arrays
from .augmentation import Augmentation, Changes, Crops, Shift
from .decoding import decode
from .folders import is_data_file, load_folder, load_images
from .given import as_dataset, is_tf_data
from .places import is_named, lasting
from .shard_writer import write_shards
from .shards import ShardSet, open_shards
from .split import Dataset, Rejected, Split, fingerprint, input_errors
from .tf_data import from_tf_data
from .unlabelled import Listing, as_images, listed

need_tensorflow(__name__)

__all__ = [
    "Augmentation",
    "Changes",
    "Crops",
    "Dataset",
    "Listing",
    "Rejected",
    "ShardSet",
    "Shift",
    "Split",
    "as_dataset",
    "as_images",
    "decode",
    "fingerprint",
    "from_arrays",
    "from_tf_data",
    "input_errors",
    "is_data_file",
    "is_named",
    "is_tf_data",
    "lasting",
    "listed",
    "load_folder",
    "load_images",
    "open_shards",
    "write_shards",
]
