"""Exports of a run: what is missing is an error before anything is written."""

import importlib.util
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.data import from_arrays, tfds
from keras_inception.export import formats
from keras_inception.export.runtimes import processor
from keras_inception.export.runtimes.runners import saved_model_record
from keras_inception.export.tflite.flatbuffer import float_operators, precision
from keras_inception.export.tflite.metadata import read_record

PREPROCESSING = Preprocessing(size=(8, 8))
LABELS = ("a", "b")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    for i, image in enumerate(pixels):
        file = folder / LABELS[i % 2] / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


@pytest.fixture
def run_of(tmp_path):
    """A run whose record names this folder."""

    def run_of(folder):
        keras.utils.set_random_seed(0)
        image = keras.Input((8, 8, 3))
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
        path = tmp_path / "run"
        path.mkdir()
        keras.Model(image, layers.Dense(2, activation="softmax")(x)).save(path / "model.keras")
        data = {"folder": folder, "validation": 0.25}
        run = Run(builder="-", kwargs={}, labels=LABELS, preprocessing=PREPROCESSING, data=data, path=path)
        run.save()
        return run

    return run_of


def source_of(path):
    return read_record(path.read_bytes()).calibration["source"]


GONE = {
    None: r"trained on arrays.*\(--images DIR\)",
    "nowhere": r"no longer at nowhere.*\(--images DIR\)",
    "tfds:nowhere": "there is no data set nowhere",
}


@pytest.mark.parametrize("folder", GONE)
def test_missing_images_are_told_before_anything_is_written(folder, run_of, photos, monkeypatch):
    def folder_of(path):
        if str(path) == "tfds:nowhere":
            raise InputError("there is no data set nowhere")
        return type(photos)(path)

    monkeypatch.setattr(tfds, "folder_of", folder_of)
    run = run_of(folder)
    with pytest.raises(InputError, match=GONE[folder]) as caught:
        export.export_run(run, ["saved_model", "tflite", "tflite-int8"])
    assert "\n" not in str(caught.value)
    assert not (run.path / "exports").exists()
    assert len(export.export_run(run, ["tflite", "tflite-float16"])) == 2  # floats need no images
    [path] = export.export_run(run, ["tflite-int8"], images=photos)
    assert source_of(path) == f"the folder {photos.name}"


@pytest.mark.parametrize(("formats", "options", "says"), [
    (["tflite"], {"edge": "uint8"}, "edge='uint8' is for tflite-int8"),
    (["tflite-int8"], {"edge": "int4"}, "edge must be 'float32', 'uint8' or 'int8'; got 'int4'"),
    (["saved_model"], {"batch": 2}, "batch=2 is for .tflite files"),
    (["tflite"], {"batch": -1}, "batch must be a whole number of at least 1; got -1"),
])  # fmt: skip
def test_options_without_a_file_for_them(formats, options, says, run_of):
    run = run_of(None)
    with pytest.raises(InputError, match=says):
        export.export_run(run, formats, **options)
    assert not (run.path / "exports").exists()


def test_layers_in_float_and_activations_in_int16(run_of, photos):
    run = run_of(str(photos))
    layer = run.model().layers[1].name
    mixed, wide = export.export_run(run, ["tflite-int8", "tflite-int16x8"], float_layers=[layer])
    assert float_operators(mixed.read_bytes()) == ["CONV_2D"]
    assert (wide.name, precision(wide.read_bytes())) == ("int16x8.tflite", "int16x8")
    assert source_of(wide) == "the training images of run"
    assert export.exported(run) == [mixed, wide]


@pytest.mark.parametrize(("flags", "says"), [({"avx2"}, "VNNI"), ({"avx512_vnni", "avx512_bf16"}, "")])
def test_saved_models_of_fewer_bits(flags, says, run_of, photos, monkeypatch, capsys):
    monkeypatch.setattr(processor, "features", lambda: flags)
    monkeypatch.setattr(processor, "_lines", lambda: [])
    processor.sums_exactly.cache_clear()
    run = run_of(str(photos))
    try:
        half, int8 = export.export_run(run, ["saved_model-bfloat16", "saved_model-int8"], serving_default="encoded")
    finally:
        processor.sums_exactly.cache_clear()
    said = capsys.readouterr().err
    assert ("saved_model-bfloat16: this processor has neither AVX512-BF16" in said) == bool(says)
    assert ("saved_model-int8: this processor has neither VNNI" in said) == bool(says)
    assert export.exported(run) == [half, int8]
    record = saved_model_record(int8)
    assert record.calibration["source"] == "the training images of run"
    assert saved_model_record(half).calibration is None
    monkeypatch.undo()
    for path, format in ((half, "saved_model bfloat16"), (int8, "saved_model int8")):
        found = export.agreement(path, run, run.images("train"))
        assert found.format == format
        assert not export.misses(found)


def test_a_run_that_has_its_images_needs_none(run_of, photos):
    run = run_of(str(photos))
    [path] = export.export_run(run, ["tflite-int8"])
    assert source_of(path) == "the training images of run"


def test_data_sets_by_name_are_read_again(run_of, photos, monkeypatch):
    monkeypatch.setattr(tfds, "folder_of", lambda path: photos if path == "tfds:known" else type(photos)(path))
    [path] = export.export_run(run_of("tfds:known"), ["tflite-int8"])
    assert source_of(path) == "the training images of run"


def test_an_export_that_was_stopped_is_resumed(run_of, monkeypatch, capsys):
    run, made = run_of(None), []
    whole, files = formats.to_tflite, ["float32.tflite", "float16.tflite", "dynamic.tflite"]

    def to_tflite(model, path, **options):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(path.name)
        return whole(model, path, **options)

    monkeypatch.setattr(formats, "to_tflite", to_tflite)
    asked = ["tflite", "tflite-float16", "tflite-dynamic"]
    with pytest.raises(KeyboardInterrupt):
        export.export_run(run, asked)
    first = run.path / "exports" / files[0]
    before = first.stat().st_mtime_ns
    with pytest.raises(InputError, match=r"float32.tflite exists; give --overwrite"):
        export.export_run(run, asked, batch=2)
    monkeypatch.setattr(formats, "to_tflite", whole)
    assert [path.name for path in export.export_run(run, asked)] == files
    assert "keeping float32.tflite of the same command, which was stopped" in capsys.readouterr().err
    assert first.stat().st_mtime_ns == before
    assert sorted(path.name for path in first.parent.iterdir()) == sorted(files)
    with pytest.raises(InputError, match=r"float32.tflite exists; give --overwrite"):
        export.export_run(run, asked)


def test_after_another_export_into_the_folder_nothing_is_resumed(run_of, monkeypatch):
    run = run_of(None)

    def full(*given, **options):
        raise InputError("full")

    monkeypatch.setattr(formats, "to_saved_model", full)
    with pytest.raises(InputError, match="full"):
        export.export_run(run, ["tflite", "saved_model"])  # in this order
    export.export_run(run, ["tflite"], batch=2, overwrite=True)
    with pytest.raises(InputError, match=r"float32.tflite exists; give --overwrite"):
        export.export_run(run, ["tflite", "saved_model"])


def test_a_split_calibrates(run_of):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    [path] = export.export_run(run_of(None), ["tflite-int8"], images=from_arrays(pixels, np.arange(20) % 2).train)
    assert path.name == "int8.tflite"


def test_images_that_are_not_there(run_of, photos, tmp_path):
    with pytest.raises(InputError, match="missing does not exist"):
        export.export_run(run_of(str(photos)), ["tflite", "tflite-int8"], images=tmp_path / "missing")
    assert not (tmp_path / "run" / "exports").exists()


@pytest.mark.parametrize(("name", "package"), [("onnx", "tf2onnx"), ("openvino", "openvino")])
def test_missing_extras_are_told_before_anything_is_written(name, package, run_of, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == package else found(asked))
    run = run_of(None)
    with pytest.raises(InputError, match=rf"pip install 'keras-inception\[{name}\]'"):
        export.export_run(run, ["tflite", name])
    assert not (run.path / "exports").exists()


READ_ONLY = """
import sys
from keras_inception.cli import app
from keras_inception import InputError
run, file, place = sys.argv[1:]
for words in (
    ["predict", run, file],
    ["evaluate", run],
    ["verify", run],
    ["export", run, "--to", "saved_model", "--out", place],
    ["export", run, "--to", "tflite"],
    ["report", run],
):
    try:
        app(words, standalone_mode=False)
    except (InputError, OSError) as error:
        print(words[0], "says:", error)
    else:
        print(words[0], "is done")
"""


@pytest.mark.parametrize(
    ("formats", "signature", "words"),
    [
        (["tflite", "saved_model"], "jpeg", "unknown signature 'jpeg'; give one of image, encoded, preprocessed"),
        (["tflite"], "encoded", "serving_default is of a SavedModel: ask for the format saved_model too"),
    ],
)
def test_a_default_signature_that_cannot_be(formats, signature, words, run_of):
    run = run_of("-")
    with pytest.raises(InputError, match=words):
        export.export_run(run, formats, serving_default=signature)
    assert not (run.path / "exports").exists()


def test_a_read_only_run(run_of, photos, tmp_path):
    """As services mount it. Root may write into any folder, so it gives that right up."""
    run = run_of(str(photos))
    export.to_tflite(run, run.path / "exports" / "float32.tflite")
    folders = [run.path, *(path for path in run.path.rglob("*") if path.is_dir())]
    for path in run.path.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    run.path.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, run.path, next(photos.rglob("*.png")), tmp_path / "elsewhere"]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root needs setpriv (util-linux) to give up its right to write anywhere")
        command = ["setpriv", "--bounding-set=-dac_override", *command]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    for folder in folders:
        folder.chmod(0o755)
    lines = [line for line in done.stdout.splitlines() if "says:" in line or "is done" in line]
    exports = run.path / "exports"
    assert lines == [
        "predict is done",
        "evaluate is done",
        "verify is done",
        "export is done",
        f"export says: {exports} cannot be written, because {exports} is read-only: give another place (--out)",
        f"report says: {run.path} cannot be written, because {run.path} is read-only: give another place (--out)",
    ], done.stderr[-3000:]
    assert (tmp_path / "elsewhere" / "saved_model").is_dir()
