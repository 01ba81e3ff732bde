"""OpenVINO's files, the fastest on an x86 server. Needs the extra `openvino`."""

from __future__ import annotations

import importlib.util
import tempfile
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

FILE = "model.xml"  # with the weights beside it, in model.bin


def to_openvino(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a folder with OpenVINO's model.xml and model.bin, float32 and of a free batch, its maps NHWC.

    With preprocessing known its input `pixels`, (n, height, width, 3), is RGB, 0..255, cropped and resized; without,
    `input` is the network's own. The output is called as in a SavedModel. The record of preprocessing and labels is the
    model's runtime information "keras_inception". The network goes through `optimize` first.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to make.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        overwrite: replace such a folder at `path`, once the new one is whole.

    Raises:
        InputError: the extra is not installed, the model cannot be exported, or `path` exists or cannot be written;
            nothing is left behind.
    """
    if not importlib.util.find_spec("openvino"):
        raise InputError("OpenVINO is not installed: pip install 'keras-inception[openvino]'")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="folder of OpenVINO's", is_kind=is_openvino) as part:
        source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
        part.mkdir()
        with quiet(), tempfile.TemporaryDirectory(dir=part.parent) as folder:
            import openvino

            module = tf.Module()
            function, _ = pixels_to_outputs(source, module)
            tf.saved_model.save(module, folder, function)
            model = openvino.convert_model(folder)
            model.set_rt_info(record_of(source, "pixels").to_json(), [NAME])
            openvino.save_model(model, str(part / FILE), compress_to_fp16=False)
    return path


def is_openvino(path: Path) -> bool:
    """Whether it is a folder with OpenVINO's model in it."""
    return (path / FILE).is_file()
