"""int8 files for servers: what they keep of networks with Google's hosted weights, with and without bias correction.

    make server-int8    # ten minutes; needs the extras onnx and openvino

Half of the 200 photographs of ImageNet's classes calibrate, the other half judges, against the float network. Every
file runs twice: by its runtime's int8 arithmetic on this processor, and rounded as in int8 but computed in float32,
which is what processors with VNNI or dot products give. The result goes into server_int8.md. Weights and photographs
come by their hosted names from the folder that KERAS_INCEPTION_DATA names, ../shared/data by default.
"""

import os
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import keras
import nncf
import numpy as np

from export import HOSTED, hosted, photographs
from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.quantization import for_servers
from keras_inception.export.runtimes import runners
from keras_inception.export.runtimes.processor import processor, sums_exactly
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")


def files_of(model: keras.Model, images: np.ndarray, folder: Path) -> dict[str, Path]:
    """Each file by its row: the format, and whose bias correction it has."""
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
        files["onnx, none"] = export.to_onnx(model, folder / "none.onnx", **options)
        files["openvino, none"] = export.to_openvino(model, folder / "none", **options)
        with mock.patch("nncf.AdvancedQuantizationParameters", theirs):
            files["openvino, NNCF's"] = export.to_openvino(model, folder / "theirs", **options)
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
        f"{processor()}, {'with' if sums_exactly() else 'without'} VNNI. 100 photographs; the answer "
        "is the class of the highest probability.",
    ]
    for name in HOSTED:
        model, prepare = hosted(name)
        x = np.stack([prepare(image) for _, image in photographs()])
        want = model.predict(x[1::2], verbose=0)
        lines += [
            "",
            f"{name}:",
            "",
            "| format | bias correction | bytes | same answer, % | dB | same answer by int8 sums here, % | dB |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        with tempfile.TemporaryDirectory() as folder:
            for file, path in files_of(model, x[::2], Path(folder)).items():
                lines.append(row(file, path, x[1::2], want))
                print(lines[-1], flush=True)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
