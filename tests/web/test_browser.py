"""The web page in a real browser, on real photographs; `make test-web` makes the environment."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import keras_inception as ki
from keras_inception import data, export
from keras_inception.preprocessing import Preprocessing
from keras_inception.weights import from_tflite, imagenet_labels

PYTHON, NPM = os.environ.get("WEB_PYTHON"), os.environ.get("WEB_NPM")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PICTURES = Path(__file__).parents[2] / "build" / "web"

pytestmark = [
    pytest.mark.skipif(not (PYTHON and NPM), reason="WEB_PYTHON and WEB_NPM are not set: run `make test-web`"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt install chromium"),
]


def drive(folders: dict[str, Path], *steps: tuple, gpu: bool = False) -> list:
    """What the steps return; nothing may fail in the page, and nothing may be asked of another server."""
    request = {"folders": {k: str(v) for k, v in folders.items()}, "steps": steps, "gpu": gpu}
    command = [str(PYTHON), str(Path(__file__).with_name("browser.py"))]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["problems"] == []
    assert answer["elsewhere"] == []
    return answer["steps"]


@pytest.fixture(scope="module")
def photographs(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty photographs of ImageNet's classes."""
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(data_folder / "imagenet_sample_200.tar") as archive:
        archive.extractall(folder, filter="data")
    return sorted(file for file in folder.rglob("*") if file.is_file())[::10]


@pytest.fixture(scope="module")
def prepared() -> Preprocessing:
    return Preprocessing(size=(128, 128), crop=0.875)


@pytest.fixture(scope="module")
def network(data_folder: Path):
    model = ki.MobileNetV1(alpha=0.25, input_shape=(128, 128, 3))
    from_tflite(model, data_folder / "mobilenet_v1_0.25_128_quant.tflite")
    return model


def page_of(network, prepared: Preprocessing, folder: Path, **options) -> Path:
    names = [label.name for label in imagenet_labels()]
    library = Path(str(NPM), "@litertjs", "core")
    return export.to_web(
        network, folder, preprocessing=prepared, labels=names, title="MobileNet v1", runtime=library, **options
    )


@pytest.fixture(scope="module")
def page(network, prepared: Preprocessing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(network, prepared, tmp_path_factory.mktemp("page") / "page")


def in_python(folder: Path, prepared: Preprocessing, images: list[Path]) -> np.ndarray:
    """The probabilities by LiteRT in Python, of images that this package decodes and resizes."""
    interpreter = Interpreter(str(folder / "model.tflite"))
    interpreter.allocate_tensors()
    rows = []
    for image in images:
        pixels = prepared.resize(data.decode(image.read_bytes()))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.asarray(pixels, "float32")[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(rows)


def agree(shown: list[dict[str, str]], expected: np.ndarray) -> None:
    """The same best class, and percentages within 1 of the file's in Python: decoders differ by grey levels."""
    names = [label.name for label in imagenet_labels()]
    for answers, scores in zip(shown, expected, strict=True):
        best = names[int(scores.argmax())]
        assert next(iter(answers)) == best
        assert len(answers) == 5
        for name, percent in answers.items():
            assert abs(float(percent.removesuffix(" %")) - 100 * scores[names.index(name)]) < 1, (name, percent)


def test_the_page_answers_as_the_file_does_in_python(page, prepared, photographs) -> None:
    assert len(photographs) == 20
    _, *shown = drive({"/": page}, ("open", "/"), *(("classify", str(image)) for image in photographs))
    agree(shown, in_python(page, prepared, photographs))


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_the_resize_mode_of_the_run_is_the_pages(network, prepared, photographs, tmp_path, mode) -> None:
    other = prepared.with_resize(mode)
    folder = page_of(network, other, tmp_path / "page", quantization="none")
    _, *shown = drive({"/": folder}, ("open", "/"), *(("classify", str(image)) for image in photographs[:5]))
    agree(shown, in_python(folder, other, photographs[:5]))


def test_a_graphics_card_answers_the_same(page, prepared, photographs) -> None:
    steps = (("open", "/"), ("accelerator", "webgpu"), *(("classify", str(image)) for image in photographs[:3]))
    _, _, *shown = drive({"/": page}, *steps, gpu=True)
    agree(shown, in_python(page, prepared, photographs[:3]))


def test_images_come_in_by_every_way_and_the_page_stays_without_a_connection(
    page, prepared, photographs, tmp_path
) -> None:
    expected = in_python(page, prepared, photographs[:1])
    (tmp_path / "notes.jpg").write_text("no image")
    image = str(photographs[0])
    _, order, dropped, pasted, camera, refused, _, kept = drive(
        {"/sub/folder": page},
        ("open", "/sub/folder/"),
        ("tab_order",),
        ("drop", image, "drop"),
        ("drop", image, "paste"),
        ("camera",),
        ("refused", str(tmp_path / "notes.jpg")),
        ("offline",),
        ("classify", image),
    )
    agree([dropped], expected)
    agree([pasted], expected)
    agree([kept], expected)
    assert len(camera) == 5
    assert refused == "notes.jpg is not an image that this browser can show: choose a JPEG, PNG or WebP file"
    assert order[:4] == ["file", "camera", "accelerator", "SUMMARY"]


def test_names_of_classes_are_text(network, prepared, photographs, tmp_path) -> None:
    names = [f"<img src=x onerror=alert({i})>" for i in range(1000)]
    library = Path(str(NPM), "@litertjs", "core")
    folder = export.to_web(network, tmp_path / "page", preprocessing=prepared, labels=names, runtime=library)
    _, shown = drive({"/": folder}, ("open", "/"), ("classify", str(photographs[0])))
    assert next(iter(shown)).startswith("<img src=x onerror=alert(")


def test_pictures_of_the_page_are_kept(page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    flower = Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg"
    drive(
        {"/": page},
        ("open", "/"),
        ("screenshot", str(PICTURES / "empty.png"), 390, 844, "light"),
        ("classify", str(flower)),
        ("screenshot", str(PICTURES / "phone.png"), 390, 844, "light"),
        ("screenshot", str(PICTURES / "desk.png"), 1100, 640, "dark"),
    )
    assert {file.name for file in PICTURES.iterdir()} >= {"empty.png", "phone.png", "desk.png"}


def test_mediapipe_in_the_browser_takes_the_file(network, prepared, photographs, tmp_path) -> None:
    """MediaPipe stretches an image, without antialiasing: so it gets one of the network's size."""
    stretched = prepared.with_resize("stretch")
    folder = page_of(network, stretched, tmp_path / "page")
    small = tmp_path / "small"
    small.mkdir()
    for image in photographs[:5]:
        pixels = np.round(stretched.resize(data.decode(image.read_bytes())))
        Image.fromarray(np.asarray(pixels, "uint8")).save(small / f"{image.stem}.png")
    files = sorted(small.iterdir())
    folders = {"/": Path(__file__).parent, "/page": folder, "/npm": Path(str(NPM)), "/small": small}
    steps = [("evaluate", "classify", f"/small/{file.name}", "/page/model.tflite") for file in files]
    _, *found = drive(folders, ("open", "/mediapipe.html"), *steps)
    expected = in_python(folder, stretched, files)
    for scores, row in zip(found, expected, strict=True):
        values = np.array([scores[str(i)] for i in range(1000)])
        assert values.argmax() == row.argmax()
        np.testing.assert_allclose(values, row, atol=1 / 256)
