"""What a training writes beside its network, with every field missing, null or of another type."""

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_inception import InputError, Run, train
from keras_inception.evaluation import predict
from keras_inception.report import read_history
from keras_inception.training.state import TrainingState

from .judge import Case, check_refusal, command
from .networks import run

IMAGE = np.zeros((9, 9, 3), np.uint8)
CHANGES: dict[str, Any] = {"null": None, "a number": 7, "text": "x", "a list": [[]], "an object": {"x": {}}}
REMOVED = object()


def changed(record: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy of a record in which one field, "request/start/weights", has another value or none."""
    record = json.loads(json.dumps(record))
    *way, last = field.split("/")
    inside: Any = record
    for step in way:
        inside = inside[int(step)] if isinstance(inside, list) else inside[step]
    if value is REMOVED:
        del inside[last]
    else:
        inside[last] = value
    return record


# ------------------------------------------------------------------------------------------------------------ run.json


@cache
def run_record() -> dict[str, Any]:
    """The tiny network's, with what a training writes of itself."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = json.loads((run(Path(folder)) / "run.json").read_text())
    trained = json.loads((kept() / "run.json").read_text())
    return tiny | {name: trained[name] for name in ("training", "data", "versions")}


def run_with(text: Callable[[], bytes], folder: Path) -> Path:
    (run(folder) / "run.json").write_bytes(text())
    return folder


def used(path: Path, out: Path) -> None:
    """A run tells how it was trained, and predicts."""
    refusal: InputError | None = None
    try:
        command("config", path)
    except InputError as error:
        refusal = check_refusal(error, path.name)
    predict(Run.load(path), IMAGE)
    if refusal:
        raise refusal


def run_field(field: str, value: Any) -> bytes:
    return json.dumps(changed(run_record(), field, value)).encode()


RUN_FIELDS = (
    *("builder", "kwargs", "labels", "preprocessing", "weights", "data", "training", "metrics", "measured_on"),
    *("validation_metrics", "folds", "versions", "schema", "data/folder", "data/validation", "metrics/top1"),
    *(f"preprocessing/{name}" for name in ("size", "resize_mode", "crop", "channels", "mean", "std", "interpolation")),
    *("preprocessing/fill", "training/schedule", "training/augmentation", "training/start", "training/seed"),
    *("training/options", "training/arguments", "training/start/weights", "training/teacher", "training/optimizer"),
)
VALUES = {
    "schema 99": ("schema", 99),
    "schema -1": ("schema", -1),
    "an unknown field": ("code", "import os"),
    "two labels": ("labels", ["a", "b"]),
    "no labels": ("labels", []),
    "labels that are equal": ("labels", ["a", "a", "a"]),
    "a label of a line break": ("labels", ["a\nb", "c", "d"]),
    "a label of a megabyte": ("labels", ["a" * 2**20, "c", "d"]),
    "a size of 0": ("preprocessing/size", [0, 0]),
    "a size of one number": ("preprocessing/size", [8]),
    "a size of 2^40": ("preprocessing/size", [2**40, 2**40]),
    "a size of fractions": ("preprocessing/size", [8.5, 8.5]),
    "a deviation of 0": ("preprocessing/std", [0, 0, 0]),
    "a mean of infinity": ("preprocessing/mean", [float("inf")] * 3),
    "a fill of -1": ("preprocessing/fill", [-1, -1, -1]),
    "an unknown field of preprocessing": ("preprocessing/code", "x"),
    "folds of numbers": ("folds", [1, 2]),
}
TEXTS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a list": lambda: b"[]",
    "null": lambda: b"null",
    "half": lambda: json.dumps(run_record()).encode()[:200],
    "not UTF-8": lambda: b"\xff\xfe" + json.dumps(run_record()).encode(),
    "nested lists": lambda: b"[" * 200_000,
    "nested objects": lambda: b'{"a":' * 200_000,
    "a number of 10,000 digits": lambda: b'{"schema": ' + b"9" * 10_000 + b"}",
    "null bytes": lambda: bytes(1000),
}

# --------------------------------------------------------------------------------------------------------- history.csv

GOOD = "epoch,loss,accuracy,val_loss,val_accuracy\n1,1.0,0.5,1.0,0.5\n"
HISTORIES = {
    "empty": ("", "answer"),
    "only a header": (GOOD.splitlines()[0], "answer"),
    "good": (GOOD, "answer"),
    "no loss": (GOOD.replace("loss", "cost"), "refused"),
    "text": (GOOD.replace("0.5", "half"), "refused"),
    "more cells than columns": (GOOD.replace("0.5\n", "0.5,9,9\n"), "refused"),
    "fewer cells than columns": (GOOD.replace(",0.5\n", "\n"), "refused"),
    "NaN": (GOOD.replace("1.0", "nan"), "answer"),
    "null bytes": ("\0" * 100, "either"),
    "a cell of 1 MB": (GOOD.replace("0.5\n", "5" * 2**20 + "\n"), "refused"),
    "an open quote": (GOOD + '"' + "x" * 200_000, "refused"),
    "a web page": ("<!DOCTYPE html>\n<html>\n", "refused"),
}


def history_with(text: str, folder: Path) -> Path:
    (run(folder) / "history.csv").write_text(text, encoding="utf-8")
    return folder


def history(path: Path, _: Path) -> None:
    read_history(Run.load(path))


def no_history(folder: Path) -> Path:
    return run(folder)


def history_of_bytes(folder: Path) -> Path:
    (run(folder) / "history.csv").write_bytes(b"\xff\xfe\0\1")
    return folder


# ----------------------------------------------------------------------------------------------------- training state

TOLD = 20  # lines, of which a training has a dozen
HOW: dict[str, Any] = {"model": "lenet5", "weights": None, "epochs": 1, "batch_size": 4, "seed": 1}


def images(folder: Path) -> Path:
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i + ord(label)).integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


@cache
def kept() -> Path:
    """A training that was interrupted after its epoch, beside its images."""
    place = Path(tempfile.mkdtemp(prefix="hostile-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "clear", lambda self: None)
        train(images(place / "images"), out=place / "run", **HOW)
    shutil.copy(place / "run" / "run.json", place)
    for file in (place / "run").iterdir():
        if file.is_file():
            file.unlink()
    return place


@cache
def state() -> dict[str, Any]:
    return json.loads((kept() / "run" / "training_state" / "state.json").read_text())


def unfinished(text: Callable[[], bytes], folder: Path) -> Path:
    shutil.copytree(kept() / "run", folder / "run")
    (folder / "run" / "training_state" / "state.json").write_bytes(text())
    return folder / "run"


def without(name: Callable[[], str], content: bytes | None, folder: Path) -> Path:
    """One of the files that the state names is gone, or has other content."""
    shutil.copytree(kept() / "run", folder / "run")
    file = folder / "run" / "training_state" / name()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    return folder / "run"


def resumed(path: Path, out: Path) -> None:
    """The same command again, for a copy: what is given must not change."""
    shutil.copytree(path, out / path.name)
    try:
        train(kept() / "images", out=out / path.name, **HOW)
    except Exception:
        assert sorted(f.name for f in (out / path.name / "training_state").iterdir()) == sorted(
            f.name for f in (path / "training_state").iterdir()
        ), "a training that was refused has lost a file"
        shutil.rmtree(out / path.name)
        raise


def state_field(field: str, value: Any) -> bytes:
    return json.dumps(changed(state(), field, value)).encode()


STATE_FIELDS = ("kind", "schema", "request", "last", "kept", "history", "found", "trackers")
REQUEST_FIELDS = (
    *("network", "arguments", "labels", "preprocessing", "start", "data", "recipe", "recipe_name", "seed", "teacher"),
    *("start/weights", "start/digest", "data/fingerprint", "recipe/epochs", "recipe/schedule", "recipe/precision"),
    "recipe/augmentation",
)
STATE_VALUES = {
    "a newer schema": ("schema", 99),
    "a file above the folder": ("last", "../../images/a/0.png"),
    "a kept file above the folder": ("kept", {"best.keras": "../../images/a/0.png"}),
    "an absolute path": ("kept", {"best.keras": "/etc/hostname"}),
    "the folder above": ("kept", {"best.keras": ".."}),
    "a history of text": ("history", [{"loss": "low"}]),
    "a history without accuracy": ("history", [{"epoch": 1, "loss": 1.0}]),
    "a history of ten thousand rows": ("history", [{"epoch": 1}] * 10_000),
    "an epoch and no file of it": ("last", ""),
}


FILES = {"last epoch": lambda: state()["last"], "best epoch": lambda: state()["kept"]["best.keras"]}


def every(fields: tuple[str, ...]) -> dict[str, tuple[str, Any]]:
    changes = {"missing": REMOVED, **CHANGES}
    return {f"{field} {how}": (field, value) for field in fields for how, value in changes.items()}


CASES = [
    *(
        Case(f"run.json: {name}", partial(run_with, partial(run_field, *change)), used, "either", names="given")
        for name, change in {**every(RUN_FIELDS), **VALUES}.items()
    ),
    *(Case(f"run.json: {name}", partial(run_with, text), used, names="run.json") for name, text in TEXTS.items()),
    *(
        Case(f"history.csv: {name}", partial(history_with, text), history, ends, names="history.csv")
        for name, (text, ends) in HISTORIES.items()
    ),
    Case("history.csv: missing", no_history, history, names="history.csv"),
    Case("history.csv: not UTF-8", history_of_bytes, history, names="history.csv"),
    *(
        Case(f"state.json: {name}", partial(unfinished, partial(state_field, *change)), resumed, "either",
             names="run", lines=TOLD)
        for name, change in {
            **every(STATE_FIELDS),
            **every(tuple(f"request/{field}" for field in REQUEST_FIELDS)),
            **STATE_VALUES,
        }.items()
    ),
    *(
        Case(f"state.json: {name}", partial(unfinished, text), resumed, names="run", lines=TOLD)
        for name, text in TEXTS.items()
    ),
    *(
        Case(f"training state: its {name} {how}", partial(without, file, content), resumed,
             "refused" if name == "best epoch" else "either", names="run", lines=TOLD)
        for name, file in FILES.items()
        for how, content in {"missing": None, "empty": b"", "a zip of nothing": b"PK\5\6" + bytes(18)}.items()
    ),
]  # fmt: skip
