"""Two machines' worth of workers on this one: the same table as one process makes, also if a worker is killed."""

import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_inception import LeNet5, export
from keras_inception.errors import InputError
from keras_inception.evaluation import KerasPredictor, many, predict_many
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

ray = pytest.importorskip("ray", reason="needs an environment with Ray: make test-ray")

LABELS = ("ant", "bee", "cat")
PREPROCESSING = Preprocessing(size=(28, 28), channels="L", mean=(100.0,), std=(50.0,))
IMAGES, PER_PART = 120, 5


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes, each of which has room for one worker."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("runs") / "lenet"
    path.mkdir()
    LeNet5(classes=3, input_shape=(28, 28, 1)).save(path / "model.keras")
    Run(builder="lenet5", kwargs={}, labels=LABELS, preprocessing=PREPROCESSING, path=path).save()
    return Run.load(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(many, "PER_PART", PER_PART)


def test_the_table_is_that_of_one_process(cluster, run, images, tmp_path, monkeypatch) -> None:
    alone = predict_many(run, images, tmp_path / "alone.csv", batch_size=PER_PART)
    monkeypatch.chdir(images.parent)  # names from the folder in which the command is called
    written = predict_many(run, images.name, tmp_path / "ray.csv", batch_size=PER_PART, engine="ray", address=cluster)
    assert (written.images, written.unreadable, written.computed) == (alone.images, alone.unreadable, alone.computed)
    both = [(tmp_path / name).read_text().replace(f"{images.parent}/", "") for name in ("alone.csv", "ray.csv")]
    assert both[0] == both[1]
    assert not ray.is_initialized()


def test_an_exported_file(cluster, run, images, tmp_path) -> None:
    file = export.to_tflite(run, tmp_path / "file.tflite")
    predictor = export.open_predictor(file)
    alone = predict_many(predictor, images, tmp_path / "alone.jsonl", batch_size=PER_PART)
    written = predict_many(
        predictor, images, tmp_path / "ray.jsonl", batch_size=PER_PART, engine="ray", address=cluster
    )
    assert written.path.read_text() == alone.path.read_text()


def test_a_killed_worker_is_replaced(cluster, run, images, tmp_path) -> None:
    alone = predict_many(run, images, tmp_path / "alone.csv", batch_size=PER_PART)
    killed: list[int] = []

    def kill_one() -> None:
        folder = tmp_path / "ray.csv.parts"
        while len(list(folder.glob("0*.csv"))) < 3:
            time.sleep(0.01)
        killed.append(_workers()[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    written = predict_many(run, images, tmp_path / "ray.csv", batch_size=PER_PART, engine="ray", address=cluster)
    thread.join()
    assert killed
    assert written.path.read_text() == alone.path.read_text()  # every image once


def _workers() -> list[int]:
    """The processes that Ray names after the operator."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"MapWorker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_what_cannot_be(cluster, run, images, tmp_path) -> None:
    with pytest.raises(InputError, match="engine must be 'local' or 'ray'; got 'beam'"):
        predict_many(run, images, tmp_path / "out.csv", engine="beam")
    with pytest.raises(InputError, match="an address is of a Ray cluster"):
        predict_many(run, images, tmp_path / "out.csv", address="auto")
    model = KerasPredictor(model=run.model(), labels=LABELS, preprocessing=PREPROCESSING)
    with pytest.raises(InputError, match="the workers of a cluster open a network from its files"):
        predict_many(model, images, tmp_path / "out.csv", engine="ray", address=cluster)
    with pytest.raises(InputError, match=r"there is no Ray cluster at 127\.0\.0\.1:1"):
        predict_many(run, images, tmp_path / "out.csv", engine="ray", address="127.0.0.1:1")
    assert not [*tmp_path.glob("*.csv")]


def test_a_network_that_a_worker_cannot_open_is_one_line(cluster, images, tmp_path) -> None:
    keras.utils.set_random_seed(3)
    path = tmp_path / "run"
    path.mkdir()
    LeNet5(classes=3, input_shape=(28, 28, 1)).save(path / "model.keras")
    Run(builder="lenet5", kwargs={}, labels=LABELS, preprocessing=PREPROCESSING, path=path).save()
    gone = Run.load(path)
    gone.batch_function()
    gone.digest()
    (path / "model.keras").unlink()
    (path / "run.json").unlink()
    with pytest.raises(InputError, match=r"run is not a run directory"):
        predict_many(gone, images, tmp_path / "out.csv", engine="ray", address=cluster)
