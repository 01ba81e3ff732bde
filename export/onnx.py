"""An ONNX file, for ONNX Runtime and other readers of the format. Needs the extra `onnx`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_inception.arguments import checked
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import kept, quiet

from .inputs import Exportable, ModelOrRun
from .optimize import ONNX_RULES
from .quantization.calibration import Calibration, calibration_set
from .quantization.for_servers import ServerQuantization, check_quantization, optimized, quantized_onnx
from .saved_model import pixels_to_outputs, record_of
from .tflite.metadata import NAME

COPIES = "TF2ONNX_CATCH_ERRORS"
OPSET = 17  # of 2022: older runtimes read it, and no network here needs a later one


@checked
def to_onnx(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    quantization: ServerQuantization = "none",
    calibration: Calibration | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    overwrite: bool = False,
) -> Path:
    """Export an .onnx file with a free batch size, in NHWC.

    With known preprocessing the input `pixels`, (n, height, width, 3), is RGB, 0..255, cropped and resized; without,
    the input `input` is the network's own. The output has the name that it has in a SavedModel. The record of
    preprocessing and labels is the file's metadata "keras_inception". The network goes through `optimize` first.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the file to write.
        quantization: "none", or "int8" for processors with VNNI: kernels and maps have 8 bits, inputs and outputs stay
            float32. ONNX Runtime chooses the ranges. Without VNNI it is slower than float32, and sums overflow.
        calibration: typical images for "int8", as in `to_tflite`. The default for a run is its training images.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        overwrite: replace a file at `path`, after the new one is complete.

    Raises:
        InputError: the extra is not installed, the model cannot be exported, or `path` exists or cannot be written;
            nothing is left.
    """
    need_onnx()
    check_quantization(quantization, calibration)
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind=".onnx file", is_kind=is_onnx) as part:
        source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
        images = calibration_set(calibration, source) if quantization == "int8" else None
        with quiet():
            import onnx

            module = tf.Module()  # holds the variables of a large network until it is converted
            function, spec = pixels_to_outputs(source, optimized(source, images), module, ONNX_RULES)
            content = _converted(function, spec)
            if images:
                content = quantized_onnx(content, source, images, part)
            content.metadata_props.add(key=NAME, value=record_of(source, "pixels", images).to_json())
            onnx.checker.check_model(content)
            onnx.save(content, str(part))
    return path


def _converted(function: Any, spec: tf.TensorSpec) -> Any:
    """The ONNX model of a function.

    tf2onnx copies all weights before each of its optimisations, to go back where one fails. So it does without, and is
    called again where one fails.
    """
    import tf2onnx

    with kept(COPIES):
        os.environ[COPIES] = "FALSE"
        try:
            return tf2onnx.convert.from_function(function, [spec], opset=OPSET)[0]
        except Exception:  # of any of its optimisations
            del os.environ[COPIES]
            return tf2onnx.convert.from_function(function, [spec], opset=OPSET)[0]


def need_onnx() -> None:
    """Raise an InputError unless what `to_onnx` needs is installed."""
    if not (importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnx")):
        raise InputError("ONNX needs tf2onnx and onnx: pip install 'keras-inception[onnx]'")


def is_onnx(path: Path) -> bool:
    """Whether it is a file with that suffix; the format has no identifier."""
    return path.is_file() and path.suffix == ".onnx"
