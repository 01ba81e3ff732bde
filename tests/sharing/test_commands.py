"""`push`, and the commands that take a run, given one on the hub."""

import json
import tomllib

import pytest
from PIL import Image

from .conftest import fresh_cache

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


def test_commands_take_a_run_of_the_hub(call, run, server, tmp_path, monkeypatch):
    code, out, err = call("push", run.path, "hf://me/leaves", "--licence", "mit", "--no-report")
    assert code == 0, err
    made = f"hf://me/leaves@{server.repositories['me/leaves'].commits[-1][0]}"
    assert out.startswith("pushed 5 files, ")
    assert out.endswith(f": {made}\n")
    fresh_cache(monkeypatch, tmp_path / "other machine")
    Image.new("L", (20, 20), 99).save(tmp_path / "one.png")
    code, theirs, err = call("predict", "hf://me/leaves", tmp_path / "one.png", "--json")
    assert code == 0, err
    assert err.strip() == f"downloading {made}"
    assert theirs == call("predict", run.path, tmp_path / "one.png", "--json")[1]
    code, out, err = call("export", "hf://me/leaves", "--to", "tflite")
    assert (code, err.strip()) == (1, f"error: {made} is in the cache of the hub: say where exports goes (--out)")
    code, out, err = call("export", "hf://me/leaves", "--to", "tflite", "--out", tmp_path / "phone")
    assert code == 0, err
    assert (tmp_path / "phone" / "float32.tflite").is_file()
    assert tomllib.loads(call("config", "hf://me/leaves")[1])["model"] == "lenet5"
    code, _, err = call("evaluate", "hf://me/leaves")
    assert code == 1
    assert "does not say where its images are: give images (--images DIR)" in err
    assert "is not on the hub, or is private" in call("predict", "hf://me/nothing", tmp_path / "one.png")[2]


def test_a_dry_run_prints_the_card(call, run, server):
    code, out, err = call("push", run.path, "hf://me/leaves", "--license", "MIT", "--dry-run")
    assert code == 0
    assert huggingface_hub.ModelCard(out).data.license == "mit"
    assert "model.keras, " in err
    code, out, _ = call("push", run.path, "hf://me/leaves", "--licence", "mit", "--dry-run", "--json")
    found = json.loads(out)
    assert found["files"]["model.keras"] == (run.path / "model.keras").stat().st_size
    assert found["card"].startswith("---\n")
    assert not server.asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("push", "{run}", "me/leaves"), "a run on the hub is hf://USER/NAME"),
        (("push", "{run}", "hf://me/leaves"), "give it, --licence apache-2.0"),
        (("push", "nowhere", "hf://me/leaves"), "nowhere is not a run directory"),
        (("push", "{run}", "hf://me/leaves", "--licence", "mit"), "nobody is logged in to the hub: log in by `hf auth"),
    ],
)
def test_an_expected_failure_is_one_line(call, run, server, monkeypatch, words, message):
    monkeypatch.delenv("HF_TOKEN")
    code, out, err = call(*(word.format(run=run.path) for word in words))
    assert (code, out) == (1, "")
    assert message in err
    assert not server.asked
    assert err.count("\n") - err.count("report.html shows") == 1
