"""The teacher of a training: a trained network whose probabilities another one learns (Hinton, Vinyals, Dean, 2015)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..data import Split
from ..data.split import OneHot, content_digest
from ..errors import InputError
from ..layers import deep_graph
from ..model_graph import load
from ..outputs import main_network
from ..preprocessing import Preprocessing
from ..registry import ARCHITECTURES, get
from ..run import Run, run_of
from ..terminal import note
from ..weights import find, imagenet_labels
from .feature_cache import features

SHOWN = 3  # classes in a message


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained network whose probabilities another one learns.

    `weights` is the path of a run or of a `.keras` file, or published weights as "inception_v3.tf_in1k". `digest` is
    the sha256 of that file, or of the run's model, by which a teacher that has moved is known again; None for published
    weights. `network` is the network's name, `preprocessing` how it takes images. `columns` are the places of the
    student's classes among its outputs; None where both have the same order.
    """

    weights: str
    digest: str | None = None
    network: str
    preprocessing: Preprocessing
    columns: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The teacher as plain JSON values."""
        columns = None if self.columns is None else list(self.columns)
        return asdict(self) | {"preprocessing": self.preprocessing.to_dict(), "columns": columns}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Teacher:
        """Read what `to_dict` wrote."""
        columns = record["columns"]
        read = {
            "preprocessing": Preprocessing.from_dict(record["preprocessing"]),
            "columns": None if columns is None else tuple(columns),
        }
        return cls(**dict(record) | read)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its probabilities: the record, without the place of what has a digest."""
        record = self.to_dict()
        return {k: v for k, v in record.items() if k != "weights" or self.digest is None}

    @deep_graph()
    def model(self) -> keras.Model:
        """The network: images, prepared -> probabilities of its classes; published weights are downloaded once.

        Raises:
            InputError: it is not there any more, or damaged, or cannot be downloaded, or gives no probabilities.
        """
        if self.digest is None:
            network, _, tag = self.weights.partition(".")
            shape = self.preprocessing.input_shape
            return main_network(get(network).build(weights=find(network, tag), input_shape=shape))
        run = run_of(self.weights)
        network = main_network(run.model() if run else _loaded(Path(self.weights)))
        black = np.asarray(network(np.zeros((1, *self.preprocessing.input_shape), np.float32)))
        if black.min() < 0 or not np.allclose(black.sum(axis=-1), 1, atol=1e-3):
            raise InputError(f"{self.weights} gives no probabilities: a teacher ends in a softmax")
        return network

    def targets(self, network: keras.Model, images: Split) -> Targets:
        """What a student learns of these images from its network, which is that of `model`.

        Its probabilities are computed once and kept on disk, as features are.
        """
        [found] = features(network, [images], self.preprocessing, title="teacher")
        return Targets(OneHot(images.labels, len(images.classes)), found, self.columns)


@dataclass(frozen=True, eq=False)
class Targets:
    """What a student learns of each image: its label, one-hot, and the teacher's probabilities beside it.

    Indexed like an array (n, 2 * classes), whose rows are made when they are asked for: `probabilities`, (n, classes),
    may be mapped from disk. `columns` brings them into the order of the labels. MixUp and CutMix mix both.
    """

    labels: OneHot
    probabilities: np.ndarray
    columns: tuple[int, ...] | None = None
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, 2 * classes)."""
        return len(self.probabilities), 2 * self.labels.classes

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray:
        """The rows at these indices."""
        found = self.probabilities[indices]
        return np.hstack([self.labels[indices], found if self.columns is None else found[:, self.columns]])


def teacher_of(given: str | Path | Run, classes: Sequence[str]) -> Teacher:
    """The teacher that a training on these classes asks for. Nothing is downloaded yet.

    Args:
        given: a finished run, its directory or its address on the hub, a `.keras` file of a network of this package, or
            published weights as "NETWORK.TAG". The classes of a file have no names: they are taken to be in the order
            of `classes`.
        classes: the student's labels, which must be the teacher's, in any order.

    Raises:
        InputError: there is no such teacher, or its classes are others.
    """
    run = given if isinstance(given, Run) else run_of(given)
    if run is not None:
        place = run.address or str(run.path.resolve())
        return Teacher(
            weights=place,
            digest=content_digest(run.path / "model.keras").hex(),
            network=run.builder,
            preprocessing=run.preprocessing,
            columns=_columns(place, run.labels, classes),
        )
    assert not isinstance(given, Run)
    if isinstance(given, Path) or os.sep in given or given.endswith(".keras") or Path(given).exists():
        return _of_file(Path(given), classes)
    network, dot, tag = given.partition(".")
    if not dot:
        raise InputError(
            f"a teacher is a finished run, a .keras file or published weights as mobilenet_v2.imagenet; got {given!r}"
        )
    checkpoint = find(get(network).name, tag)
    if checkpoint.dataset != "imagenet":
        raise InputError(f"{checkpoint.id} has the classes of {checkpoint.dataset}, whose names are not known here")
    synsets, names = zip(*imagenet_labels(), strict=True)
    return Teacher(
        weights=checkpoint.id,
        network=checkpoint.model,
        preprocessing=checkpoint.preprocessing,
        columns=_columns(checkpoint.id, names if set(classes) == set(names) else synsets, classes),
    )


# ----------------------------------------------------------------------------------------------------------- internals


def _of_file(path: Path, classes: Sequence[str]) -> Teacher:
    if path.suffix != ".keras" or not path.is_file():
        what = "there is none" if not path.exists() else "this is neither"
        raise InputError(f"a teacher is a finished run or a .keras file; at {path} {what}")
    network = main_network(_loaded(path))
    architecture = ARCHITECTURES.get(network.name)
    if architecture is None or len(network.input_shape) != 4 or None in network.input_shape[1:]:
        raise InputError(
            f"{path} holds {network.name}, of which no preprocessing is known: give a run directory, which records it"
        )
    if network.output_shape != (None, len(classes)):
        raise InputError(f"{path} has the output {network.output_shape}, the images have {len(classes)} classes")
    note(f"{path} names no classes: taken to be in the order of the images', {_shown(classes)}")
    return Teacher(
        weights=str(path.resolve()),
        digest=content_digest(path).hex(),
        network=architecture.name,
        preprocessing=architecture.preprocessing_for(network.input_shape[1:]),
    )


def _loaded(path: Path) -> keras.Model:
    try:
        return load(path)
    except Exception as error:  # whatever a cut zip or HDF5 file makes Keras raise
        raise InputError(f"{path} cannot be loaded as a network: restore it, or give a run directory") from error


def _columns(name: str, theirs: Sequence[str], classes: Sequence[str]) -> tuple[int, ...] | None:
    """Where the teacher has each of the classes.

    Raises:
        InputError: its classes are others.
    """
    if set(theirs) != set(classes):
        raise InputError(
            f"{name} has the classes {_shown(theirs)}, the images have {_shown(classes)}: a teacher has the classes of "
            "the images, in any order; train it on them first (--weights)"
        )
    places = {label: i for i, label in enumerate(theirs)}
    columns = tuple(places[label] for label in classes)
    return None if columns == tuple(range(len(columns))) else columns


def _shown(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - SHOWN:,} others" if len(classes) > SHOWN else ""
    return ", ".join(classes[:SHOWN]) + more
