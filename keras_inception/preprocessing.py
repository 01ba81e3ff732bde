"""From an image to a network's input.

`Preprocessing` is the only definition of that: the input pipeline, the SavedModel signatures, the TFLite files and the
documentation read the same record, so that an image is prepared in the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import tensorflow as tf

from .arguments import Argument, check_fields
from .errors import InputError

# ITU-R BT.601 weights of red, green and blue, as in Pillow and TensorFlow. They add up to 1, so grey stays grey.
LUMA = (0.299, 0.587, 0.114)

ResizeMode = Literal["crop", "stretch", "letterbox"]
_MODES = "'crop', 'stretch' or 'letterbox'"
Fill: TypeAlias = float | Sequence[float]  # a grey level, or red, green and blue, 0..255


class Box(NamedTuple):
    """A part of an image in pixels: where it begins, and its size. Integers, or scalar int64 tensors in a graph."""

    top: Any
    left: Any
    rows: Any
    columns: Any


class Geometry(NamedTuple):
    """The `window` of an image that is used, and its `place` in the network's input, to whose size it is resized."""

    window: Box
    place: Box


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become a network's input: a window is resized, then `(pixel - mean) / std` for each channel.

    `size` is the (height, width) of the network's input in pixels. `resize_mode` says how an image of another aspect
    ratio comes to that size:

    - "crop": the largest central window of the input's aspect ratio, reduced to the fraction `crop` of each side (0.875
      is the usual 224 out of 256). What is outside is not seen.
    - "stretch": the whole image, with one factor for its height and another for its width. MediaPipe does so.
    - "letterbox": the whole image as large as it fits, with its own proportions, in the middle of the colour `fill`.

    `crop` is 1 in the modes that keep the whole image. `fill` is red, green and blue, 0..255; None is the mean colour,
    which the normalisation turns into 0.

    Resizing is antialiased, by the filter `interpolation`, "bilinear" or "bicubic". `mean` and `std` are in pixel units
    (0..255), one value for each channel, in the order of `channels`: "RGB", "BGR" or "L" (grey).

    Raises:
        InputError: a field has a wrong type, or a value out of its range.
    """

    size: Annotated[tuple[int, int], Argument(at_least=1)]
    resize_mode: ResizeMode = "crop"
    crop: float = 1.0
    channels: str = "RGB"
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (127.5, 127.5, 127.5)
    interpolation: str = "bilinear"
    fill: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.channels not in ("RGB", "BGR", "L"):
            raise InputError(f"channels must be 'RGB', 'BGR' or 'L'; got {self.channels!r}")
        if not len(self.channels) == len(self.mean) == len(self.std):
            raise InputError(
                f"{self.channels} needs {len(self.channels)} means and deviations; "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if not 0 < self.crop <= 1:
            raise InputError(f"crop must be in (0, 1]; got {self.crop}")
        if min(self.std) <= 0:
            raise InputError(f"std must be positive; got {self.std}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise InputError(f"interpolation must be 'bilinear' or 'bicubic'; got {self.interpolation!r}")
        if self.resize_mode != "crop" and self.crop != 1:
            raise InputError(f"{self.resize_mode} keeps the whole image: crop must be 1; got {self.crop}")
        if self.fill is not None and not (len(self.fill) == 3 and all(0 <= level <= 255 for level in self.fill)):
            raise InputError(f"fill must be red, green and blue, 0 to 255; got {self.fill}")

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessing:
        """The record from `to_dict`'s values, also after JSON, which has lists for tuples; else a `ValueError`."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        try:
            return cls(**fields)
        except InputError as error:  # whoever reads the record names its file
            raise ValueError(str(error)) from error

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

    def with_resize(self, mode: ResizeMode | None = None, fill: Fill | None = None) -> Preprocessing:
        """The same in another resize mode, and with another fill; None keeps this one's.

        Of "stretch" and "letterbox" `crop` becomes 1.

        Raises:
            InputError: there is no such mode, or the fill is not a colour or not for the mode.
        """
        mode = mode or self.resize_mode
        if mode not in get_args(ResizeMode):
            raise InputError(f"resize must be {_MODES}; got {mode!r}")
        if mode != "letterbox":
            if fill is not None:
                raise InputError(f"fill is for resize 'letterbox', which has borders; got {fill!r} with {mode!r}")
            return replace(self, resize_mode=mode, fill=None, crop=self.crop if mode == "crop" else 1.0)
        return replace(self, resize_mode=mode, fill=self.border if fill is None else _colour(fill), crop=1.0)

    @property
    def crop_share(self) -> Fraction:
        """`crop` as a quotient of integers, with which `geometry` computes."""
        return _fraction(self.crop)

    @property
    def unnormalized(self) -> Preprocessing:
        """The resize alone: RGB pixels, 0..255."""
        return replace(self, channels="RGB", mean=(0.0,) * 3, std=(1.0,) * 3, fill=self.border)

    @property
    def border(self) -> tuple[float, ...]:
        """The colour around an image, red, green and blue: `fill`, or the mean colour."""
        if self.fill is not None:
            return self.fill
        return {"RGB": self.mean, "BGR": self.mean[::-1], "L": self.mean * 3}[self.channels]

    def geometry(self, height: Any, width: Any) -> Geometry:
        """Where an image of this height and width goes, in pixels.

        It is computed in integers, so that Python's and a graph's (scalar int64 tensors) come to the same.
        """
        least, most = (tf.minimum, tf.maximum) if isinstance(height, tf.Tensor) else (min, max)
        rows, columns = self.size
        if self.resize_mode == "crop":
            share = self.crop_share
            fit = share.numerator * least(height * columns, width * rows)
            window = _ratio(fit, share.denominator * columns), _ratio(fit, share.denominator * rows)
            return Geometry(_central((height, width), *(most(side, 1) for side in window)), Box(0, 0, rows, columns))
        whole = Box(0, 0, height, width)
        if self.resize_mode == "stretch":
            return Geometry(whole, Box(0, 0, rows, columns))
        fit = least(rows * width, columns * height)
        return Geometry(whole, _central(self.size, *(most(_ratio(fit, side), 1) for side in (width, height))))

    def resize(self, image: tf.Tensor) -> tf.Tensor:
        """Bring images to size: (..., H, W, 3) RGB of any size, 0..255 -> (..., *size, 3) float32, 0..255."""
        shape = tf.shape(image, out_type=tf.int64)
        top, left, rows, columns = self.geometry(shape[-3], shape[-2]).window
        return self.frame(self.scale(image[..., top : top + rows, left : left + columns, :]))

    def scale(self, window: tf.Tensor) -> tf.Tensor:
        """Resize a whole window: (..., H, W, 3), 0..255 -> float32 of the input's size; smaller before letterboxing."""
        shape = tf.shape(window, out_type=tf.int64)
        place = self.geometry(shape[-3], shape[-2]).place
        size = tf.cast((place.rows, place.columns), tf.int32) if self.resize_mode == "letterbox" else self.size
        # tf.image.resize returns images of the right size unchanged, uint8 included.
        resized = tf.cast(tf.image.resize(window, size, method=self.interpolation, antialias=True), tf.float32)
        # A bilinear filter stays within 0..255 except for rounding; a bicubic filter overshoots at edges.
        return tf.clip_by_value(resized, 0.0, 255.0)

    def frame(self, pixels: tf.Tensor) -> tf.Tensor:
        """Put scaled pixels into the middle of the border: (..., H, W, 3), at most of the input's size -> that size."""
        if self.resize_mode != "letterbox":
            return pixels
        shape = tf.shape(pixels)
        top, left, rows, columns = _central(self.size, shape[-3], shape[-2])
        framed = self.surround(pixels, (top, self.size[0] - top - rows), (left, self.size[1] - left - columns))
        return tf.ensure_shape(framed, (*pixels.shape[:-3], *self.size, 3))

    def surround(self, pixels: tf.Tensor, above_below: Any, left_right: Any) -> tf.Tensor:
        """Add so many rows and columns of the border's colour: (..., H, W, 3) float32 -> (..., H', W', 3)."""
        paddings = [(0, 0)] * (len(pixels.shape) - 3) + [above_below, left_right, (0, 0)]
        outside = 1 - tf.pad(tf.ones_like(pixels), paddings)
        return tf.pad(pixels, paddings) + outside * tf.constant(self.border, tf.float32)

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
        channels = pixels.shape[-1]  # no walrus: AutoGraph cannot transform one
        if channels not in (3, None):
            raise InputError(f"images are RGB, (..., H, W, 3), as `data.decode` returns them; got {channels} channels")
        prepared = self.normalize(self.resize(pixels))
        return prepared if tf.is_tensor(image) or not tf.executing_eagerly() else prepared.numpy()


def scaled(size: tuple[int, int], channels: int = 3, crop: float = 0.875) -> Preprocessing:
    """Pixels scaled to [-1, 1], as for TensorFlow's released networks; grey for one channel."""
    per_channel: Sequence[float] = (127.5,) * channels
    return Preprocessing(
        size=size, crop=crop, channels="L" if channels == 1 else "RGB", mean=tuple(per_channel), std=tuple(per_channel)
    )


def _colour(fill: Fill) -> tuple[float, ...]:
    """A grey level, or red, green and blue, as a colour."""
    levels = fill if isinstance(fill, Sequence) and not isinstance(fill, str) else (fill,) * 3
    try:
        colour = tuple(map(float, levels))
    except (TypeError, ValueError):
        colour = ()
    if len(colour) != 3 or not all(0 <= level <= 255 for level in colour):
        raise InputError(f"fill must be a grey level, or red, green and blue, each from 0 to 255; got {fill!r}")
    return colour


@lru_cache(16)
def _fraction(share: float) -> Fraction:
    return Fraction(share).limit_denominator(10_000)


def _central(size: tuple[Any, Any], rows: Any, columns: Any) -> Box:
    """The box of so many rows and columns in the middle of an image."""
    return Box((size[0] - rows) // 2, (size[1] - columns) // 2, rows, columns)


def _ratio(numerator: Any, denominator: Any) -> Any:
    """The nearest integer; a half is rounded up."""
    return (2 * numerator + denominator) // (2 * denominator)
