"""Training: what it leaves behind, and what an interruption costs."""

import csv
import json
import signal

import keras
import numpy as np
import pytest

from keras_inception import report
from keras_inception.data import Augmentation, Dataset, Split, from_arrays
from keras_inception.errors import InputError
from keras_inception.evaluation import evaluate, scores
from keras_inception.files import write_file
from keras_inception.run import Run
from keras_inception.training import train
from keras_inception.training.state import TrainingState, is_finished


@pytest.fixture(scope="module")
def stripes():
    """Grey images of three classes: stripes across, stripes down, noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 80, (60, 20, 20))
    images[0:20, ::4] += 150
    images[20:40, :, ::4] += 150
    return from_arrays(images.astype(np.uint8), np.repeat(range(3), 20), ["across", "down", "noise"])


SETTINGS = {"model": "lenet5", "epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "augmentation": None}


@pytest.fixture(scope="module")
def run(stripes, tmp_path_factory):
    return train(stripes, out=tmp_path_factory.mktemp("runs") / "x", **SETTINGS)


def test_run_directory_holds_everything(run, stripes):
    names = {path.name for path in run.path.iterdir()}
    assert names == {"model.keras", "run.json", "labels.txt", "history.csv", "report.html"}
    assert (run.path / "labels.txt").read_text().split() == ["across", "down", "noise"]
    with open(run.path / "history.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    loaded = Run.load(run.path)
    assert loaded == run
    assert loaded.metrics == evaluate(loaded, stripes.val)
    assert loaded.metrics["n"] == len(stripes.val)


def test_the_result_is_measured_on_the_test_images_alone(run, stripes, tmp_path, capfd):
    """The epoch is chosen on the validation images: a test side changes no weight, only what is measured at the end."""
    tested = stripes.train.sample(9)
    with_test = train(Dataset(stripes.train, stripes.val, tested), out=tmp_path / "x", **SETTINGS)
    said = capfd.readouterr().err
    assert "to train on, 17 for validation, 9 for test\n" in said.replace(f", {len(stripes.val)} for", ", 17 for")
    assert "held out" not in said
    assert said.count("  validation ") == 3
    for ours, theirs in zip(with_test.model().get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (run.measured_on, run.validation_metrics) == ("validation", run.metrics)
    loaded = Run.load(with_test.path)
    assert loaded == with_test
    assert (loaded.measured_on, loaded.data["test"]) == ("test", 9)
    assert loaded.validation_metrics == run.metrics
    assert loaded.metrics == evaluate(loaded, tested)
    page = (with_test.path / "report.html").read_text()
    assert "measured on 9 test images" in page
    assert f"The epoch was chosen on {len(stripes.val)} validation images" in page


def test_a_run_from_before_there_were_test_images(run, tmp_path):
    record = json.loads((run.path / "run.json").read_text())
    record["schema"] = 1
    for key in ("measured_on", "validation_metrics"):
        del record[key]
    for key in ("test", "test_share"):
        del record["data"][key]
    (tmp_path / "run.json").write_text(json.dumps(record))
    loaded = Run.load(tmp_path)
    assert (loaded.metrics, loaded.validation_metrics) == (run.metrics, run.metrics)
    assert (loaded.measured_on, loaded.shares) == ("validation", {"validation": 0.2, "test": 0.0})


def test_report_is_self_contained(run):
    page = (run.path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert 'src="http' not in page
    assert "across" in page


def test_the_best_epoch_is_kept(run, stripes):
    with open(run.path / "history.csv") as file:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(file))
    assert run.metrics["top1"] == pytest.approx(best)


def cut(monkeypatch, after: int) -> None:
    """Interrupt a training after so many epochs."""
    batches, calls = Split.batches, []

    def cut_short(self, *args, training=False, **kwargs):
        if training:
            calls.append(1)
            if len(calls) == after + 1:
                raise KeyboardInterrupt
        return batches(self, *args, training=training, **kwargs)

    monkeypatch.setattr(Split, "batches", cut_short)


@pytest.mark.parametrize("after", [1, 2])
def test_interrupted_run_ends_as_an_undisturbed_one(run, stripes, tmp_path, monkeypatch, after):
    cut(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        train(stripes, out=tmp_path / "x", **SETTINGS)
    with pytest.raises(InputError, match="interrupted before it finished"):
        Run.load(tmp_path / "x")
    monkeypatch.undo()
    (tmp_path / "x").rename(tmp_path / "elsewhere")
    keras.utils.set_random_seed(99)  # in another process it would be another one too
    resumed = train(stripes, out=tmp_path / "elsewhere", **SETTINGS)
    assert resumed.metrics == run.metrics
    for ours, theirs in zip(resumed.model().get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with open(run.path / "history.csv") as a, open(resumed.path / "history.csv") as b:
        for undisturbed, restored in zip(csv.DictReader(a), csv.DictReader(b), strict=True):
            assert undisturbed | {"seconds": ""} == restored | {"seconds": ""}


@pytest.mark.parametrize(("where", "name"), [(report, "page"), (TrainingState, "clear")])
def test_a_run_is_finished_once_its_report_is_there(where, name, run, stripes, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(stripes, out=tmp_path / "x", **SETTINGS)
    assert Run.load(tmp_path / "x").metrics == run.metrics
    assert not is_finished(tmp_path / "x")
    monkeypatch.undo()
    train(stripes, out=tmp_path / "x", **SETTINGS)
    assert is_finished(tmp_path / "x")
    assert {path.name for path in (tmp_path / "x").iterdir()} == {path.name for path in run.path.iterdir()}
    with pytest.raises(InputError, match="holds a finished run"):
        train(stripes, out=tmp_path / "x", **SETTINGS)


def test_other_settings_do_not_resume(stripes, tmp_path, monkeypatch):
    cut(monkeypatch, after=1)
    with pytest.raises(KeyboardInterrupt):
        train(stripes, out=tmp_path / "x", **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"unfinished training with learning_rate 0\.003, not 1\.0"):
        train(stripes, out=tmp_path / "x", **SETTINGS | {"learning_rate": 1.0})
    with pytest.raises(InputError, match="unfinished training with epochs 3, not 5"):
        train(stripes, out=tmp_path / "x", **SETTINGS | {"epochs": 5})


def test_a_full_disk_costs_nothing_kept(run, stripes, tmp_path, monkeypatch):
    save = keras.Model.save

    def fill(self, path, **kwargs):
        if "epoch_2" in str(path):
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device", str(path))
        save(self, path, **kwargs)

    monkeypatch.setattr(keras.Model, "save", fill)
    with pytest.raises(OSError, match="No space left"):
        train(stripes, out=tmp_path / "x", **SETTINGS)
    left = sorted(path.name for path in (tmp_path / "x" / "training_state").iterdir())
    assert left == ["best_1.keras", "best_2.keras", "epoch_1.keras", "state.json"]  # the second is written again
    monkeypatch.undo()
    assert train(stripes, out=tmp_path / "x", **SETTINGS).metrics == run.metrics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "inception_v33"}, "did you mean inception_v3"),
        ({"model": "mobilenet_v2", "size": 16}, "at least 32 x 32"),
        ({"epochs": 0}, "epochs must be a positive integer; got 0"),
        ({"batch_size": -1}, "batch_size must be a positive integer; got -1"),
        ({"weights": "nowhere.weights.h5"}, "no weights file at nowhere.weights.h5"),
    ],
)
def test_bad_settings_write_nothing(stripes, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(stripes, out=tmp_path / "x", **SETTINGS | changes)
    assert not (tmp_path / "x").exists()


def test_out_is_never_overwritten(run, stripes, tmp_path):
    with pytest.raises(
        InputError,
        match=r"holds a finished run; .* --weights \S+ --out \S+-2 --epochs N$",
    ):
        train(stripes, out=run.path, **SETTINGS)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="neither empty nor an unfinished run"):
        train(stripes, out=tmp_path, **SETTINGS)


def test_newer_and_damaged_runs_are_refused(run, tmp_path):
    record = json.loads((run.path / "run.json").read_text())
    newer = record | {"schema": 99, "versions": {"keras-inception": "9.0"}}
    (tmp_path / "run.json").write_text(json.dumps(newer))
    with pytest.raises(InputError, match=r"written by keras-inception 9\.0 .* upgrade"):
        Run.load(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Run.load(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(InputError, match="is not a run directory"):
        Run.load(tmp_path)


def test_scores_by_hand():
    answers = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    measured = scores(answers, np.array([0, 0, 0, 0]))
    assert measured["top1"] == pytest.approx((1 + 0 + 1 + 1 / 3) / 4)  # three ways: the right one in a third of them
    assert measured["top5"] == 1
    assert measured["n"] == 4
    assert measured["loss"] == pytest.approx(-np.log([0.7, 0.1, 0.4, 1 / 3]).mean())


def test_answers_that_are_nan_are_wrong():
    assert scores(np.full((2, 10), np.nan), np.array([0, 9]))["top1"] == 0


def test_probabilities_keep_the_order(run, stripes):
    whole = run.probabilities(stripes.val, batch_size=5)["predictions"]
    one = np.asarray(run.model()(run.preprocessing(stripes.val.image(3))[None]))
    np.testing.assert_allclose(whole[3], one[0], atol=1e-6)


def test_moving_statistics_follow_within_an_epoch(stripes, tmp_path):
    run = train(stripes, out=tmp_path / "x", **SETTINGS | {"model": "resnet20", "size": 32, "epochs": 1})
    momenta = {la.momentum for la in run.model().layers if isinstance(la, keras.layers.BatchNormalization)}
    assert momenta == {0.9}


def test_augmentation_is_used(stripes):
    from keras_inception.preprocessing import scaled

    plain, changed = (
        next(iter(stripes.train.batches(scaled((32, 32), 1), 8, augmentation=augmentation)))[0]
        for augmentation in (None, Augmentation(area=0.3))
    )
    assert np.abs(plain - changed).mean() > 0.05


def test_ctrl_c_waits_for_a_file_that_is_being_written(tmp_path):
    def write(part):
        part.write_text("first")
        signal.raise_signal(signal.SIGINT)  # within a zip file it would end as an error of the zip file
        part.write_text("whole")

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file.npz", write)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file.npz", "whole")]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
