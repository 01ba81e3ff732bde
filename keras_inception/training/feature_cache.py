"""What a frozen backbone makes of images: computed once, and kept on disk for every later training on the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import track
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..data import Split, input_errors
from ..evaluation.batch import in_batches
from ..files import cache_directory, write_file
from ..preprocessing import Preprocessing
from ..terminal import console

KEPT = 2**32  # bytes of features on disk; what was used least recently goes


def features(backbone: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32) -> np.ndarray:
    """The backbone's output for every image, in their order: (n, ...) float32, mapped from disk and read when used.

    Kept in the cache folder under a hash of all that decides them: the images' content, the backbone with its weights,
    and the preprocessing.
    """
    folder = cache_directory() / "features"
    path = folder / f"{key(backbone, split, preprocessing)}.npy"
    if path.is_file():
        path.touch()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda part: _compute(part, backbone, split, preprocessing, batch_size))
        _prune(folder)
    return np.load(path, mmap_mode="r")


def key(backbone: keras.Model, split: Split, preprocessing: Preprocessing) -> str:
    """A hash of everything that features depend on."""
    digest = hashlib.sha256(json.dumps(preprocessing.to_dict(), sort_keys=True).encode())
    digest.update(backbone.to_json().encode())
    for array in backbone.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    for source in split.sources:
        content = source.read_bytes() if isinstance(source, Path) else source.tobytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def batches(found: np.ndarray, labels: np.ndarray, batch_size: int, *, seed: int | None = None) -> tf.data.Dataset:
    """Batches of (features, labels), in the order of `seed`, or as they are without one."""
    n = len(labels)
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return found[indices], labels[indices]

    def example(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(read, [indices], (tf.float32, tf.int32))
        x.set_shape((None, *found.shape[1:]))
        y.set_shape((None,))
        return x, y

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(example).prefetch(tf.data.AUTOTUNE)


def _compute(part: Path, backbone: keras.Model, split: Split, preprocessing: Preprocessing, batch_size: int) -> None:
    shape = (len(split), *backbone.output.shape[1:])
    steps = -(-len(split) // batch_size)
    quiet = not console.is_terminal
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with input_errors(), part.open("wb") as file:  # a mapped file would end the process where the disk is full
        np.lib.format.write_array_header_1_0(file, header)
        given = split.batches(preprocessing, batch_size)
        shown = track(given, "features", steps, console=console, transient=True, disable=quiet)
        for made in in_batches(_frozen(backbone), (images for images, _ in shown)):
            file.write(np.ascontiguousarray(made, "<f4").data)


def _frozen(backbone: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """A backbone in inference with its weights as constants, which lets TensorFlow fold its batch norms."""
    spec = tf.TensorSpec(backbone.input_shape, backbone.inputs[0].dtype)
    run = tf.function(lambda x: backbone(x, training=False), [spec], autograph=False).get_concrete_function()
    constant = convert_variables_to_constants_v2(run)
    return lambda x: constant(tf.cast(x, spec.dtype))[0]


def _prune(folder: Path) -> None:
    """Delete what was used least recently beyond `KEPT`."""
    files = sorted(folder.glob("*.npy"), key=lambda file: -file.stat().st_mtime)
    sizes = np.cumsum([file.stat().st_size for file in files])
    for file, size in list(zip(files, sizes, strict=True))[1:]:
        if size > KEPT:
            file.unlink(missing_ok=True)
