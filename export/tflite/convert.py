"""A .tflite file: what a phone, a browser or a small board runs."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from ..exits import exit_networks
from ..inputs import ModelOrRun, Source, as_convolution
from ..optimize import INTEGER_RULES, optimize, rewrite
from ..quantization.bias_correction import bias_corrected
from ..quantization.calibration import Calibration, CalibrationSet, calibration_set
from .flatbuffer import float_operators, foreign_operators, is_tflite
from .layer_errors import tensors_of
from .metadata import About, Record, with_record

Quantization = Literal["none", "float16", "dynamic", "int8", "int16x8"]
Edge = Literal["float32", "uint8", "int8"]


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
    about: About | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a .tflite file of batch 1 and built-in operators only, which every TFLite and LiteRT runtime takes.

    With preprocessing known the file normalises by itself: its input `pixels`, (1, height, width, 3), is RGB, 0..255,
    cropped and resized to the network's size. Without, its input `input` is the network's own. Which of the two, the
    labels and the preprocessing are also in the file's metadata (`metadata.Record`).

    A network with early exits (MSDNet) becomes one file with a signature for each, `exit_1` to `exit_k`, over weights
    that are stored once. Each computes from the image to its exit, and a program that opens only subgraph 0 gets the
    last. An app runs `exit_1`, and a later one when the probability is too low; that one starts from the image again.

    The network goes through `optimize` first, and phone libraries find names, input and labels in the file: MediaPipe's
    ImageClassifier takes it as it is, but for more than one signature, and for an input that is not pixels.

    - "none": float32 throughout.
    - "float16": weights in half precision, half the size; phone GPUs compute so too.
    - "dynamic": weights in int8, activations in float32; a quarter of the size, often slower than float32.
    - "int8": everything in int8, by the ranges that `calibration` shows; a quarter of the size and the fastest.
    - "int16x8": int8 weights and int16 activations, for where int8 loses too much; few accelerators take it.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the file to make.
        quantization: one of the above.
        calibration: for "int8" and "int16x8" typical images: an array as the Keras model takes them, (n, H, W, C);
            labelled images as a split, a folder or a run; or a `CalibrationSet`. A run has its own training images
            as the default. The file's record says which they were.
        preprocessing: what the network was trained with; a run knows it.
        labels: class names in the order of the outputs; a run knows them.
        edge: the type of an int8 file's input and output. "float32" by default, so that the same code runs all files
            of a network; "uint8" takes a camera's bytes as they are and returns probabilities in 256 steps. MediaPipe
            and LiteRT.js refuse "int8", which microcontrollers want.
        float_layers: layers that an int8 file computes in float32, by the names that `layer_errors` gives.
        exits: None exports the exits that the model returns; True a FractalNet's columns too, which are networks by
            themselves; False only the last one.
        about: description, version, author and licence for the file's metadata.
        overwrite: replace a file at `path`, once the new one is whole.

    Raises:
        InputError: the model or an argument cannot be used, or `path` exists or cannot be written; nothing is left.
    """
    if quantization not in get_args(Quantization):
        raise InputError(f"unknown quantization {quantization!r}; there are {', '.join(get_args(Quantization))}")
    if edge not in get_args(Edge):
        raise InputError(f"unknown edge {edge!r}; there are {', '.join(get_args(Edge))}")
    if edge != "float32" and quantization != "int8":
        raise InputError(f"edge={edge!r} needs quantization='int8'; {quantization!r} has float32 at the edge")
    if float_layers and quantization != "int8":
        raise InputError(f"float_layers= is for int8; {quantization!r} computes {quantization!r} in all layers")
    integer = quantization in ("int8", "int16x8")
    if calibration is not None and not integer:
        raise InputError(f"calibration= is for int8 and int16x8; {quantization!r} needs none, so leave it out")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="TFLite file", is_kind=is_tflite) as part:
        source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
        if None in source.input_shape:
            raise InputError(
                f"the network takes {source.input_shape}, but a .tflite file one size: give preprocessing=, "
                "or build the network for one input_shape"
            )
        if wrong := [label for label in source.labels or () if label.splitlines() != [label]]:
            raise InputError(f"the label {wrong[0]!r} is empty or has a line break: the file holds a label a line")
        networks = exit_networks(source.given, exits) or {"serving_default": source.model}
        images = calibration_set(calibration, source) if integer else None
        # The last exit first: it is subgraph 0, which is all that many programs know.
        order = [*networks][-1:] + [*networks][:-1]
        models = {
            key: _converted(source, networks[key], quantization, images, edge, part.parent, float_layers)
            for key in order
        }
        record = Record(
            input="pixels" if source.preprocessing else "input",
            preprocessing=source.preprocessing,
            labels=source.labels,
            calibration=images.summary() if images else None,
        )
        about = about or About()
        part.write_bytes(with_record(models, record, replace(about, name=about.name or source.model.name)))
    return path


def _converted(
    source: Source,
    model: keras.Model,
    quantization: Quantization,
    images: CalibrationSet | None,
    edge: Edge,
    work: Path,
    float_layers: Sequence[str],
) -> bytes:
    """Run TensorFlow's converter, by way of a SavedModel in `work`: the one road that leaves no trace of variables."""
    network = optimize(model)
    if quantization == "int8":
        network = rewrite(network, INTEGER_RULES)[0]
    preprocessing = source.preprocessing
    normalize = _normalize(preprocessing) if preprocessing else None
    name, shape = ("pixels", (*preprocessing.size, 3)) if preprocessing else ("input", source.input_shape)
    spec = tf.TensorSpec((1, *shape), source.input_dtype, name=name)
    given = list(images.representative(source.input_dtype)) if images else []
    if images:
        network = bias_corrected(network, map(normalize, given) if normalize else given, leave=float_layers)

    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {source.output_name: network(normalize(x) if normalize else x, training=False)}

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    with quiet(), tempfile.TemporaryDirectory(dir=work) as folder:
        tf.saved_model.save(module, folder, tf.function(serve, [spec], autograph=False))

        def configure(converter: Any) -> None:
            _configure(converter, quantization, edge)
            if images:
                converter.representative_dataset = lambda: ([x] for x in given)

        def convert(**options: bool) -> bytes:
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            configure(converter)
            vars(converter).update(options)
            return converter.convert()

        def convert_partly() -> bytes:
            plain = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            configure(converter)
            converter.target_spec.supported_ops += [tf.lite.OpsSet.TFLITE_BUILTINS]
            options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=tensors_of(plain, float_layers))
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of TensorFlow's own interpreter
                debugger = tf.lite.experimental.QuantizationDebugger(
                    converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
                )
                return debugger.get_nondebug_quantized_model()

        try:
            file = convert_partly() if float_layers else convert()
            if images and not float_layers and (left := float_operators(file)):
                # Where a padding and a concatenation read one tensor, the converter leaves the padding in float, and
                # the convolution behind it; its older quantiser does not, but knows fewer operators.
                with suppress(Exception):
                    older = convert(experimental_new_quantizer=False)
                    file = older if len(float_operators(older)) < len(left) else file
        except InputError:
            raise
        except Exception as error:  # the converter raises many kinds, with pages of text
            found = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
            if found:
                raise _unsupported({name for line in found for name in line.split(", ")}) from error
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"{model.name} cannot be converted to TFLite: {first[:200]}") from error
    if foreign := foreign_operators(file):
        raise _unsupported(foreign)
    return file


def _configure(converter: Any, quantization: Quantization, edge: Edge) -> None:
    ops = tf.lite.OpsSet
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantization == "int8":
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
    elif quantization == "int16x8":
        converter.target_spec.supported_ops = [ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(edge)


def _normalize(preprocessing: Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """`preprocessing.normalize` as one operator, (1, H, W, 3) -> (1, H, W, channels)."""
    kernel, bias = as_convolution(preprocessing)
    return lambda pixels: tf.nn.bias_add(tf.nn.conv2d(pixels, kernel, strides=1, padding="VALID"), bias)


def _unsupported(operators: set[str]) -> InputError:
    return InputError(
        f"the network needs {', '.join(sorted(operators))}, which phones do not have: replace the layers that use it"
    )
