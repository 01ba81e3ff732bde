"""From an image to a network's input.

`Preprocessing` is the only definition of that: the input pipeline, the SavedModel signatures, the TFLite files and the
documentation read the same record, so that an image is prepared in the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .errors import InputError

# ITU-R BT.601 weights of red, green and blue, as in Pillow and TensorFlow. They add up to 1, so grey stays grey.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become a network's input: crop, resize, then `(pixel - mean) / std` for each channel.

    `size` is the (height, width) of the network's input in pixels. The largest central window of that aspect ratio,
    reduced to the fraction `crop` of each side (0.875 is the usual 224 out of 256), is resized with antialiasing by the
    filter `interpolation`, "bilinear" or "bicubic". `mean` and `std` are in pixel units (0..255), one value for each
    channel, in the order of `channels`: "RGB", "BGR" or "L" (grey).
    """

    size: tuple[int, int]
    crop: float = 1.0
    channels: str = "RGB"
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (127.5, 127.5, 127.5)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR", "L"):
            raise ValueError(f"channels must be 'RGB', 'BGR' or 'L'; got {self.channels!r}")
        if not len(self.channels) == len(self.mean) == len(self.std):
            raise ValueError(
                f"{self.channels} needs {len(self.channels)} means and deviations; "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be in (0, 1]; got {self.crop}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive; got {self.std}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation must be 'bilinear' or 'bicubic'; got {self.interpolation!r}")

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessing:
        """The record from `to_dict`'s values, also after JSON, which has lists for tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the network's input."""
        return (*self.size, len(self.channels))

    def for_input(self, shape: tuple[int | None, ...]) -> Preprocessing:
        """The same preprocessing for another (height, width, channels); an unknown height or width keeps this size.

        For grey images, mean and deviation are the averages over the colours.

        Raises:
            InputError: the number of channels is neither 1 nor 3.
        """
        height, width = (new or old for new, old in zip(shape[:2], self.size, strict=True))
        prepared = replace(self, size=(height, width))
        if shape[2] == len(self.channels):
            return prepared
        if shape[2] != 1:
            raise InputError(
                f"images have 1 or 3 channels; got an input of {shape[2]} channels: prepare these inputs yourself"
            )
        mean, std = (sum(values) / len(values) for values in (self.mean, self.std))
        return replace(prepared, channels="L", mean=(mean,), std=(std,))

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The central window that `resize` resizes: (top, left, rows, columns) of an image, in pixels."""
        # In 32 bits, as in a graph, so that both round in the same way.
        sides = [np.float32(side) for side in self.size]
        zoom = np.float32(self.crop) * min(np.float32(height) / sides[0], np.float32(width) / sides[1])
        rows, columns = (max(1, int(np.round(side * zoom))) for side in sides)
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    def resize(self, image: tf.Tensor) -> tf.Tensor:
        """Crop and resize: (H, W, 3) or (n, H, W, 3) RGB of any size, 0..255 -> (..., *size, 3) float32, 0..255."""
        shape = tf.shape(image)
        height, width = self.size
        # The largest central window of the network's aspect ratio, times `crop`.
        zoom = self.crop * tf.minimum(tf.cast(shape[-3], tf.float32) / height, tf.cast(shape[-2], tf.float32) / width)
        rows = tf.maximum(1, tf.cast(tf.round(height * zoom), tf.int32))
        columns = tf.maximum(1, tf.cast(tf.round(width * zoom), tf.int32))
        top, left = (shape[-3] - rows) // 2, (shape[-2] - columns) // 2
        return self.stretch(image[..., top : top + rows, left : left + columns, :])

    def stretch(self, window: tf.Tensor) -> tf.Tensor:
        """Resize a whole window, whatever its aspect ratio: (..., H, W, 3), 0..255 -> (..., *size, 3) float32."""
        # tf.image.resize returns images of the right size unchanged, uint8 included.
        resized = tf.cast(tf.image.resize(window, self.size, method=self.interpolation, antialias=True), tf.float32)
        # A bilinear filter stays within 0..255 except for rounding; a bicubic filter overshoots at edges.
        return tf.clip_by_value(resized, 0.0, 255.0)

    def normalize(self, pixels: tf.Tensor) -> tf.Tensor:
        """Normalise pixels: (..., 3) RGB, 0..255 -> (..., channels) float32, the network's input."""
        pixels = tf.cast(pixels, tf.float32)
        if self.channels == "BGR":
            pixels = tf.reverse(pixels, [-1])
        elif self.channels == "L":
            pixels = tf.reduce_sum(pixels * LUMA, axis=-1, keepdims=True)
        # A product, since TensorFlow turns a quotient into a product in a compiled graph, but not in eager mode. This
        # way both give the same bits.
        return (pixels - tf.constant(self.mean, tf.float32)) * tf.constant([1 / std for std in self.std], tf.float32)

    def __call__(self, image: Any) -> Any:
        """Prepare images: (..., H, W, 3) RGB, 0..255, any size -> (..., *size, channels) float32.

        A tensor becomes a tensor, in a graph too; an array becomes an array.

        Raises:
            InputError: the images have not three channels.
        """
        pixels = tf.convert_to_tensor(image)
        if (channels := pixels.shape[-1]) not in (3, None):
            raise InputError(f"images are RGB, (..., H, W, 3), as `data.decode` returns them; got {channels} channels")
        prepared = self.normalize(self.resize(pixels))
        return prepared if tf.is_tensor(image) or not tf.executing_eagerly() else prepared.numpy()


def scaled(size: tuple[int, int], channels: int = 3, crop: float = 0.875) -> Preprocessing:
    """Pixels scaled to [-1, 1], as for TensorFlow's released networks; grey for one channel."""
    per_channel: Sequence[float] = (127.5,) * channels
    return Preprocessing(
        size=size, crop=crop, channels="L" if channels == 1 else "RGB", mean=tuple(per_channel), std=tuple(per_channel)
    )
