"""Random changes of training images, and the several views of one that an evaluation averages.

Each is called with an image, the network's preprocessing and a seed, and returns pixels of the network's size;
`detail` says how many pixels of the file it needs. `Split.batches` takes any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from ..preprocessing import Preprocessing

MARGIN = 256 / 224  # of a resized image over the crops taken of it (Krizhevsky et al., 2012, section 4.1)
SCALES = tuple(side / 224 for side in (256, 288, 320, 352))  # arXiv 1409.4842, section 7


class Changes(Protocol):
    """What `Split.batches` does to an image in place of `Preprocessing.resize`."""

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """Change an image as `seed`, two integers, says: (H, W, 3), 0..255 -> (..., *size, 3) float32, 0..255."""

    def detail(self, preprocessing: Preprocessing) -> int | None:
        """Pixels that the sides of an image must keep; None for all."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes that leave an image its class: light ones by default.

    A window of at least the fraction `area` of the image, and of 3/4 to 4/3 times the network's aspect ratio, is
    stretched to the network's input: Inception's distorted crop (arXiv 1409.4842, section 6, where `area` is 0.08).
    With `flip` half of the images are mirrored, which digits and text must not be. `colour` scales TF-Slim's changes
    of brightness, saturation, hue and contrast, in this order: 1 for those of its Inceptions, 0 for none.
    """

    area: float = 0.5
    flip: bool = True
    colour: float = 0.0

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """Change an image as `seed`, two integers, says: (H, W, 3), 0..255 -> (*size, 3) float32, 0..255."""
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        height, width = preprocessing.size
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            bounding_boxes=tf.zeros((1, 0, 4)),
            seed=crop_seed,
            min_object_covered=0.0,
            aspect_ratio_range=(0.75 * width / height, width / height / 0.75),
            area_range=(self.area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        pixels = preprocessing.stretch(tf.slice(image, begin, extent))
        if self.flip:
            pixels = tf.image.stateless_random_flip_left_right(pixels, flip_seed)
        return self._coloured(pixels, tf.random.split(seed + 1, 4)) if self.colour else pixels

    def _coloured(self, pixels: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        half = 0.5 * self.colour
        pixels = tf.image.stateless_random_brightness(pixels / 255, self.colour * 32 / 255, seeds[0])
        pixels = tf.image.stateless_random_saturation(pixels, 1 - half, 1 + half, seeds[1])
        pixels = tf.image.stateless_random_hue(pixels, 0.2 * self.colour, seeds[2])
        pixels = tf.image.stateless_random_contrast(pixels, 1 - half, 1 + half, seeds[3])
        return 255 * tf.clip_by_value(pixels, 0.0, 1.0)

    def detail(self, preprocessing: Preprocessing) -> int:
        """Pixels that the sides of an image must keep, so that its smallest window has twice the network's input."""
        return round(2 * max(preprocessing.size) / (0.75 * self.area) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The CIFAR papers' change (arXiv 1512.03385, section 4.2): up to `pixels` to each side, and with `flip` a mirror.

    What comes in at the border is the network's mean colour, 0 after its normalisation.
    """

    pixels: int = 4
    flip: bool = True

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """As `Changes` says."""
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        mean = tf.constant(preprocessing.mean if len(preprocessing.mean) == 3 else preprocessing.mean * 3)
        mean = mean[::-1] if preprocessing.channels == "BGR" else mean
        border = [[self.pixels] * 2, [self.pixels] * 2, [0, 0]]
        framed = tf.pad(preprocessing.resize(image) - mean, border) + mean
        pixels = tf.image.stateless_random_crop(framed, (*preprocessing.size, 3), crop_seed)
        return tf.image.stateless_random_flip_left_right(pixels, flip_seed) if self.flip else pixels

    def detail(self, preprocessing: Preprocessing) -> int:
        """As `Changes` says."""
        return 2 * round(max(preprocessing.size) / preprocessing.crop)


@dataclass(frozen=True)
class Crops:
    """Views of an image whose answers an evaluation averages: `count` is 1, 10, 12 or 144.

    10: the corners and the centre of the image's central square, 256/224 of the input's size, and their mirrors
    (Krizhevsky et al., 2012). 144: at four scales three squares along the longer side, of each the corners, the centre
    and the whole, and their mirrors (arXiv 1409.4842, section 7). 12 are those of the central square at the smallest of
    the scales: papers that report 12 do not say which.
    """

    count: int = 1

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """(H, W, 3), 0..255 -> (count, *size, 3) float32, 0..255; nothing is random."""
        if self.count == 1:
            return preprocessing.resize(image)[None]
        places, scales = (3, SCALES) if self.count == 144 else (1, (MARGIN,))
        views = []
        for square in _squares(tf.cast(image, tf.float32), preprocessing.size, places):
            for scale in scales:
                views += _corners(square, preprocessing, scale)
                if self.count != 10:
                    views.append(preprocessing.stretch(square))
        upright = tf.stack(views)
        return tf.concat([upright, tf.reverse(upright, [2])], 0)

    def detail(self, preprocessing: Preprocessing) -> None:
        """All: an evaluation sees the file's own pixels."""
        return


def _squares(image: tf.Tensor, size: tuple[int, int], places: int) -> list[tf.Tensor]:
    """The largest windows of the network's aspect ratio: the central one, or three along the longer side."""
    height, width = size
    shape = tf.shape(image)
    zoom = tf.minimum(tf.cast(shape[0], tf.float32) / height, tf.cast(shape[1], tf.float32) / width)
    rows = tf.maximum(1, tf.cast(tf.round(height * zoom), tf.int32))
    columns = tf.maximum(1, tf.cast(tf.round(width * zoom), tf.int32))
    fractions = (0.5,) if places == 1 else (0.0, 0.5, 1.0)
    windows = []
    for fraction in fractions:
        top = tf.cast(tf.cast(shape[0] - rows, tf.float32) * fraction, tf.int32)
        left = tf.cast(tf.cast(shape[1] - columns, tf.float32) * fraction, tf.int32)
        windows.append(image[top : top + rows, left : left + columns])
    return windows


def _corners(square: tf.Tensor, preprocessing: Preprocessing, scale: float) -> list[tf.Tensor]:
    """Four corners and the centre, each of the network's size, of a window resized to `scale` times that."""
    height, width = preprocessing.size
    large = (round(height * scale), round(width * scale))
    resized = tf.image.resize(square, large, method=preprocessing.interpolation, antialias=True)
    resized = tf.clip_by_value(resized, 0.0, 255.0)
    down, right = large[0] - height, large[1] - width
    starts = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
    return [resized[top : top + height, left : left + width] for top, left in starts]
