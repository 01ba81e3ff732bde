"""A .tflite file: the format for phones, browsers and small boards."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize

from keras_inception.arguments import Count, checked
from keras_inception.errors import InputError, first_line
from keras_inception.files import new_output
from keras_inception.layers import deep_graph
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import foreign_call, quiet

from ..exits import exit_networks
from ..inputs import Exportable, ModelOrRun, as_convolution
from ..optimize import FLOAT16_RULES, INTEGER_RULES, TFLITE_RULES, Rule, optimize, rewrite
from ..quantization.calibration import Calibration, CalibrationSet, calibration_set
from ..quantization.rounding import prepared
from ..saved_model import record_of
from .flatbuffer import float_operators, foreign_operators, is_tflite, outputs_of_operators
from .metadata import About, with_record
from .ranges import narrowed
from .tensors import in_batches, layer_of, layers_in, tensors_of

Quantization = Literal["none", "float16", "dynamic", "int8", "int16x8"]
LOOPS = {"While", "StatelessWhile", "If", "StatelessIf"}  # TensorFlow's int8 converter ends the process at them
Edge = Literal["float32", "uint8", "int8"]
RULES: dict[str, dict[str, Rule]] = {"float16": FLOAT16_RULES, "int8": INTEGER_RULES}


@dataclass(frozen=True, kw_only=True)
class _Options:
    """How a network is quantised; the arguments of `to_tflite`, checked against each other."""

    quantization: Quantization
    edge: Edge
    float_layers: Sequence[str]
    batch: int

    def __post_init__(self) -> None:
        quantization, edge = self.quantization, self.edge
        if edge != "float32" and quantization != "int8":
            raise InputError(f"edge={edge!r} needs quantization='int8'; {quantization!r} has float32 at its edges")
        if self.float_layers and quantization != "int8":
            raise InputError(f"float_layers= needs quantization='int8'; got {quantization!r}")

    @property
    def calibrated(self) -> bool:
        """Whether activations become integers, by the ranges that calibration images show."""
        return self.quantization in ("int8", "int16x8")


@checked
@deep_graph()
def to_tflite(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    quantization: Quantization = "none",
    calibration: Calibration | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    edge: Edge = "float32",
    float_layers: Sequence[str] = (),
    exits: bool | None = None,
    batch: Count = 1,
    about: About | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a .tflite file of a fixed batch with built-in operators only.

    With known preprocessing the file normalises its input itself: the input `pixels`, (batch, height, width, 3), is
    RGB, 0..255, cropped and resized to the network's size. Without, the input `input` is the network's own. The output
    is `probabilities` after a softmax or sigmoid, else `output`, (batch, classes). The file's metadata holds which
    input it takes, the preprocessing, the labels and the oldest runtime that has its operators (`export.Record`).

    A network with early exits (MSDNet) becomes one file with a signature for each exit, `exit_1` to `exit_k`, over
    weights that are stored once. Each signature computes from the image to its exit; a program that opens subgraph 0
    gets the last exit. An app runs `exit_1` first, and a later exit, from the image again, when the probability is
    too low.

    The network goes through `optimize` first. Phone libraries find names, input and labels in the file: MediaPipe's
    ImageClassifier takes it unchanged, unless it has several signatures, a batch other than 1 or an input other than
    pixels.

    - "none": float32 throughout.
    - "float16": weights in half precision, half the size; phone GPUs compute in it, and grouped convolutions that GPUs
      compute wrongly are split for them.
    - "dynamic": weights in int8, activations in float32; a quarter of the size, often slower than float32. With a dense
      layer of 1024 weights or more it needs a runtime of TensorFlow 2.17 or LiteRT.
    - "int8": all in int8, by the ranges that `calibration` shows; a quarter of the size and the fastest.
    - "int16x8": int8 weights and int16 activations, for networks that lose too much in int8; few accelerators take it.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the file to write.
        quantization: one of the above.
        calibration: typical images for "int8" and "int16x8": an array as the Keras model takes it, (n, H, W, C);
            labelled images as a split, a folder or a run; or a `CalibrationSet`. The default for a run is its training
            images. The file's record describes the images.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        edge: the type of an int8 file's input and output, whatever the model takes. "float32", the default, lets the
            same code run all files of a network; "uint8" takes a camera's bytes unchanged and returns probabilities in
            256 steps. MediaPipe and LiteRT.js refuse "int8", which microcontrollers want.
        float_layers: layers that an int8 file computes in float32, by the names that `layer_errors` gives.
        exits: None exports the exits that the model returns; True also a FractalNet's columns, which are networks of
            their own; False only the last exit.
        about: description, version, author and licence for the file's metadata.
        overwrite: replace a file at `path`, after the new one is complete.

    Raises:
        InputError: the model or an argument cannot be used, or `path` exists or cannot be written; nothing is left.
    """
    options = _Options(quantization=quantization, edge=edge, float_layers=float_layers, batch=batch)
    if calibration is not None and not options.calibrated:
        raise InputError(f"calibration= is for int8 and int16x8; {quantization!r} needs none: leave it out")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite) as part:
        source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
        if None in source.input_shape:
            raise InputError(
                f"the network takes {source.input_shape}, and a .tflite file takes one size: give preprocessing=, "
                "or build the network with a fixed input_shape"
            )
        if options.calibrated:  # the file's own edges are floats, or the bytes that `edge` asks for
            source = source.with_float_input()
        images = calibration_set(calibration, source) if options.calibrated else None
        networks = exit_networks(source.given, exits) or {"serving_default": source.model}
        # The last exit first: it becomes subgraph 0, the only one that many programs know.
        order = [*networks][-1:] + [*networks][:-1]
        models = {
            key: _converted(source, networks[key], options, images, part.parent, last=key == order[0]) for key in order
        }
        record = record_of(source, "pixels", images)
        about = about or About()
        part.write_bytes(with_record(models, record, replace(about, name=about.name or source.model.name)))
    return path


def _converted(
    source: Exportable, model: keras.Model, options: _Options, images: CalibrationSet | None, work: Path, *, last: bool
) -> bytes:
    """Run TensorFlow's converter on a SavedModel in `work`: only that way leaves no trace of variables.

    `last` is whether the model is the network up to its last exit.
    """
    network = rewrite(optimize(model), TFLITE_RULES | RULES.get(options.quantization, {}))[0]
    normalize = _normalize(source.preprocessing) if source.preprocessing else lambda x: x

    def through(network: keras.Model, convert: Callable[[str], bytes]) -> bytes:
        with quiet(), tempfile.TemporaryDirectory(dir=work) as folder:
            _save(network, normalize, source, options.batch, folder)
            try:
                with foreign_call():
                    return convert(folder)
            except InputError:
                raise
            except Exception as error:  # the converter raises many kinds, with pages of text
                if found := re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE):
                    raise _unsupported({name for line in found for name in line.split(", ")}) from error
                raise InputError(f"{model.name} cannot be converted to TFLite: {first_line(error)}") from error

    leave: set[str] = set()
    if options.float_layers:
        plain = through(network, _convert_plainly)
        if not last:  # an earlier exit lacks the layers after it
            known = layers_in(plain)
            options = replace(options, float_layers=[layer for layer in options.float_layers if layer in known])
        # A convolution's operator has the name of the activation that is fused with it.
        leave = {layer_of(part) for name in tensors_of(plain, options.float_layers) for part in name.split(";")}
    examples = list(images.representative(source.input_dtype)) if images else []
    if examples:
        inputs = [normalize(x) for x in examples]
        network = prepared(network, inputs, leave)
    content = through(network, lambda folder: _convert(folder, options, in_batches(examples, options.batch)))
    if foreign := foreign_operators(content):
        raise _unsupported(foreign)
    return content


def _save(
    network: keras.Model, normalize: Callable[[tf.Tensor], tf.Tensor], source: Exportable, batch: int, folder: str
) -> None:
    """Write the network with its normalisation as a SavedModel of a fixed batch."""
    preprocessing = source.preprocessing
    name, shape = ("pixels", (*preprocessing.size, 3)) if preprocessing else ("input", source.input_shape)
    spec = tf.TensorSpec((batch, *shape), source.input_dtype, name=name)

    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {source.output_name: network(normalize(x), training=False)}

    function = tf.function(serve, [spec], autograph=False)
    if LOOPS & {operation.type for operation in function.get_concrete_function().graph.get_operations()}:
        raise InputError(
            f"{network.name} has a loop or a condition, and a .tflite file has one graph: give unroll=True to "
            "recurrent layers, or export a SavedModel"
        )
    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    tf.saved_model.save(module, folder, function)


def _convert(folder: str, options: _Options, examples: Sequence[np.ndarray]) -> bytes:
    if options.quantization != "int8":
        return _converter(folder, options, examples).convert()
    leave = []
    if options.float_layers:
        plain = _convert_plainly(folder)
        leave = tensors_of(plain, options.float_layers)
        if set(leave) == set(outputs_of_operators(plain)):
            raise InputError("float_layers= names every layer of the network: export it with quantization='none'")
    content = _quantized(narrowed(_calibrated(folder, options, examples), examples), options, leave)
    if not leave and (left := float_operators(content)):
        # Where a padding and a concatenation read one tensor, the converter leaves the padding and the convolution
        # after it in float. Its older quantiser does not, but it knows fewer operators.
        older = _converter(folder, options, examples)
        older.experimental_new_quantizer = False
        with suppress(Exception):
            other = older.convert()
            content = other if len(float_operators(other)) < len(left) else content
    return content


def _calibrated(folder: str, options: _Options, examples: Sequence[np.ndarray]) -> bytes:
    """A file in float32 with the ranges of its tensors over the images, before the converter quantises it."""
    converter = _converter(folder, options, examples)
    converter._experimental_calibrate_only = True
    content: bytes = converter.convert()
    return content


def _quantized(calibrated: bytes, options: _Options, leave: Sequence[str]) -> bytes:
    """A file in int8 from one with ranges, by TensorFlow's newer quantiser, which the converter calls itself, too.

    `leave` are tensors that stay in float.
    """
    edge = tf.as_dtype(options.edge)
    content: bytes = mlir_quantize(
        calibrated, input_data_type=edge, output_data_type=edge, denylisted_nodes=list(leave)
    )
    return content


def _convert_plainly(folder: str) -> bytes:
    content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def _converter(folder: str, options: _Options, examples: Sequence[np.ndarray]) -> Any:
    """TensorFlow's converter of a SavedModel, configured."""
    converter, ops = tf.lite.TFLiteConverter.from_saved_model(folder), tf.lite.OpsSet
    if options.quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if options.quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif options.quantization == "int8":
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
    elif options.quantization == "int16x8":
        converter.target_spec.supported_ops = [ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(options.edge)
    if examples:
        converter.representative_dataset = lambda: ([x] for x in examples)
    return converter


def _normalize(preprocessing: Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """`preprocessing.normalize` as one operator, (1, H, W, 3) -> (1, H, W, channels)."""
    kernel, bias = as_convolution(preprocessing)
    return lambda pixels: tf.nn.bias_add(tf.nn.conv2d(pixels, kernel, strides=1, padding="VALID"), bias)


def _unsupported(operators: set[str]) -> InputError:
    return InputError(
        f"the network needs {', '.join(sorted(operators))}, which phones do not have: replace the layers that use it"
    )
