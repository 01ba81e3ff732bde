"""Exported files in every runtime that takes them, against the Keras model.

    make conformance-runtimes                             # what is not in the table yet; hours
    python -m tests.conformance.runtimes "mobilenet_v2 alpha=1.0"

Every variant for phones and at least one network of every family goes into all runtimes; the other networks go into
LiteRT's, on the CPU and the GPU. A runtime whose environment is not given (the variables of the Makefile's target) is
left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.doctor import gpu_problems
from keras_inception.export.runtimes.gpu import run_on_gpu
from keras_inception.export.runtimes.runners import open_file
from keras_inception.preprocessing import Preprocessing
from keras_inception.registry import Architecture

from . import qat
from .networks import FOR_PHONES
from .table import Row, Table, every_network

TESTS = Path(__file__).parents[1]
FORMS = {"f32": "none", "f16": "float16", "int8": "int8"}
FLOAT = 60  # decibels: what a float file must reach in every runtime
BELOW = 3  # decibels that a runtime may lose against LiteRT on this CPU in int8 and float16, where it rounds elsewhere
MEAN, DEVIATION = 127.5, 42.5
IMAGES = 4


@dataclass(frozen=True)
class Case:
    """Files of a network, the images that they take, (n, H, W, 3) uint8, and what Keras returns, (n, classes)."""

    folder: Path
    files: dict[str, Path]
    onnx: Path | None
    pixels: np.ndarray
    wanted: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        return self.pixels.astype(np.float32)


# A form of a file ("f32", ...) -> the outputs, (n, classes), or why there are none.
Outputs = dict[str, np.ndarray | str]


def make(architecture: Architecture, folder: Path, *, onnx: bool) -> Case:
    """Files of `qat.network`, whose logits say something of an image; those of random weights do not."""
    side = qat.input_side(architecture)
    model = qat.network(architecture, side)
    given = qat.images(model.input_shape[1:])
    pixels = np.clip(np.round(MEAN + DEVIATION * np.repeat(given, 3 // given.shape[-1], -1)), 0, 255).astype(np.uint8)
    colours = given.shape[-1]
    prepared = Preprocessing(
        size=(side, side),
        mean=(MEAN,) * colours,
        std=(DEVIATION,) * colours,
        channels="RGB" if colours == 3 else "L",
        resize_mode="stretch",
    )
    inputs = np.asarray(prepared.normalize(pixels))
    qat.centre(model, model.predict_on_batch(inputs))
    options: dict[str, Any] = {
        "preprocessing": prepared,
        "labels": [f"class {i}" for i in range(model.output_shape[-1])],
    }
    files = {
        form: export.to_tflite(
            model,
            folder / f"{form}.tflite",
            quantization=quantization,
            calibration=inputs if form == "int8" else None,
            exits=False,
            **options,
        )
        for form, quantization in FORMS.items()
    }
    wanted = model.predict_on_batch(inputs)[:IMAGES]
    return Case(
        folder, files, export.to_onnx(model, folder / "f32.onnx", **options) if onnx else None, pixels[:IMAGES], wanted
    )


# --------------------------------------------------------------------------------------------------------- the runtimes


def litert(case: Case) -> Outputs:
    return {form: _each(file, case) for form, file in case.files.items()}


def gpu(case: Case) -> Outputs:
    found: Outputs = {}
    for form, file in case.files.items():
        run = run_on_gpu(file, case.inputs[:, np.newaxis])
        if run is None:
            return {}
        found[form] = run.refusal if run.outputs is None else run.outputs[:, 0]
    return found


def arm64(cpu: str) -> Callable[[Case], Outputs]:
    """XNNPACK's kernels for a processor under emulation."""

    def run(case: Case) -> Outputs:
        if not (python := os.environ.get("ARM64_PYTHON")):
            return {}
        given, returned = case.folder / "inputs.npz", case.folder / "outputs.npz"
        np.savez(given, **{str(case.files[form]): case.inputs for form in ("f32", "int8")})
        script = TESTS / "arm64" / "run.py"
        _done([python, str(script), str(given), str(returned)], ARM64_CPU=cpu)
        with np.load(returned) as outputs:
            return {form: outputs[str(case.files[form])] for form in ("f32", "int8")}

    return run


def mediapipe(case: Case) -> Outputs:
    if not (python := os.environ.get("MEDIAPIPE_PYTHON")):
        return {}
    np.save(case.folder / "images.npy", case.pixels)
    script = TESTS / "mediapipe" / "classify.py"
    found: Outputs = {}
    for form, file in case.files.items():
        said = _done([python, str(script), str(file), str(case.folder / "images.npy"), "-1"])
        found[form] = np.stack([_in_order(dict(row[::2] for row in answer)) for answer in json.loads(said)])
    return found


def browser(case: Case, *, accelerator: str) -> Outputs:
    """LiteRT.js."""
    case.inputs.tofile(case.folder / "images.bin")
    shape = [1, *case.pixels.shape[1:]]
    steps = [
        ("evaluate", "run", f"/files/{case.files[form].name}", accelerator, "/files/images.bin", shape)
        for form in ("f32", "int8")
    ]
    rows = _in_browser(case, ("open", "/litert.html"), *steps, gpu=accelerator == "webgpu")
    return dict(zip(("f32", "int8"), map(np.array, rows), strict=True)) if rows else {}


def mediapipe_web(case: Case) -> Outputs:
    for i, image in enumerate(case.pixels):
        Image.fromarray(image).save(case.folder / f"{i}.png")
    steps = [
        ("evaluate", "classify", f"/files/{i}.png", f"/files/{case.files[form].name}")
        for form in ("f32", "int8")
        for i in range(IMAGES)
    ]
    rows = _in_browser(case, ("open", "/mediapipe.html"), *steps)
    if not rows:
        return {}
    scores = [_in_order({int(index): score for index, score in row.items()}) for row in rows]
    return {"f32": np.stack(scores[:IMAGES]), "int8": np.stack(scores[IMAGES:])}


def openvino(case: Case) -> Outputs:
    return {form: _each(case.files[form], case, "openvino") for form in ("f32", "int8")}


def onnxruntime(case: Case) -> Outputs:
    assert case.onnx
    return {"f32": open_file(case.onnx).runners["pixels"](case.inputs)}


EVERYWHERE: dict[str, Callable[[Case], Outputs]] = {"LiteRT": litert, "GPU": gpu}
RUNTIMES = EVERYWHERE | {
    "cortex-a76": arm64("cortex-a76"),
    "cortex-a53": arm64("cortex-a53"),
    "MediaPipe": mediapipe,
    "WASM": lambda case: browser(case, accelerator="wasm"),
    "WebGPU": lambda case: browser(case, accelerator="webgpu"),
    "MediaPipe web": mediapipe_web,
    "OpenVINO": openvino,
    "onnxruntime": onnxruntime,
}


# ------------------------------------------------------------------------------------------------------------ the table


def measure(architecture: Architecture) -> Row:
    everywhere = architecture.name in FOR_PHONES
    row: Row = {"input": qat.input_side(architecture)} | dict.fromkeys(RUNTIMES, "")
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        case = make(architecture, Path(name), onnx=everywhere)
        here = litert(case)
        for runtime, run in (RUNTIMES if everywhere else EVERYWHERE).items():
            try:
                outputs = here if runtime == "LiteRT" else run(case)
            except Exception as error:  # of any runtime: it is the result
                outputs = {"f32": str(error).strip().splitlines()[-1][:80]}
            cells = []
            for form, y in outputs.items():
                cell, right = _cell(case, here, form, y)
                cells.append(cell)
                if not right and not _is_told(case.files[form], runtime):
                    faults.append(f"{runtime} {form}")
            row[runtime] = " / ".join(cells)
    return row | {"ok": "yes" if not faults else f"no: {', '.join(faults)}"}


def _cell(case: Case, here: Outputs, form: str, y: np.ndarray | str) -> tuple[str, bool]:
    """What a cell shows, and whether it is right."""
    if isinstance(y, str):
        return y.replace("|", "/"), False
    own = np.asarray(here[form])
    decibels = snr(case.wanted, y)
    right = decibels >= (FLOAT if form == "f32" else snr(case.wanted, own) - BELOW)
    return ("=" if y is not own and np.array_equal(y, own) else f"{decibels:.0f}"), right


def _is_told(file: Path, runtime: str) -> bool:
    """Whether `doctor` warns of this file on GPUs."""
    return runtime in ("GPU", "WebGPU") and bool(gpu_problems(file))


# ------------------------------------------------------------------------------------------------------------ internals


def _each(file: Path, case: Case, runtime: str | None = None) -> np.ndarray:
    run = open_file(file, runtime).runners["pixels"]
    return np.concatenate([run(image[np.newaxis]) for image in case.inputs])


def _in_order(scores: dict[int, float]) -> np.ndarray:
    return np.array([scores[i] for i in range(len(scores))])


def _done(command: list[str], given: str = "", **environment: str) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=900, env=os.environ | environment, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def _in_browser(case: Case, *steps: tuple, gpu: bool = False) -> list:
    python, npm = os.environ.get("WEB_PYTHON"), os.environ.get("WEB_NPM")
    if not (python and npm):
        return []
    folders = {"/": str(TESTS / "web"), "/npm": npm, "/files": str(case.folder)}
    request = json.dumps({"folders": folders, "steps": steps, "gpu": gpu})
    return json.loads(_done([python, str(TESTS / "web" / "browser.py")], request))["steps"][1:]


TABLE = Table(
    module="tests.conformance.runtimes",
    path=Path(__file__).with_suffix(".md"),
    title="Exported files in every runtime",
    notes=(
        f"`make conformance-runtimes` measures the rows that are missing. Random weights (`qat.network` says which), "
        f"the smallest input that runs, {IMAGES} images, logits.",
        "A cell has the signal-to-noise ratio in decibels against the Keras model, of the files in float32 / int8; of "
        'LiteRT, GPU and MediaPipe in float32 / float16 / int8. "=" are the very bits of LiteRT on this CPU. Random '
        "weights lose more by int8 than trained ones.",
        f"**ok**: float32 files have at least {FLOAT} dB everywhere, others at most {BELOW} dB less than by LiteRT on "
        "this CPU, or `doctor` warns of the file.",
        "**LiteRT**: XNNPACK on this CPU. **GPU**: LiteRT's GPU accelerator alone, on a software adapter for Vulkan "
        "(SwiftShader). **cortex-a76** (dot products of int8) and **cortex-a53** (none): XNNPACK for arm64 under QEMU. "
        "**WASM**, **WebGPU**: LiteRT.js 2.5.3 in Chromium. **MediaPipe**: Tasks 1.2.2 in Python, 1.1.0 in Chromium.",
    ),
    columns=("input", *RUNTIMES),
    packages=("tensorflow", "keras", "ai-edge-litert", "openvino", "onnxruntime"),
    measure=measure,
    networks=FOR_PHONES | {name: a for name, a in every_network().items() if name not in FOR_PHONES},
)

if __name__ == "__main__":
    TABLE.main()
