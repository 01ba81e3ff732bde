"""Image files that are cut, damaged, dangerous or rare, and paths that are none."""

import os
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from keras_inception.data import decode, load_folder
from keras_inception.data.decoding import MAX_PIXELS

from ..image_files import chunk, encoded, exif_bytes, png, segment, with_segments
from .judge import Case
from .mutations import mutated

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
PHOTO = Image.fromarray(NOISE)
JPEG = encoded(PHOTO, "JPEG", quality=85)
PNG = encoded(PHOTO.quantize(8).convert("RGB"), "PNG")
GIF = encoded(PHOTO, "GIF", save_all=True, append_images=[Image.fromarray(NOISE[::-1])])
WEBP = encoded(PHOTO, "WEBP", save_all=True, append_images=[Image.fromarray(NOISE[::-1])])
BMP = encoded(PHOTO, "BMP")


def header(width, height):
    """A PNG that has no more pixels than its header needs to be believed."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields) + rows + chunk(b"IEND", b"")


def jpeg_of(width, height):
    """A JPEG whose frame states another size than it has."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


def bmp_of(width, height):
    return BMP[:18] + struct.pack("<ii", width, height) + BMP[26:]


def gif_of(width, height):
    return GIF[:6] + struct.pack("<HH", width, height) + GIF[10:]


def arithmetic():
    """A JPEG that says it is coded arithmetically, which a decoder either knows or refuses by name."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[:at] + b"\xff\xc9" + JPEG[at + 2 :]


def ycck():
    """Four channels, of which Adobe's segment says that three are YCC."""
    content = encoded(PHOTO.convert("CMYK"), "JPEG")
    at = content.index(b"Adobe") + 11
    return content[:at] + b"\x02" + content[at + 1 :]


def text_bomb():
    """A compressed text chunk of 64 MB in 64 kB."""
    packed = zlib.compress(bytes(2**26), 9)
    return PNG[:33] + chunk(b"zTXt", b"Comment\0\0" + packed) + PNG[33:]


def long_text():
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "x" * 2**20)
    return encoded(PHOTO, "PNG", pnginfo=about)


def apng():
    return encoded(PHOTO, "PNG", save_all=True, append_images=[Image.fromarray(NOISE[::-1])])


def directory(entries, count=None, start=8):
    """An EXIF record of these entries, which may count more of them than there are."""
    body = struct.pack("<H", len(entries) if count is None else count) + b"".join(entries) + bytes(4)
    return b"Exif\0\0II*\0" + struct.pack("<I", start) + body


def entry(tag, kind, count, value):
    return struct.pack("<HHII", tag, kind, count, value)


EXIF = {
    "counts 65,535 entries": directory([entry(0x112, 3, 1, 6)], count=65535),
    "starts beyond its end": directory([entry(0x112, 3, 1, 6)], start=2**31),
    "starts in itself": directory([entry(0x112, 3, 1, 6)], start=0),
    "an orientation of text": directory([entry(0x112, 2, 4, 6)]),
    "an orientation of 4 billion numbers": directory([entry(0x112, 3, 2**32 - 1, 6)]),
    "an orientation of 65,535": directory([entry(0x112, 3, 1, 65535)]),
    "two orientations": directory([entry(0x112, 3, 1, 6), entry(0x112, 3, 1, 3)]),
    "a directory that is its own subdirectory": directory([entry(0x8769, 4, 1, 8), entry(0x112, 3, 1, 6)]),
    "no byte order": b"Exif\0\0XX*\0" + bytes(20),
    "one byte": b"Exif\0\0I",
    "a maker's note of 60 kB": exif_bytes(6, "<") + bytes(60000),
}
RARE = {
    "cmyk.jpg": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "ycck.jpg": ycck(),
    "progressive.jpg": encoded(PHOTO, "JPEG", progressive=True),
    "one_pixel.jpg": encoded(PHOTO.crop((0, 0, 1, 1)), "JPEG"),
    "one_row.png": encoded(PHOTO.crop((0, 0, 64, 1)), "PNG"),
    "one_column.png": encoded(PHOTO.crop((0, 0, 1, 48)), "PNG"),
    "one_pixel.gif": encoded(PHOTO.crop((0, 0, 1, 1)), "GIF"),
    "one_pixel.webp": encoded(PHOTO.crop((0, 0, 1, 1)), "WEBP"),
    "one_pixel.bmp": encoded(PHOTO.crop((0, 0, 1, 1)), "BMP"),
    "wide.png": encoded(Image.new("L", (65535, 1), 9), "PNG"),
    "high.png": encoded(Image.new("L", (1, 65535), 9), "PNG"),
    "wide.jpg": encoded(Image.new("L", (65500, 1), 9), "JPEG"),
    "wide_and_high.png": encoded(Image.new("L", (65535, 200), 9), "PNG"),
    "wide.gif": encoded(Image.new("P", (65535, 1), 9), "GIF"),
    "sixteen_bits.png": png(2, 16, NOISE.astype(np.uint16) << 8),
    "palette.png": encoded(PHOTO.quantize(200), "PNG"),
    "interlaced.png": png(2, 8, NOISE, interlaced=True),
    "animated.gif": GIF,
    "animated.webp": WEBP,
    "apng.png": apng(),
    "long_text.png": long_text(),
    "many_segments.jpg": with_segments(JPEG, *[segment(0xFE, b"x" * 65000)] * 64),
    "large_exif.jpg": with_segments(JPEG, *[segment(0xE1, b"Exif\0\0" + bytes(65000))] * 16),
    "large_profile.jpg": with_segments(JPEG, *[segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65000))] * 16),
    "trailing.png": PNG + bytes(2**20),
    "named_jpg.jpg": PNG,
    "named_png.png": JPEG,
    "named_gif.gif": BMP,
    "named_webp.webp": GIF,
    "named_bmp.bmp": WEBP,
    **{f"exif {name}.jpg": with_segments(JPEG, segment(0xE1, record[:65533])) for name, record in EXIF.items()},
    **{f"exif {name}.png": PNG[:33] + chunk(b"eXIf", record[6:]) + PNG[33:] for name, record in EXIF.items()},
}
BOMBS = {
    "2 billion squared.png": header(2**31 - 1, 2**31 - 1),
    "65,535 squared.png": header(65535, 65535),
    "a pixel too many.png": header(MAX_PIXELS + 1, 1),
    "no width.png": header(0, 100),
    "no height.png": header(100, 0),
    "as many as are read.png": header(8192, 8192),
    "65,500 squared.jpg": jpeg_of(65500, 65500),
    "65,535 squared.jpg": jpeg_of(65535, 65535),
    "no size.jpg": jpeg_of(0, 0),
    "2 billion squared.bmp": bmp_of(2**31 - 1, 2**31 - 1),
    "65,535 squared.bmp": bmp_of(65535, 65535),
    "a negative size.bmp": bmp_of(-64, -(2**31)),
    "no size.bmp": bmp_of(0, 0),
}
EITHER = {
    "65,535 squared.gif": gif_of(65535, 65535),
    "no size.gif": gif_of(0, 0),
    "text bomb.png": text_bomb(),
    "arithmetic.jpg": arithmetic(),
    "larger than its data.jpg": jpeg_of(4000, 4000),
    "larger than its data.bmp": bmp_of(4000, 4000),
}


def file(name, content, folder):
    (folder / name).write_bytes(content)
    return folder / name


def decoded(path, _):
    image = decode(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3


def of(name, content, ends):
    return Case(f"image: {name}", partial(file, name, content), decoded, ends)


# ---------------------------------------------------------------------------------------------- files that are no files


def classes(folder, *more):
    """Two classes of two images each, and more files in the first."""
    for name in "ab":
        (folder / name).mkdir()
        for i in range(2):
            (folder / name / f"{i}.png").write_bytes(encoded(Image.new("RGB", (9, 9), (99 * i, 7, ord(name))), "PNG"))
    for name, content in more:
        (folder / "a" / name).write_bytes(content)
    return folder


def link_to_itself(folder):
    (folder / "x.png").symlink_to("x.png")
    return folder / "x.png"


def broken_link(folder):
    (folder / "x.png").symlink_to("nowhere.png")
    return folder / "x.png"


def fifo(folder):
    os.mkfifo(folder / "x.png")
    return folder / "x.png"


def terabyte(folder):
    """A file that has no data on the disk."""
    path = file("x.png", PNG, folder)
    os.truncate(path, 2**40)
    return path


def unreadable(folder):
    path = file("x.png", PNG, folder)
    path.chmod(0)
    return path


def folder_named_as_an_image(folder):
    (folder / "x.png").mkdir()
    return folder / "x.png"


def classes_with_a_fifo(folder):
    os.mkfifo(classes(folder) / "a" / "2.png")
    return folder


def list_of_a_pipe(folder):
    os.mkfifo(classes(folder) / "p.png")
    rows = ["file,label", "a/0.png,a", "a/1.png,a", "b/0.png,b", "b/1.png,b", "p.png,a", "../../../../dev/zero,b"]
    (folder / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "list.csv"


def classes_with_a_link_to_themselves(folder):
    (classes(folder) / "a" / "all").symlink_to(folder)
    (folder / "a" / "2.png").symlink_to("2.png")
    return folder


def classes_in_a_hundred_folders(folder):
    deep = classes(folder) / "a"
    for _ in range(100):
        deep = deep / "d"
        deep.mkdir()
    (deep / "2.png").write_bytes(PNG)
    return folder


def loaded(path, _):
    assert load_folder(path).classes == ("a", "b")


def vanishing(path, _):
    """Images that are gone between the scan and the decoding."""
    images = load_folder(path).train
    for image in path.rglob("*.png"):
        image.unlink()
    try:
        images.image(0)
    finally:
        for image in list(path.iterdir()):
            image.rmdir()
        classes(path)


PATHS = {
    "a link to itself": (link_to_itself, "refused"),
    "a link to nothing": (broken_link, "refused"),
    "a folder": (folder_named_as_an_image, "refused"),
    "a pipe that nobody writes to": (fifo, "refused"),
    "a terabyte of zeros": (terabyte, "refused"),
    "unreadable": (unreadable, "either"),  # to root nothing is
    "not there": (lambda folder: folder / "x.png", "refused"),
    "empty": (partial(file, "x.png", b""), "refused"),
    "a device": (lambda folder: Path("/dev/zero"), "refused"),
    "a name of 255 bytes": (partial(file, "x" * 251 + ".png", PNG), "answer"),
    "a name of 300 bytes": (lambda folder: folder / ("x" * 296 + ".png"), "refused"),
    "a path of 5,000 bytes": (lambda folder: folder.joinpath(*["d" * 99] * 50, "x.png"), "refused"),
    "a name with a null byte": (lambda folder: folder / "x\0.png", "refused"),
    "a name of a line break": (partial(file, "x\ny.png", PNG), "answer"),
    "a name in Unicode": (partial(file, "\u00e9\u4e2d\u0627\U0001f600\u202e.png", PNG), "answer"),
    "a name that is not UTF-8": (partial(file, os.fsdecode(b"\xff\xfe.png"), PNG), "answer"),
    "a damaged image named with a line break": (partial(file, "x\ny.png", PNG[:80]), "refused"),
    "a damaged image of a name that is not UTF-8": (partial(file, os.fsdecode(b"\xff\xfe.png"), PNG[:80]), "refused"),
}
FOLDERS = {
    "a pipe among images": (classes_with_a_fifo, loaded, "answer"),
    "a pipe in a list": (list_of_a_pipe, loaded, "answer"),
    "links that lead back": (classes_with_a_link_to_themselves, loaded, "answer"),
    "a hundred folders deep": (classes_in_a_hundred_folders, loaded, "answer"),
    "names that begin with a dash": (lambda f: classes(f, ("--help.png", PNG), ("-1.jpg", JPEG)), loaded, "answer"),
    "every bomb among images": (lambda f: classes(f, *BOMBS.items()), loaded, "answer"),
    "images that vanish": (classes, vanishing, "refused"),
    "no images": (lambda f: f, loaded, "refused"),
    "only damaged images": (lambda f: [file(f"{i}.png", PNG[:90], f) for i in range(3)] and f, loaded, "refused"),
}
CASES = [
    *(of(f"JPEG cut at byte {n}.jpg", JPEG[:n], "refused") for n in range(64, len(JPEG), 64)),
    *(of(f"PNG cut at byte {n}.png", PNG[:n], "refused") for n in range(64, len(PNG), 64)),
    *(of(name, content, "answer") for name, content in RARE.items()),
    *(of(name, content, "refused") for name, content in BOMBS.items()),
    *(of(name, content, "either") for name, content in EITHER.items()),
    *(
        of(f"mutated {kind} {seed}", mutated(content, seed), "either")
        for kind, content in {"JPEG": JPEG, "PNG": PNG, "GIF": GIF, "WebP": WEBP, "BMP": BMP}.items()
        for seed in range(8)
    ),
    *(Case(f"path of an image: {name}", write, decoded, ends) for name, (write, ends) in PATHS.items()),
    *(Case(f"folder of images: {name}", *case) for name, case in FOLDERS.items()),
]
