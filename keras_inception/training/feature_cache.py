"""The outputs of a frozen backbone, computed once and kept on disk for every later training on the same images."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..data import Split, input_errors
from ..data.split import AHEAD, Rows, Share, untuned
from ..evaluation.batch import in_batches
from ..files import PART, cache_directory, locked, write_file
from ..preprocessing import Preprocessing
from ..terminal import progress

KEPT = 2**32  # bytes of features on disk; the least recently used are deleted
ABANDONED = 24 * 3600  # seconds since a temporary file was last written to: its process has been killed


def features(
    backbone: keras.Model,
    splits: Iterable[Split],
    preprocessing: Preprocessing,
    *,
    batch_size: int = 32,
    title: str = "features",
) -> list[np.ndarray]:
    """The backbone's output for every image of each split: (n, ...) float32, mapped from disk and read when used.

    Features are kept in the cache folder under a hash of everything that they depend on: the content of the images, the
    backbone with its weights, and the preprocessing. Of two processes that need the same ones, one waits for the other.
    `title` is what the progress bar says.
    """
    folder = cache_directory() / "features"
    folder.mkdir(parents=True, exist_ok=True)
    frozen = cache(lambda: _frozen(backbone))  # one trace for all splits, and none if the features are there
    mapped: list[np.ndarray] = []
    for split in splits:
        path = folder / f"{key(backbone, split, preprocessing)}.npy"
        with locked(path, "computing"):
            if path.is_file():
                path.touch()
            else:
                shape = len(split), *backbone.output.shape[1:]
                batches = split.batches(preprocessing, batch_size)
                write_file(path, partial(_compute, frozen=frozen(), shape=shape, batches=batches, title=title))
            mapped.append(np.load(path, mmap_mode="r"))  # stays readable if another process deletes the file
    _prune(folder)
    return mapped


def key(backbone: keras.Model, split: Split, preprocessing: Preprocessing) -> str:
    """A hash of everything that features depend on."""
    digest = hashlib.sha256(json.dumps(preprocessing.to_dict(), sort_keys=True).encode())
    digest.update(backbone.to_json().encode())
    for array in backbone.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(split.content_digests().tobytes())
    return digest.hexdigest()


def batches(
    found: np.ndarray, labels: Rows, batch_size: int, *, seed: int, share: Share | None = None, skip: int = 0
) -> tf.data.Dataset:
    """Batches of (features, labels), shuffled by `seed`; of each only the share, `skip` as of `Split.batches`."""
    order = np.random.default_rng(seed).permutation(len(found))

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indices = indices if share is None else indices[share(len(indices))]
        return found[indices], labels[indices]

    def example(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(read, [indices], (tf.float32, labels.dtype))
        x.set_shape((None, *found.shape[1:]))
        y.set_shape((None, *labels.shape[1:]))
        return x, y

    indices = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).skip(skip)
    return untuned(indices.map(example).prefetch(AHEAD))


def _compute(
    part: Path,
    frozen: Callable[[np.ndarray], tf.Tensor],
    shape: tuple[int, ...],
    batches: tf.data.Dataset,
    title: str,
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with input_errors(), part.open("wb") as file:  # a full disk raises here; under a mapped file it ends the process
        np.lib.format.write_array_header_1_0(file, header)
        images = (x for x, _ in batches)
        for made in in_batches(frozen, progress(images, title, len(batches))):
            file.write(np.ascontiguousarray(made, "<f4").data)


def _frozen(backbone: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """A backbone in inference with its weights as constants, so that TensorFlow can fold its batch norms."""
    spec = tf.TensorSpec(backbone.input_shape, backbone.inputs[0].dtype)
    run = tf.function(lambda x: backbone(x, training=False), [spec], autograph=False).get_concrete_function()
    constant = convert_variables_to_constants_v2(run)
    return lambda x: constant(tf.cast(x, spec.dtype))[0]


def _prune(folder: Path) -> None:
    """Delete the least recently used features beyond `KEPT` bytes, and what killed processes left."""
    entries: list[tuple[float, int, Path]] = []  # time of the last use, size
    for file in folder.glob("*.npy"):
        with suppress(FileNotFoundError):  # another process prunes too
            stat = file.stat()
            if not file.name.startswith(PART):
                entries.append((stat.st_mtime, stat.st_size, file))
            elif time.time() - stat.st_mtime > ABANDONED:
                file.unlink()
    entries.sort(reverse=True)
    for total, (_, _, file) in list(zip(np.cumsum([size for _, size, _ in entries]), entries, strict=True))[1:]:
        if total > KEPT:
            file.unlink(missing_ok=True)
