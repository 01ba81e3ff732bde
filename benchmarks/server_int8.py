"""int8 files for servers: their times, and what they keep of Google's hosted weights with and without our rounding.

    make server-int8    # twenty minutes; needs the extras onnx and openvino

The times are of networks of keras.applications with random weights, float32 beside int8, in one interleaved run.
Half of the 200 photographs of ImageNet's classes calibrate, the other half judges, against the float network. Every
file runs twice: by its runtime's int8 arithmetic on this processor, and rounded as in int8 but computed in float32,
which is what processors with VNNI or dot products give. The result goes into server_int8.md. Weights and photographs
come by their hosted names from the folder that KERAS_INCEPTION_DATA names, ../shared/data by default.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import keras
import nncf
import numpy as np

from export import HOSTED, SERVERS, hosted, photographs, servers
from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.quantization import for_servers
from keras_inception.export.runtimes import runners
from keras_inception.export.runtimes.processor import processor, sums_exactly
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")
SECONDS = 8  # for each file
WRITERS = {
    "saved_model": (export.to_saved_model, "", {"precision": "int8"}),
    "tflite": (export.to_tflite, ".tflite", {"quantization": "int8"}),
    "onnx": (export.to_onnx, ".onnx", {"quantization": "int8"}),
    "openvino": (export.to_openvino, "", {"quantization": "int8"}),
}


def times(folder: Path) -> Iterator[str]:
    files: dict[tuple[str, str, str], Path] = {}
    for name, model, x in servers():
        for format, (write, ending, int8) in WRITERS.items():
            for numbers, given in {"float32": {}, "int8": int8 | {"calibration": x}}.items():
                path = folder / f"{name}.{format}.{numbers}{ending}"
                files[name, format, numbers] = write(model, path, **given)
    found = export.benchmark([*files.values()], seconds=SECONDS)
    timed = {Path(t.path).name: t for t in found.timings}
    yield f"Milliseconds an image, {found.threads} threads:"
    yield ""
    yield "| network | format | float32 | int8 | of float32 | MB in int8 | memory in int8, MB |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for name in SERVERS:
        for format in WRITERS:
            plain, int8 = (timed[files[name, format, numbers].name] for numbers in ("float32", "int8"))
            share = int8.milliseconds / plain.milliseconds
            sizes = f"{int8.bytes / 1e6:.1f} | {int8.memory / 1e6:.0f}"
            yield f"| {name} | {format} | {plain.milliseconds:.1f} | {int8.milliseconds:.1f} | {share:.2f} | {sizes} |"


def files_of(model: keras.Model, images: np.ndarray, folder: Path) -> dict[str, Path]:
    """Each file by its row: the format, and who rounds its kernels and corrects its biases."""
    options = {"quantization": "int8", "calibration": images}
    plain, tuned = for_servers.optimize, nncf.AdvancedQuantizationParameters

    def theirs(**given: object) -> nncf.AdvancedQuantizationParameters:
        return tuned(**given | {"disable_bias_correction": False})

    def uncorrected(source: export.inputs.Exportable, images: object) -> keras.Model:
        return plain(source.model)

    files = {
        "tflite, ours": export.to_tflite(model, folder / "int8.tflite", **options),
        "onnx, ours": export.to_onnx(model, folder / "ours.onnx", **options),
        "openvino, ours": export.to_openvino(model, folder / "ours", **options),
    }
    with (
        mock.patch("keras_inception.export.onnx.optimized", uncorrected),
        mock.patch("keras_inception.export.openvino.optimized", uncorrected),
    ):
        files["onnx, to the nearest"] = export.to_onnx(model, folder / "none.onnx", **options)
        files["openvino, to the nearest"] = export.to_openvino(model, folder / "none", **options)
        with mock.patch("nncf.AdvancedQuantizationParameters", theirs):
            files["openvino, NNCF corrects biases"] = export.to_openvino(model, folder / "theirs", **options)
    return files


def outputs(path: Path, x: np.ndarray, *, exactly: bool) -> np.ndarray:
    with mock.patch.object(runners, "sums_exactly", return_value=not exactly):
        run = runners.open_file(path).runners["input"]
    return np.concatenate([run(image[np.newaxis]) for image in x])


def row(name: str, path: Path, x: np.ndarray, want: np.ndarray) -> str:
    def judged(got: np.ndarray) -> str:
        return f"{100 * (got.argmax(-1) == want.argmax(-1)).mean():.0f} | {snr(want, got):.1f}"

    exact, here = (judged(outputs(path, x, exactly=exactly)) for exactly in (True, False))
    return f"| {' | '.join(name.split(', '))} | {runners.size_of(path):,} | {exact} | {here} |"


def main() -> None:
    lines = [
        "# int8 for servers",
        "",
        f"By `make server-int8`, {date.today()}; "
        + ", ".join(f"{p} {version(p)}" for p in ("tensorflow", "onnxruntime", "openvino", "nncf", "ai-edge-litert"))
        + ".",
        f"{processor()}, {os.cpu_count()} cores, {'with' if sums_exactly() else 'without'} VNNI.",
        "",
        "## Times",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for line in times(Path(folder)):
            print(line, flush=True)
            lines.append(line)
    lines += [
        "",
        "## What is kept",
        "",
        "100 photographs; the answer is the class of the highest probability.",
    ]
    for name in HOSTED:
        model, prepare = hosted(name)
        x = np.stack([prepare(image) for _, image in photographs()])
        want = model.predict(x[1::2], verbose=0)
        lines += [
            "",
            f"{name}:",
            "",
            "| format | rounding | bytes | same answer, % | dB | same answer by int8 sums here, % | dB |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        with tempfile.TemporaryDirectory() as folder:
            for file, path in files_of(model, x[::2], Path(folder)).items():
                lines.append(row(file, path, x[1::2], want))
                print(lines[-1], flush=True)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
