"""The command line, as a user meets it: real files in, one line when something is wrong."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from keras_inception import cli
from keras_inception.cli import output
from keras_inception.run import Run

CLASSES = ("across", "down", "dots")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of small images in every format, with a truncated JPEG among them."""
    root, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(1)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(0, 60, (40, 50, 3))
            rows, columns = {"across": (5, 1), "down": (1, 5), "dots": (5, 5)}[name]
            pixels[::rows, ::columns] += 180
            image = Image.fromarray(pixels.astype(np.uint8))
            ending = ("jpg", "png", "bmp", "gif", "webp")[i % 5]
            image = image.convert("CMYK") if i == 10 else image.convert("L") if i == 11 else image
            image.save(root / name / f"{i}.{ending}")
    whole = io.BytesIO()
    image.convert("RGB").save(whole, "JPEG")
    (root / "across" / "broken.jpg").write_bytes(whole.getvalue()[:-200])
    return root


ARGUMENTS = (
    "--model", "lenet5", "--epochs", "15", "--batch-size", "8", "--learning-rate", "0.003", "--no-flip", "--seed", "1",
    "--augment", "area=0.6",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A trained run, made by the command in a process of its own."""
    path = tmp_path_factory.mktemp("runs") / "x"
    done = subprocess.run(
        [sys.executable, "-m", "keras_inception", "train", images, *ARGUMENTS, "--out", path, "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    assert "broken.jpg" in done.stderr
    assert "epoch 1/" not in done.stderr  # a program reads the JSON
    result = json.loads(done.stdout)
    assert result["top1"] > 0.5
    assert result["measured_on"] == "validation"
    return path


def test_evaluate(call, run, images):
    code, out, err = call("evaluate", run, "--json")
    held_out = json.loads(out)
    assert code == 0
    assert set(held_out) == {"top1", "top5", "loss", "n"}
    assert err.endswith(f"measured on {held_out['n']} validation images of {run}\n")
    code, out, _ = call("evaluate", run, images, "--json")
    assert json.loads(out)["n"] == 48 > held_out["n"]
    assert "top5" not in call("evaluate", run)[1]  # of three classes


def test_every_command_says_that_it_measures_on_test_images(call, images, tmp_path):
    run, options = tmp_path / "x", ("--epochs", "1", "--test", "0.2")
    code, out, err = call("train", images, *ARGUMENTS, *options, "--out", run)
    assert code == 0, err
    n = Run.load(run).metrics["n"]
    assert f" for validation, {n} for test\n" in err
    assert re.search(r"^epoch 1/1  loss .*  accuracy .*%  validation .*%  rate 0.003  \d+ images/s$", err, re.M)
    title, tested, validation, wrote = map(str.split, out.splitlines())
    assert title == ["images", "top1", "loss", "n"]
    assert (tested[0], tested[-1], validation[0], wrote[0]) == ("test", str(n), "validation", "wrote")
    assert call("evaluate", run)[2].endswith(f"measured on {n} test images of {run}\n")
    assert call("report", run)[1] == f"wrote {run / 'report.html'}, measured on {n} test images\n"
    assert json.loads(call("report", run, "--json")[1])["measured_on"] == "test"
    assert call("export", run, "--to", "tflite")[1].startswith(f"{n} test images; the Keras model gets ")
    (row,) = json.loads(call("verify", run, "--json")[1])
    assert (row["n"], row["measured_on"]) == (n, "test")
    code, _, err = call("train", images, *ARGUMENTS, "--test", "0.9", "--out", tmp_path / "y")
    assert code == 1
    assert "validation 0.2 and test 0.9 leave nothing to train on" in err


def test_evaluate_several_views_and_several_runs(call, run, images):
    one, ten, both = (
        json.loads(call("evaluate", *paths, images, *more, "--json")[1])
        for paths, more in (([run], []), ([run], ["--crops", "10"]), ([run, run], []))
    )
    assert ten["loss"] != one["loss"]
    assert both == pytest.approx(one, abs=1e-6)


def test_report_is_drawn_anew(call, run, tmp_path):
    before = (run / "report.html").read_text()
    code, _, _ = call("report", run, "--endpoint", "c1", "--out", tmp_path / "page.html")
    assert code == 0
    assert "Grad-CAM at c1" in (tmp_path / "page.html").read_text()
    assert (run / "report.html").read_text() == before
    code, out, _ = call("report", run, "--out", tmp_path / "page.html", "--json")
    found = json.loads(out)
    assert found["page"] == str(tmp_path / "page.html")
    assert [c["label"] for c in found["classes"]] == sorted(CLASSES)
    assert np.sum(found["confusion"]) == found["n"] == sum(c["images"] for c in found["classes"])
    assert found["top1"] == pytest.approx(np.trace(found["confusion"]) / found["n"])


def test_predict(call, run, images):
    images = [images / "across" / "0.jpg", images / "down" / "3.gif"]
    code, out, _ = call("predict", run, *images, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["image"] for row in rows] == list(map(str, images))
    assert sum(rows[0]["labels"].values()) == pytest.approx(1, abs=1e-5)
    code, out, _ = call("predict", run, *images)
    assert "0.jpg   " in out
    assert "%" in out


def test_predict_tells_of_a_bad_file_after_the_good_ones(call, run, images):
    code, out, err = call("predict", run, images / "across" / "broken.jpg", images / "down" / "1.png", "nowhere.jpg")
    assert code == 1
    assert out.count("\n") == 1
    assert "1.png   " in out
    assert "broken.jpg cannot be read" in err
    assert "nowhere.jpg cannot be read: no such file" in err


def test_predict_into_a_table(call, run, images, tmp_path):
    code, out, err = call(
        "predict", run, images, "--out", tmp_path / "x.csv", "--top", "2", "--batch-size", "5", "--json"
    )
    assert code == 0, err
    written = json.loads(out)
    assert (written["images"], written["unreadable"], written["out"]) == (49, 1, str(tmp_path / "x.csv"))
    assert written["images_per_second"] > 0
    header, *rows = (tmp_path / "x.csv").read_text().splitlines()
    assert header == "image,label,probability,label_2,probability_2,error"
    assert len(rows) == 49
    [bad] = [row for row in rows if not row.endswith(",")]
    assert bad.startswith(f"{images / 'across' / 'broken.jpg'},,,,,image file is truncated")
    shown = json.loads(call("predict", run, images / "dots" / "0.jpg", "--json")[1])[0]["labels"]
    [row] = [row.split(",") for row in rows if row.startswith(str(images / "dots" / "0.jpg"))]
    assert {row[1]: float(row[2]), row[3]: float(row[4])} == pytest.approx(dict(list(shown.items())[:2]), abs=1e-5)
    code, out, _ = call("predict", run, images, "--out", tmp_path / "y.parquet", "--shards", "2", "--shard", "1")
    assert code == 0
    assert out.split()[4:6] == ["17", "0"]  # all but a batch of 32
    assert out.split()[-1] == str(tmp_path / "y-00001-of-00002.parquet")


def test_an_exported_file_stands_in_for_a_run(call, run, images, tmp_path):
    code, _, err = call("export", run, "--to", "tflite", "--to", "saved_model", "--out", tmp_path)
    assert code == 0, err
    want = json.loads(call("evaluate", run, images, "--json")[1])
    one = images / "across" / "0.jpg"
    probabilities = json.loads(call("predict", run, one, "--json")[1])[0]["labels"]
    for name in ("float32.tflite", "saved_model"):
        assert json.loads(call("evaluate", tmp_path / name, images, "--json")[1]) == pytest.approx(want, abs=1e-3)
        found = json.loads(call("predict", tmp_path / name, one, "--json")[1])[0]["labels"]
        assert found == pytest.approx(probabilities, abs=1e-3)
    both = json.loads(call("evaluate", run, tmp_path / "float32.tflite", images, "--json")[1])
    assert both["loss"] == pytest.approx(want["loss"], abs=1e-3)
    code, _, err = call("evaluate", tmp_path / "float32.tflite")
    assert code == 1
    assert "does not know its images: give a folder" in err
    code, _, err = call("evaluate", tmp_path / "float32.tflite", images, "--crops", "10")
    assert code == 1
    assert "crops are for runs" in err


def test_export_and_verify(call, run):
    code, out, _ = call("export", run, "--to", "tflite", "--to", "tflite-int8", "--json")
    assert code == 0
    exported = json.loads(out)
    assert [row["format"] for row in exported] == ["tflite float32", "tflite int8"]
    assert exported[1]["bytes"] < exported[0]["bytes"] / 2
    code, out, err = call("export", run, "--to", "tflite")
    assert code == 1
    assert "float32.tflite exists; give --overwrite" in err
    code, out, _ = call("verify", run)
    assert code == 0
    assert "tflite int8" in out
    code, _, err = call("verify", run, "--cross-check", "torch")
    assert code == 1
    assert "unknown runtime 'torch' for a cross-check" in err


@pytest.mark.slow
def test_export_to_a_target(call, run, tmp_path):
    search = ["export", run, "--to", "tflite-int8", "--out", tmp_path / "files", "--max-drop", 100]
    code, out, err = call(*search, "--frontier", tmp_path / "frontier")
    assert code == 0, err
    assert "held-out images, of which one is" in out
    assert "points of top-1 lost" in out
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["int8.tflite"]
    assert (tmp_path / "frontier" / "search.json").is_file()
    code, out, _ = call(*search, "--to", "tflite-int16x8", "--overwrite", "--json")
    assert code == 0
    found = json.loads(out)
    assert [trial["file"] for trial in found["trials"]] == ["float32.tflite", "int8.tflite"]
    assert found["chosen"]["file"] == "int8.tflite"
    assert [row["format"] for row in found["files"]] == ["tflite int16x8"]


def test_a_target_that_is_missed_is_one_line_after_the_table(call, run, tmp_path, monkeypatch):
    from keras_inception.export.quantization import search

    monkeypatch.setattr(search, "ROUNDING", -1)  # no file holds
    monkeypatch.setattr(search, "worst", lambda errors, count: {})
    command = ["export", run, "--to", "tflite", "--to", "tflite-int8", "--out", tmp_path / "files", "--max-drop", 0]
    code, out, err = call(*command)
    assert code == 1
    assert "int8.tflite" in out
    assert "int8.tflite is not written" in err.splitlines()[-1]
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "tflite", "--max-drop", "1"], "a target is for tflite-int8"),
        (["--to", "tflite", "--float-layers", "conv"], "float_layers is for tflite-int8"),
        (["--to", "tflite-int8", "--max-drop", "1", "--min-agreement", "99"], "give one target"),
        (["--to", "tflite-int8", "--max-drop", "1", "--edge", "int8"], "leave edge='int8' out"),
        (["--to", "tflite-int8", "--max-drop", "1", "--float-layers", "conv"], "leave float_layers out"),
        (["--to", "tflite-int8", "--max-drop", "many"], "Invalid value for '--max-drop'"),
        (["--to", "tflite-int8", "--frontier", "kept"], "give --max-drop or --min-agreement too"),
        (["--to", "tflite", "--calibration", "images"], "--calibration is for tflite-int8, tflite-int16x8"),
        (["--to", "tflite-int8", "--calibration", "nowhere"], "nowhere does not exist"),
        (["--to", "tflite", "--to", "tflite-int8", "--float-layers", "conf"], "the file has no layer 'conf'"),
    ],
)
def test_targets_that_cannot_be(options, message, call, run, tmp_path):
    code, _, err = call("export", run, "--out", tmp_path / "files", *options)
    assert code != 0
    assert message in err
    assert not (tmp_path / "files").exists()


def test_verify_fails_below_the_bar(call, run, tmp_path, monkeypatch):
    from keras_inception.export import formats

    monkeypatch.setattr(formats, "MAX_DIFFERENCE", 0.0)
    code, _, err = call("verify", run)
    assert code == 1
    assert "tflite float32 differs by" in err


def test_models_and_info(call):
    code, out, _ = call("models", "inception*", "--json")
    assert "inception_v3" in [row["name"] for row in json.loads(out)]
    code, out, _ = call("info", "lenet5")
    assert code == 0
    assert "c3" in out
    found = json.loads(call("info", "lenet5", "--json")[1])
    assert found["parameters"] == 61_706 == sum(row["parameters"] for row in found["rows"])
    assert [row["tag"] for row in found["weights"]] == ["caffe_mnist"]


def test_licences(call):
    code, out, err = call("licences")
    assert code == 0
    assert re.search(r"^weights +vgg16\.caffe_in1k +CC-BY-NC-4\.0.* yes *$", out, re.MULTILINE)
    assert re.search(r"^dependency +packaging .* Apache-2\.0 OR BSD-2-Clause *$", out, re.MULTILINE)
    assert re.search(r"exclude commercial use: .*\bvgg16\.caffe_in1k\b", err)
    rows = json.loads(call("licences", "--json")[1])
    assert {row["kind"]: row["non_commercial"] for row in reversed(rows)}["package"] is False
    assert [row["name"] for row in rows if row["non_commercial"]] == err.split("use: ")[1].strip().split(", ")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_the_terminals_encoding_lacks(encoding, call, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(cli, "app", lambda: output.say("Käse 猫"))
    cli.main()
    assert out.buffer.getvalue().decode(encoding) == ("K\\xe4se \\u732b\n" if encoding == "ascii" else "Käse \\u732b\n")


def test_a_reader_that_has_enough(monkeypatch):
    """`| head -1`: what does not fit into the pipe is lost, without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(cli, "app", lambda: print("{}"))
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("train", "nowhere", "--out", "x"), "nowhere does not exist"),
        (("train", "{empty}", "--out", "x"), "holds no images"),
        (("train", "{images}", "--out", "x", "--model", "inceptoin_v3"), "did you mean inception_v3"),
        (("train", "{images}", "--out", "x", "--size", "32"), "InceptionV3 takes images of at least 75 x 75"),
        (("train", "{images}", "--out", "{images}"), "neither empty nor an unfinished run"),
        (("train", "{images}", "--out", "/proc/x", "--weights", "none"), "/proc/x"),
        (("evaluate", "nowhere"), "nowhere is not a run directory"),
        (("evaluate", "{run}", "{empty}"), "holds no images"),
        (("evaluate", "{run}", "--crops", "5"), "crops must be 1, 10, 12 or 144; got 5"),
        (("train", "{images}", "--out", "x", "--recipe", "resnet_cifra"), "did you mean resnet_cifar"),
        (("train", "{images}", "--out", "x", "--model", "lenet5", "--weights", "inet"), "lenet5 has no weights 'inet'"),
        (
            ("train", "{images}", "--out", "x", "--resize", "fit"),
            "resize must be 'crop', 'stretch', 'letterbox' or None",
        ),
        (
            ("train", "{images}", "--out", "x", "--augment", "heavy"),
            "augment is none, light, medium, strong, shift, or NAME",
        ),
        (
            ("train", "{images}", "--out", "x", "--augment", "mixup=9"),
            "mixup must be 0, or a number from 0.1 to 1",
        ),
        (("train", "{images}", "--out", "x", "--fill", "0"), "fill is for resize 'letterbox', which has borders"),
        (
            ("train", "{images}", "--out", "x", "--resize", "letterbox", "--fill", "white"),
            "--fill is a grey level, 114, or red,green,blue, 124,116,104; got 'white'",
        ),
        (
            ("train", "{images}", "--out", "x", "--resize", "letterbox", "--fill", "0,0,256"),
            "each from 0 to 255; got [0.0, 0.0, 256.0]",
        ),
        (("report", "{run}", "--endpoint", "c4"), "has no endpoint 'c4' that is a map; near ones are"),
        (("predict", "{run}", "http://127.0.0.1:9/a.jpg"), "127.0.0.1:9 cannot be reached"),
        (("predict", "{run}", "{images}/*.jpg"), "give a pattern without quotes, so that the shell expands it"),
        (("predict", "{run}", "nothing.jpg"), "nothing.jpg cannot be read: no such file"),
        (("predict", "{run}", "nothing/", "--out", "x.csv"), "there is no file or folder nothing/: give images"),
        (("predict", "{run}", "{images}", "--out", "x.txt"), "x.txt is no table that can be written: give a name"),
        (("predict", "{run}", "{images}", "--shards", "2"), "--shards is for a table of answers: say which file it is"),
        (("predict", "{run}", "{run}/run.json"), "run.json cannot be read: not a JPEG"),
        (("export", "{run}", "--to", "coreml"), "unknown format 'coreml'; give one of saved_model, tflite"),
        (("verify", "{run}", "{run}/labels.txt"), "labels.txt"),
        (("info", "resnet"), "unknown model 'resnet'"),
    ],
)
def test_an_expected_failure_is_one_line(call, images, run, tmp_path, monkeypatch, command, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"images": images, "run": run, "empty": tmp_path / "empty"}
    before = sorted(path.name for path in run.rglob("*"))
    code, out, err = call(*(word.format(**places) for word in command))
    assert code == 1
    assert message in err
    assert out == ""
    assert err.count("\n") - err.count("left out") == 1
    assert not (tmp_path / "x").exists()
    assert before == sorted(path.name for path in run.rglob("*"))


def _start(*arguments, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-m", "keras_inception", *map(str, arguments)], stderr=subprocess.PIPE, text=True, **kwargs
    )


def test_a_training_that_is_ended_can_be_resumed(call, images, tmp_path):
    command = ("train", images, *ARGUMENTS, "--epochs", "15", "--out", tmp_path / "x")
    process = _start(*command)
    state = tmp_path / "x" / "training_state" / "state.json"
    while not state.exists() or not json.loads(state.read_text())["history"]:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # of a batch system; Ctrl-C takes the same way
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "the same command resumes" in err
    assert "Traceback" not in err
    found = json.loads(state.read_text())
    place = f"epoch {len(found['history'])}"
    if found["paused"]:  # it was not at an epoch's beginning or end
        place = f"{found['paused']['batches']} batches of epoch {len(found['history']) + 1}"
    code, _, err = call("evaluate", tmp_path / "x")
    assert code == 1
    assert "interrupted before it finished" in err
    code, _, err = call(*command)
    assert code == 0
    assert f"after {place}" in err
    assert (tmp_path / "x" / "history.csv").read_text().count("\n") == 16


def test_a_full_disk_is_one_line(images, run, tmp_path):
    """A limit on the size of a file stands in for the end of the disk: the same failing write."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = _start("export", run, "--to", "tflite", "--out", tmp_path / "files", preexec_fn=limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert not (tmp_path / "files").exists()
