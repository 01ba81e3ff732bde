"""Image files as pixels.

Pillow decodes every file, in training and in evaluation. It reads the declared size before any pixel; supports EXIF
orientation, CMYK, 16 bits, palettes, animations and WebP; and releases the GIL while it works. TensorFlow's decoders
support few of these, and allocate whatever size a header declares.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 2**26  # declared in the header, refused before decoding: 200 MB as RGB, above a phone's 64 megapixels


def decode(source: str | Path | bytes, *, detail: int | None = None) -> np.ndarray:
    """Decode a JPEG, PNG, BMP, GIF or WebP file, or its bytes, to uint8 (H, W, 3) RGB, upright.

    Transparent pixels are composited on white. The first frame of an animation is used. With `detail` a JPEG may be
    decoded at 1/2, 1/4 or 1/8 of its size, with both sides at least `detail` pixels: much faster, but not bit-exact.

    Raises:
        InputError: the file does not exist, or does not hold a complete image.
    """
    try:
        if isinstance(source, bytes):
            return pixels(io.BytesIO(source), detail)
        with open(source, "rb") as file:
            return pixels(file, detail)
    except Exception as error:  # see reason
        name = "the image" if isinstance(source, bytes) else source
        raise InputError(f"{name} cannot be read: {reason(error)}") from error


def pixels(file: BinaryIO, detail: int | None) -> np.ndarray:
    """Decode an open file as `decode` does; raise whatever Pillow raises."""
    if not file.read(1):
        raise ValueError("empty file")
    with Image.open(file, formats=FORMATS) as image:  # from the start of the file
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if detail is not None:
            image.draft(None, (detail, detail))
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_rgb(image))


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any mode of these formats to 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow clips instead of scaling
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def reason(error: Exception) -> str:
    """Say in a few words what is wrong with an image. Damaged files make Pillow raise nearly any exception."""
    match error:
        case UnidentifiedImageError():
            return "not a JPEG, PNG, BMP, GIF or WebP image"
        case Image.DecompressionBombError():
            return f"it declares more than {MAX_PIXELS / 1e6:.0f} million pixels"
        case OSError(strerror=str(text)):
            return text.lower()
    return next(iter(str(error).splitlines()), type(error).__name__)
