"""Random changes of training images, and the views of an image that an evaluation averages.

Each says, for an image of some size, which views of it become the network's input. `Split.batches` takes any of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from numbers import Real
from typing import Any, Protocol, TypeGuard

import numpy as np

from ..arguments import check_fields
from ..errors import InputError
from ..preprocessing import Box, Preprocessing
from .operations import Operation, randaugment
from .views import Colour, View, central

MARGIN = 256 / 224  # side of the resized image over the side of a crop (Krizhevsky et al., 2012, section 4.1)
COUNTS = (1, 10, 12, 144)  # of views, see `Crops`
SCALES = tuple(side / 224 for side in (256, 288, 320, 352))  # arXiv 1409.4842, section 7
ATTEMPTS = 10  # to place a window of a random shape in the image
BLUR = 0.1 / 224, 2 / 224  # standard deviations over the input's longer side (arXiv 2002.05709, appendix A)
ERASED = 0.02, 0.4  # the area of a rectangle over that of the input (arXiv 1708.04896, section 4.3)
ERASED_ASPECT = math.log(0.3), -math.log(0.3)  # logarithms of height over width
LEAST_ALPHA = 0.1  # of MixUp and CutMix: Keras draws Beta as a ratio of gammas, which is 0 / 0 too often below


class Changes(Protocol):
    """What `Split.batches` shows of an image instead of its central view."""

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """Return the views of an image of this size in pixels: one to train on, or several to average."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes that keep the class of an image; light by default.

    Inception's distorted crop (arXiv 1409.4842, section 6, where `area` is 0.08): a window of at least the fraction
    `area` of the image, and of 3/4 to 4/3 times the network's aspect ratio, is stretched to the network's input. With
    `flip` half of the images are mirrored; digits and text must not be. `colour` scales the ranges in which
    TF-Slim changes brightness, saturation, hue and contrast, in this order: 1 for those of its Inceptions, 0 for none.
    The changes are linear (see `views.Colour`); TF-Slim's saturation and hue are those of HSV.

    Where the network sees whole images, a window has 3/4 to 4/3 times the aspect ratio of its image, so that training's
    distortions lie around evaluation's. It is stretched or letterboxed as whole images are; borders keep their colour.
    Where `area` is 1, the window is evaluation's.

    What follows is of the input, and is none by default. What comes from outside of the image, and what is erased, has
    `Preprocessing.border`'s colour, by default the mean's:

    - `randaugment`: two operations of RandAugment (arXiv 1909.13719), of this magnitude from 0 to 1; 0.3 is the "9" of
      its code, which counts to 30.
    - `rotation`: by up to so many degrees, from 0 to 180, in either direction.
    - `blur`: the share of images that are blurred by a Gaussian of 0.1 to 2 pixels of an input of 224
      (arXiv 2002.05709, appendix A, where it is 0.5).
    - `erasing`: the share of images of which a rectangle is erased, 2 to 40 % of the area, 0.3 to 3.3 times as high as
      wide (arXiv 1708.04896, where it is 0.5).

    Two more mix the images of a batch, and their labels, by Keras' layers. Of both, one is drawn for each batch:

    - `mixup`: alpha of MixUp, where an image is the weighted mean of two (arXiv 1710.09412; 0.2 for ImageNet).
    - `cutmix`: alpha of CutMix, where a rectangle is another image's (arXiv 1905.04899, where it is 1).

    Raises:
        InputError: `area` is not above 0 and at most 1, `flip` not a bool, or another value is out of its range.
    """

    area: float = 0.5
    flip: bool = True
    colour: float = 0.0
    rotation: float = 0.0
    blur: float = 0.0
    randaugment: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        _check("area", self.area, is_real(self.area) and 0 < self.area <= 1, "a number above 0, at most 1")
        for name, most in {"colour": 2, "rotation": 180, "blur": 1, "randaugment": 1, "erasing": 1}.items():
            value = getattr(self, name)
            _check(name, value, is_real(value) and 0 <= value <= most, f"a number from 0 to {most}")
        for name in ("mixup", "cutmix"):
            alpha = getattr(self, name)
            valid = is_real(alpha) and (alpha == 0 or LEAST_ALPHA <= alpha <= 1)
            _check(name, alpha, valid, f"0, or a number from {LEAST_ALPHA} to 1")

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """As `Changes.views`: one."""
        window = self._window(height, width, preprocessing, random)
        view = View(
            window=window,
            place=_place(window, preprocessing),
            mirrored=self.flip and random.random() < 0.5,
            colour=self._colour(random) if self.colour else None,
            operations=tuple(self._operations(preprocessing, random)),
            erased=self._erased(preprocessing, random) if random.random() < self.erasing else None,
            exact=False,
        )
        return (view,)

    def _window(self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator) -> Box:
        if self.area == 1:
            return preprocessing.geometry(height, width).window
        own = preprocessing.size if preprocessing.resize_mode == "crop" else (height, width)
        for area, aspect, down, across in random.random((ATTEMPTS, 4)).tolist():
            pixels = (self.area + (1 - self.area) * area) * height * width
            ratio = (0.75 + (1 / 0.75 - 0.75) * aspect) * own[1] / own[0]
            rows, columns = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                return Box(int(down * (height - rows + 1)), int(across * (width - columns + 1)), rows, columns)
        return Box(0, 0, height, width)  # of an elongated image no window of that aspect ratio may have the area

    def _colour(self, random: np.random.Generator) -> Colour:
        brightness, saturation, hue, contrast = (self.colour * random.uniform(-1, 1, 4)).tolist()
        return Colour(brightness=32 * brightness, saturation=1 + saturation / 2, hue=hue / 5, contrast=1 + contrast / 2)

    def _operations(self, preprocessing: Preprocessing, random: np.random.Generator) -> list[Operation]:
        operations = randaugment(self.randaugment, random) if self.randaugment else []
        if self.rotation:
            operations.append(Operation("rotate", random.uniform(-self.rotation, self.rotation)))
        if self.blur and random.random() < self.blur:
            operations.append(Operation("blur", random.uniform(*BLUR) * max(preprocessing.size)))
        return operations

    def _erased(self, preprocessing: Preprocessing, random: np.random.Generator) -> Box:
        height, width = preprocessing.size
        pixels = random.uniform(*ERASED) * height * width
        aspect = math.exp(random.uniform(*ERASED_ASPECT))
        rows, columns = (max(1, round(side)) for side in (math.sqrt(pixels * aspect), math.sqrt(pixels / aspect)))
        rows, columns = min(rows, height), min(columns, width)
        return Box(int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns)


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
        check_fields(self)
        valid = isinstance(self.pixels, int) and not isinstance(self.pixels, bool) and self.pixels >= 0
        _check("pixels", self.pixels, valid, "an integer of at least 0")

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """As `Changes.views`: one."""
        down, across = (int(shift) for shift in random.integers(-self.pixels, self.pixels + 1, 2))
        view = central(height, width, preprocessing)
        mirrored = self.flip and random.random() < 0.5
        return (replace(view, place=_moved(view.place, down, across), mirrored=mirrored, exact=False),)


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
        check_fields(self)
        valid = isinstance(self.count, int) and not isinstance(self.count, bool) and self.count in COUNTS
        _check("count", self.count, valid, f"{', '.join(map(str, COUNTS[:-1]))} or {COUNTS[-1]}")

    def views(
        self, height: int, width: int, preprocessing: Preprocessing, random: np.random.Generator
    ) -> Sequence[View]:
        """As `Changes.views`: `count` of them, the upright ones first; nothing is random."""
        if self.count == 1:
            return (central(height, width, preprocessing),)
        places, scales = (3, SCALES) if self.count == 144 else (1, (MARGIN,))
        upright = []
        for window in _windows(height, width, preprocessing, places):
            for scale in scales:
                upright += _corners(window, preprocessing, scale)
                if self.count != 10:
                    upright.append(View(window=window, place=_place(window, preprocessing)))
        return (*upright, *(replace(view, mirrored=True) for view in upright))


KINDS: dict[str, type[Augmentation | Shift]] = {kind.__name__: kind for kind in (Augmentation, Shift)}


def to_record(changes: Changes | None) -> dict[str, Any] | None:
    """Changes as JSON values, with their class name as `kind`."""
    return None if changes is None else {"kind": type(changes).__name__, **asdict(changes)}  # type: ignore[call-overload]


def from_record(record: Mapping[str, Any] | None) -> Changes | None:
    """Read what `to_record` wrote.

    Raises:
        InputError: the changes are none of this package's.
    """
    if not record:
        return None
    values = dict(record)
    if (kind := values.pop("kind")) not in KINDS:
        raise InputError(f"unknown augmentation {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](**values)


def mixes(changes: Changes | None) -> TypeGuard[Augmentation]:
    """Whether changes mix the images of a batch, so that an image has shares of classes in place of a label."""
    return isinstance(changes, Augmentation) and bool(changes.mixup or changes.cutmix)


def _windows(height: int, width: int, preprocessing: Preprocessing, places: int) -> list[Box]:
    """The largest windows of the input's aspect ratio: the central one, or three along the longer side.

    Of an image that the network sees whole, the whole image.
    """
    _, _, rows, columns = _uncropped(preprocessing).geometry(height, width).window
    halves = (1,) if places == 1 else (0, 1, 2)
    return [Box(half * (height - rows) // 2, half * (width - columns) // 2, rows, columns) for half in halves]


def _corners(window: Box, preprocessing: Preprocessing, scale: float) -> list[View]:
    """A window brought to `scale` times the input's size: its four corners and its centre."""
    height, width = preprocessing.size
    large = (round(height * scale), round(width * scale))
    place = _place(window, replace(preprocessing, size=large))
    down, right = large[0] - height, large[1] - width
    corners = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
    return [View(window=window, place=_moved(place, -top, -left)) for top, left in corners]


def _place(window: Box, preprocessing: Preprocessing) -> Box:
    """Where the input shows a window."""
    return _uncropped(preprocessing).geometry(window.rows, window.columns).place


@lru_cache(16)
def _uncropped(preprocessing: Preprocessing) -> Preprocessing:
    return replace(preprocessing, crop=1.0)


def _moved(box: Box, down: int, right: int) -> Box:
    return box._replace(top=box.top + down, left=box.left + right)


def is_real(value: Any) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check(name: str, value: Any, valid: bool, allowed: str) -> None:
    if not valid:
        raise InputError(f"{name} must be {allowed}; got {value!r}")
