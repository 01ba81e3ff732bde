"""The folder of a web page: complete, as the run is, and written only where it may be."""

import json
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_inception import Preprocessing, cli, export
from keras_inception.data import from_arrays
from keras_inception.errors import InputError
from keras_inception.export import web
from keras_inception.run import Run
from keras_inception.training import train

from .litert_js import litert_js

PAGE = Path(web.__file__).with_name("page")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.delenv("KERAS_INCEPTION_OFFLINE", raising=False)
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    images = np.random.default_rng(0).integers(0, 255, (12, 40, 50, 3), "uint8")
    folder = tmp_path_factory.mktemp("page") / "seen"
    data = from_arrays(images, np.arange(12) % 3, ["a <b>", "ünïcode", "c"])
    return train(data, out=folder, model="lenet5", weights=None, size=32, epochs=1, resize="letterbox", fill=(1, 2, 3))


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return litert_js(tmp_path_factory.mktemp("npm"))


def test_a_file_that_graphics_cards_compute_wrongly_is_not_offered_to_them(library: Path, tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(9, 1, groups=3)(image)
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    known = {"labels": ["a", "b", "c"], "preprocessing": Preprocessing(size=(8, 8)), "runtime": library}
    calibration = np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 3)).astype("float32")
    for quantization, offered in (("float16", True), ("int8", False)):
        folder = export.to_web(
            keras.Model(image, x),
            tmp_path / quantization,
            quantization=quantization,
            calibration=calibration if quantization == "int8" else None,
            **known,
        )
        assert json.loads((folder / "model.json").read_text(encoding="utf-8"))["gpu"] is offered


def test_the_folder_is_complete(run: Run, library: Path, tmp_path: Path) -> None:
    folder = export.to_web(run, tmp_path / "page", runtime=library)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert about["labels"] == ["a <b>", "ünïcode", "c"]
    assert about["title"] == "seen"
    assert about["input"] == {
        **{"size": [32, 32], "mode": "letterbox", "crop": [1, 1], "fill": [1, 2, 3], "interpolation": "bilinear"}
    }
    assert dict(about["facts"])["network"] == "lenet5"
    assert about["gpu"] is True
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    own = {file.name for file in PAGE.iterdir()}
    wasm = {f"runtime/wasm/{name}.{ending}" for name in web.PROGRAMS for ending in ("js", "wasm")}
    assert files == own | wasm | {"model.json", "model.tflite", "runtime/index.js", "runtime/wasm-utils.js"}
    for name in ("app.js", "index.html", "offline.js", "resize.js"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "://" not in text, "nothing is loaded from elsewhere"
        assert "innerHTML" not in text, "names of classes are text"


def test_the_same_export_has_the_same_version_and_another_another(run: Run, library: Path, tmp_path: Path) -> None:
    def version(name: str, **options) -> str:
        folder = export.to_web(run, tmp_path / name, runtime=library, **options)
        return json.loads((folder / "model.json").read_text())["version"]

    assert version("a") == version("b")
    assert version("a8", quantization="dynamic") != version("b32", quantization="none")


def test_only_a_page_is_replaced(run: Run, library: Path, tmp_path: Path) -> None:
    folder = export.to_web(run, tmp_path / "page", runtime=library)
    with pytest.raises(InputError, match="exists"):
        export.to_web(run, folder, runtime=library)
    export.to_web(run, folder, runtime=library, overwrite=True, title="Again")
    assert json.loads((folder / "model.json").read_text())["title"] == "Again"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is not a web page of this package"):
        export.to_web(run, other, runtime=library, overwrite=True)
    assert (other / "thesis.txt").read_text() == "x"


def test_what_is_lacking_is_said_before_anything_is_written(
    run: Run, library: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "page"
    prepared = Preprocessing(size=(32, 32), channels="L", mean=(0.0,), std=(1.0,))
    with pytest.raises(InputError, match=r"give preprocessing=, or a run"):
        export.to_web(run.model(), out, labels=["a", "b", "c"], runtime=library)
    with pytest.raises(InputError, match=r"give labels=, or a run"):
        export.to_web(run.model(), out, preprocessing=prepared, runtime=library)
    with pytest.raises(InputError, match=r"is not the folder of @litertjs/core: give node_modules/@litertjs/core"):
        export.to_web(run, out, runtime=tmp_path)
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    with pytest.raises(
        InputError, match=r"LiteRT\.js is not in the cache, and downloads are forbidden: run npm install"
    ):
        export.to_web(run, out)
    monkeypatch.delenv("KERAS_INCEPTION_OFFLINE")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"npm, which fetches it, is not installed: run npm install"):
        export.to_web(run, out)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2; exit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(InputError, match=r"npm could not fetch LiteRT\.js \(npm error code E404\): run npm install"):
        export.to_web(run, out)
    assert not out.exists()
    assert not home.exists() or not any(home.iterdir())


def test_npm_fills_the_cache_once(
    run: Run, library: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncp -r {library.parents[1]} .\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for name in ("one", "two"):
        export.to_web(run, tmp_path / name)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"install --no-audit --no-fund --ignore-scripts @litertjs/core@{web.VERSION}"]
    assert [path.name for path in home.iterdir()] == [f"litertjs-{web.VERSION}"]


def test_the_command(run: Run, library: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "page"
    words = ["web", str(run.path), "--out", str(out), "--runtime", str(library), "--title", "Mine"]
    cli.app(words, standalone_mode=False)
    assert capsys.readouterr().out.startswith("wrote ")
    assert json.loads((out / "model.json").read_text())["title"] == "Mine"


NODE = shutil.which("node")


@pytest.mark.skipif(not NODE, reason="the page's resize is run by node, which is not installed: apt install nodejs")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_page_resizes_as_training_does(tmp_path: Path, interpolation: str) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for height, width in ((37, 90), (200, 31), (8, 8), (64, 48), (1, 5)):
        for mode, crop in (("crop", 0.875), ("crop", 1.0), ("stretch", 1.0), ("letterbox", 1.0)):
            prepared = Preprocessing(size=(24, 32), resize_mode=mode, crop=crop, interpolation=interpolation)
            image = rng.integers(0, 256, (height, width, 3), "uint8")
            rgba = np.concatenate([image, np.full((height, width, 1), 255, "uint8")], axis=-1)
            about = {"size": [24, 32], "mode": mode, "crop": prepared.crop_share.as_integer_ratio(),
                     "fill": prepared.border, "interpolation": interpolation}  # fmt: skip
            cases.append((prepared, image, [rgba.ravel().tolist(), height, width, about]))
    (tmp_path / "resize.mjs").write_text((PAGE / "resize.js").read_text())
    (tmp_path / "cases.json").write_text(json.dumps([case for _, _, case in cases]))
    (tmp_path / "run.mjs").write_text(
        "import { readFileSync } from 'node:fs';\nimport { prepare } from './resize.mjs';\n"
        "const cases = JSON.parse(readFileSync('cases.json'));\n"
        "console.log(JSON.stringify(cases.map((c) => Array.from(prepare(...c)))));\n"
    )
    done = subprocess.run([NODE, "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    for (prepared, image, _), pixels in zip(cases, json.loads(done.stdout), strict=True):
        expected = prepared.resize(image).numpy()
        np.testing.assert_allclose(np.reshape(pixels, expected.shape), expected, atol=0.02, err_msg=str(prepared))
