"""Image files as pixels: the one definition of what an image shows.

Pillow decodes every kind of file. It reads the declared size before any pixel; supports EXIF, CMYK, 16 bits, palettes,
animations and WebP; and works outside of Python's lock. Ordinary files, RGB or grey and undamaged, take a faster road
to the same pixels: JPEG by simplejpeg, which calls the same library (libjpeg-turbo) once, and PNG by TensorFlow. Its
decoders allocate whatever size a header declares, and leave out half of the rest: `export.image_decoder` adds it in a
SavedModel's graph.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

import numpy as np
import simplejpeg
import tensorflow as tf
from PIL import Image, ImageFile, UnidentifiedImageError

from ..arguments import checked
from ..errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 2**26  # declared in the header, refused before decoding: 200 MB as RGB, above a phone's 64 megapixels
MAX_BYTES = 2**30  # of a file: `MAX_PIXELS` of four channels and 16 bits have half of that
ORIENTATION, SHORT, LONG = 0x0112, 3, 4  # a tag of EXIF, and two types of its numbers
TRANSPOSED = (5, 6, 7, 8)  # the orientations with height and width exchanged

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # how these files start
PLAIN_PNG = b"\x08\x00", b"\x08\x02"  # bits and colours of a channel or three
UNUSUAL = {b"tRNS", b"eXIf", b"acTL"}  # chunks before the pixels: transparency, orientation, an animation

HEAD = 512  # bytes at the start of a file that tell what it is
CONVERT = "convert it to PNG, for example with `magick mogrify -format png FILE`"
OTHERS = {  # what else people have as images -> how such a file starts
    f"an AVIF image: {CONVERT}": rb".{4}ftyp(avi[fs]|(mif1|msf1).{4}(.{4})*?avif)",
    f"a HEIC image: {CONVERT}": rb".{4}ftyp(hei[cxms]|hev[cmsx]|mif1|msf1)",
    f"a camera's raw image: {CONVERT}": rb"II\*\0.{4}CR|II[RU].|IIRS|MMOR|FUJIFILMCCD-RAW|.{4}ftypcrx",
    f"a TIFF or raw image: {CONVERT}": rb"II[*+]\0|MM\0[*+]",
    f"a JPEG 2000 image: {CONVERT}": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    f"a JPEG XL image: {CONVERT}": rb"\0\0\0\x0cJXL |\xff\x0a",
    f"a Photoshop image: {CONVERT}": rb"8BPS",
    f"an SVG drawing: {CONVERT}": rb"(\xef\xbb\xbf)?\s*(<(\?xml|!).*)?<svg",
    f"an icon: {CONVERT}": rb"\0\0[\1\2]\0",
    f"a PDF document: {CONVERT}": rb"%PDF",
    "a video": rb".{4}ftyp|.{4}(moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF.{4}AVI ",
    "a web page, not an image: download the image itself": rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|\?xml)",
    "a pointer of Git LFS: fetch the images with `git lfs pull`": rb"version https://git-lfs",
    "metadata of macOS, not an image": rb"\0\x05\x16\x07",
    "a damaged image": rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF.{4}WEBP",
}


@runtime_checkable
class Encoded(Protocol):
    """An image file that is a part of something: what a `Split` may have as a source. `str` gives its name."""

    def read_bytes(self) -> bytes:
        """The bytes of the file, which threads may read at the same time; an OSError says why they cannot be read."""


@checked
def decode(source: str | Path | bytes | Encoded) -> np.ndarray:
    """Decode a JPEG, PNG, BMP, GIF or WebP file, its bytes, or what has them, to uint8 (H, W, 3) RGB.

    The content decides the format, not the name. Everything of this package sees an image as this function does:

    - It is upright: EXIF orientation is applied (in PNG only a chunk before the pixels; orientation in XMP is not).
    - Transparency is composited on white: an alpha channel, a transparent palette entry or colour, and what the frame
      of a GIF does not cover.
    - It is the first frame of an animation, or image of a file that holds several.
    - It has three channels: grey is repeated, palettes are looked up, CMYK is `(255 - ink) * (255 - black) / 255`.
    - It has 8 bits: the high byte of 16, and 255 / (2^n - 1) of each level of 1, 2 or 4.
    - Colours are as stored: a colour profile (ICC) or gamma is not applied, as in TensorFlow, Keras and torchvision.

    Raises:
        InputError: the file does not exist, or does not hold a complete image.
    """
    return np.ascontiguousarray(opened(source).pixels())


class Opened(Protocol):
    """An image file whose header is read."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright image in pixels."""

    def pixels(self, reduction: int = 1, *, exact: bool = True) -> np.ndarray:
        """Decode it as `decode` does; unless `exact`, as fast as possible.

        With a `reduction` of 2, 4 or 8 its sides are that much smaller, rounded up, where the format has a fast way.
        """


def opened(source: str | Path | bytes | Encoded) -> Opened:
    """Read an image file's header, and all of it unless it is an ordinary JPEG.

    Raises:
        InputError: as `decode`, here or when the pixels are asked for.
    """
    name = "the image" if isinstance(source, bytes) else str(source)
    with _reading(name):
        content = content_of(source)
        try:
            return Jpeg(content, name) if content.startswith(JPEG) else Decoded(_png(content))
        except (ValueError, struct.error, tf.errors.OpError):  # not ordinary, or damaged: Pillow tells
            return Decoded(pixels(io.BytesIO(content), None))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # see reason
        raise InputError(f"{name} cannot be read: {reason(error)}") from error


def content_of(source: str | Path | bytes | Encoded) -> bytes:
    """The bytes of an image file; `OSError` or `ValueError` if it is none, as a pipe or a device, which never end."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | Path):
        about, source = os.stat(source), Path(source)
        if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):  # what reads a folder says that it is one
            raise ValueError("not a file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"it has {about.st_size:,} bytes; more than {MAX_BYTES:,} are not read")
    return source.read_bytes()


@dataclass(frozen=True)
class Decoded:
    """An image that is decoded already, (H, W, 3) uint8."""

    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """See `Opened`."""
        return self.image.shape[0], self.image.shape[1]

    def pixels(self, reduction: int = 1, *, exact: bool = True) -> np.ndarray:
        """See `Opened`."""
        return self.image


class Jpeg:
    """An ordinary JPEG, RGB or grey; `name` is what messages call it.

    Raises:
        ValueError: it is something else.
    """

    def __init__(self, content: bytes, name: str):
        self.content, self.name = content, name
        self.height, self.width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("YCbCr", "Gray") or self.height * self.width > MAX_PIXELS:
            raise ValueError
        self.turn = orientation(_exif(content))

    @property
    def size(self) -> tuple[int, int]:
        """See `Opened`."""
        return (self.width, self.height) if self.turn in TRANSPOSED else (self.height, self.width)

    def pixels(self, reduction: int = 1, *, exact: bool = True) -> np.ndarray:
        """See `Opened`. The fast transform and upsampling change some pixels by a few levels."""
        with _reading(self.name):
            try:
                image = simplejpeg.decode_jpeg(
                    self.content,
                    fastdct=not exact,
                    fastupsample=not exact,
                    min_height=-(-self.height // reduction),
                    min_width=-(-self.width // reduction),
                )
            except ValueError:  # what it calls damaged Pillow may read
                return pixels(io.BytesIO(self.content), None)
        return _turned(image, self.turn)


def _png(content: bytes) -> np.ndarray:
    """An ordinary PNG, of 8 bits, RGB or grey and opaque, by TensorFlow, which takes two thirds of Pillow's time.

    Raises:
        ValueError: it is something else.
    """
    if not content.startswith(PNG) or content[24:26] not in PLAIN_PNG:
        raise ValueError
    height, width = struct.unpack_from(">II", content, 16)
    chunks, place = set(), len(PNG)
    while place + 8 <= len(content) and b"IDAT" not in chunks:
        length, name = struct.unpack_from(">I4s", content, place)
        chunks.add(name)
        place += 12 + length
    if height * width > MAX_PIXELS or chunks & UNUSUAL or b"IEND" not in content[-12:]:
        raise ValueError
    return tf.io.decode_png(content, channels=3).numpy()


def _exif(content: bytes) -> bytes:
    """The record in the first "Exif" segment of a JPEG, before its tables; empty where there is none."""
    place = 2
    while place + 4 <= len(content):
        marker, length = struct.unpack_from(">HH", content, place)
        if not (0xFFE0 <= marker <= 0xFFEF or marker == 0xFFFE):
            break
        if marker == 0xFFE1 and content.startswith(b"Exif\0\0", place + 4):
            return content[place + 4 : place + 2 + length]
        place += 2 + length
    return b""


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image upright, as a view of its pixels."""
    if orientation in TRANSPOSED:
        image = image.swapaxes(0, 1)
    down, across = (-1 if orientation in turned else 1 for turned in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return image[::down, ::across]


class Header(NamedTuple):
    """What a file says of its image: the size before EXIF orientation, Pillow's names of format and mode."""

    height: int
    width: int
    format: str
    mode: str
    orientation: int  # 1..8; 1 is upright


def pixels(file: BinaryIO, detail: int | None) -> np.ndarray:
    """Decode an open file as `decode` does; raise whatever Pillow raises, or a `ValueError`."""
    return header_and_pixels(file, detail)[1]


def header_and_pixels(file: BinaryIO, detail: int | None) -> tuple[Header, np.ndarray]:
    """As `pixels`, with what the file says of the image."""
    head = file.read(HEAD)
    if not head:
        raise ValueError("empty file")
    try:
        image = Image.open(file, formats=FORMATS)  # from the start of the file
    except UnidentifiedImageError:
        raise ValueError(unreadable(head)) from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        turned = orientation(image.info.get("exif", b""))
        known = turned if 1 <= turned <= 8 else 1
        header = Header(image.height, image.width, str(image.format), image.mode, known)
        if detail is not None:
            image.draft(None, (detail, detail))
        frame = image.tile[0].extents if image.format == "GIF" else None
        if image.format == "PNG":
            _scale_key(image)
        image.load()
        if image.format == "PNG":
            _check_end_of_png(file)
        return header, _turned(np.asarray(_rgb(image, frame)), known)


def orientation(exif: bytes) -> int:
    """The orientation in the first directory of an EXIF record, 1..8; 1 where there is none.

    Pillow would parse all of the record, warn of damaged ones, and also look in XMP, which no browser does.
    """
    record = exif.removeprefix(b"Exif\0\0")
    order = "<" if record.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", record, 4)
        (count,) = struct.unpack_from(f"{order}H", record, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", record, place)
            if tag == ORIENTATION and kind in (SHORT, LONG):
                return int(struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", record, place + 8)[0])
    except struct.error:  # it ends before
        pass
    return 1


def _rgb(image: Image.Image, frame: tuple[int, int, int, int] | None) -> Image.Image:
    """Convert any mode of these formats to 8-bit RGB on white; without `frame` all of the image has pixels."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        values, key = np.asarray(image), image.info.get("transparency")
        image = Image.fromarray(np.where(values == key, 255, values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if frame not in (None, (0, 0, *image.size)):
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image.crop(frame), frame)
        return canvas
    return image


def _scale_key(image: ImageFile.ImageFile) -> None:
    """Bring the transparent level or colour of a PNG to 8 bits, as Pillow does with pixels alone."""
    match image.tile[0].args, image.info.get("transparency"):
        case "1" | "L;2" | "L;4" as raw, int(level):
            image.info["transparency"] = level * {"1": 255, "L;2": 85, "L;4": 17}[raw]
        case "RGB;16B", tuple(levels):
            image.info["transparency"] = tuple(level >> 8 for level in levels)


def _check_end_of_png(file: BinaryIO) -> None:
    """Refuse a PNG without its last chunk, of which Pillow has read the name, or nothing in an animation."""
    file.seek(-4, io.SEEK_CUR)
    rest = file.read()
    if not 0 <= rest.find(b"IEND") <= len(rest) - 8:  # its checksum follows
        raise OSError("image file is truncated")


def unreadable(head: bytes) -> str:
    """Say in a few words what a file is that Pillow does not know as one of `FORMATS`, by its first bytes."""
    for kind, pattern in OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return kind
    return "not a JPEG, PNG, BMP, GIF or WebP image"


def reason(error: Exception) -> str:
    """Say in a few words what is wrong with an image. Damaged files make Pillow raise nearly any exception."""
    match error:
        case Image.DecompressionBombError():
            return f"it declares more than {MAX_PIXELS / 1e6:.0f} million pixels"
        case OSError(strerror=str(text)):
            return text.lower()
    return next(iter(str(error).splitlines()), type(error).__name__)
