"""Random changes of training images, and the views of an image that an evaluation averages.

Each says, for an image of some size, which views of it become the network's input. `Split.batches` takes any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..preprocessing import Preprocessing
from .views import Colour, View

MARGIN = 256 / 224  # side of the resized image over the side of a crop (Krizhevsky et al., 2012, section 4.1)
COUNTS = (1, 10, 12, 144)  # of views, see `Crops`
SCALES = tuple(side / 224 for side in (256, 288, 320, 352))  # arXiv 1409.4842, section 7
CANVAS = 4096  # side of the square on which windows of an image's own aspect ratio are drawn


class Changes(Protocol):
    """What `Split.batches` shows of an image instead of its central view."""

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """Return the views of an image of this size in pixels: one to train on, or several to average."""


def central(height: int, width: int, preprocessing: Preprocessing) -> View:
    """The view that `Preprocessing.resize` resizes."""
    return View(window=preprocessing.window(height, width), size=preprocessing.size)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes that keep the class of an image; light by default.

    Inception's distorted crop (arXiv 1409.4842, section 6, where `area` is 0.08): a window of at least the fraction
    `area` of the image, and of 3/4 to 4/3 times the network's aspect ratio, is stretched to the network's input. With
    `flip` half of the images are mirrored; digits and text must not be. `colour` scales the ranges of
    brightness, saturation, hue and contrast that TF-Slim's Inceptions have, in this order (see `Colour`; saturation and
    hue are TF-Slim's in a linear form): 0 for no change.

    Where the network sees whole images, a window has 3/4 to 4/3 times the aspect ratio of its image, so that training's
    distortions lie around evaluation's. It is stretched or letterboxed as whole images are; borders keep their colour.

    Raises:
        InputError: `area` is not above 0 and at most 1, `flip` not a bool, or `colour` not from 0 to 2.
    """

    area: float = 0.5
    flip: bool = True
    colour: float = 0.0

    def __post_init__(self) -> None:
        _check("area", self.area, is_real(self.area) and 0 < self.area <= 1, "a number above 0, at most 1")
        _check("flip", self.flip, isinstance(self.flip, bool), "True or False")
        _check("colour", self.colour, is_real(self.colour) and 0 <= self.colour <= 2, "a number from 0 to 2")

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """Change an image: (H, W, 3), 0..255 -> (*size, 3) float32, 0..255. `seed` is two integers."""
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        pixels = preprocessing.scale(self._window(image, preprocessing, crop_seed))
        if self.flip:
            pixels = tf.image.stateless_random_flip_left_right(pixels, flip_seed)
        if self.colour:
            pixels = self._coloured(pixels, tf.random.split(seed + 1, 4))
        return preprocessing.frame(pixels)

    def _window(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        shape, (height, width) = tf.shape(image), preprocessing.size
        if whole := preprocessing.resize_mode != "crop":
            height = width = 1  # the range of aspect ratios is a constant: for the image's own, draw on a square
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            (CANVAS, CANVAS, 3) if whole else shape,
            bounding_boxes=tf.zeros((1, 0, 4)),
            seed=seed,
            min_object_covered=0.0,
            aspect_ratio_range=(0.75 * width / height, width / height / 0.75),
            area_range=(self.area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        if whole:
            sides = tf.cast(shape[:2], tf.int64)
            first, size = (tf.cast(ends[:2], tf.int64) * sides // CANVAS for ends in (begin, extent))
            begin, extent = tf.concat([first, [0]], 0), tf.concat([tf.maximum(size, 1), [3]], 0)
        return tf.slice(image, begin, extent)

    def _window(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> tuple[int, int, int, int]:
        for _ in range(ATTEMPTS):
            area = random.uniform(self.area, 1.0) * height * width
            aspect = random.uniform(0.75, 1 / 0.75) * preprocessing.size[1] / preprocessing.size[0]
            rows, columns = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 0 < rows <= height and 0 < columns <= width:
                return (
                    int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns
                )  # fmt: skip
        return 0, 0, height, width  # of an elongated image no such window may have the area

    def _colour(self, random: np.random.Generator) -> Colour:
        brightness, saturation, hue, contrast = self.colour * random.uniform(-1, 1, 4)
        return Colour(brightness=32 * brightness, saturation=1 + saturation / 2, hue=hue / 5, contrast=1 + contrast / 2)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The CIFAR papers' augmentation (arXiv 1512.03385, section 4.2): a shift of up to `pixels`, and mirroring.

    The border is filled with `Preprocessing.border`: by default the mean colour, which the normalisation turns into 0.

    Raises:
        InputError: `pixels` is not an integer of at least 0, or `flip` is not a bool.
    """

    pixels: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        valid = isinstance(self.pixels, int) and not isinstance(self.pixels, bool) and self.pixels >= 0
        _check("pixels", self.pixels, valid, "an integer of at least 0")
        _check("flip", self.flip, isinstance(self.flip, bool), "True or False")

    def __call__(self, image: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """See `Changes`."""
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        around = (self.pixels, self.pixels)
        framed = preprocessing.surround(preprocessing.resize(image), around, around)
        pixels = tf.image.stateless_random_crop(framed, (*preprocessing.size, 3), crop_seed)
        return tf.image.stateless_random_flip_left_right(pixels, flip_seed) if self.flip else pixels

    def detail(self, preprocessing: Preprocessing) -> int:
        """See `Changes`."""
        return 2 * round(max(preprocessing.size) / preprocessing.crop)


@dataclass(frozen=True)
class Crops:
    """Views of an image whose predictions an evaluation averages: `count` is 1, 10, 12 or 144.

    10: the corners and the centre of the image's central square, resized to 256/224 of the input's size, and their
    mirror images (Krizhevsky et al., 2012). 144: at four scales, three squares along the longer side, each with its
    corners, its centre and the whole square, and their mirror images (arXiv 1409.4842, section 7). 12: those of the
    central square at the smallest scale; papers that report 12 do not say which.

    Where the network sees whole images, the whole image takes the place of the square, and there are no 144.

    Raises:
        InputError: `count` is another number.
    """

    count: int = 1

    def __post_init__(self) -> None:
        valid = isinstance(self.count, int) and not isinstance(self.count, bool) and self.count in COUNTS
        _check("count", self.count, valid, f"{', '.join(map(str, COUNTS[:-1]))} or {COUNTS[-1]}")

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """As `Changes.views`: `count` of them, the upright ones first; nothing is random."""
        if self.count == 1:
            return (central(height, width, preprocessing),)
        places, scales = (3, SCALES) if self.count == 144 else (1, (MARGIN,))
        views = []
        for window in _windows(tf.cast(image, tf.float32), preprocessing, places):
            for scale in scales:
                views += _corners(window, preprocessing, scale)
                if self.count != 10:
                    views.append(preprocessing.frame(preprocessing.scale(window)))
        upright = tf.stack(views)
        return tf.concat([upright, tf.reverse(upright, [2])], 0)

    def detail(self, preprocessing: Preprocessing) -> None:
        """Return None: an evaluation uses all pixels of the file."""
        return


def _windows(image: tf.Tensor, preprocessing: Preprocessing, places: int) -> list[tf.Tensor]:
    """Cut the largest windows of the network's aspect ratio: the central one, or three along the longer side.

    Of an image that the network sees whole, the whole image.
    """
    shape = tf.shape(image, out_type=tf.int64)
    central = replace(preprocessing, crop=1.0).geometry(shape[0], shape[1]).window
    windows = []
    for half in (1,) if places == 1 else (0, 1, 2):
        top, left = (
            half * (side - part) // 2 for side, part in ((shape[0], central.rows), (shape[1], central.columns))
        )
        windows.append(image[top : top + central.rows, left : left + central.columns])
    return windows


def _corners(window: tf.Tensor, preprocessing: Preprocessing, scale: float) -> list[tf.Tensor]:
    """Bring a window to `scale` times the network's size, and cut four corners and the centre of that size."""
    height, width = preprocessing.size
    large = (round(height * scale), round(width * scale))
    enlarged = replace(preprocessing, size=large)
    resized = enlarged.frame(enlarged.scale(window))
    down, right = large[0] - height, large[1] - width
    starts = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
    return [View(window=window, size=large, place=(-top, -left)) for top, left in starts]


def is_real(value: Any) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check(name: str, value: Any, valid: bool, allowed: str) -> None:
    if not valid:
        raise InputError(f"{name} must be {allowed}; got {value!r}")
