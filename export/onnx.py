"""An ONNX file, for ONNX Runtime and what else reads it. Needs the extra `onnx`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from .inputs import ModelOrRun, Source
from .saved_model import pixels_to_outputs, record_of
from .tflite.metadata import NAME

OPSET = 17  # of 2022: runtimes lag behind, and no network here needs a later one


def to_onnx(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a float32 .onnx file of a free batch, its maps NHWC.

    With preprocessing known its input `pixels`, (n, height, width, 3), is RGB, 0..255, cropped and resized; without,
    `input` is the network's own. The output is called as in a SavedModel. The record of preprocessing and labels is in
    the file's metadata, under "keras_inception". The network goes through `optimize` first.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the file to make.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        overwrite: replace a file at `path`, once the new one is whole.

    Raises:
        InputError: the extra is not installed, the model cannot be exported, or `path` exists or cannot be written;
            nothing is left behind.
    """
    if not (importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnx")):
        raise InputError("ONNX needs tf2onnx and onnx: pip install 'keras-inception[onnx]'")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind=".onnx file", is_kind=is_onnx) as part:
        source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
        with quiet():
            import onnx
            import tf2onnx

            function, spec = pixels_to_outputs(source, tf.Module())
            content, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
            content.metadata_props.add(key=NAME, value=record_of(source, "pixels").to_json())
            onnx.checker.check_model(content)
            onnx.save(content, str(part))
    return path


def is_onnx(path: Path) -> bool:
    """Whether it is a file of that name; the format has no mark."""
    return path.is_file() and path.suffix == ".onnx"
