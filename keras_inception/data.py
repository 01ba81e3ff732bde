"""Labelled pictures, from folders or arrays, as `tf.data`.

Pillow decodes every file, in training and evaluation alike: it reads the declared size before any pixel, knows EXIF
orientation, CMYK, 16 bits, palettes, animations and WebP, and lets go of the GIL while it works. TensorFlow's decoders
know few of these and will fill the memory with whatever a header declares.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from .errors import InputError
from .preprocessing import Preprocessing

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
# What a user means as a picture. The content decides the format; those after .webp are reported, not silently ignored.
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
MAX_PIXELS = 2**26  # declared by the header, refused before decoding; 200 MB as RGB, above any phone's 64 megapixels
HELD_OUT = ("val", "validation", "test")  # names of the folder beside train/, the first present is taken
MANY_FILES = 500  # from here on checking them shows a progress bar


@dataclass(frozen=True)
class Rejected:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes that leave a picture its class: light ones by default.

    A window of at least the fraction `area` of the picture, and of 3/4 to 4/3 times the network's aspect ratio, is
    stretched to the network's input: Inception's distorted crop (arXiv 1409.4842, section 6, where `area` is 0.08).
    With `flip` half of the pictures are mirrored, which digits and text must not be.
    """

    area: float = 0.5
    flip: bool = True

    def __call__(self, picture: tf.Tensor, preprocessing: Preprocessing, seed: tf.Tensor) -> tf.Tensor:
        """Change a picture as `seed`, two integers, says: (H, W, 3), 0..255 -> (*size, 3) float32, 0..255."""
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed))
        height, width = preprocessing.size
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(picture),
            bounding_boxes=tf.zeros((1, 0, 4)),
            seed=crop_seed,
            min_object_covered=0.0,
            aspect_ratio_range=(0.75 * width / height, width / height / 0.75),
            area_range=(self.area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        pixels = preprocessing.stretch(tf.slice(picture, begin, extent))
        return tf.image.stateless_random_flip_left_right(pixels, flip_seed) if self.flip else pixels

    def detail(self, preprocessing: Preprocessing) -> int:
        """Pixels that the sides of a picture must keep, so that its smallest window has twice the network's input."""
        return round(2 * max(preprocessing.size) / (0.75 * self.area) ** 0.5)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled pictures: files, decoded when they are read, or an array.

    `sources` is (n,) of `Path`, or (n, H, W, 1 or 3) of uint8; `labels` is (n,) int32, indices into `classes`.
    """

    sources: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, index: int | np.ndarray, *, detail: int | None = None) -> np.ndarray:
        """One picture as uint8 (H, W, 3) RGB, or of an array several; `detail` as for `decode`.

        Raises:
            InputError: the file went away or broke since it was checked.
        """
        source = self.sources[index]
        if isinstance(source, np.ndarray):
            return np.broadcast_to(source, (*source.shape[:-1], 3))
        return decode(source, detail=detail)

    def select(self, indices: np.ndarray) -> Split:
        """The pictures at these indices, or where this mask is true."""
        return replace(self, sources=self.sources[indices], labels=self.labels[indices])

    def sample(self, n: int, seed: int = 0) -> Split:
        """At most `n` pictures, each class in proportion, in their order here; the same ones for the same seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        place = np.empty(len(self))  # within the picture's class, 0..1; the n first are a stratified sample
        for label in np.unique(self.labels):
            members = self.labels[order] == label
            place[members] = (np.arange(members.sum()) + 0.5) / members.sum()
        return self.select(np.sort(order[np.argsort(place, kind="stable")[:n]]))

    def batches(
        self,
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        training: bool = False,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Batches of (float32 (b, *input_shape), int32 (b,)), the last one as large as is left.

        Without `augmentation` every picture is exactly `preprocessing(self.picture(i))`. `training` reshuffles all of
        them each epoch. The same seed gives the same sequence of epochs. A picture that cannot be read any more ends
        the iteration with a `tf.errors.OpError`, which `input_errors` turns into the `InputError` behind it.
        """
        detail = augmentation.detail(preprocessing) if augmentation else None
        labels = tf.constant(self.labels)

        def example(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            picture = tf.numpy_function(lambda i: self.picture(i, detail=detail), [index], tf.uint8)
            picture.set_shape((*index.shape, None, None, 3))
            pixels = augmentation(picture, preprocessing, seed) if augmentation else preprocessing.resize(picture)
            return preprocessing.normalize(pixels), tf.gather(labels, index)

        indices = tf.data.Dataset.range(len(self))
        if training:
            indices = indices.shuffle(len(self), seed=seed)
        # A seed travels with each picture, so that parallel reading does not change what it looks like.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        drawn = tf.data.Dataset.zip((indices, seeds))
        if self.sources.dtype == np.uint8 and not augmentation:
            # Pictures of one size are prepared a batch at a time: five times as fast, and the same bits.
            batches = drawn.batch(batch_size).map(example, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            batches = drawn.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Dataset:
    """Pictures to train on, pictures held out, and the files that are neither."""

    train: Split
    val: Split
    rejected: tuple[Rejected, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the labels."""
        return self.train.classes


def decode(source: str | Path | bytes, *, detail: int | None = None) -> np.ndarray:
    """Decode a JPEG, PNG, BMP, GIF or WebP file, or its bytes: uint8 (H, W, 3) RGB, upright.

    Transparency is laid on white; of an animation the first frame is taken. With `detail` a JPEG may come out at 1/2,
    1/4 or 1/8 of its size, both sides still that many pixels at least: much faster, and not the same pixels.

    Raises:
        InputError: there is no such file, or no whole picture in it.
    """
    try:
        if isinstance(source, bytes):
            return _pixels(io.BytesIO(source), detail)
        with open(source, "rb") as file:
            return _pixels(file, detail)
    except Exception as error:  # see _reason
        name = "the picture" if isinstance(source, bytes) else source
        raise InputError(f"{name} cannot be read: {_reason(error)}") from error


def load_folder(path: str | Path, *, validation: float = 0.2) -> Dataset:
    """Pictures in one folder a class, with or without `train/` and `val/` (or `validation/`, `test/`) above those.

    Without a held-out folder about the fraction `validation` of each class is held out by a hash of the files' content:
    a picture stays on its side when others are added, when it is renamed or the folder moves, and copies of it stay
    together. (Only a class so small that one side would be empty lends the picture with the nearest hash to that side.)
    Hidden files and those not named as pictures are ignored; pictures that cannot be decoded are left out and reported.

    Raises:
        InputError: there is no such folder, or not two classes with pictures that can be decoded.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of pictures for each class")
    train = path / "train"
    if not (train.is_dir() and _subfolders(train)):  # a folder train/ of pictures is a class: of vehicles, say
        return _divide(*_read(path), validation, path)
    held_out = next((path / name for name in HELD_OUT if (path / name).is_dir()), None)
    if held_out is None:
        return _divide(*_read(train), validation, train)
    train_names, val_names = set(_subfolders(train)), set(_subfolders(held_out))
    if train_names != val_names:
        sides = [(train, train_names - val_names), (held_out, val_names - train_names)]
        difference = "; ".join(f"only {side.name}/ has {', '.join(sorted(names))}" for side, names in sides if names)
        raise InputError(f"train/ and {held_out.name}/ in {path} must hold the same classes: {difference}")
    (train_split, _, train_rejected), (val_split, _, val_rejected) = _read(train), _read(held_out)
    return Dataset(train_split, val_split, train_rejected + val_rejected)


def load_pictures(path: str | Path, classes: Sequence[str]) -> Split:
    """All pictures in one folder a class, labelled by their place in `classes`, to measure a trained network on.

    Raises:
        InputError: there is no such folder, no picture in it, or a folder that is none of the classes.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} {_absence(path)}: give a folder that holds one folder of pictures for each class")
    if unknown := [name for name in _subfolders(path) if name not in classes]:
        raise InputError(f"{path / unknown[0]} is none of the classes: {', '.join(classes)}")
    found, _, _ = _read(path)
    places = np.array([classes.index(name) for name in found.classes], dtype=np.int32)
    return replace(found, labels=places[found.labels], classes=tuple(classes))


def from_arrays(
    pictures: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] | None = None,
    *,
    validation: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Pictures from an array: uint8 (n, H, W), (n, H, W, 1) grey or (n, H, W, 3) RGB, 0..255.

    `labels` is (n,) or (n, 1): indices into `classes`, or without `classes` anything that sorts, and the classes are
    the distinct labels. About the fraction `validation` of each class is held out, by a hash of the pixels and `seed`.

    Raises:
        InputError: pictures or labels of another shape or type, or fewer than two classes.
    """
    pictures, labels = np.asarray(pictures), np.asarray(labels)
    if pictures.ndim == 3:
        pictures = pictures[..., np.newaxis]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or 0 in pictures.shape:
        raise InputError(f"pictures must be (n, H, W), (n, H, W, 1) or (n, H, W, 3); got {pictures.shape}")
    if pictures.dtype != np.uint8:
        low, high = pictures.min(), pictures.max()
        how = "255 * pictures" if low >= 0 and high <= 1 else "scale them so that 255 is white"
        raise InputError(
            f"pictures must be uint8, 0 to 255; got {pictures.dtype} from {low:g} to {high:g}: "
            f"{how}, then .round().astype('uint8')"
        )
    if labels.shape not in ((len(pictures),), (len(pictures), 1)):
        raise InputError(
            f"labels must be ({len(pictures)},), one class for each picture; got {labels.shape} "
            "(of one-hot labels take .argmax(-1))"
        )
    labels = labels.reshape(-1)
    if classes is None:
        names, labels = np.unique(labels, return_inverse=True)
        classes = [str(name) for name in names]
    elif not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be integers, indices into the {len(classes)} classes; got {labels.dtype}")
    elif labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"labels must be indices into the {len(classes)} classes; got some from {labels.min()} to {labels.max()}"
        )
    if len(np.unique(labels)) < 2:
        raise InputError("all pictures have the same label; two classes or more are needed")
    fractions = np.array([_fraction(hashlib.sha256(b"%d " % seed + picture.tobytes())) for picture in pictures])
    return _divide(Split(pictures, labels.astype(np.int32), tuple(classes)), fractions, (), validation, "the arrays")


@contextmanager
def input_errors() -> Iterator[None]:
    """Within it an `InputError` of a pipeline leaves as itself, not as what TensorFlow wraps around it.

    Raises:
        InputError: a picture could not be read in the middle of a loop over `Split.batches`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(r"InputError: (.+)", error.message):
            raise InputError(found[1]) from None
        raise


def _pixels(file: BinaryIO, detail: int | None) -> np.ndarray:
    """Decode an open file as `decode` does; raises whatever Pillow raises."""
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
    """Any mode of those formats as 8-bit RGB."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip and not scale
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """What is wrong with a picture, in a few words. Damaged ones make Pillow raise nearly any exception."""
    match error:
        case UnidentifiedImageError():
            return "not a JPEG, PNG, BMP, GIF or WebP picture"
        case Image.DecompressionBombError():
            return f"it declares more than {MAX_PIXELS / 1e6:.0f} million pixels"
        case OSError(strerror=str(text)):
            return text.lower()
    return next(iter(str(error).splitlines()), type(error).__name__)


def _fraction(digest: hashlib._Hash) -> float:
    """A hash as a number from 0 to 1."""
    return int.from_bytes(digest.digest()[:8]) / 2**64


def _examine(path: Path) -> float | Rejected:
    """The hash of a picture's content, 0..1, if all of it can be decoded."""
    try:
        with open(path, "rb") as file:
            fraction = _fraction(hashlib.file_digest(file, "sha256"))
            file.seek(0)
            _pixels(file, detail=1)  # at 1/8, where a JPEG saves the inverse transforms but still reads every bit
            return fraction
    except Exception as error:  # see _reason
        return Rejected(path, _reason(error))


def _examine_all(files: Sequence[Path]) -> list[float | Rejected]:
    """`_examine` in threads, with a progress bar on a terminal when there are many."""
    console = Console(stderr=True)
    quiet = len(files) < MANY_FILES or not console.is_terminal
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, on oddities of pictures that it decodes all the same
            results = pool.map(_examine, files)
            return list(track(results, "Checking pictures", len(files), console=console, transient=True, disable=quiet))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _absence(path: Path) -> str:
    return "is not a folder" if path.exists() else "does not exist"


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _named_as_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _read(path: Path) -> tuple[Split, np.ndarray, tuple[Rejected, ...]]:
    """One folder of pictures a class: those that can be decoded, their hashes 0..1, and the others."""
    classes = _subfolders(path)
    files = [[file for file in sorted((path / name).rglob("*")) if _named_as_picture(file)] for name in classes]
    loose = [file for file in sorted(path.iterdir()) if _named_as_picture(file)]
    n = sum(map(len, files))
    if not n:
        found = f"{len(loose)} pictures, but none in a folder" if loose else "no pictures"
        raise InputError(
            f"{path} holds {found}: give it one folder of JPEG, PNG, BMP, GIF or WebP files for each class"
        )
    if len(classes) < 2:
        raise InputError(f"{path} holds one class, {classes[0]}: two folders of pictures or more are needed")
    results = _examine_all([file for group in files for file in group])
    rejected = [result for result in results if isinstance(result, Rejected)]
    if len(rejected) == n:
        raise InputError(f"none of the {n} pictures in {path} can be decoded; {rejected[0].path}: {rejected[0].reason}")
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(group) for group in files])
    whole = Split(np.array([file for group in files for file in group], dtype=object), labels, tuple(classes))
    good = np.array([isinstance(result, float) for result in results])
    usable = whole.select(good)
    for label, (group, count) in enumerate(zip(files, np.bincount(usable.labels, minlength=len(files)), strict=True)):
        if not count:
            broken = f": all {len(group)} are broken" if group else ""
            raise InputError(
                f"{path / classes[label]} holds no usable picture{broken}; add pictures, or take the folder away"
            )
    outside = tuple(Rejected(file, "not in the folder of a class") for file in loose)
    return usable, np.array([r for r in results if isinstance(r, float)]), outside + tuple(rejected)


def _divide(
    whole: Split, fractions: np.ndarray, rejected: tuple[Rejected, ...], validation: float, name: str | Path
) -> Dataset:
    """Hold out the pictures whose hash is at most `validation`, and at least one of each class on each side."""
    if not 0 < validation < 1:
        raise InputError(f"validation must be a fraction between 0 and 1; got {validation}")
    held_out = np.zeros(len(whole), bool)
    for label in np.unique(whole.labels):
        members = whole.labels == label
        distinct = np.unique(fractions[members])  # copies of a picture have one hash and stay on one side
        if len(distinct) > 1:
            held_out[members] = fractions[members] <= np.clip(validation, distinct[0], distinct[-2])
    if not held_out.any():
        raise InputError(f"{name}: no class has two different pictures, so none can be held out; add pictures")
    return Dataset(whole.select(~held_out), whole.select(held_out), rejected)
