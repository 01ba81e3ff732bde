"""`keras_inception.data.decode` as a TensorFlow graph, for SavedModels that take encoded images.

TensorFlow's kernels read the pixels. They know neither EXIF orientation nor what a transparent pixel shows, and read no
palette of a BMP file: this module adds that, by plain operators, to one grey level of what Pillow returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from keras_inception.data.decoding import LONG, MAX_PIXELS, ORIENTATION, SHORT

MAX_BLOCKS = 10_000  # segments, chunks or blocks before the one searched for: a fraction of a second

Pair: TypeAlias = tuple[tf.Tensor, tf.Tensor]
# Whether it is the one searched for, whether others may follow, the start of its data, and their size.
Block: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def decode_graph(content: tf.Tensor) -> tf.Tensor:
    """Decode the bytes of one image file, a scalar string, to uint8 (H, W, 3) RGB as `decode` does.

    A `tf.errors.InvalidArgumentError` says what is wrong with a file that cannot be decoded.
    """
    image = tf.cond(
        tf.equal(tf.strings.substr(content, 0, 2), b"\xff\xd8"),
        lambda: _upright(_jpeg(content), _exif_of_jpeg(content)),
        lambda: _other_formats(content),
    )
    return tf.ensure_shape(image, (None, None, 3))


# Inlined, as by default, its operators would cost a JPEG a tenth of a millisecond, though none is computed.
@tf.function(
    input_signature=[tf.TensorSpec((), tf.string)], autograph=False, experimental_attributes={"_noinline": True}
)
def _other_formats(content: tf.Tensor) -> tf.Tensor:
    decoders = {
        b"\x89P": lambda: _upright(_png(content), _chunk_of_png(content, b"eXIf")),
        b"GI": lambda: _gif(content),
        b"BM": lambda: _bmp(content),
        b"RI": lambda: _upright(_webp(content), _exif_of_webp(content)),
    }
    kind = tf.squeeze(tf.where(tf.equal(tf.strings.substr(content, 0, 2), list(decoders))), -1)
    kind = tf.cast(tf.concat([kind, [len(decoders)]], 0)[0], tf.int32)
    return tf.switch_case(kind, [*decoders.values(), lambda: _refuse("not a JPEG, PNG, BMP, GIF or WebP image")])


# ------------------------------------------------------------------------------------------------------------ pixels


def _jpeg(content: tf.Tensor) -> tf.Tensor:
    """Four channels are inverted CMYK, as Adobe's programs write it. A segment of theirs tells the kernel."""
    height, width, channels = tf.unstack(tf.image.extract_jpeg_shape(content))
    content = _limited(content, height, width)
    adobe = tf.constant(b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0")  # the file's own prevails, being later
    told = tf.cond(channels == 4, lambda: adobe + tf.strings.substr(content, 2, -1), lambda: content)
    # TensorFlow's default is a faster transform, up to 3 levels off.
    return tf.io.decode_jpeg(told, channels=3, dct_method="INTEGER_ACCURATE")


def _png(content: tf.Tensor) -> tf.Tensor:
    content = _limited(content, *tf.unstack(_numbers(content, 16, tf.int32, 2, little_endian=False)))
    # Asked for alpha of an image without it, the kernel gives 1 for opaque at 1 bit, 3 at 2 bits and 15 at 4.
    alpha = (_raw(content, 25, 1)[0] & 4 != 0) | (tf.strings.length(_chunk_of_png(content, b"tRNS")) > 0)
    return tf.cond(
        alpha,
        lambda: _on_white(tf.io.decode_png(content, channels=4)),
        lambda: tf.io.decode_png(content, channels=3),
    )


def _webp(content: tf.Tensor) -> tf.Tensor:
    kind = _part(content, 12, 4)
    sides = _numbers(content, 26, tf.uint16, 2) % 2**14
    packed = _numbers(content, 21, tf.uint16, 2)
    sides = tf.where(
        tf.equal(kind, b"VP8L"), tf.stack([packed[0] % 2**14, packed[0] // 2**14 + packed[1] % 2**12 * 4]) + 1, sides
    )
    canvas = tf.reshape(tf.cast(_raw(content, 24, 6), tf.int32), (2, 3))
    sides = tf.where(tf.equal(kind, b"VP8X"), tf.reduce_sum(canvas * [1, 2**8, 2**16], 1) + 1, sides)
    # `decode_webp` is a new operator: an older server would refuse the whole graph, not only WebP files.
    frame = tf.io.decode_image(_limited(content, sides[0], sides[1]), channels=0, expand_animations=False)
    return tf.cond(tf.shape(frame)[-1] == 4, lambda: _on_white(frame), lambda: frame)


def _gif(content: tf.Tensor) -> tf.Tensor:
    """The first frame on white. The kernel returns it without its canvas, cut by its place there, on black.

    Moved to the corner it is whole. With a white colour table, only transparent pixels are black.
    """

    def first_frame(file: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_image(file, channels=3, expand_animations=False)

    place, start, length = _frame_of_gif(content)
    content = _require(content, tf.equal(_part(content, place, 1), b","), "a GIF image without a frame")
    corner, size = tf.unstack(tf.reshape(_numbers(content, place + 1, tf.uint16, 4), (2, 2))[:, ::-1])
    canvas = tf.maximum(_numbers(content, 6, tf.uint16, 2)[::-1], corner + size)
    whole = _limited(_replace(content, place + 1, tf.constant(b"\0" * 4)), canvas[0], canvas[1])
    white = _replace(whole, start, tf.strings.substr(tf.constant(b"\xff" * 3 * 256), 0, length))
    frame = tf.maximum(first_frame(whole), 255 - first_frame(white))
    margins = tf.stack([corner, canvas - corner - size], axis=1)
    return tf.pad(frame, tf.pad(margins, ((0, 1), (0, 0))), constant_values=255)


def _bmp(content: tf.Tensor) -> tf.Tensor:
    offset, header, width, height = tf.unstack(_numbers(content, 10, tf.int32, 4))
    bits, compression = _numbers(content, 28, tf.uint16, 1)[0], _numbers(content, 30, tf.int32, 1)[0]
    masks = _numbers(content, 54, tf.int32, 4)  # of red, green, blue and alpha
    masked = compression == 3
    alpha = masked & (header >= 56) & (masks[3] != 0)
    plain = (compression == 0) | (masked & tf.reduce_all(masks[:3] == [0xFF0000, 0xFF00, 0xFF]) & (bits == 32))
    known = (header >= 40) & plain & tf.reduce_any(bits == [1, 4, 8, 24, 32])
    content = _require(content, known, "a BMP image that is compressed, or of 16 bits: send a PNG image")
    rows, row_bytes = tf.abs(height), (width * bits + 31) // 32 * 4
    content = _limited(content, rows, width)
    complete = (offset >= 14 + header) & (rows * row_bytes <= tf.strings.length(content) - offset)
    content = _require(content, complete, "the image is truncated")
    stored = tf.reshape(_raw(content, offset, rows * row_bytes), (rows, row_bytes))

    def indexed() -> tf.Tensor:
        colours = tf.reshape(_raw(content, 14 + header, (offset - 14 - header) // 4 * 4), (-1, 4))[:, 2::-1]
        indices = tf.cast(stored[..., None], tf.int32) // 2 ** tf.range(8 - bits, -1, -bits) % 2**bits
        return tf.gather(colours, tf.reshape(indices, (rows, -1))[:, :width])

    def direct() -> tf.Tensor:
        image = tf.reshape(stored[:, : width * bits // 8], (rows, width, bits // 8))
        colours = image[..., 2::-1]
        return tf.cond(alpha, lambda: _on_white(tf.concat([colours, image[..., 3:]], -1)), lambda: colours)

    image = tf.cond(bits <= 8, indexed, direct)
    return tf.cond(height > 0, lambda: image[::-1], lambda: image)  # the last row is first, unless height is negative


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Composite uint8 (H, W, 4) on white."""

    def composite() -> tf.Tensor:
        colour, alpha = tf.cast(image[..., :3], tf.float32), tf.cast(image[..., 3:], tf.float32)
        return tf.cast(tf.round(255 + (colour - 255) * (alpha / 255)), tf.uint8)

    return tf.cond(tf.reduce_all(image[..., 3] == 255), lambda: image[..., :3], composite)


# -------------------------------------------------------------------------------------------------------- orientation


def _upright(image: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Undo the orientation of an EXIF record, which may be empty."""

    def turned() -> tf.Tensor:
        orientation = _orientation(exif)
        transposed = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        flips = tf.equal(orientation, [[3, 4, 7, 8], [2, 3, 6, 7]])  # of the rows, of the columns
        return tf.reverse(transposed, tf.cast(tf.squeeze(tf.where(tf.reduce_any(flips, 1)), -1), tf.int32))

    return tf.cond(tf.strings.length(exif) > 0, turned, lambda: image)


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """The orientation, 1..8, in the first directory of a TIFF structure; 1 where there is none."""
    exif = tf.strings.regex_replace(exif, r"^(Exif\x00\x00)+", "")
    little = tf.equal(tf.strings.substr(exif, 0, 2), b"II")

    def number(digits: tf.Tensor) -> tf.Tensor:  # of 2 or 4 bytes in the last axis
        digits = tf.cast(digits, tf.int32)
        weights = 256 ** tf.range(tf.shape(digits)[-1])
        return tf.reduce_sum(digits * tf.where(little, weights, weights[::-1]), -1)

    start = number(_raw(exif, 4, 4))
    count = number(_raw(exif, start, 2))
    entries = tf.io.decode_raw(_part(exif, start + 2, 12 * count), tf.uint8)
    entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], (-1, 12))
    kinds, values = number(entries[:, 2:4]), number(entries[:, 8:])
    values = tf.where(kinds == SHORT, number(entries[:, 8:10]), tf.where(kinds == LONG, values, 0))
    value = tf.reduce_max(tf.concat([[1], tf.where(number(entries[:, :2]) == ORIENTATION, values, 0)], 0))
    return tf.where(value <= 8, value, 1)


def _exif_of_jpeg(content: tf.Tensor) -> tf.Tensor:
    """The first "Exif" segment among those before the tables, or an empty string."""

    def segment(position: tf.Tensor) -> Block:
        marker, size = tf.unstack(_numbers(content, position, tf.uint16, 2, little_endian=False))
        application = (marker // 16 == 0xFFE) | (marker == 0xFFFE)  # or a comment
        found = (marker == 0xFFE1) & tf.equal(_part(content, position + 4, 6), b"Exif\0\0")
        return found, application & (size >= 2), position + 4, size - 2

    return _find(content, 2, segment, gap=0)


def _chunk_of_png(content: tf.Tensor, name: bytes) -> tf.Tensor:
    """The first chunk of that name before the pixels, or an empty string."""

    def chunk(position: tf.Tensor) -> Block:
        size, found = _numbers(content, position, tf.int32, 1, little_endian=False)[0], _part(content, position + 4, 4)
        return tf.equal(found, name), ~tf.equal(found, b"IDAT"), position + 8, size

    return _find(content, 8, chunk, gap=4)  # a checksum


def _exif_of_webp(content: tf.Tensor) -> tf.Tensor:
    """The chunk "EXIF", or an empty string."""

    def chunk(position: tf.Tensor) -> Block:
        name, size = _part(content, position, 4), _numbers(content, position + 4, tf.int32, 1)[0]
        return tf.equal(name, b"EXIF"), tf.constant(True), position + 8, size + size % 2

    return _find(content, 12, chunk, gap=0)


def _frame_of_gif(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the first frame starts, where its colour table does, and the length of that in bytes."""

    def table(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def byte(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(_raw(content, position, 1)[0], tf.int32)

    # Extensions come before the frame: a mark, a label, then blocks of up to 255 bytes, of which the last is empty.
    def step(position: tf.Tensor, inside: tf.Tensor) -> Pair:
        size = byte(position)
        return tf.where(inside, position + 1 + size, position + 2), ~inside | (size > 0)

    def extension(position: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        return (position < tf.strings.length(content)) & (inside | tf.equal(byte(position), 0x21))

    shared = table(byte(tf.constant(10)))
    frame, _ = tf.while_loop(extension, step, (13 + shared, tf.constant(False)), maximum_iterations=MAX_BLOCKS)
    own = table(byte(frame + 9))
    return frame, tf.where(own > 0, frame + 10, 13), tf.where(own > 0, own, shared)


# -------------------------------------------------------------------------------------------------------------- bytes


def _find(content: tf.Tensor, start: int, block: Callable[[tf.Tensor], Block], gap: int) -> tf.Tensor:
    """The data of the first block that is searched for, or an empty string; `gap` bytes follow the data of each."""

    def step(position: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found, more, data, size = block(position)
        onward = ~found & more & (size >= 0) & (data < tf.strings.length(content) - size)
        return tf.where(onward, data + size + gap, data), onward, tf.where(found, size, 0)

    def unfinished(_: tf.Tensor, onward: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return onward

    first = (tf.constant(start), tf.constant(True), tf.constant(0))
    data, _, size = tf.while_loop(unfinished, step, first, maximum_iterations=MAX_BLOCKS)
    return _part(content, data, size)


def _part(content: tf.Tensor, start: tf.Tensor, length: tf.Tensor | int) -> tf.Tensor:
    """Bytes of a string, fewer where it ends before; all to its end for a length of -1."""
    return tf.strings.substr(content, tf.clip_by_value(start, 0, tf.strings.length(content)), tf.maximum(length, -1))


def _replace(content: tf.Tensor, start: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """A string with as many of its bytes replaced as the other one has."""
    end = start + tf.strings.length(other)
    return tf.strings.join([_part(content, 0, start), other, _part(content, end, -1)])


def _raw(content: tf.Tensor, start: tf.Tensor | int, length: tf.Tensor | int) -> tf.Tensor:
    """Bytes of a string, zeros where it ends before: uint8 (length,)."""
    return tf.io.decode_raw(_part(content, start, length), tf.uint8, fixed_length=length)


def _numbers(
    content: tf.Tensor, start: tf.Tensor | int, dtype: tf.DType, count: int, little_endian: bool = True
) -> tf.Tensor:
    """Numbers of a string, zeros where it ends before: int32 (count,)."""
    length = count * dtype.size
    found = tf.io.decode_raw(_part(content, start, length), dtype, little_endian, fixed_length=length)
    return tf.cast(found, tf.int32)


def _limited(content: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(height, tf.float32) * tf.cast(width, tf.float32)
    fits = (height > 0) & (width > 0) & (pixels <= MAX_PIXELS)
    return _require(content, fits, f"the image declares no pixels, or more than {MAX_PIXELS / 1e6:.0f} million")


def _require(content: tf.Tensor, condition: tf.Tensor, message: str) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(content)


def _refuse(message: str) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        return tf.zeros((1, 1, 3), tf.uint8)
