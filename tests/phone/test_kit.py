"""The folder of a phone kit: complete, as the run is, and written only where it may be."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from keras_inception import Preprocessing, cli, export
from keras_inception.errors import InputError
from keras_inception.export import phone
from keras_inception.run import Run

ASSETS = Path("android/app/src/main/assets")
SOURCE = Path(phone.__file__).with_name("kit")


def test_the_folder_is_complete(run: Run, kit: Path) -> None:
    about = json.loads((kit / "models/model.json").read_text(encoding="utf-8"))
    assert about["input"] == {
        **{"size": [32, 32], "mode": "letterbox", "crop": [1, 1], "fill": [1, 2, 3], "interpolation": "bilinear"}
    }
    assert (kit / "models/labels.txt").read_text(encoding="utf-8").splitlines() == list(run.labels) == about["labels"]
    files = {str(file.relative_to(kit)) for file in kit.rglob("*") if file.is_file()}
    own = {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*") if file.is_file()}
    assets = {f"{ASSETS}/{name}" for name in ("int8.tflite", "float16.tflite", "model.json")}
    models = {f"models/{name}" for name in ("int8.tflite", "float16.tflite", "model.json", "labels.txt")}
    assert files == own | assets | models | {"android/app/src/main/res/values/strings.xml"}
    for name in ("int8.tflite", "float16.tflite"):
        assert (kit / "models" / name).read_bytes() == (kit / ASSETS / name).read_bytes()
        diagnosis = export.doctor(kit / "models" / name)
        assert diagnosis.ready
        assert diagnosis.format == f"tflite {name.removesuffix('.tflite')}"


def test_both_files_give_the_probabilities_of_the_run(run: Run, pixels: np.ndarray, kit: Path) -> None:
    answers = []
    for name in ("int8.tflite", "float16.tflite"):
        interpreter = Interpreter(str(kit / "models" / name))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[:1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    expected = run.model().predict(run.preprocessing(pixels[:1]), verbose=0)[0]
    np.testing.assert_allclose(answers, [expected, expected], atol=0.05)


def test_the_apps_name_is_any_text(kit: Path) -> None:
    """Android takes what is between the quotes, and in it a backslash before a quote or a backslash."""
    strings = ET.parse(kit / "android/app/src/main/res/values/strings.xml").getroot()
    assert strings[0].attrib == {"name": "app_name"}
    assert strings[0].text == r'''"Tom & \"Jerry's\" <@>\\"'''
    for file in kit.rglob("*.xml"):
        ET.parse(file)


def test_what_the_files_say_of_each_other(kit: Path) -> None:
    android = kit / "android"
    namespace = "org.example.classifier"
    sources = list((android / "app/src/main/java").rglob("*.kt"))
    folders = {str(file.parent.relative_to(android / "app/src/main/java")) for file in sources}
    assert folders == {namespace.replace(".", "/")}
    assert all(file.read_text().startswith(f"package {namespace}\n") for file in sources)
    assert f'namespace = "{namespace}"' in (android / "app/build.gradle.kts").read_text()
    swift = (kit / "ios/ClassifierApp.swift").read_text()
    code = "".join(file.read_text() for file in sources)
    for name in ("int8", "float16", "model"):
        assert f'"{name}.' in code
        assert f'"{name}"' in swift
    readme = (kit / "README.md").read_text()
    for path in ("models/", "benchmark.sh", "android/", "ios/", "ios/ClassifierApp.swift", str(ASSETS)):
        assert path in readme
        assert (kit / path).exists()


def test_only_a_kit_is_replaced(run: Run, images: np.ndarray, kit: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kit, tmp_path / "kit")
    with pytest.raises(InputError, match="exists"):
        export.to_phone(run, folder, calibration=images)
    export.to_phone(run, folder, calibration=images, overwrite=True)
    assert json.loads((folder / "models/model.json").read_text())["title"] == "seen"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is not a phone kit of this package"):
        export.to_phone(run, other, calibration=images, overwrite=True)
    assert (other / "thesis.txt").read_text() == "x"


def test_what_is_lacking_is_said_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "kit"
    prepared = Preprocessing(size=(32, 32), channels="L", mean=(0.0,), std=(1.0,))
    with pytest.raises(InputError, match=r"a phone kit shows images and names: give preprocessing=, or a run"):
        export.to_phone(run.model(), out, labels=["a", "b", "c"])
    with pytest.raises(InputError, match=r"give labels=, or a run"):
        export.to_phone(run.model(), out, preprocessing=prepared)
    with pytest.raises(InputError, match="calibration"):
        export.to_phone(run.model(), out, preprocessing=prepared, labels=["a", "b", "c"])
    assert not any(tmp_path.iterdir())


def test_the_command(run: Run, tmp_path: Path, capsys) -> None:
    images = tmp_path / "images"
    for i, label in enumerate(run.labels):
        (images / label).mkdir(parents=True)
        for shade in range(4):
            Image.new("RGB", (40, 40), (80 * i, 60 * shade, 9)).save(images / label / f"{shade}.png")
    out = tmp_path / "kit"
    words = ["phone", str(run.path), "--out", str(out), "--images", str(images), "--title", "Mine"]
    cli.app(words, standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[0] == f"wrote {out}"
    assert json.loads((out / "models/model.json").read_text())["title"] == "Mine"
