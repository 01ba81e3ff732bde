"""Exported files that predict as a run does: they take the place of a run in `predict` and `evaluate`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from keras_inception.arguments import checked
from keras_inception.data import Split
from keras_inception.errors import InputError
from keras_inception.evaluation import BatchFunction
from keras_inception.outputs import MAIN
from keras_inception.preprocessing import Preprocessing

from ..openvino import is_openvino
from ..saved_model import is_saved_model, versions
from ..tflite.flatbuffer import is_tflite
from ..tflite.metadata import Input
from .runners import OpenFile, open_file


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file in its own runtime, an `evaluation.Predictor`.

    `labels` are the class names in the order of the outputs; `preprocessing` turns images into the network's input.
    """

    file: OpenFile
    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def probabilities(self, images: Split, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """The outputs for some images, by name: (n, classes) float32, in the order of the images.

        The main output is "predictions"; early exits are "exit_1", ..., as in the Keras model. What the file computes
        is returned as it is: probabilities, unless the network was exported without its softmax.

        Args:
            images: labelled images. The file gets each in the rawest form that it takes.
            batch_size: without effect; a file runs as many images at a time as it was exported for.

        Raises:
            InputError: there are no images, or the file's outputs are not one number per label.
        """
        runners = {MAIN: self.file.runners[self.file.rawest]}
        runners |= dict(list(self.file.exits.items())[:-1])  # the last exit is the main output
        prepare = self.file.from_image(self.preprocessing)
        found: dict[str, list[np.ndarray]] = {name: [] for name in runners}
        for start in range(0, len(images), self.file.batch):
            chunk = range(start, min(start + self.file.batch, len(images)))
            given = [prepare(images.image(i)) for i in chunk]
            for name, run in runners.items():
                found[name].append(run(np.concatenate(given)))
        if not found[MAIN]:
            raise InputError("there are no images to predict")
        if (shape := found[MAIN][0].shape[1:]) != (len(self.labels),):
            raise InputError(f"{self.file.path} has {len(self.labels)} labels for the output {shape}: export it again")
        return {name: np.concatenate(outputs) for name, outputs in found.items()}

    def batch_function(self, *, embeddings: bool = False) -> BatchFunction:
        """As `evaluation.BatchPredictor.batch_function`: over images that are resized already.

        Raises:
            InputError: embeddings are asked for, which no file returns.
        """
        if embeddings:
            raise InputError(f"{self.file.path} returns no embeddings: give the run that it was exported from")
        kind: Input = "pixels" if "pixels" in self.file.runners else "input"
        network = self.file.runners[kind]

        def run(x: np.ndarray) -> dict[str, np.ndarray]:
            size = len(x) if self.file.free_batch else self.file.batch
            return {MAIN: np.concatenate([network(x[i : i + size]) for i in range(0, len(x), size)])}

        preprocessing = self.preprocessing.unnormalized if kind == "pixels" else self.preprocessing
        return BatchFunction(preprocessing=preprocessing, run=run)

    def digest(self) -> str:
        """As `evaluation.BatchPredictor.digest`."""
        path = self.file.path
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        found = hashlib.sha256()
        for file in files:
            with open(file, "rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
        return found.hexdigest()

    def opener(self) -> Callable[[], ExportedFile]:
        """As `evaluation.BatchPredictor.opener`."""
        return partial(open_predictor, self.file.path.resolve())


def is_exported(path: Path) -> bool:
    """Whether a path is, or has the name of, an exported file, or holds versions of a SavedModel."""
    named = path.suffix in (".tflite", ".onnx")
    return named or is_tflite(path) or is_saved_model(path) or is_openvino(path) or bool(versions(path))


@checked
def open_predictor(path: str | Path) -> ExportedFile:
    """Open an exported file to predict with it.

    Args:
        path: a SavedModel, a .tflite or .onnx file, or an OpenVINO folder.

    Raises:
        InputError: there is no such file, its runtime refuses it or is not installed, or it does not hold its labels
            and preprocessing.
    """
    file = open_file(Path(path))
    if file.labels is None:
        raise InputError(f"{path} holds no class labels: export it from a run, or with labels=")
    if file.record.preprocessing is None:
        raise InputError(f"{path} does not say how to preprocess images: export it from a run, or with preprocessing=")
    return ExportedFile(file=file, labels=file.labels, preprocessing=file.record.preprocessing)
