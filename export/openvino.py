"""An OpenVINO folder, the fastest format on an x86 server. Needs the extra `openvino`."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_inception.arguments import checked
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from .inputs import Exportable, ModelOrRun
from .optimize import OPENVINO_RULES
from .quantization.calibration import Calibration, calibration_set
from .quantization.for_servers import ServerQuantization, check_quantization, need_nncf, optimized, quantized_openvino
from .saved_model import pixels_to_outputs, record_of
from .tflite.metadata import NAME

FILE = "model.xml"  # the weights are in model.bin, beside it


@checked
def to_openvino(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    quantization: ServerQuantization = "none",
    calibration: Calibration | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a folder with OpenVINO's model.xml and model.bin, with a free batch size, in NHWC.

    With known preprocessing the input `pixels`, (n, height, width, 3), is RGB, 0..255, cropped and resized; without,
    the input `input` is the network's own. The output has the name that it has in a SavedModel. The record of
    preprocessing and labels is the model's runtime information "keras_inception". The network goes through `optimize`
    first.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to write.
        quantization: "none", or "int8" for processors with VNNI: kernels and maps have 8 bits, inputs and outputs stay
            float32. OpenVINO's NNCF chooses the ranges. Without VNNI it is slower than float32, and sums overflow.
        calibration: typical images for "int8", as in `to_tflite`. The default for a run is its training images.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        overwrite: replace an OpenVINO folder at `path`, after the new one is complete.

    Raises:
        InputError: the extra is not installed, the model cannot be exported, or `path` exists or cannot be written;
            nothing is left.
    """
    need_openvino()
    if quantization == "int8":
        need_nncf()
    check_quantization(quantization, calibration)
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="folder of OpenVINO", is_kind=is_openvino) as part:
        source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
        images = calibration_set(calibration, source) if quantization == "int8" else None
        part.mkdir()
        with quiet(), tempfile.TemporaryDirectory(dir=part.parent) as folder:
            import openvino

            module = tf.Module()
            function, _ = pixels_to_outputs(source, optimized(source, images), module, OPENVINO_RULES)
            tf.saved_model.save(module, folder, function)
            model = openvino.convert_model(folder)
            if images:
                model = quantized_openvino(model, source, images)
            model.set_rt_info(record_of(source, "pixels", images).to_json(), [NAME])
            openvino.save_model(model, str(part / FILE), compress_to_fp16=False)
    return path


def need_openvino() -> None:
    """Raise an InputError unless OpenVINO is installed."""
    if not importlib.util.find_spec("openvino"):
        raise InputError("OpenVINO is not installed: pip install 'keras-inception[openvino]'")


def is_openvino(path: Path) -> bool:
    """Whether it is a folder that holds an OpenVINO model."""
    return (path / FILE).is_file()
