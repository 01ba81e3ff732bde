"""Exports of a run: what is missing is an error before anything is written."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_inception import InputError, Preprocessing, Run, export
from keras_inception.data import folders, from_arrays
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

    monkeypatch.setattr(folders, "folder_of", folder_of)
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
    (["tflite-int8"], {"edge": "int4"}, "unknown edge 'int4'; give one of float32, uint8, int8"),
    (["saved_model"], {"batch": 2}, "batch=2 is for .tflite files"),
    (["tflite"], {"batch": -1}, "1 or more; got -1"),
])  # fmt: skip
def test_options_without_a_file_for_them(formats, options, says, run_of):
    run = run_of(None)
    with pytest.raises(InputError, match=says):
        export.export_run(run, formats, **options)
    assert not (run.path / "exports").exists()


def test_a_run_that_has_its_images_needs_none(run_of, photos):
    run = run_of(str(photos))
    [path] = export.export_run(run, ["tflite-int8"])
    assert source_of(path) == "the training images of run"


def test_data_sets_by_name_are_read_again(run_of, photos, monkeypatch):
    monkeypatch.setattr(folders, "folder_of", lambda path: photos if path == "tfds:known" else type(photos)(path))
    [path] = export.export_run(run_of("tfds:known"), ["tflite-int8"])
    assert source_of(path) == "the training images of run"


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
