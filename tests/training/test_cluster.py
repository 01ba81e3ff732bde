"""The workers that the environment names; nothing connects here."""

import json
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import tensorflow as tf

from keras_inception import InputError
from keras_inception.training import cluster
from keras_inception.training.distribution import lost_workers, spans_machines, training_on

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
STEP = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "3",
    "SLURM_JOB_ID": "1234",
    "SLURMD_NODENAME": "node2",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (cluster.TF_CONFIG, *STEP):
        monkeypatch.delenv(name, raising=False)

    def environment(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value if isinstance(value, str) else json.dumps(value))

    return environment


def test_none():
    assert cluster.cluster() is None
    assert not spans_machines("auto")
    with pytest.raises(InputError, match="neither TF_CONFIG nor Slurm names them"):
        cluster.connected()


def test_tf_config(environment):
    environment(TF_CONFIG=TWO)
    found = cluster.cluster()
    assert (cluster.addresses(found), cluster.index_of(found)) == (["a:1", "b:1"], 1)
    assert spans_machines("auto")
    assert not spans_machines("none")


def test_a_chief_is_the_first(environment):
    """As Vertex AI names them."""
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    environment(TF_CONFIG={"cluster": jobs, "task": {"type": "worker", "index": 1}, "environment": "cloud"})
    found = cluster.cluster()
    assert (cluster.addresses(found), cluster.index_of(found)) == (["a:1", "b:1", "c:1"], 2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "Collective ops is aborted by: Error reported from /job:worker/task:0: The following tasks are unhealthy "
            "(stopped sending heartbeats):\n/job:worker/replica:0/task:0\nThe tasks have crashed.",
            ["worker 1 at b:1"],
        ),
        ("failed to connect to all addresses: c:1: Connection refused", ["worker 2 at c:1"]),
        ("from /job:chief/replica:0/task:0 and /job:worker/replica:0/task:0", ["worker 0 at a:1", "worker 1 at b:1"]),
        ("of /job:worker/replica:0/task:1/device:CPU:0, at c:1 and not at a:12 or bb:1", []),
    ],
)
def test_the_others_that_tensorflow_names(environment, text, named):
    index = 0 if "c:1:" in text else 1
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    environment(TF_CONFIG={"cluster": jobs, "task": {"type": "worker", "index": index}})
    assert cluster.others_in(text, cluster.cluster()) == named


GRAPH = 'Graph execution error:\n\nDetected at node Sum defined at:\n  File "x.py", line 1, in total\n\n'


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            tf.errors.InternalError(None, None, f"{GRAPH}Collective ops is aborted by: /job:worker/task:0 ended\nmore"),
            "lost worker 0 at a:1, which has ended or cannot be reached: the same command on all workers resumes run",
        ),
        (
            tf.errors.UnavailableError(None, None, f"{GRAPH}Collective ops is aborted by: Socket closed\nmore"),
            "lost another worker (Socket closed), which has ended or cannot be reached: "
            "the same command on all workers resumes run",
        ),
    ],
)
def test_a_lost_worker(environment, error, said):
    with pytest.raises(InputError) as raised, training_on(worker(environment)), lost_workers(Path("run")):
        raise error
    assert str(raised.value) == said


def test_a_worker_that_fails_by_itself_is_not_lost(environment):
    """As where the second worker, which this is, cannot read its disk."""
    text = "IteratorGetNext_device_/job:worker/replica:0/task:1/device:CPU:0}} OSError: disk gone"
    error = tf.errors.UnknownError(None, None, text)
    with pytest.raises(tf.errors.UnknownError), training_on(worker(environment)), lost_workers(Path("run")):
        raise error


def worker(environment):
    """The strategy of the second of two workers, which has not connected."""
    environment(TF_CONFIG=TWO)
    strategy = create_autospec(tf.distribute.MultiWorkerMirroredStrategy, instance=True)
    strategy.cluster_resolver = cluster.cluster()
    return strategy


def test_one_worker_is_none(environment):
    environment(TF_CONFIG={"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    assert not spans_machines("auto")
    with pytest.raises(InputError, match="two workers or more, and the environment names 1: leave --strategy out"):
        cluster.connected()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "TF_CONFIG must be "),
        ("[]", "TF_CONFIG must be "),
        ({"cluster": {"worker": 3}}, "TF_CONFIG must be "),
        (TWO | {"task": {"type": "worker", "index": 2}}, "the task 'worker' 2 is not one of the cluster's"),
        (TWO | {"task": {}}, "the task None None is not one of the cluster's"),
        (TWO | {"cluster": {"ps": ["a:1"], "worker": ["b:1"]}}, "TF_CONFIG names ps; only chief and worker train"),
    ],
)
def test_what_cannot_be_read(environment, config, said):
    environment(TF_CONFIG=config)
    with pytest.raises(InputError, match=said):
        spans_machines("auto")


def test_slurm(environment):
    environment(**STEP)
    found = cluster.cluster()
    assert cluster.addresses(found) == ["node1:23400", "node1:23401", "node2:23400", "node2:23401"]
    assert cluster.index_of(found) == 3
    assert spans_machines("auto")


def test_nodes_whose_names_sort_otherwise(environment):
    environment(**STEP | {"SLURM_STEP_NODELIST": "node[9-10]", "SLURM_PROCID": "0", "SLURMD_NODENAME": "node9"})
    with pytest.raises(InputError, match="Slurm runs task 0 on node9, and TensorFlow, which sorts the nodes by name, "):
        cluster.cluster()
