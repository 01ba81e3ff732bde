"""Training on several workers, which are processes of this machine on the loopback interface."""

import signal
import time
from pathlib import Path

import pytest

from keras_inception.training.state import TrainingState

from .images import apart
from .workers import Workers

PLAIN = {"model": "lenet5", "batch_size": 16, "images": 105, "epochs": 4}  # 80 to train on: 20 steps
NORMALISED = PLAIN | {"normalised": 0.0}


def trained(count: int, folder: Path, **settings: object) -> dict:
    """What all workers hold after each epoch, which is the same."""
    strategy = "multi_worker" if count > 1 else "none"
    with Workers(count, folder, strategy=strategy, **settings) as workers:
        first, *others = workers.results()
    for other in others:
        assert other == first
    return first


@pytest.mark.slow  # over 20 s: three processes begin
def test_two_workers_end_where_one_process_does(tmp_path):
    trained(2, tmp_path / "two", **PLAIN | {"epochs": 1})
    trained(1, tmp_path / "one", **PLAIN | {"epochs": 1})
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_all_workers_hold_the_weights_and_statistics_of_one_process(tmp_path, count):
    found = trained(count, tmp_path / "several", **NORMALISED)
    assert len(found["statistics"]) == 4
    trained(1, tmp_path / "one", **NORMALISED)
    assert apart(tmp_path / "one", tmp_path / "several") < 0.01  # as on two devices: the variance rounds otherwise


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_twenty_steps_without_batch_norms_are_those_of_one_process(tmp_path, count):
    trained(count, tmp_path / "several", **PLAIN)
    trained(1, tmp_path / "one", **PLAIN)
    assert apart(tmp_path / "one", tmp_path / "several") < 1e-5


RANDOM = NORMALISED | {"normalised": 0.5, "optimizer": "Adam", "ema": 0.9}  # dropout, averages


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    trained(2, folder, **RANDOM)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("killed", [[0], [1], [0, 1]])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_same_command_resumes_to_the_bit(tmp_path, undisturbed, killed, number):
    """The workers that are left end within a minute, with one line."""
    with Workers(2, tmp_path / "run", strategy="multi_worker", **RANDOM, pause=1) as workers:
        workers.trained(1)
        for index in killed:
            workers.processes[index].send_signal(number)
        began = time.monotonic()
        for process in workers.processes:
            assert process.wait(60) != 0
        assert time.monotonic() - began < 60
        for index in {0, 1} - set(killed):
            assert "Traceback" not in workers.said(index), workers.said(index)[-3000:]
            assert workers.said(index).count(f"error: lost worker {killed[0]} at 127.0.0.1:") == 1
    assert TrainingState(tmp_path / "run" / "training_state").epochs >= 1
    trained(2, tmp_path / "run", **RANDOM)
    assert apart(tmp_path / "run", undisturbed) == 0


@pytest.mark.slow
def test_auxiliary_heads_smoothed_labels_class_weights_an_early_end_and_both_stages(tmp_path):
    heads = {"model": "inception_v1", "options": {"aux_heads": True}, "size": 96, "epochs": 3, "time": "1s"}
    found = trained(2, tmp_path / "heads", **heads, images=41, batch_size=8, label_smoothing=0.1, balance=True)
    assert len(found["trainable"]) == 1  # the chief's clock ended it for both
    tuned = {"weights": str(tmp_path / "heads"), "size": None, "freeze_epochs": 1, "epochs": 2, "patience": 1}
    assert len(trained(2, tmp_path / "tuned", **tuned, images=41, batch_size=8)["trainable"]) == 2
    header = (tmp_path / "heads" / "history.csv").read_text().splitlines()[0]
    assert {"aux_1_accuracy", "aux_2_loss", "val_accuracy"} <= set(header.split(","))


@pytest.mark.slow
def test_workers_that_are_asked_for_different_trainings(tmp_path):
    """The second has another seed, which its own environment gives it."""
    with Workers(2, tmp_path / "run", strategy="multi_worker", by_worker={"seed": [0, 1]}, **PLAIN) as workers:
        assert [process.wait(300) for process in workers.processes][1] == 1
    assert "worker 1 differs from worker 0, which has seed 0, not 1" in workers.said(1)
    assert not (tmp_path / "run" / "training_state").exists()
