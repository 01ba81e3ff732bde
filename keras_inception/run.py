"""The run directory: what training leaves behind and everything downstream takes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from .errors import InputError
from .files import write_file
from .preprocessing import Preprocessing

SCHEMA = 1  # of run.json; raise it when an older reader would misread a newer run
PACKAGES = ("keras-inception", "keras", "tensorflow")


def versions() -> dict[str, str]:
    """The versions that decide what a run means."""
    return {package: version(package) for package in PACKAGES}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What `run.json` holds: which network, trained on what, how well.

    `labels` are the class names in the order of the network's outputs. `data` says where the images came from and how
    they were split, so that evaluation sees the split that training held out. `metrics` are of the kept epoch.
    """

    builder: str
    kwargs: dict[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    weights: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)
    path: Path = Path()

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a finished run directory.

        Raises:
            InputError: there is no run there, it is not finished, or a newer version of this package wrote it.
        """
        path = Path(path)
        record_file = path / "run.json"
        if not record_file.is_file():
            if (path / "checkpoints").is_dir():
                raise InputError(
                    f"{path} was interrupted before it finished; run the same `train` command to resume it"
                )
            raise InputError(f"{path} is not a run directory: it has no run.json (`keras-inception train` makes one)")
        try:
            record = json.loads(record_file.read_text(encoding="utf-8"))
            schema = record.pop("schema")
            if schema > SCHEMA:
                raise InputError(
                    f"{path} was written by keras-inception {record['versions']['keras-inception']} (run format "
                    f"{schema}); this is {version('keras-inception')} (format {SCHEMA}): upgrade with "
                    "pip install -U keras-inception"
                )
            record["labels"] = tuple(record["labels"])
            record["preprocessing"] = Preprocessing.from_dict(record["preprocessing"])
            known = {f.name for f in fields(cls)} - {"path"}
            return cls(path=path, **{k: v for k, v in record.items() if k in known})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{record_file} is damaged ({error!r}): train again, or restore it from a copy") from error

    def save(self) -> None:
        """Write `run.json` and `labels.txt` into `path`; run.json last, since its presence says the run is finished."""
        record = asdict(self) | {"schema": SCHEMA, "preprocessing": self.preprocessing.to_dict()}
        del record["path"]
        (self.path / "labels.txt").write_text("".join(f"{label}\n" for label in self.labels), encoding="utf-8")
        text = json.dumps(record, indent=2, sort_keys=True) + "\n"
        write_file(self.path / "run.json", lambda part: part.write_text(text, encoding="utf-8"))

    def model(self) -> keras.Model:
        """The trained network: preprocessed images (`self.preprocessing.input_shape`) -> class probabilities."""
        file = self.path / "model.keras"
        if not file.is_file():
            raise InputError(f"{self.path} has no model.keras: the run is incomplete; train again")
        return keras.models.load_model(file, compile=False)
