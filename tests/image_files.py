"""Image files of every kind that `decode` reads, each with what it shows where that is known without a decoder.

Pillow writes most of them; those that it cannot write are put together from bytes.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

HEIGHT, WIDTH = 17, 26
RNG = np.random.default_rng(0)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def smooth(channels):
    """An image that JPEG keeps closely, and that every turn changes: uint8 (HEIGHT, WIDTH, channels)."""
    small = RNG.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    layers = [Image.fromarray(small[..., i]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for i in range(channels)]
    return np.stack([np.asarray(layer) for layer in layers], axis=-1)


RGBA = smooth(4)
RGBA[:4, :4, 3], RGBA[-4:, -4:, 3] = 0, 255
RGB, GREY, ALPHA = RGBA[..., :3], RGBA[..., 0], RGBA[..., 3]
DEEP = RNG.integers(0, 2**16, (HEIGHT, WIDTH, 4), dtype=np.uint16)
INDICES = RNG.integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8)
PALETTE = RNG.integers(0, 256, (16, 3), dtype=np.uint8)


def difference(first, second):
    """The largest difference in grey levels; of images that differ in shape, both shapes."""
    if first.shape != second.shape:
        return f"{first.shape} and {second.shape}"
    return int(np.abs(first.astype(int) - second).max())


def grey(image):
    return np.repeat(image[..., None], 3, axis=-1)


def on_white(colour, alpha):
    alpha = alpha[..., None] / 255
    return np.round(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)


def masked(image, hidden):
    return np.where(hidden[..., None], 255, image).astype(np.uint8)


def packed(levels, bits):
    """Rows of levels of 1, 2, 4, 8 or 16 bits as a file has them: a list of bytes."""
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in levels]
    planes = np.unpackbits(levels[..., None].astype(np.uint8), axis=-1)[..., -bits:]
    return [np.packbits(row.reshape(-1)).tobytes() for row in planes]


# ---------------------------------------------------------------------------------------------------------------- PNG


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(colour_type, bits, levels, *chunks, after=b"", interlaced=False):
    """A PNG of `levels`, (H, W) or (H, W, channels)."""
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [levels[y::dy, x::dx] for y, x, dy, dx in starts] if interlaced else [levels]
    rows = b"".join(b"\0" + row for part in passes if part.size for row in packed(part, bits))
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], bits, colour_type, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PLTE = chunk(b"PLTE", PALETTE.tobytes())


def pngs():
    two, key = INDICES % 4, RGB[5, 7]
    alphas = RNG.integers(0, 256, 10, dtype=np.uint8)
    entries = np.append(alphas, [255] * 6)[INDICES]
    deep_key = DEEP[3, 4, :3]
    return {
        "rgb.png": (encoded(Image.fromarray(RGB), "PNG"), RGB),
        "rgba.png": (encoded(Image.fromarray(RGBA), "PNG"), on_white(RGB, ALPHA)),
        "opaque_alpha.png": (encoded(Image.fromarray(RGB).convert("RGBA"), "PNG"), RGB),
        "grey.png": (encoded(Image.fromarray(GREY), "PNG"), grey(GREY)),
        "grey_alpha.png": (png(4, 8, RGBA[..., [0, 3]]), on_white(grey(GREY), ALPHA)),
        "grey_16.png": (png(0, 16, DEEP[..., 0]), grey(DEEP[..., 0] >> 8)),
        "grey_16_key.png": (
            png(0, 16, DEEP[..., 0], chunk(b"tRNS", struct.pack(">H", DEEP[2, 2, 0]))),
            masked(grey(DEEP[..., 0] >> 8), DEEP[..., 0] == DEEP[2, 2, 0]),
        ),
        "grey_alpha_16.png": (
            png(4, 16, DEEP[..., [0, 3]]),
            on_white(grey(DEEP[..., 0] >> 8), DEEP[..., 3] >> 8),
        ),
        "rgb_16.png": (png(2, 16, DEEP[..., :3]), DEEP[..., :3] >> 8),
        "rgb_16_key.png": (
            png(2, 16, DEEP[..., :3], chunk(b"tRNS", struct.pack(">HHH", *deep_key))),
            masked(DEEP[..., :3] >> 8, (DEEP[..., :3] == deep_key).all(-1)),
        ),
        "rgba_16.png": (png(6, 16, DEEP), on_white(DEEP[..., :3] >> 8, DEEP[..., 3] >> 8)),
        "grey_1.png": (png(0, 1, INDICES % 2), grey(INDICES % 2 * 255)),
        "grey_1_key.png": (png(0, 1, INDICES % 2, chunk(b"tRNS", b"\0\0")), grey(np.full_like(INDICES, 255))),
        "grey_1_white.png": (png(0, 1, INDICES % 2, chunk(b"tRNS", b"\0\1")), grey(INDICES % 2 * 255)),
        "grey_2.png": (png(0, 2, two), grey(two * 85)),
        "grey_4.png": (png(0, 4, INDICES), grey(INDICES * 17)),
        "grey_4_key.png": (
            png(0, 4, INDICES, chunk(b"tRNS", b"\0\5")),
            masked(grey(INDICES * 17), INDICES == 5),
        ),
        "palette_1.png": (png(3, 1, INDICES % 2, chunk(b"PLTE", PALETTE[:2].tobytes())), PALETTE[INDICES % 2]),
        "palette_2.png": (png(3, 2, two, chunk(b"PLTE", PALETTE[:4].tobytes())), PALETTE[two]),
        "palette_4.png": (png(3, 4, INDICES, PLTE), PALETTE[INDICES]),
        "palette_8.png": (png(3, 8, INDICES, PLTE), PALETTE[INDICES]),
        "palette_alpha.png": (
            png(3, 8, INDICES, PLTE, chunk(b"tRNS", alphas.tobytes())),
            on_white(PALETTE[INDICES], entries),
        ),
        "rgb_key.png": (
            png(2, 8, RGB, chunk(b"tRNS", struct.pack(">HHH", *key))),
            masked(RGB, (key == RGB).all(-1)),
        ),
        "interlaced.png": (png(6, 8, RGBA, interlaced=True), on_white(RGB, ALPHA)),
        "interlaced_palette.png": (png(3, 8, INDICES, PLTE, interlaced=True), PALETTE[INDICES]),
        "profile.png": (encoded(Image.fromarray(RGB), "PNG", icc_profile=PROFILE), RGB),
        "gamma.png": (png(2, 8, RGB, chunk(b"gAMA", struct.pack(">I", 100000))), RGB),
        "exif.png": (encoded(Image.fromarray(RGB), "PNG", exif=exif(6)), np.rot90(RGB, -1)),
        "exif_after.png": (png(2, 8, RGB, after=chunk(b"eXIf", exif(6).tobytes()[6:])), RGB),
        "animated.png": (
            encoded(Image.fromarray(RGBA), "PNG", save_all=True, append_images=[Image.fromarray(RGBA[::-1])]),
            on_white(RGB, ALPHA),
        ),
        "trailing.png": (encoded(Image.fromarray(RGB), "PNG") + b"more" * 9, RGB),
        "one_pixel.png": (encoded(Image.fromarray(RGBA[8:9, 8:9]), "PNG"), on_white(RGB, ALPHA)[8:9, 8:9]),
    }


# --------------------------------------------------------------------------------------------------------------- JPEG


def exif(orientation):
    record = Image.Exif()
    record[0x010F], record[0x0112] = "A camera", orientation  # the maker's text comes first
    return record


def exif_bytes(orientation, order, kind="H", count=1):
    """An EXIF segment's content of either byte order; the orientation as a SHORT ("H") or a LONG ("I")."""
    code = {"H": 3, "I": 4}[kind]
    entry = struct.pack(f"{order}HHI", 0x0112, code, count) + struct.pack(f"{order}{kind}", orientation).ljust(4, b"\0")
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 99)
    mark = {"<": b"II", ">": b"MM"}[order]
    start = struct.pack(f"{order}HI", 42, 8)
    return b"Exif\0\0" + mark + start + struct.pack(f"{order}H", 2) + other + entry + bytes(4)


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(content, *segments):
    """A JPEG with segments right after its start."""
    return content[:2] + b"".join(segments) + content[2:]


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # any profile that is not sRGB
TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1),
    8: np.rot90,
}


def jpegs():
    """What they show is known but for the loss: a JPEG without any other content has it."""
    rgb = Image.fromarray(RGB)
    plain = encoded(rgb, "JPEG", quality=90, subsampling=0)
    shown = np.asarray(Image.open(io.BytesIO(plain)))
    cmyk = encoded(Image.fromarray(RGBA, "CMYK"), "JPEG", quality=95)
    at = cmyk.index(b"\xff\xee")
    found = {
        "plain.jpg": (plain, shown),
        "named_png.png": (plain, shown),
        "subsampled.jpg": (encoded(rgb, "JPEG", subsampling=2), None),
        "progressive.jpg": (encoded(rgb, "JPEG", progressive=True), None),
        "grey.jpg": (encoded(Image.fromarray(GREY), "JPEG"), None),
        "stored_as_rgb.jpg": (encoded(rgb, "JPEG", keep_rgb=True), None),
        "restarts.jpg": (encoded(rgb, "JPEG", restart_marker_blocks=1), None),
        "cmyk.jpg": (cmyk, None),
        "cmyk_not_adobe.jpg": (cmyk[:at] + cmyk[at + 16 :], None),
        "profile.jpg": (encoded(rgb, "JPEG", quality=90, subsampling=0, icc_profile=PROFILE), shown),
        "trailing.jpg": (plain + b"more" * 9, shown),
        "two_pictures.jpg": (
            encoded(rgb, "MPO", quality=90, subsampling=0, save_all=True, append_images=[Image.new("RGB", (9, 9))]),
            shown,
        ),
        "exif_big_endian.jpg": (with_segments(plain, segment(0xE1, exif_bytes(6, ">"))), TURNS[6](shown)),
        "exif_long.jpg": (with_segments(plain, segment(0xE1, exif_bytes(8, ">", "I"))), TURNS[8](shown)),
        "exif_of_nine.jpg": (with_segments(plain, segment(0xE1, exif_bytes(9, "<"))), shown),
        "exif_of_zero.jpg": (with_segments(plain, segment(0xE1, exif_bytes(0, "<"))), shown),
        "exif_damaged.jpg": (with_segments(plain, segment(0xE1, b"Exif\0\0garbage")), shown),
        "exif_cut.jpg": (with_segments(plain, segment(0xE1, exif_bytes(6, "<")[:20])), shown),
        "exif_empty.jpg": (with_segments(plain, segment(0xE1, b"Exif\0\0")), shown),
        "exif_after_others.jpg": (
            with_segments(
                plain,
                segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0 tiff:Orientation='3'"),
                segment(0xE2, b"Exif\0\0 not in its segment"),
                segment(0xFE, b"a comment" * 100),
                segment(0xE1, exif_bytes(5, "<")),
            ),
            TURNS[5](shown),
        ),
        "xmp.jpg": (
            with_segments(plain, segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="3"/>')),
            shown,
        ),
    }
    for orientation, turn in TURNS.items():
        content = encoded(rgb, "JPEG", quality=90, subsampling=0, exif=exif(orientation))
        found[f"exif_{orientation}.jpg"] = (content, turn(shown))
    return found


# ---------------------------------------------------------------------------------------------------------------- GIF


def gif(indices, *, table=PALETTE, own=None, at=(0, 0), canvas=None, hidden=None, extra=b"", frames=1):
    """A GIF of levels below 128 without compression: its 8-bit codes begin anew before they would grow."""
    height, width = canvas or indices.shape

    def size(colours):
        return 0x80 | (len(colours) - 1).bit_length() - 1

    flags = 0 if table is None else size(table)
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, flags, 0, 0), b"" if table is None else table.tobytes()]
    parts.append(extra)
    for _ in range(frames):
        if hidden is not None:
            parts.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 1, 0, hidden, 0))
        flags = 0 if own is None else size(own)
        parts.append(struct.pack("<BHHHHB", 0x2C, *at[::-1], *indices.shape[::-1], flags))
        parts.append(b"" if own is None else own.tobytes())
        flat = indices.tobytes()
        codes = b"".join(b"\x80" + flat[i : i + 100] for i in range(0, len(flat), 100)) + b"\x81"
        blocks = b"".join(bytes([len(codes[i : i + 255])]) + codes[i : i + 255] for i in range(0, len(codes), 255))
        parts.append(b"\x07" + blocks + b"\0")
    return b"".join(parts) + b";"


def gifs():
    shown, hidden = PALETTE[INDICES], masked(PALETTE[INDICES], INDICES == 3)
    comment = b"\x21\xfe" + b"\x09a comment" * 40 + b"\0"
    part = np.full((HEIGHT + 6, WIDTH + 9, 3), 255, np.uint8)
    part[4 : 4 + HEIGHT, 7 : 7 + WIDTH] = shown
    part_hidden = part.copy()
    part_hidden[4 : 4 + HEIGHT, 7 : 7 + WIDTH] = hidden
    around = {"at": (4, 7), "canvas": part.shape[:2]}
    black = PALETTE.copy()
    black[0] = 0
    return {
        "plain.gif": (gif(INDICES), shown),
        "black.gif": (gif(INDICES, table=black), black[INDICES]),
        "pillow.gif": (encoded(Image.fromarray(PALETTE[INDICES]), "GIF"), shown),
        "comment.gif": (gif(INDICES, extra=comment), shown),
        "own_table.gif": (gif(INDICES, own=PALETTE[::-1]), PALETTE[::-1][INDICES]),
        "only_own_table.gif": (gif(INDICES, table=None, own=PALETTE, hidden=3), hidden),
        "transparent.gif": (gif(INDICES, hidden=3), hidden),
        "transparent_beyond.gif": (gif(INDICES, hidden=99), shown),
        "part.gif": (gif(INDICES, **around), part),
        "part_transparent.gif": (gif(INDICES, hidden=3, extra=comment, **around), part_hidden),
        "animated.gif": (gif(INDICES, hidden=3, frames=3), hidden),
        "grey.gif": (encoded(Image.fromarray(GREY), "GIF"), grey(GREY)),
    }


# ---------------------------------------------------------------------------------------------------------------- BMP


def bmp(levels, bits, *, colours=b"", compression=0, masks=b"", top_down=False, header=40):
    rows = [row + bytes(-len(row) % 4) for row in packed(levels, min(bits, 8))]
    pixels = b"".join(rows if top_down else rows[::-1])
    height, width = levels.shape[:2]
    start = 14 + header + len(colours)
    fields = (header, width, -height if top_down else height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    information = (struct.pack("<IiiHHIIiiII", *fields) + masks).ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + information + colours + pixels


def bmps():
    colours = np.pad(PALETTE[:, ::-1], ((0, 0), (0, 1))).tobytes()
    bgra, masks = RGBA[..., [2, 1, 0, 3]], struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    return {
        "bits.bmp": (encoded(Image.fromarray(INDICES % 2 * 255).convert("1"), "BMP"), grey(INDICES % 2 * 255)),
        "palette_1.bmp": (bmp(INDICES % 2, 1, colours=colours[:8]), PALETTE[INDICES % 2]),
        "palette_4.bmp": (bmp(INDICES, 4, colours=colours), PALETTE[INDICES]),
        "palette_8.bmp": (bmp(INDICES, 8, colours=colours), PALETTE[INDICES]),
        "grey.bmp": (encoded(Image.fromarray(GREY), "BMP"), grey(GREY)),
        "rgb.bmp": (encoded(Image.fromarray(RGB), "BMP"), RGB),
        "top_down.bmp": (bmp(RGB[..., ::-1], 24, top_down=True), RGB),
        "unused_32.bmp": (bmp(bgra, 32), RGB),
        "rgba.bmp": (bmp(bgra, 32, compression=3, masks=masks, header=108), on_white(RGB, ALPHA)),
        "masks_without_alpha.bmp": (bmp(bgra, 32, compression=3, masks=masks[:12], header=56), RGB),
        "pillow_rgba.bmp": (encoded(Image.fromarray(RGBA), "BMP"), None),
    }


def webps():
    rgb, rgba = Image.fromarray(RGB), Image.fromarray(RGBA)
    kept = {"lossless": True, "exact": True}
    turned = {"exif": exif(6)}
    return {
        "lossless.webp": (encoded(rgb, "WEBP", **kept), RGB),
        "lossy.webp": (encoded(rgb, "WEBP"), None),
        "alpha.webp": (encoded(rgba, "WEBP", **kept), on_white(RGB, ALPHA)),
        "lossy_alpha.webp": (encoded(rgba, "WEBP"), None),
        "animated.webp": (
            encoded(rgba, "WEBP", save_all=True, append_images=[Image.fromarray(RGBA[::-1])], **kept),
            on_white(RGB, ALPHA),
        ),
        "exif.webp": (encoded(rgb, "WEBP", **kept, **turned), TURNS[6](RGB)),
        "exif_animated.webp": (
            encoded(rgb, "WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])], **kept, **turned),
            TURNS[6](RGB),
        ),
        "profile.webp": (encoded(rgb, "WEBP", icc_profile=PROFILE, **kept), RGB),
    }


FILES = pngs() | jpegs() | gifs() | bmps() | webps()
