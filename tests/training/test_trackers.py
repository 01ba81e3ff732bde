"""Experiment trackers: one run for a training, resumed or not, and never at its cost."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_inception.data import Dataset, from_arrays
from keras_inception.errors import InputError
from keras_inception.training import trackers, train
from keras_inception.training.state import TrainingState

from ..tracker import NAME, in_memory

SETTINGS = {"model": "lenet5", "epochs": 3, "batch_size": 16, "augmentation": None, "weights": None}


def noise() -> Dataset:
    """Grey images of two classes."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 20), np.uint8)
    return from_arrays(pixels, np.repeat(range(2), 15), ["a", "b"])


@pytest.fixture(scope="module")
def images():
    return noise()


def interrupted(images, after: int, **more) -> None:
    """A training that ends after so many epochs, before the trackers hear of the last."""
    save = TrainingState.save

    def cut_short(self, *args, **kwargs):
        save(self, *args, **kwargs)
        if len(self.history) == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "save", cut_short)
        with pytest.raises(KeyboardInterrupt):
            train(images, **SETTINGS | more)


def history(run) -> list[dict[str, float]]:
    with open(run.path / "history.csv") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def memory(monkeypatch):
    return in_memory(monkeypatch)


def test_one_run_has_everything(images, memory, tmp_path, capfd):
    run = train(images, out=tmp_path / "x", track=NAME, **SETTINGS)
    assert "tracker's own" not in "".join(capfd.readouterr())
    [(name, sent)] = memory.runs.items()
    assert name == "x-0"
    assert [{"epoch": epoch, **row} for epoch, row in sent["epochs"].items()] == history(run)
    assert sent["config"]["recipe"]["epochs"] == 3
    assert sent["config"]["labels"] == 2
    assert sent["config"]["data"]["train"] == run.data["train"]
    assert sent["metrics"] == {f"validation_{k}": v for k, v in run.metrics.items()}
    assert sent["page"] == (run.path / "report.html").read_text()
    assert sent["ended"] == "finished"


def test_a_resumed_training_continues_the_run(images, memory, tmp_path):
    interrupted(images, 2, out=tmp_path / "x", track=NAME)
    [sent] = memory.runs.values()
    assert list(sent["epochs"]) == [1]
    assert sent["ended"] == "interrupted"
    run = train(images, out=tmp_path / "x", track=[NAME], **SETTINGS)
    [sent] = memory.runs.values()
    assert list(sent["epochs"]) == [1, 2, 3]
    assert sent["ended"] == "finished"
    assert NAME not in (run.path / "run.json").read_text()


def test_a_tracker_that_comes_later_gets_what_it_lacks(images, memory, tmp_path):
    interrupted(images, 2, out=tmp_path / "x")
    train(images, out=tmp_path / "x", track=NAME, **SETTINGS)
    [sent] = memory.runs.values()
    assert list(sent["epochs"]) == [1, 2, 3]


@pytest.fixture(scope="module")
def plain(images, tmp_path_factory):
    return train(images, out=tmp_path_factory.mktemp("runs") / "plain", **SETTINGS)


@pytest.mark.parametrize("call", ["start", "describe", "log", "finish"])
def test_a_tracker_that_fails_costs_a_line(call, images, plain, memory, tmp_path, capfd):
    memory.fails = {call}
    run = train(images, out=tmp_path / "x", track=NAME, **SETTINGS)
    err = capfd.readouterr().err
    assert err.count(f"{NAME} fails, and the training continues without it: no way to http://host for {call}\n") == 1
    assert "further" not in err
    assert run.metrics == plain.metrics
    assert not (tmp_path / "x" / "training_state").exists()
    assert all(sent["ended"] == "interrupted" for sent in memory.runs.values())


def test_a_state_from_before_there_were_trackers(images, memory, tmp_path):
    interrupted(images, 1, out=tmp_path / "x")
    file = tmp_path / "x" / "training_state" / "state.json"
    state = json.loads(file.read_text())
    assert state.pop("trackers") == {}
    file.write_text(json.dumps(state))
    train(images, out=tmp_path / "x", track=NAME, **SETTINGS)
    assert list(memory.runs) == ["x-0"]


def test_what_cannot_track_is_said_before_anything_is_written(images, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="track is wandb or mlflow; got 'tensorboard'"):
        train(images, out=tmp_path / "x", track="tensorboard", **SETTINGS)
    monkeypatch.setitem(trackers.TRACKERS, "no_such_package", trackers.TRACKERS["mlflow"])
    with pytest.raises(InputError, match=r"pip install 'keras-inception\[no_such_package\]'"):
        train(images, out=tmp_path / "x", track="no_such_package", **SETTINGS)
    assert not (tmp_path / "x").exists()


# The packages themselves, each in a process of its own: they start services, and patch what they find.

HERE = """
import sys
from pathlib import Path
from tests.training.test_trackers import SETTINGS, interrupted, noise
from keras_inception.training import train

out, images = Path(sys.argv[1]) / "x", noise()
"""


def in_its_own_process(code: str, place: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HERE + code, place],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MLFLOW"))} | environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_mlflow(tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    said = in_its_own_process(
        """
interrupted(images, 2, out=out, track="mlflow")
run = train(images, out=out, track="mlflow", **SETTINGS)
import mlflow
from tests.training.test_trackers import history
assert mlflow.active_run() is None
(experiment,) = mlflow.search_experiments()
client = mlflow.MlflowClient()
(found,) = client.search_runs([experiment.experiment_id])
assert (found.info.run_name, found.info.status) == ("x", "FINISHED"), found.info
for name in history(run)[0]:
    if name != "epoch":
        points = {m.step: m.value for m in client.get_metric_history(found.info.run_id, name)}
        assert points == {int(row["epoch"]): row[name] for row in history(run)}, (name, points)
        assert len(client.get_metric_history(found.info.run_id, name)) == 3
assert found.data.metrics["validation_top1"] == run.metrics["top1"]
assert found.data.params["recipe.batch_size"] == "16"
assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["report.html"]
""",
        tmp_path,
        MLFLOW_TRACKING_URI=(tmp_path / "mlruns").as_uri(),
        MLFLOW_ALLOW_FILE_STORE="true",
    )
    assert said.count("tracked by mlflow: run ") == 2
    assert "fails" not in said


def test_wandb_offline(tmp_path):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    said = in_its_own_process(
        """
interrupted(images, 2, out=out, track="wandb")
run = train(images, out=out, track="wandb", **SETTINGS)
import csv
files = sorted((run.path / "wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_size)
assert len({file.name for file in files}) == 1, files  # the id of one run
sent = files[-1].read_bytes()  # records with values as JSON
with open(run.path / "history.csv") as history:
    values = [value for row in csv.DictReader(history) for value in row.values()]
assert len(values) == 3 * 7
assert not [value for value in values if value.encode() not in sent]
assert b"validation_top1" in sent
assert b"batch_size" in sent
""",
        tmp_path,
        WANDB_MODE="offline",
    )
    assert said.count(f"tracked by wandb: {tmp_path}/x/wandb/offline-run-") == 2
    assert "fails" not in said


def test_wandb_without_a_login(tmp_path):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    said = in_its_own_process(
        'train(images, out=out, track="wandb", **SETTINGS)', tmp_path, HOME=str(tmp_path), NETRC=str(tmp_path / "none")
    )
    assert said.count("wandb fails, and the training continues without it: ") == 1
    assert "wandb login" in said
    assert (tmp_path / "x" / "run.json").exists()
