"""A web page that classifies: a folder for any static server, computing in the visitor's browser with LiteRT.js."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from keras_inception.arguments import checked
from keras_inception.errors import InputError, first_line
from keras_inception.files import cache_directory, new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.transport import is_offline

from ..app import about_app
from ..doctor import gpu_problems
from ..inputs import Exportable, ModelOrRun
from ..quantization.calibration import Calibration
from ..tflite.convert import Quantization, to_tflite

RUNTIME = "@litertjs/core"
VERSION = "2.5.3"
MODEL, ABOUT = "model.tflite", "model.json"
# Of the runtime's four programs the page loads one: the second is for browsers without relaxed SIMD.
PROGRAMS = ("litert_wasm_internal", "litert_wasm_compat_internal")


@checked
def to_web(
    model_or_run: ModelOrRun,
    folder: str | Path,
    *,
    quantization: Quantization = "float16",
    calibration: Calibration | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a web page that classifies images from files, the clipboard and the camera; nothing leaves the browser.

    The folder is complete: page, network, LiteRT.js. Any static server serves it, and after the first visit the page
    works without a connection. Images are resized in the page as in training. It computes on the processor
    (WebAssembly), or on the graphics card where the browser has WebGPU and graphics cards compute the file rightly.

    Args:
        model_or_run: a functional model, a run or a run directory, whose images are RGB or grey.
        folder: the folder to write.
        quantization: of the network's file, as in `to_tflite`. float16 has half of float32's size, and is right on
            every graphics card; int8 is smaller still.
        calibration: images for "int8", as in `to_tflite`.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        title: the page's heading; None is the network's name.
        runtime: the folder of LiteRT.js, `node_modules/@litertjs/core`. None is a copy in the cache, which npm fetches
            the first time.
        overwrite: replace a page at `folder`, after the new one is complete.

    Raises:
        InputError: the model or an argument cannot be used, it has no labels or no preprocessing or gives no
            probabilities, LiteRT.js is not at hand, or `folder` exists or cannot be written; nothing is left.
    """
    folder = Path(folder)
    source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
    app = about_app(source, title, "page")
    library = _library(Path(runtime) if runtime else None)
    with new_output(folder, overwrite=overwrite, kind="web page of this package", is_kind=is_page) as part:
        part.mkdir()
        model = to_tflite(
            model_or_run,
            part / MODEL,
            quantization=quantization,
            calibration=calibration,
            preprocessing=preprocessing,
            labels=labels,
            exits=False,
        )
        _copy_runtime(library, part / "runtime")
        for file in files(__package__).joinpath("page").iterdir():
            (part / file.name).write_bytes(file.read_bytes())
        about = _about(app, source, model, quantization)
        (part / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def is_page(folder: Path) -> bool:
    """Whether a folder was written by `to_web`."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("page") == "keras_inception"


# ---------------------------------------------------------------------------------------------------------- internals


def _about(app: dict[str, Any], source: Exportable, model: Path, quantization: Quantization) -> dict[str, Any]:
    """What the page reads: the network's file, its classes, how images become its input, and facts for its reader."""
    content, run = model.read_bytes(), source.run
    height, width = app["input"]["size"]
    facts = {
        "network": source.model.name,
        "classes": f"{len(app['labels']):,}",
        "images": f"{width} x {height} pixels, {app['input']['mode']}",
        "file": f"{len(content) / 1e6:.1f} MB, {'float32' if quantization == 'none' else quantization}",
        "runtime": f"LiteRT.js {VERSION}",
    }
    if run and "top1" in run.metrics:
        facts["accuracy"] = f"{run.metrics['top1']:.1%} of {int(run.metrics['n']):,} {run.measured_on} images"
    return {
        "page": "keras_inception",
        "version": hashlib.sha256(content).hexdigest()[:16],
        "file": MODEL,
        "gpu": not gpu_problems(model),
        **app,
        "facts": list(facts.items()),
    }


def _library(given: Path | None) -> Path:
    """The folder of LiteRT.js: the given one, or the cache's, into which npm puts it."""
    if given is not None:
        if not _is_library(given):
            raise InputError(
                f"{given} is not the folder of {RUNTIME}: give node_modules/{RUNTIME} of a folder where you ran "
                f"npm install {RUNTIME}@{VERSION}"
            )
        return given
    kept = cache_directory() / f"litertjs-{VERSION}"
    inside = kept / "node_modules" / RUNTIME
    if _is_library(inside):
        return inside
    by_hand = f"run npm install {RUNTIME}@{VERSION} and give its folder, runtime='node_modules/{RUNTIME}' (--runtime)"
    if is_offline():
        raise InputError(f"LiteRT.js is not in the cache, and downloads are forbidden: {by_hand}")
    if (npm := shutil.which("npm")) is None:
        raise InputError(f"the page needs LiteRT.js, and npm, which fetches it, is not installed: {by_hand}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{RUNTIME}@{VERSION}"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode or not _is_library(Path(work, "node_modules", RUNTIME)):
            raise InputError(f"npm could not fetch LiteRT.js ({first_line(Exception(done.stderr))}): {by_hand}")
        shutil.rmtree(kept, ignore_errors=True)
        Path(work).rename(kept)
        Path(work).mkdir()  # which is removed at the end
    return inside


def _is_library(folder: Path) -> bool:
    utilities = folder.parent / "wasm-utils" / "dist" / "index.js"
    programs = [folder / "wasm" / f"{name}.wasm" for name in PROGRAMS]
    return all(file.is_file() for file in (folder / "dist" / "index.js", utilities, *programs))


def _copy_runtime(library: Path, folder: Path) -> None:
    (folder / "wasm").mkdir(parents=True)
    shutil.copyfile(library / "dist" / "index.js", folder / "index.js")
    shutil.copyfile(library.parent / "wasm-utils" / "dist" / "index.js", folder / "wasm-utils.js")
    for name in PROGRAMS:
        for ending in (".js", ".wasm"):
            shutil.copyfile(library / "wasm" / f"{name}{ending}", folder / "wasm" / f"{name}{ending}")
