"""Each script of the page, run as it is: a row for every image, with what the file says of it alone."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from keras_inception import LeNet5, export
from keras_inception.evaluation import predict
from keras_inception.preprocessing import Preprocessing

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "pipelines.md"
LABELS = ("ant", "bee", "cat")
PREPROCESSING = Preprocessing(size=(28, 28), channels="L", mean=(100.0,), std=(50.0,))
IMAGES = 90


def script(package: str) -> str:
    """The only block of the page that imports a package."""
    [found] = [
        code
        for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if re.search(rf"^(?:import|from) {package}\b", code, re.MULTILINE)
    ]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the page supposes: `images/`, here in two folders and with one that cannot be read, and `float32.tflite`."""
    folder, rng = tmp_path_factory.mktemp("job"), np.random.default_rng(0)
    for i in range(IMAGES):
        path = folder / "images" / "ab"[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(path)
    (folder / "images" / "bad.png").write_text("no image")
    keras.utils.set_random_seed(3)
    network = LeNet5(classes=3, input_shape=(28, 28, 1))
    export.to_tflite(network, folder / "float32.tflite", labels=LABELS, preprocessing=PREPROCESSING)
    return folder


@pytest.mark.parametrize(
    ("package", "column", "target"),
    [
        pytest.param("apache_beam", "image", "test-beam", id="beam"),
        pytest.param("pyspark", "path", "test-spark", id="spark"),
    ],
)
def test_the_script_of_the_page(package: str, column: str, target: str, folder: Path, tmp_path: Path) -> None:
    if not importlib.util.find_spec(package):
        pytest.skip(f"needs an environment with {package}: make {target}")
    (tmp_path / "job.py").write_text(script(package), encoding="utf-8")
    for name in ("images", "float32.tflite"):
        (tmp_path / name).symlink_to(folder / name)
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "job.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]

    table = pyarrow.parquet.read_table(tmp_path / "answers")
    rows = {Path(row[column]).name: row for row in table.to_pylist()}
    assert table.num_rows == len(rows) == IMAGES + 1
    bad = rows.pop("bad.png")
    assert (bad["label"], bad["probability"]) == (None, None)
    assert bad["error"].startswith("not a JPEG")
    files = sorted(folder.glob("images/*/*.png"))
    alone = predict(export.open_predictor(folder / "float32.tflite"), files, top=1)
    assert [rows[file.name]["label"] for file in files] == [answer.labels[0] for answer in alone]
    assert [rows[file.name]["probability"] for file in files] == pytest.approx([a.probabilities[0] for a in alone])
    assert {row["error"] for row in rows.values()} == {None}
