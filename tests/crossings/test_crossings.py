"""Features against each other: a kind of data x a kind of network x a command, pairwise, on tiny networks.

Every pair of data and network is trained. Two of the other commands follow on each run, so that every command meets
every kind of data and every kind of network. The default suite has one pair for each network; every kind of data and
every command is among them. What joins the package joins a tuple here.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tomli_w
from PIL import Image

from keras_inception import cli, export
from keras_inception.data import from_arrays, write_shards
from keras_inception.errors import InputError
from keras_inception.evaluation import evaluate
from keras_inception.export.quantization import search
from keras_inception.export.saved_model import is_saved_model
from keras_inception.export.tflite.mediapipe_metadata import read_labels
from keras_inception.export.tflite.metadata import read_record
from keras_inception.run import Run
from keras_inception.training import train

from ..export.npu_stub import installed
from ..tracker import NAME as TRACKER
from ..tracker import in_memory
from ..training.workers import Workers
from ..web.litert_js import litert_js
from .networks import CONFIGURED, NETWORK, registered
from .tiny_tfds import NAMES, PLAIN_NAMES, builder_for

DATA = (
    "folder", "zip with val/ and test/", "tfds with test", "arrays with a share for test", "moved list", "tf.data",
    "shards", "zip in a bucket",
)  # fmt: skip
NOT_LASTING = (
    "arrays with a share for test",
    "moved list",
    "tf.data",
)  # a run does not find these images again by itself
NETWORKS = (
    CONFIGURED,
    "auxiliary heads",
    "early exits",
    "one channel",
    "torch numerics, cross-validated",
    "fine-tuned from a run",
    "fine-tuned from a file",
    "mixed precision",
    "taught by a run",
    "exotic class names",
)
COMMANDS = ("resume", "predict", "evaluate", "report", "export int8", "verify", "quantize_aware", "push")
PAIRS = list(product(DATA, NETWORKS))


def commands_of(data: str, network: str) -> tuple[str, str]:
    """Two commands, so chosen that over all pairs every command meets every data and every network."""
    first = sum(_place(data, network))
    return COMMANDS[first % len(COMMANDS)], COMMANDS[(first + 1) % len(COMMANDS)]


def _place(data: str, network: str) -> tuple[int, int]:
    return DATA.index(data), NETWORKS.index(network)


QUICK = [(DATA[i % len(DATA)], network) for i, network in enumerate(NETWORKS)]


def test_every_command_meets_everything() -> None:
    cells = [(data, network, command) for data, network in PAIRS for command in commands_of(data, network)]
    assert {(d, c) for d, _, c in cells} == set(product(DATA, COMMANDS))
    assert {(n, c) for _, n, c in cells} == set(product(NETWORKS, COMMANDS))
    assert {data for data, _ in QUICK} == set(DATA)
    assert {command for pair in QUICK for command in commands_of(*pair)} == set(COMMANDS)


@pytest.mark.parametrize(
    ("data", "network"), [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS]
)
def test_crossing(data, network, pretrained, tmp_path, monkeypatch, record_property) -> None:
    with registered():
        cell = Cell.of(data, network, tmp_path, monkeypatch, pretrained)
        tracker = in_memory(monkeypatch)
        commands = commands_of(data, network)
        run = cell.resumed(monkeypatch) if "resume" in commands else cell.train()
        assert run.labels == cell.labels
        [tracked] = tracker.runs.values()
        assert len(tracked["epochs"]) == cell.arguments["epochs"]
        assert tracked["metrics"][f"{run.measured_on}_top1"] == run.metrics["top1"]
        assert run.preprocessing.resize_mode == cell.arguments.get("resize", "crop")
        assert run.measured_on == ("test" if "test" in data else "validation")
        assert 0 <= run.metrics["top1"] <= 1
        cell.move()
        for command in commands:
            if command != "resume":
                getattr(cell, command.replace(" ", "_"))(Run.load(run.path))
    record_property("crossings", 1 + len(commands))


@pytest.mark.slow
def test_several_workers_and_auxiliary_heads(tmp_path, monkeypatch, record_property) -> None:
    """On files, with MixUp, whose partners are in the other worker's share; and what commands make of that run."""
    with registered():
        cell = Cell.of("folder", "auxiliary heads", tmp_path, monkeypatch, {})
        arguments = {name: value for name, value in cell.arguments.items() if name != "track"}
        arguments |= {"images": str(cell.given), "size": None, "strategy": "multi_worker"}
        with Workers(2, tmp_path / "run", **arguments) as workers:
            first, second = workers.results()
        assert first == second
        run = Run.load(tmp_path / "run")
        assert run.labels == cell.labels
        history = (run.path / "history.csv").read_text(encoding="utf-8").splitlines()
        assert len(history) == 1 + arguments["epochs"]
        commands = (cell.predict, cell.evaluate, cell.report)
        for command in commands:
            command(run)
    record_property("crossings", 1 + len(commands))


# --------------------------------------------------------------------------------------------------------- one pairing


@dataclass
class Cell:
    """A kind of data and a kind of network, the arguments of its training, and what each command must do with it."""

    given: Any  # what `train` takes
    folder: Path  # the same images in folders
    labels: tuple[str, ...]
    arguments: dict[str, Any]
    place: Path
    moves: bool
    lasting: bool  # whether the run finds its images again by itself
    configured: bool  # whether a file has the arguments

    @classmethod
    def of(cls, data: str, network: str, place: Path, monkeypatch: Any, pretrained: dict[str, Path]) -> Cell:
        exotic = network == "exotic class names"
        names = NAMES if exotic else PLAIN_NAMES
        folder = place / "images"
        write(folder, names, sides=("train", "train", "val", "test") if data == "zip with val/ and test/" else ())
        images, labels = arrays(len(names))
        given: Any = folder
        match data:
            case "arrays with a share for test":
                given = from_arrays(images, labels, names, test=0.2)
            case "tf.data":
                given = tf.data.Dataset.from_tensor_slices((images, labels)).batch(5)
                given.class_names = names
            case "tfds with test":
                given = builder_for(names, place, monkeypatch)
            case "zip with val/ and test/":
                given = Path(shutil.make_archive(str(place / "zipped"), "zip", place, "images"))
            case "moved list":
                given = listed(folder)
            case "shards":
                given = write_shards(folder, place / "shards", per_shard=7).path
            case "zip in a bucket":
                given = in_bucket(shutil.make_archive(str(place / "zipped"), "zip", place, "images"))
        settings = {"epochs": 5, "batch_size": 12, "learning_rate": 0.02, "augmentation": None, "track": TRACKER}
        arguments = settings | NETWORK[network]
        if network in pretrained:
            arguments["teacher" if network == "taught by a run" else "weights"] = pretrained[network]
        monkeypatch.setenv("KERAS_INCEPTION_HOME", str(place / "home"))
        installed(monkeypatch, place / "sdk")
        monkeypatch.setattr(search, "benchmark", untimed)  # whose processes take seconds to start
        moves, lasting = data == "moved list", data not in NOT_LASTING
        return cls(given, folder, names, arguments, place, moves, lasting, network == CONFIGURED)

    def train(self) -> Run:
        if not self.configured or not isinstance(self.given, str | Path):
            return self.trained()
        lines = {name.replace("_", "-"): value for name, value in self.arguments.items() if value is not None}
        (self.place / "train.toml").write_text(tomli_w.dumps(lines | {"augment": ["none"], "track": [TRACKER]}))
        self.command("train", self.given, "--config", self.place / "train.toml", "--out", self.place / "run")
        return Run.load(self.place / "run")

    def trained(self) -> Run:
        return train(self.given, out=self.place / "run", **self.arguments)

    def resumed(self, monkeypatch: Any) -> Run:
        """Interrupted after an epoch, resumed: other images are refused, the same ones elsewhere are not."""
        from keras_inception.training.state import TrainingState

        save = TrainingState.save

        def cut(self: TrainingState, *args: Any, **kwargs: Any) -> None:
            save(self, *args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr(TrainingState, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            self.trained()
        monkeypatch.setattr(TrainingState, "save", save)
        others = from_arrays(arrays(len(self.labels))[0] // 2, arrays(len(self.labels))[1], self.labels)
        with pytest.raises(InputError, match="other images"):
            train(others, out=self.place / "run", **self.arguments)
        if self.moves:
            self.move()
        return self.train()

    def move(self) -> None:
        if self.moves and self.folder.exists():
            elsewhere = self.place / "elsewhere"
            shutil.move(self.folder, elsewhere)
            self.folder, self.given = elsewhere, elsewhere / self.given.name
            self.moves = False

    def command(self, *words: Any) -> str:
        """Run a command that must succeed; what it printed."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            cli.app([*map(str, words)], standalone_mode=False)
        return printed.getvalue()

    def images(self, run: Run, *words: Any) -> tuple[Any, ...]:
        """The option that says where the images are, after it is shown that it is asked for where it is needed."""
        if self.lasting:
            return ()
        before = sorted(run.path.rglob("*"))
        with pytest.raises(InputError, match=r"\(--images DIR\)"):
            self.command(*words)
        assert sorted(run.path.rglob("*")) == before
        return ("--images", self.given if isinstance(self.given, Path) else self.classes())

    def classes(self) -> Path:
        """A folder of images, one folder per class."""
        return self.folder / "test" if (self.folder / "test").is_dir() else self.folder

    # Each command, and what it must have done.

    def predict(self, run: Run) -> None:
        files = sorted(self.classes().rglob("*.png"))[:3]
        rows = run.predict(files, top=2)
        assert [row.image for row in rows] == list(map(str, files))
        assert all(set(row.labels) <= set(run.labels) for row in rows)
        assert all(0 <= p <= 1.001 for row in rows for p in row.probabilities)
        assert self.command("predict", run.path, *files).count("%") >= 2 * len(files)
        given, out = self.given if isinstance(self.given, str | Path) else self.folder, self.place / "answers.jsonl"
        self.command("predict", run.path, given, "--out", out, "--batch-size", 5, "--embeddings")
        answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        assert {answer["label"] for answer in answers} <= set(run.labels)
        assert len({answer["image"] for answer in answers}) == len(answers) == len(list(self.folder.rglob("*.png")))
        assert len({len(answer["embedding"]) for answer in answers}) == 1

    def evaluate(self, run: Run) -> None:
        if self.lasting:
            assert evaluate(run, run.images("held_out"))["top1"] == pytest.approx(run.metrics["top1"])
            self.command("evaluate", run.path)
        else:
            with pytest.raises(InputError, match=r"\(--images DIR\)"):
                self.command("evaluate", run.path)
        measured = evaluate(run, self.classes())
        assert measured["n"] == len(list(self.classes().rglob("*.png")))
        self.command("evaluate", run.path, self.classes())

    def report(self, run: Run) -> None:
        page = self.place / "page.html"
        self.command("report", run.path, "--out", page, *self.images(run, "report", run.path))
        text = page.read_text(encoding="utf-8")
        assert "<b>%s" not in text
        assert text.count("<svg") >= 3

    def export_int8(self, run: Run) -> None:
        options = ("--batch", 3, "--edge", "uint8") if self.lasting else ()
        server = "saved_model-int8" if self.lasting else "saved_model"
        words = ("export", run.path, "--to", "tflite-int8", "--to", server, *options)
        words += ("--serving-default", "encoded", "--npu", "stub:x1")
        self.command(*words, *self.images(run, *words))
        assert (run.path / "exports" / "int8.tflite").is_file()
        assert is_saved_model(run.path / "exports" / server.replace("-", "_"))
        self.compiled(run.path / "exports")
        self.export_to_a_target(run)
        page = export.to_web(run, self.place / "page", runtime=litert_js(self.place))
        about = json.loads((page / "model.json").read_text(encoding="utf-8"))
        assert about["labels"] == list(run.labels)
        assert about["input"]["mode"] == run.preprocessing.resize_mode
        models = self.place / "kit" / "models"
        words = ("phone", run.path, "--out", models.parent)
        self.command(*words, *self.images(run, *words))
        assert export.doctor(models / "int8.tflite").ready
        about = json.loads((models / "model.json").read_text(encoding="utf-8"))
        assert about["labels"] == (models / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1]
        assert about["input"]["mode"] == run.preprocessing.resize_mode

    def compiled(self, exports: Path) -> None:
        """For the NPU of a stub: the file's own words stay, and `doctor` knows it."""
        files = exports / "int8.tflite", exports / "int8_Stub_X1.tflite"
        plain, compiled = (file.read_bytes() for file in files)
        assert read_record(compiled) == read_record(plain)
        assert read_labels(compiled) == read_labels(plain) is not None
        found = export.doctor(files[1])
        assert found.npu == "for Stub X1, all of it"
        assert found.signatures == export.doctor(files[0]).signatures

    def export_to_a_target(self, run: Run) -> None:
        words = ("export", run.path, "--to", "tflite-int8", "--to", "tflite-int16x8", "--max-drop", 100, "--json")
        words += ("--batch", 3, "--out", self.place / "target")
        options = self.images(run, *words)
        if options and not isinstance(self.given, Path):  # other images, which cannot both calibrate and decide
            with pytest.raises(InputError, match="--calibration DIR"):
                self.command(*words, *options)
            return
        found = json.loads(self.command(*words, *options))
        assert [trial["file"] for trial in found["trials"]] == ["float32.tflite", "int8.tflite"]
        assert found["n"] == len(run.images("held_out", *options[1:]))
        assert {file["format"] for file in found["files"]} == {"tflite int16x8"}

    def verify(self, run: Run) -> None:
        file = export.to_tflite(run, self.place / "float32.tflite")
        words = ("verify", run.path, file)
        printed = self.command(*words, *self.images(run, *words))
        assert "float32" in printed

    def quantize_aware(self, run: Run) -> None:
        settings = export.FineTuning(epochs=1, batch_size=12)
        teacher = self.arguments.get("teacher")
        made = export.quantize_aware(run, self.given, self.place / "qat.tflite", training=settings, teacher=teacher)
        assert made.agreement.n > 0

    def push(self, run: Run) -> None:
        hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
        card = hub.ModelCard(self.command("push", run.path, "hf://me/crossed", "--licence", "mit", "--dry-run"))
        found = {result.dataset_split: result.metric_value for result in card.data.eval_results}
        assert found == {"validation": run.validation_metrics["top1"], run.measured_on: run.metrics["top1"]}
        assert str(self.place) not in str(card)


def untimed(files: list[Path], seconds: float) -> SimpleNamespace:
    return SimpleNamespace(timings=[SimpleNamespace(milliseconds=1.0)] * len(files))


def arrays(classes: int, each: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Images that any network tells apart: each class has a colour."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    colours = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]])[labels]
    images = np.clip(colours[:, None, None] + rng.normal(0, 12, (len(labels), 20, 24, 3)), 0, 255)
    return images.astype(np.uint8), labels


def write(folder: Path, names: tuple[str, ...], sides: tuple[str, ...]) -> None:
    """`arrays` as files; where there are sides, those of a class are dealt out to them."""
    images, labels = arrays(len(names))
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        side = sides[i % len(sides)] if sides else ""
        path = folder / side / names[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def in_bucket(file: str) -> str:
    """The address of a file in fsspec's store in memory, as gs:// and s3:// have them."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")
    fsspec.filesystem("memory").put_file(file, file)
    return f"memory:/{file}"


def listed(folder: Path) -> Path:
    """A table of the images in a folder and their classes, in that folder."""
    with open(folder / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("file", "label"), *((f.relative_to(folder), f.parent.name) for f in sorted(folder.rglob("*.png")))]
        )
    return folder / "list.csv"


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> dict[str, Path]:
    """A run of other classes, a file of the same network with other classes, and a run of the classes for a teacher."""
    place = tmp_path_factory.mktemp("pretrained")
    with registered(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_INCEPTION_HOME", str(place / "home"))
        images, labels = arrays(2)
        arguments = NETWORK[CONFIGURED] | {"epochs": 1, "batch_size": 8, "augmentation": None}
        run = train(from_arrays(images, labels, ("one", "two")), out=place / "run", **arguments)
        shutil.copy(run.path / "model.keras", place / "file.keras")
        given = from_arrays(*arrays(3), ("red", "green", "blue"))
        teacher = train(given, out=place / "teacher", **arguments | NETWORK["one channel"])
    return {
        "fine-tuned from a run": run.path,
        "fine-tuned from a file": place / "file.keras",
        "taught by a run": teacher.path,
    }
