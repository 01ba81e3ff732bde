"""Operations on the pixels of one training image, by Pillow: RandAugment's, rotation and blur.

Keras' layers take 5.6 s (RandAugment) and 1.7 s (RandomGaussianBlur) for a batch of 32 images of 224 x 224 on two
cores, and RandAugment's draws its operations once for a whole batch. These add at most 0.3 s and 0.4 s to such a batch,
on cores that were busier, and each image has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Fill: TypeAlias = tuple[int, ...]  # the colour of what comes into an image from outside of it
Change: TypeAlias = Callable[[Image.Image, float, Fill], Image.Image]

AT_ONCE = 2  # operations of RandAugment on an image


@dataclass(frozen=True)
class Operation:
    """A name in `CHANGES`, and by how much the image is changed, in the unit of that change."""

    name: str
    amount: float = 0.0

    def __call__(self, image: Image.Image, fill: Fill) -> Image.Image:
        """The changed image, of the same size."""
        return CHANGES[self.name](image, self.amount, fill)


def randaugment(magnitude: float, random: np.random.Generator) -> list[Operation]:
    """Two operations of RandAugment (arXiv 1909.13719), drawn with replacement, of a magnitude from 0 to 1.

    1 is the paper's greatest, which its code counts as 30: 0.3 is its "9". Where an operation has two directions, one
    is drawn.
    """
    names = [RANDAUGMENT[i] for i in random.integers(len(RANDAUGMENT), size=AT_ONCE)]
    signs = random.choice((-1, 1), AT_ONCE)
    return [
        Operation(name, GREATEST.get(name, 0.0) * magnitude * (1 if name in ONE_WAY else int(sign)))
        for name, sign in zip(names, signs, strict=True)
    ]


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Change:
    return lambda image, amount, fill: kind(image).enhance(1 + amount)


CHANGES: dict[str, Change] = {
    # Of geometry: shears in pixels a pixel from the centre, shifts in widths or heights, rotations in degrees.
    "shear_x": lambda image, a, fill: _affine(image, (1, a, -a * image.height / 2, 0, 1, 0), fill),
    "shear_y": lambda image, a, fill: _affine(image, (1, 0, 0, a, 1, -a * image.width / 2), fill),
    "translate_x": lambda image, a, fill: _affine(image, (1, 0, a * image.width, 0, 1, 0), fill),
    "translate_y": lambda image, a, fill: _affine(image, (1, 0, 0, 0, 1, a * image.height), fill),
    "rotate": lambda image, a, fill: image.rotate(a, Image.Resampling.BILINEAR, fillcolor=fill),
    # Of colours and details: parts of what there is, added or taken away.
    "brightness": _enhanced(ImageEnhance.Brightness),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    # Bits of a colour that are left out; grey levels at the top that are inverted.
    "posterize": lambda image, a, fill: ImageOps.posterize(image, 8 - round(a)),
    "solarize": lambda image, a, fill: ImageOps.solarize(image, 256 - round(a)),
    "autocontrast": lambda image, a, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, a, fill: ImageOps.equalize(image),
    "identity": lambda image, a, fill: image,
    # A standard deviation in pixels.
    "blur": lambda image, a, fill: image.filter(ImageFilter.GaussianBlur(a)),
}
RANDAUGMENT = tuple(name for name in CHANGES if name != "blur")  # the 14 of the paper's Figure 2
GREATEST = {  # amounts of AutoAugment's Table 6 (arXiv 1805.09501) at magnitude 1
    **dict.fromkeys(("shear_x", "shear_y"), 0.3),
    **dict.fromkeys(("translate_x", "translate_y"), 150 / 331),
    "rotate": 30.0,
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.9),
    "posterize": 4.0,
    "solarize": 256.0,
}
ONE_WAY = ("posterize", "solarize")
