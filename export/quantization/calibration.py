"""The images that determine the quantisation ranges of activations."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from keras_inception.arguments import check_fields
from keras_inception.data import Split, is_data_file, load_folder
from keras_inception.errors import InputError
from keras_inception.files import new_output, uninterrupted
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

from ..inputs import Exportable, compiled

IMAGES = 200  # taken from a split, each class in proportion
FEW = 50  # fewer images give ranges that are too narrow for others
EMPTY = "calibration is empty: give some hundred typical images"


@dataclass(frozen=True, eq=False, kw_only=True)
class CalibrationSet:
    """Calibration images as the .tflite file takes them.

    With known `preprocessing` they are uint8 RGB (n, H, W, 3) of the network's size, since the file normalises itself;
    without, they are the network's own inputs, (n, H, W, C). `source` describes where they come from. `notes` holds
    what looks wrong with them; what cannot be right is an error.

    Raises:
        InputError: a field has a wrong type, or the images are none, one, blank, or not finite.
    """

    inputs: np.ndarray
    preprocessing: Preprocessing | None = None
    source: str = "arrays"
    absent: tuple[str, ...] = ()  # labels of classes without an image

    def __post_init__(self) -> None:
        check_fields(self)
        if not len(self.inputs):
            raise InputError(EMPTY)
        if not np.isfinite(self.inputs).all():
            raise InputError("calibration holds NaN or infinite values: give images as the network takes them")
        if self._distinct == 1:
            raise InputError(
                f"calibration is one image{f' {len(self.inputs)} times' if len(self.inputs) > 1 else ''}, whose ranges "
                "do not fit others; give some hundred"
            )
        if all(image.min() == image.max() for image in self.inputs):
            raise InputError("calibration holds only blank images: give typical ones")

    @classmethod
    def of(
        cls,
        images: Calibration,
        preprocessing: Preprocessing | None = None,
        *,
        count: int = IMAGES,
        seed: int = 0,
    ) -> CalibrationSet:
        """Collect `count` images from a split, a folder or a run's training images, each class in proportion.

        An array is taken whole.

        Args:
            images: labelled images as a split, a folder or a run; or an array as the Keras model takes it,
                (n, H, W, C).
            preprocessing: what the network was trained with; a run knows it.
            count: how many labelled images to take.
            seed: of the sample; the same seed takes the same images.

        Raises:
            InputError: there are no images, there is only one, or they do not fit the preprocessing.
        """
        if isinstance(images, CalibrationSet):
            return images
        name = "arrays"
        if isinstance(images, str | Path):
            path = Path(images)
            if path.is_file() and not is_data_file(path):
                return cls.load(path)
            name = f"the folder {path.name}"
            images = Run.load(path) if (path / "run.json").exists() else load_folder(images).train
        if isinstance(images, Run):
            name = f"the training images of {images.path.name}"
            preprocessing = preprocessing or images.preprocessing
            images = images.images("train")
        if isinstance(images, Split):
            return cls._of_split(images.sample(count, seed), preprocessing, name)
        if isinstance(images, Iterator) or callable(images):
            raise InputError(f"calibration is a {type(images).__name__}: give an array (n, H, W, C) of what it yields")
        inputs = np.asarray(images)
        if inputs.ndim < 2:
            raise InputError(f"calibration is a {type(images).__name__}: give an array of images, (n, H, W, C)")
        if not len(inputs) or not np.isfinite(inputs).all() or preprocessing is None:
            return cls(inputs=inputs, preprocessing=preprocessing)
        if inputs.shape[1:] != preprocessing.input_shape:
            raise InputError(_misshapen(inputs, preprocessing.input_shape))
        pixels = np.round(to_pixels(inputs, preprocessing)).astype(np.uint8)
        return cls(inputs=pixels, preprocessing=preprocessing)

    @classmethod
    def _of_split(cls, sample: Split, preprocessing: Preprocessing | None, name: str) -> CalibrationSet:
        if preprocessing is None:
            raise InputError("to calibrate with images give preprocessing= too, or an array as the network takes it")
        if not len(sample):
            raise InputError(EMPTY)
        resize = compiled(preprocessing.resize)
        pixels = np.stack([resize(sample.image(i)) for i in range(len(sample))])
        present = set(sample.labels.tolist())
        return cls(
            inputs=np.round(pixels).astype(np.uint8),
            preprocessing=preprocessing,
            source=name,
            absent=tuple(label for i, label in enumerate(sample.classes) if i not in present),
        )

    @classmethod
    def load(cls, path: str | Path) -> CalibrationSet:
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it is no calibration set.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                record = json.loads(str(file["record"]))
                prepared = record["preprocessing"]
                return cls(
                    inputs=file["inputs"],
                    preprocessing=Preprocessing.from_dict(prepared) if prepared else None,
                    source=record["source"],
                    absent=tuple(record["absent"]),
                )
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path} is not a calibration set: give images, or what CalibrationSet.save wrote"
            ) from error

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the images into one .npz file, with which the same export can be repeated elsewhere."""
        record = {
            "preprocessing": self.preprocessing.to_dict() if self.preprocessing else None,
            "source": self.source,
            "absent": self.absent,
        }
        path = Path(path)
        with (
            new_output(path, overwrite=overwrite, kind="calibration set", is_kind=zipfile.is_zipfile) as part,
            uninterrupted(),  # Ctrl-C within a zip would come out as an error of the zip's
            open(part, "wb") as file,  # np.savez would add .npz to a name
        ):
            np.savez_compressed(file, inputs=self.inputs, record=json.dumps(record))
        return path

    def summary(self) -> dict[str, Any]:
        """What an exported file records of its calibration: the number of images, their source, hash and notes."""
        return {
            "images": len(self.inputs),
            "source": self.source,
            "sha256": hashlib.sha256(self.inputs.tobytes()).hexdigest(),
            "notes": list(self.notes),
        }

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What makes these images doubtful, one line each."""
        notes, n = [], len(self.inputs)
        if n < FEW:
            notes.append(f"calibrated on {n} images, whose ranges may be too narrow: give some hundred")
        if n - self._distinct > n // 10:
            notes.append(f"{n - self._distinct} of {n} calibration images are copies of others")
        if self.absent:
            notes.append(f"calibration has no image of {len(self.absent)} classes, among them {self.absent[0]}")
        low, high = self.inputs.min(), self.inputs.max()
        if self.preprocessing and (low > 64 or high < 192):
            notes.append(f"calibration pixels range from {low:g} to {high:g}, not 0 to 255: they may be scaled wrongly")
        flat = self.inputs.reshape(-1, self.inputs.shape[-1])
        if still := np.flatnonzero(flat.min(axis=0) == flat.max(axis=0)).tolist():
            notes.append(f"channel {still[0]} of the calibration images is constant")
        return tuple(notes)

    @cached_property
    def _distinct(self) -> int:
        return len({hashlib.sha256(image.tobytes()).digest() for image in self.inputs})

    def representative(self, dtype: str) -> Iterator[np.ndarray]:
        """Each image as the converter takes it, (1, H, W, C)."""
        for i, image in enumerate(self.inputs):
            given = image[np.newaxis].astype(dtype)
            if i == 0 and image.ndim == 3 and (self.preprocessing or image.dtype == np.uint8):
                # A black and a white corner make the input's scale exactly 1, whatever the images hold.
                given[0, 0, 0], given[0, -1, -1] = 0, 255
            yield given


# Images as the Keras model takes them, (n, H, W, C); labelled images as a split, a folder or a run; a calibration
# set, or its file.
Calibration: TypeAlias = np.ndarray | Sequence[np.ndarray] | Split | Run | str | Path | CalibrationSet


def calibration_set(calibration: Calibration | None, source: Exportable) -> CalibrationSet:
    """The images that quantise a network; the default for a run is its training images.

    Raises:
        InputError: there are no images, or they do not fit the network.
    """
    images = CalibrationSet.of(_own_images(source) if calibration is None else calibration, source.preprocessing)
    if images.preprocessing != source.preprocessing:
        raise InputError(
            "the calibration set was made for another preprocessing than the network's: make it again with "
            "CalibrationSet.of(images, preprocessing)"
        )
    shape = (*source.preprocessing.size, 3) if source.preprocessing else source.input_shape
    if images.inputs.shape[1:] != shape:
        raise InputError(_misshapen(images.inputs, shape))
    return images


def to_pixels(inputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo the normalisation: the network's inputs (n, H, W, C) -> RGB pixels (n, H, W, 3) float32, 0..255.

    Raises:
        InputError: pixels are outside 0..255, so the inputs were preprocessed differently.
    """
    std, mean = np.asarray(preprocessing.std, np.float32), np.asarray(preprocessing.mean, np.float32)
    pixels = np.asarray(inputs, np.float32) * std + mean
    low, high = pixels.min(), pixels.max()
    if low < -1 or high > 256:
        raise InputError(
            f"the inputs range from {inputs.min():g} to {inputs.max():g}, which the preprocessing makes of pixels from "
            f"{low:.0f} to {high:.0f} and not 0 to 255: pass images through the preprocessing, once"
        )
    if preprocessing.channels == "BGR":
        pixels = pixels[..., ::-1]
    return np.broadcast_to(np.clip(pixels, 0, 255), (*pixels.shape[:-1], 3))


def _own_images(source: Exportable) -> Run:
    if source.run is None:
        shape = ", ".join(map(str, source.input_shape))
        raise InputError(
            f"full-integer quantisation needs calibration=: some hundred typical images as the network takes them, "
            f"an array (n, {shape}), or a folder of labelled images"
        )
    return source.run


def _misshapen(array: np.ndarray, shape: tuple[int | None, ...]) -> str:
    return f"calibration has the shape {array.shape}; the network takes (n, {', '.join(map(str, shape))})"
