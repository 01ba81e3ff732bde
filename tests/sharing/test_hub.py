"""Runs on the Hugging Face hub, which is a server on the loopback interface here."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_inception import InceptionV3, LeNet5, hub, push_to_hub
from keras_inception.errors import InputError
from keras_inception.run import Run
from keras_inception.sharing import prepared
from keras_inception.sharing.card import base_of, identifier, plain
from keras_inception.sharing.push import without_paths
from keras_inception.training import train
from keras_inception.training.state import TrainingState
from keras_inception.weights.publishers import CHECKPOINTS

from ..hub_server import TOKEN
from .conftest import SETTINGS, fresh_cache

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")

# The client uploads in a way that its HTTP library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


def test_pushed_and_used(run, images, server, tmp_path, monkeypatch):
    made = push_to_hub(run, "hf://me/leaves", licence="MIT")
    repository = server.repositories["me/leaves"]
    assert made == f"hf://me/leaves@{repository.commits[-1][0]}"
    assert len(repository.commits) == 2  # of the repository, of everything
    files = repository.commits[-1][1]
    assert set(files) == {
        *("README.md", "run.json", "model.keras", "labels.txt", "history.csv", "report.html", ".gitattributes"),
    }
    assert files["model.keras"] == (run.path / "model.keras").read_bytes()
    fresh_cache(monkeypatch, tmp_path / "other machine")
    found = Run.load("hf://me/leaves")
    assert found.address == made
    assert replace(found, path=run.path, address=None) == without_paths(run)
    ours, theirs = (r.probabilities(images.val)["predictions"] for r in (found, run))
    np.testing.assert_array_equal(ours, theirs)
    tuned = train(images, out=tmp_path / "tuned", weights="hf://me/leaves", epochs=2, **SETTINGS)
    assert tuned.weights == tuned.training["start"]["weights"] == made
    model = LeNet5(weights=made, classes=2)
    for ours, theirs in zip(model.get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    server.repositories.clear()
    assert Run.load(made).labels == run.labels  # a commit in the cache needs no connection
    with pytest.raises(InputError, match=r"in the cache of the hub: say where exports goes"):
        Run.load(made).beside("exports")
    with pytest.raises(InputError, match="does not say where its images are"):
        Run.load(made).images("val")


def test_a_resumed_training_starts_from_the_same_commit(run, images, server, tmp_path, monkeypatch):
    first = push_to_hub(run, "hf://me/leaves", licence="mit")
    save = TrainingState.save

    def cut(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    arguments = {"out": tmp_path / "x", "weights": "hf://me/leaves", "epochs": 2, "freeze_epochs": 1} | SETTINGS
    monkeypatch.setattr(TrainingState, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        train(images, **arguments)
    monkeypatch.setattr(TrainingState, "save", save)
    changed = shutil.copytree(run.path, tmp_path / "changed")
    network = run.model()
    network.set_weights([w + 0.1 for w in network.get_weights()])
    network.save(changed / "model.keras")
    second = push_to_hub(changed, "hf://me/leaves", licence="mit")
    assert first != second
    assert train(images, **arguments).weights == first
    assert train(images, **arguments | {"out": tmp_path / "y"}).weights == second


def test_an_interrupted_download_is_resumed(run, server, monkeypatch):
    push_to_hub(run, "hf://me/leaves", licence="mit")
    server.cuts = [1000, 2000]
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # what it writes at once
    found = Run.load("hf://me/leaves")
    assert (found.path / "model.keras").read_bytes() == (run.path / "model.keras").read_bytes()
    ranges = [r for method, path, r in server.asked if method == "GET" and path.endswith("model.keras")]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]


def test_a_push_replaces_the_last_one(run, server, tmp_path):
    place = shutil.copytree(run.path, tmp_path / "x")
    (place / "exports" / "saved_model").mkdir(parents=True)
    (place / "exports" / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (place / "exports" / "int8.tflite").write_bytes(b"flat")
    push_to_hub(place, "hf://me/leaves", licence="mit", exports=True)
    commits = server.repositories["me/leaves"].commits
    assert commits[-1][1]["exports/saved_model/saved_model.pb"] == b"graph"
    commits[-1][1]["notes.txt"] = b"the user's"
    push_to_hub(place, "hf://me/leaves", licence="mit", report=False)
    assert not {"exports/int8.tflite", "exports/saved_model/saved_model.pb", "report.html"} & set(commits[-1][1])
    assert commits[-1][1]["notes.txt"] == b"the user's"


def test_private(run, server, tmp_path, monkeypatch):
    push_to_hub(run, "hf://me/secret", licence="mit", private=True)
    assert server.repositories["me/secret"].private
    assert Run.load("hf://me/secret").labels == run.labels
    push_to_hub(run, "hf://me/leaves", licence="mit")
    commits = len(server.repositories["me/leaves"].commits)
    with pytest.raises(InputError, match="is there already, and public"):
        push_to_hub(run, "hf://me/leaves", licence="mit", private=True)
    assert len(server.repositories["me/leaves"].commits) == commits
    monkeypatch.delenv("HF_TOKEN")
    fresh_cache(monkeypatch, tmp_path / "stranger's")
    with pytest.raises(InputError, match=r"hf://me/secret@main is not on the hub, or is private: .* `hf auth login`"):
        Run.load("hf://me/secret@main")


def test_what_cannot_be_pushed_leaves_nothing(run, server, tmp_path, monkeypatch):
    def refused(match, given=run, address="hf://me/leaves", **more):
        with pytest.raises(InputError, match=match) as error:
            push_to_hub(given, address, **{"licence": "mit"} | more)
        assert "\n" not in str(error.value)

    refused("give hf://me/leaves, without @v1", address="hf://me/leaves@v1")
    refused(r"a run on the hub is hf://USER/NAME, or hf://USER/NAME@REVISION; got 'me/leaves'", address="me/leaves")
    refused("licence of these weights is yours to choose", licence=None)
    refused("a licence is one of the hub's identifiers", licence="all mine")
    refused("has no exports", exports=True)
    empty = shutil.copytree(run.path, tmp_path / "x")
    (empty / "model.keras").write_bytes(b"PK")
    refused("model.keras cannot be loaded", empty)
    (empty / "model.keras").unlink()
    refused("has no model.keras: the run is incomplete", empty)
    refused("is not a run directory", tmp_path)
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    refused("KERAS_INCEPTION_OFFLINE is set, so nothing is uploaded")
    monkeypatch.delenv("KERAS_INCEPTION_OFFLINE")
    monkeypatch.delenv("HF_TOKEN")
    refused("nobody is logged in to the hub: log in by `hf auth login`, or set HF_TOKEN")
    assert not server.asked
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused(r"the hub refuses hf://me/leaves \(401\)")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    refused(r"the hub refuses hf://others/leaves \(403\)", address="hf://others/leaves")
    assert not server.repositories
    server.refuses = "/commit/"
    refused("the hub answers 500 for hf://me/leaves")
    assert set(server.repositories["me/leaves"].commits[-1][1]) == {".gitattributes"}


def test_what_cannot_be_loaded_is_one_line(run, images, server, tmp_path, monkeypatch):
    push_to_hub(run, "hf://me/leaves", licence="mit")
    repository = server.repositories["me/leaves"]
    whole = repository.commits[-1][1]
    revisions = {name: repository.commit({k: v for k, v in whole.items() if k != name}) for name in whole}
    damaged = repository.commit(whole | {"run.json": b'{"schema": 2, "data": []}'})
    repository.commit(whole)
    for address, message in {
        "hf://me/leafs": "hf://me/leafs is not on the hub, or is private",
        "hf://me/leaves@v9": "me/leaves has no revision 'v9': give one of its branches, tags, commits",
        f"hf://me/leaves@{revisions['run.json']}": "holds no finished run: it lacks run.json or model.keras",
        f"hf://me/leaves@{revisions['model.keras']}": "holds no finished run",
        f"hf://me/leaves@{damaged}": "run.json is damaged",
        "hf://leaves": r"a run on the hub is hf://USER/NAME, or .*; got 'hf://leaves'",
    }.items():
        with pytest.raises(InputError, match=message) as error:
            train(images, out=tmp_path / "x", weights=address, epochs=1, **SETTINGS)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()
    assert Run.load(f"hf://me/leaves@{revisions['history.csv']}").metrics == run.metrics
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    fresh_cache(monkeypatch, tmp_path / "empty")
    with pytest.raises(InputError, match="not whole in the cache, and KERAS_INCEPTION_OFFLINE is set"):
        Run.load("hf://me/leaves")


def test_no_connection_is_one_line(run, server, tmp_path, monkeypatch):
    push_to_hub(run, "hf://me/leaves", licence="mit")
    assert Run.load("hf://me/leaves").labels == run.labels
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert Run.load("hf://me/leaves").labels == run.labels  # as it was when it was last seen
    fresh_cache(monkeypatch, tmp_path / "empty")
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client tries several times
    with pytest.raises(InputError, match="not whole in the cache, and the hub cannot be reached"):
        Run.load("hf://me/leaves")
    with pytest.raises(InputError, match=r"hf://me/leaves: .*; the same call tries again"):
        push_to_hub(run, "hf://me/leaves", licence="mit")


def test_the_card_has_the_run_s_numbers(run):
    text = prepared(run, "hf://me/leaves", licence="mit")["README.md"].decode()
    data = huggingface_hub.ModelCard(text).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "keras-inception", "image-classification")
    assert {"lenet5", "image-classification"} <= set(data.tags)
    (result,) = data.eval_results  # of two classes there is no top-5
    assert (result.metric_value, result.dataset_split) == (run.metrics["top1"], "validation")
    page = text.partition("\n---\n")[2]
    assert f"| {run.metrics['top1']:.2%} |" in page
    assert r"a\|b, &lt;c&gt;" in page
    assert "random weights" in page
    assert plain("a\n`b`_<i>") == r"a \`b\`\_&lt;i&gt;"


def test_the_card_states_the_weights_that_it_started_from(run):
    start = {"weights": "tf_in1k", "network": "inception_v3", "arguments": {}, "digest": None, "is_run": False}
    tested = {"top1": 0.75, "top5": 0.9, "loss": 1.0, "n": 8}
    tuned = replace(
        run,
        builder="inception_v3",
        labels=tuple("abcdef"),
        training=run.training | {"start": start},
        data=run.data | {"folder": "tfds:beans/default:0.1.0"},
        metrics=tested,
        measured_on="test",
    )
    text = prepared(tuned, "hf://me/leaves")["README.md"].decode()
    data = huggingface_hub.ModelCard(text).data
    assert data.license == "apache-2.0"
    assert data.base_model == "timm/inception_v3.tf_in1k"
    assert data.datasets == ["beans"]
    found = [(r.dataset_split, r.metric_name, r.metric_value) for r in data.eval_results]
    assert found[:2] == [("test", "top-1 accuracy", 0.75), ("test", "top-5 accuracy", 0.9)]
    assert "The weights that it started from, inception\\_v3.tf\\_in1k, have: Apache-2.0." in text
    assert base_of(tuned).model == InceptionV3.__name__.lower().replace("v3", "_v3")


def test_every_published_licence_is_one_of_the_hub_s():
    known = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "other"}
    known |= {"cc-by-nc-4.0", "cc-by-4.0", "cc-by-nc-sa-4.0"}
    assert {identifier(checkpoint.license) for checkpoint in CHECKPOINTS} <= known


def test_nothing_of_this_machine_is_shared(run, tmp_path):
    start = {"weights": "/home/me/secret/run", "digest": "0", "is_run": True}
    local = replace(
        run,
        weights=start["weights"],
        training=run.training | {"start": start, "teacher": start},
        data=run.data | {"folder": "/home/me/secret/images", "rejected": ["/home/me/secret/x.jpg: no"],
                         "near_duplicates": [["/home/me/secret/a", "/home/me/secret/b", "train-val"]],
                         "contradictions": [["/home/me/secret/a", "/home/me/secret/b", "one", "other"]]},
    )  # fmt: skip
    made = prepared(local, "hf://me/leaves", licence="mit")
    assert "secret" not in made["run.json"].decode() + made["README.md"].decode()
    assert json.loads(made["run.json"])["training"]["start"]["weights"] == "run"
    assert "weights of the author's" in made["README.md"].decode()


def test_addresses():
    assert str(hub.Address.of(Path("hf://me/leaves@v1"))) == "hf://me/leaves@v1"
    assert not hub.is_address("hf://datasets/me/leaves/data.parquet")
    assert not hub.is_address(Path("runs/hf"))
    assert hub.pinned("hf://me/leaves", "hf://me/leaves@abc") == "hf://me/leaves@abc"
    for given, before in (("hf://me/leaves@v1", "hf://me/leaves@abc"), ("hf://me/other", "hf://me/leaves@abc"),
                          ("hf://me/leaves", None), (None, "hf://me/leaves@abc"), ("tf_in1k", "tf_in1k")):  # fmt: skip
        assert hub.pinned(given, before) == given


def test_without_the_client(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"hf:// needs huggingface_hub: pip install 'keras-inception\[hub\]'"):
        Run.load("hf://me/leaves")
    with pytest.raises(InputError, match=r"pip install 'keras-inception\[hub\]'"):
        push_to_hub(run, "hf://me/leaves", licence="mit")
