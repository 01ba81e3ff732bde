"""A finished run: the record that training writes and that everything downstream takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from . import hub
from .backend import need_tensorflow
from .data import Dataset, Split, fingerprint, is_named, load_folder, load_images
from .errors import InputError
from .evaluation import BatchFunction, KerasPredictor, Prediction, predict
from .files import parse_json, write_file
from .layers import deep_graph
from .model_graph import fits, load
from .outputs import main_output
from .preprocessing import Preprocessing
from .weights.record import Prepared, loaded

need_tensorflow(__name__)

SCHEMA = 2  # of run.json; raise it when an older reader would misread a newer run
CURVES = "loss", "accuracy", "val_loss", "val_accuracy"  # in every row of history.csv
STATE = "training_state"  # the folder in a run directory that a training resumes from

TYPES: dict[str, Any] = {  # of the fields of run.json
    **dict.fromkeys(("builder", "measured_on"), str),
    **dict.fromkeys(("kwargs", "preprocessing", "data", "training", "metrics", "validation_metrics", "versions"), dict),
    **dict.fromkeys(("labels", "folds"), list),
    "weights": str | None,
}

Side = Literal["train", "val", "test", "held_out"]


def versions() -> dict[str, str]:
    """The versions that decide what a run means.

    Keras and TensorFlow are asked themselves: the packages that hold them have many names (tensorflow-cpu, tf-nightly).
    """
    return {
        "keras-inception": version("keras-inception"),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


@dataclass(frozen=True, kw_only=True)
class Run:
    """What `run.json` holds: which network, trained on what, how well.

    `builder` and `kwargs` make the kept network. `labels` are the class names in the order of its outputs. `weights`
    says where the training started. `data` says where the images came from and how they were split, so that evaluation
    sees the split that training held out. `training` is the rest of the request. `metrics` are of the kept epoch, on
    the images that `measured_on` names: "test", or "validation" where there are no test images. `validation_metrics`
    are those on the validation images, on which the epoch was chosen. `folds` has those of each network of a
    cross-validation, on the images that it was not trained on. `path` is where it is; one that
    comes from the hub has its `address` there, with the commit.
    """

    builder: str
    kwargs: dict[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    weights: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    measured_on: str = "validation"
    validation_metrics: dict[str, float] = field(default_factory=dict)
    folds: list[dict[str, float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=versions)
    path: Path = Path()
    address: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a finished run directory, or one on the Hugging Face hub, "hf://USER/NAME" or "hf://USER/NAME@REVISION".

        Raises:
            InputError: there is no run there, it is not finished, or a newer version of this package wrote it.
        """
        address = None
        if hub.is_address(path):
            path, address = hub.download(hub.Address.of(path))
        path = Path(path)
        record_file = path / "run.json"
        if not record_file.is_file():
            if (path / STATE).is_dir():
                raise InputError(
                    f"{path} was interrupted before it finished; run the same `train` command to resume it"
                )
            raise InputError(f"{path} is not a run directory: it has no run.json (`keras-inception train` makes one)")
        try:
            record = parse_json(record_file.read_text(encoding="utf-8"))
            schema = record.pop("schema")
            if schema > SCHEMA:
                raise InputError(
                    f"{path} was written by keras-inception {record['versions']['keras-inception']} (run format "
                    f"{schema}); this is {version('keras-inception')} (format {SCHEMA}): upgrade with "
                    "pip install -U keras-inception"
                )
            record.setdefault("validation_metrics", record["metrics"])  # of runs before there were test images
            _check_types(record)
            record["labels"] = tuple(record["labels"])
            record["preprocessing"] = Preprocessing.from_dict(record["preprocessing"])
            if address:
                record["data"] = {**record["data"], "folder": None}  # a stranger does not say what is read here
            known = {f.name for f in fields(cls)} - {"path", "address"}
            found = {k: v for k, v in record.items() if k in known}
            return cls(path=path, address=str(address) if address else None, **found)
        except InputError:
            raise
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{record_file} is damaged ({error!r}): train again, or restore it from a copy") from error

    def save(self) -> None:
        """Write `labels.txt` and `run.json` into `path`; run.json last, since its presence says the run is finished."""
        lines, text = label_lines(self.labels), self.to_json()
        write_file(self.path / "labels.txt", lambda part: part.write_text(lines, encoding="utf-8"))
        write_file(self.path / "run.json", lambda part: part.write_text(text, encoding="utf-8"))

    def to_json(self) -> str:
        """The content of `run.json`."""
        record = asdict(self) | {"schema": SCHEMA, "preprocessing": self.preprocessing.to_dict()}
        del record["path"], record["address"]
        return json.dumps(record, indent=2, sort_keys=True) + "\n"

    def beside(self, name: str) -> Path:
        """Where a file that is made of the run goes, unless another place is given.

        Raises:
            InputError: the run is in the cache of the hub, into which nothing is written.
        """
        if self.address:
            raise InputError(f"{self.address} is in the cache of the hub: say where {name} goes (--out)")
        return self.path / name

    @deep_graph()
    def model(self) -> keras.Model:
        """The trained network: preprocessed images (`self.preprocessing.input_shape`) -> class probabilities.

        Raises:
            InputError: model.keras is missing or damaged.
        """
        file = self.path / "model.keras"
        if not file.is_file():
            raise InputError(f"{self.path} has no model.keras: the run is incomplete; train again")
        try:
            network = load(file)
        except Exception as error:  # whatever a cut zip or HDF5 file, or a newer Keras, makes Keras raise
            here, cure = versions(), "restore it from a copy, or train again"
            others = [f"{k} {v} (here {here[k]})" for k, v in self.versions.items() if here.get(k, v) != v]
            cause = f"it was written with {', '.join(others)}: install these, or, if it is damaged, {cure}"
            raise InputError(f"{file} cannot be loaded; {cause if others else f'it is damaged: {cure}'}") from error
        expected = self.preprocessing.input_shape
        if not fits(expected, tuple(network.input_shape[1:])):
            raise InputError(f"{file} takes {network.input_shape[1:]}, and run.json says {expected}: it is another's")
        if (classes := main_output(network).shape[-1]) > max(2, len(self.labels)):  # a sigmoid stands for two
            raise InputError(f"{file} has {classes} classes, and run.json {len(self.labels)} labels: it is another's")
        loaded[network] = Prepared(preprocessing=self.preprocessing, labels=self.labels)
        return network

    def images(self, side: Side, images: str | Path | None = None) -> Split:
        """The images of one side of the run's split, labelled in the order of `labels`.

        Args:
            side: "train", "val" or "test"; "held_out" is the side that results are measured on: the test images, or the
                validation images where there are no test images.
            images: a folder to take in place of the recorded one. Where it holds the same images as those of the
                training, it is split as they were. Of others all are taken, or that side if they are split.

        Raises:
            InputError: the images are not there any more, were arrays, or are of other classes; or there is no such
                side.
        """
        if side not in get_args(Side):
            raise InputError(f'the sides of a split are "train", "val", "test" and "held_out"; got {side!r}')
        dataset = self.dataset() if images is None else self._same(images)
        if dataset is None:
            assert images is not None
            return load_images(images, self.labels, side=None if side == "held_out" else side)
        if (found := getattr(dataset, side)) is None:
            raise InputError(f"{self.path} was trained without test images: name some test/, or train with --test")
        return found

    def dataset(self, images: str | Path | None = None) -> Dataset:
        """The images that the run was trained on, split as they were; `images` is where they are now.

        Raises:
            InputError: the images are not there any more, were arrays, or are others.
        """
        if images is not None:
            if (found := self._same(images)) is None:
                raise InputError(f"{images} does not hold the images that {self.path} was trained on")
            return found
        source = self.data.get("folder")
        if source is None:
            why = "was trained on arrays or tf.data, which it does not keep"
            if self.address:
                why = "does not say where its images are"
            raise InputError(f"{self.address or self.path} {why}: give images (--images DIR)")
        if not is_named(source) and not Path(source).exists():
            raise InputError(f"the images of {self.path} are no longer at {source}: give their folder (--images DIR)")
        dataset = load_folder(source, **self.shares)
        if dataset.classes != self.labels:
            raise InputError(
                f"{source} now holds other classes than {self.path} was trained on: give images (--images DIR)"
            )
        return dataset

    @property
    def shares(self) -> dict[str, float]:
        """What was held out of images that were not split: arguments of `load_folder`."""
        return {"validation": self.data.get("validation", 0.2), "test": self.data.get("test_share", 0.0)}

    def _same(self, images: str | Path) -> Dataset | None:
        """The dataset of a folder which holds the images of the training, None where it holds others."""
        try:
            dataset = load_folder(images, **self.shares)
        except InputError:  # fewer classes, for example: nothing to train on, but to measure on
            return None
        return dataset if fingerprint(dataset) == self.data.get("fingerprint") else None

    def predict(self, images: Any, *, top: int = 5, batch_size: int = 32) -> list[Prediction]:
        """The most probable classes of each image: files, folders, encoded bytes, uint8 arrays, or a list of these.

        See `evaluation.predict`.
        """
        return predict(self, images, top=top, batch_size=batch_size)

    def probabilities(self, images: Split, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """As `evaluation.Predictor.probabilities`: a run can stand wherever a predictor is asked for."""
        return self.predictor.probabilities(images, batch_size=batch_size)

    def batch_function(self, *, embeddings: bool = False) -> BatchFunction:
        """As `evaluation.BatchPredictor.batch_function`."""
        return self.predictor.batch_function(embeddings=embeddings)

    def digest(self) -> str:
        """As `evaluation.BatchPredictor.digest`."""
        return self.predictor.digest()

    def opener(self) -> Callable[[], Run]:
        """As `evaluation.BatchPredictor.opener`."""
        return partial(Run.load, self.path.resolve())

    @cached_property
    def predictor(self) -> KerasPredictor:
        """The network with labels and preprocessing, loaded once."""
        return KerasPredictor(model=self.model(), labels=self.labels, preprocessing=self.preprocessing)


def _check_types(record: dict[str, Any]) -> None:
    """Raise a `TypeError` for a field of another type than `Run.save` writes."""
    for name, value in record.items():
        if name in TYPES and not isinstance(value, TYPES[name]):
            raise TypeError(f"{name} is {value!r:.80}")
    numbers = [*record["metrics"].values(), *record["validation_metrics"].values()]
    if not all(isinstance(label, str) for label in record["labels"]):
        raise TypeError("labels are not all text")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("metrics are not all numbers")


def run_of(weights: Any) -> Run | None:
    """The finished run that a directory, the model file in it, or an address on the hub is; None for other weights.

    Raises:
        InputError: it is a run that is not finished.
    """
    if not isinstance(weights, str | Path):
        return None
    if hub.is_address(weights):
        return Run.load(weights)
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    if path != folder and path.name != "model.keras":
        return None
    return Run.load(folder) if any((folder / name).exists() for name in ("run.json", STATE)) else None


def label_lines(labels: Sequence[str]) -> str:
    """The content of `labels.txt`: one label per line. What Python could not decode in a folder's name is escaped."""
    text = "".join(f"{' '.join(label.splitlines()) or label}\n" for label in labels)
    return text.encode(errors="backslashreplace").decode()
