"""`decode`: what each kind of file shows, and what is said of files that are no image for it."""

from io import BytesIO

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_inception.data import decode, decoding
from keras_inception.data.decoding import Jpeg, opened
from keras_inception.data.decoding import pixels as by_pillow
from keras_inception.errors import InputError

from ..image_files import ALPHA, FILES, RGB, difference, encoded, exif, on_white

KNOWN = {name: shown for name, (_, shown) in FILES.items() if shown is not None}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", KNOWN)
def test_an_image_is_what_its_definition_says(name):
    image = decode(FILES[name][0])
    assert image.dtype == np.uint8
    assert difference(image, KNOWN[name]) in (0, 1)


def test_a_file_may_have_any_name(tmp_path):
    file = tmp_path / "image.jpg"
    file.write_bytes(FILES["rgb.png"][0])
    for source in (file, str(file), file.read_bytes()):
        np.testing.assert_array_equal(decode(source), RGB)


@pytest.mark.parametrize("name", ["subsampled.jpg", "progressive.jpg", "grey.jpg", "stored_as_rgb.jpg", "restarts.jpg"])
def test_an_ordinary_jpeg_equals_tensorflows_decoder(name):
    content = FILES[name][0]
    expected = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    assert difference(decode(content), expected) <= 1


@pytest.mark.parametrize("name", ["lossy.webp", "lossy_alpha.webp", "subsampled.jpg", "progressive.jpg"])
def test_lossy_formats_are_close(name):
    expected = on_white(RGB, ALPHA) if "alpha" in name else RGB
    assert np.abs(decode(FILES[name][0]).astype(int) - expected).mean() < 8


def photograph(orientation=1, size=(1040, 680)):
    """A JPEG large enough for augmentation to read a smaller one of it."""
    image = Image.fromarray(RGB).resize(size, Image.Resampling.BICUBIC)
    return encoded(image, "JPEG", quality=95, exif=exif(orientation))


@pytest.mark.parametrize("orientation", [1, 4, 6])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduced_jpeg_shows_the_same_image(orientation, reduction):
    jpeg = opened(photograph(orientation))
    small, whole = jpeg.pixels(reduction, exact=False), decode(photograph(orientation))
    assert jpeg.size == whole.shape[:2]
    assert small.shape == (*(-(-side // reduction) for side in jpeg.size), 3)
    expected = Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(small - np.asarray(expected, int)).mean() < 3


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith((".jpg", ".png"))))
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_ordinary_files_have_the_same_pixels_by_either_road(name):
    content = FILES[name][0]
    np.testing.assert_array_equal(decode(content), by_pillow(BytesIO(content), None))


def test_ordinary_files_take_the_fast_road(monkeypatch):
    monkeypatch.setattr(decoding, "pixels", None)
    for kind in ("JPEG", "PNG"):
        for mode in ("RGB", "L"):
            assert decode(encoded(Image.fromarray(RGB).convert(mode), kind)).shape == RGB.shape


def test_what_is_damaged_or_out_of_the_ordinary_is_left_to_pillow():
    cmyk = encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG")
    with pytest.raises(ValueError, match=r"^$"):
        Jpeg(cmyk, "it")
    assert decode(cmyk).shape == RGB.shape
    with pytest.raises(InputError, match="the image cannot be read: image file is truncated"):
        opened(photograph()[:-400]).pixels()


CONVERT = ": convert it to PNG, for example with `magick mogrify -format png FILE`"
BOX = b"\0\0\0\x1cftyp"
OTHERS = {
    "an iPhone's": (BOX + b"heic\0\0\0\0mif1heic" + bytes(99), "a HEIC image" + CONVERT),
    "a HEIF by its common brand": (BOX + b"mif1\0\0\0\0mif1heic" + bytes(99), "a HEIC image" + CONVERT),
    "AVIF": (encoded(Image.fromarray(RGB), "AVIF"), "an AVIF image" + CONVERT),
    "an AVIF by its common brand": (BOX + b"mif1\0\0\0\0mif1miafavif" + bytes(99), "an AVIF image" + CONVERT),
    "TIFF": (encoded(Image.fromarray(RGB), "TIFF"), "a TIFF or raw image" + CONVERT),
    "BigTIFF": (b"II+\0\x08\0\0\0" + bytes(99), "a TIFF or raw image" + CONVERT),
    "Canon's": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "a camera's raw image" + CONVERT),
    "Fujifilm's": (b"FUJIFILMCCD-RAW 0201" + bytes(99), "a camera's raw image" + CONVERT),
    "JPEG 2000": (encoded(Image.fromarray(RGB), "JPEG2000"), "a JPEG 2000 image" + CONVERT),
    "JPEG XL": (b"\xff\x0a\xfa\x1f" + bytes(99), "a JPEG XL image" + CONVERT),
    "JPEG XL in a container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "a JPEG XL image" + CONVERT),
    "PSD": (b"8BPS\0\1" + bytes(99), "a Photoshop image" + CONVERT),
    "ICO": (encoded(Image.fromarray(RGB), "ICO"), "an icon" + CONVERT),
    "SVG": (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="">', "an SVG drawing" + CONVERT),
    "SVG alone": (b"  <svg></svg>", "an SVG drawing" + CONVERT),
    "PDF": (b"%PDF-1.7\n", "a PDF document" + CONVERT),
    "a live photo": (BOX + b"qt  \0\0\0\0qt  ", "a video"),
    "an error page": (b"<!DOCTYPE HTML>\n<html>", "a web page, not an image: download the image itself"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        "a pointer of Git LFS: fetch the images with `git lfs pull`",
    ),
    "beside a file of macOS": (b"\0\x05\x16\7\0\2\0\0Mac OS X", "metadata of macOS, not an image"),
    "a PNG sent as text": (b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "a damaged image"),
    "anything else": (b"Dear Sir or Madam", "not a JPEG, PNG, BMP, GIF or WebP image"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_image_is_called_by_its_name(name):
    content, reason = OTHERS[name]
    with pytest.raises(InputError) as caught:
        decode(content)
    assert str(caught.value) == f"the image cannot be read: {reason}"
