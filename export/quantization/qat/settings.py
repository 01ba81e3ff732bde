"""How a network is fine-tuned for a phone, and with which images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import tensorflow as tf

from keras_inception.arguments import check_fields
from keras_inception.data import Augmentation, Dataset
from keras_inception.data.augmentation import mixes
from keras_inception.errors import InputError
from keras_inception.training.recipes.recipe import TEACHER_WEIGHT, TEMPERATURE

# Labelled images: a folder or a data set, which is split as for a training; or the network's inputs and their labels.
TrainingData: TypeAlias = Dataset | tf.data.Dataset | tuple[np.ndarray, np.ndarray] | str | Path
Preserve: TypeAlias = Literal["sparsity", "clusters", "both"]  # what a training keeps of the kernels: zeros, values


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """The settings of `quantize_aware`, `prune` and `cluster`.

    Args:
        epochs: how many times all images are seen.
        batch_size: images per step.
        learning_rate: Adam's at the first step; it falls to 0 along a cosine.
        augmentation: random changes of the training images, without MixUp and CutMix; None for none.
        seed: of the order of the images.
        temperature: of a teacher, as of `training.recipes.Recipe`.
        teacher_weight: the same.

    Raises:
        InputError: `epochs`, `batch_size`, `learning_rate` or `temperature` is not positive, `teacher_weight` is not
            from 0 to 1, or `augmentation` mixes images.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    augmentation: Augmentation | None = None
    seed: int = 0
    temperature: float = TEMPERATURE
    teacher_weight: float = TEACHER_WEIGHT

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("epochs", "batch_size", "learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive; got {getattr(self, name)}")
        if not 0 <= self.teacher_weight <= 1:
            raise InputError(f"teacher_weight must be a number from 0 to 1; got {self.teacher_weight}")
        if mixes(self.augmentation):
            raise InputError("training for a phone mixes no images: give an augmentation with mixup=0 and cutmix=0")
