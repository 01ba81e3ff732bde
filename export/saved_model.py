"""A TensorFlow SavedModel: the format for servers, with preprocessing, labels and weights inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import keras
import tensorflow as tf

from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.terminal import quiet

from .image_decoder import decode_graph
from .inputs import Exportable, ModelOrRun
from .optimize import Graph, optimize
from .tflite.metadata import NAME, Input, Record

RECORD_FILE = f"assets.extra/{NAME}.json"  # assets.extra is the place for files of other programs
# Weights of up to this many bytes become constants of the graph. TensorFlow copies a graph some 25 times when it saves
# it: a network of 550 MB took 15 GB, and its few large layers gain nothing.
FREEZE_BELOW = 2**28

Precision = Literal["float32", "float16", "bfloat16"]

Function: TypeAlias = Callable[[tf.Tensor], Any]  # a tf.function of one tensor


def to_saved_model(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    precision: Precision = "float32",
    jit_compile: bool = False,
    overwrite: bool = False,
) -> Path:
    """Export a SavedModel for TensorFlow Serving or `tf.saved_model.load`; it needs neither Keras nor this package.

    The signatures, each with a free batch size:

    - `serving_default`: `image`, uint8 (n, H, W, 3) RGB of any size.
    - `encoded`: `encoded`, strings (n,): the bytes of JPEG, PNG, BMP, GIF or WebP files, each of any size, decoded to
      what `data.decode` returns, within one grey level. Refused is what `decode` refuses, files of more than 67 million
      pixels among them, and BMP files that are compressed or have 16 bits a pixel.
    - `preprocessed`: `input`, the network's own input, float32 (n, *input_shape).

    Each returns `probabilities` (n, classes) float32, and with known labels `label` (n,), the most probable one, and
    `classes` (classes,), all labels in order. A network that does not end in a softmax or sigmoid returns `output`
    instead of `probabilities`. Without preprocessing only the last signature exists, as `serving_default`.

    The network goes through `optimize` first. Its weights are stored once, as constants, so that TensorFlow fuses
    operators when it loads the graph; above `FREEZE_BELOW` bytes they are variables.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to write.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        precision: of the weights and of the computation except for the last layer; inputs and outputs stay float32.
            "float16" and "bfloat16" are for GPUs that compute faster in them: half the memory, but slower on a CPU.
            float16 ends at 65,504, which networks without batch norm may exceed.
        jit_compile: let XLA compile the network, once per batch size. For GPUs; on a CPU it is slower.
        overwrite: replace a SavedModel at `path`, after the new one is complete.

    Raises:
        InputError: the model or an argument cannot be used, or `path` exists or cannot be written; nothing is left.
    """
    if precision not in get_args(Precision):
        raise InputError(f"unknown precision {precision!r}; give one of {', '.join(get_args(Precision))}")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="SavedModel", is_kind=is_saved_model) as part:
        source = Exportable.of(model_or_run, labels=labels, preprocessing=preprocessing)
        module = tf.Module()
        model = optimize(source.model)
        if precision != "float32":
            model = Graph(model).model(precision)
        with quiet():
            signatures = _signatures(source, _network(model, source.input_dtype, module, jit_compile))
            tf.saved_model.save(module, str(part), signatures)
        file = part / RECORD_FILE
        file.parent.mkdir()
        file.write_text(record_of(source, "image").to_json() + "\n", encoding="utf-8")
    return path


def record_of(source: Exportable, takes: Input) -> Record:
    """The record of a file that takes this input if the preprocessing is known, else the network's own."""
    return Record(
        input=takes if source.preprocessing else "input", preprocessing=source.preprocessing, labels=source.labels
    )


def is_saved_model(path: Path) -> bool:
    """Whether the folder holds a SavedModel."""
    return (path / "saved_model.pb").is_file()


def _network(model: keras.Model, given: str, module: tf.Module, jit_compile: bool) -> Function:
    """One graph function for all signatures, with an input of the dtype `given`.

    Its weights are constants, or variables of `module` above `FREEZE_BELOW` bytes.
    """
    variables = model.trainable_variables, model.non_trainable_variables
    if sum(v.value.dtype.size * v.shape.num_elements() for group in variables for v in group) > FREEZE_BELOW:
        module.weights = [v.value for group in variables for v in group]

        def call(inputs: tf.Tensor) -> tf.Tensor:
            return model(inputs, training=False)

    else:
        weights = [[v.numpy() for v in group] for group in variables]

        def call(inputs: tf.Tensor) -> tf.Tensor:
            constants = [[tf.constant(values) for values in group] for group in weights]
            return model.stateless_call(*constants, inputs, training=False)[0]

    own, spec = model.inputs[0].dtype, tf.TensorSpec(model.input_shape, given, name="input")

    def network(inputs: tf.Tensor) -> tf.Tensor:
        outputs = call(tf.cast(inputs, own))
        return tf.cast(outputs, tf.float32) if outputs.dtype.size == 2 else outputs

    return tf.function(network, [spec], autograph=False, jit_compile=jit_compile or None).get_concrete_function()


def pixels_to_outputs(source: Exportable, module: tf.Module) -> tuple[Function, tf.TensorSpec]:
    """The function that other formats are converted from: RGB pixels (n, H, W, 3), 0..255 -> {name: outputs}.

    Without preprocessing it takes the network's own input. The weights are as in `_network`.
    """
    network = _network(optimize(source.model), source.input_dtype, module, jit_compile=False)
    normalize = source.preprocessing.normalize if source.preprocessing else None
    shape = (*source.preprocessing.size, 3) if source.preprocessing else source.input_shape
    spec = tf.TensorSpec((None, *shape), source.input_dtype, name="pixels" if normalize else "input")

    def outputs_of(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {source.output_name: network(normalize(x) if normalize else x)}

    return tf.function(outputs_of, [spec], autograph=False), spec


def _signatures(source: Exportable, network: Function) -> dict[str, Function]:
    def outputs_of(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(inputs)
        if source.labels is None:
            return {source.output_name: outputs}
        classes = tf.constant(source.labels)
        best = tf.gather(classes, tf.argmax(outputs, axis=-1))
        return {source.output_name: outputs, "label": best, "classes": classes}

    own = tf.TensorSpec((None, *source.input_shape), source.input_dtype, name="input")
    if source.preprocessing is None:
        return {"serving_default": tf.function(outputs_of, [own], autograph=False)}
    prepare, shape = source.preprocessing, source.preprocessing.input_shape

    def from_image(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs_of(prepare(image))

    def from_encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs_of(tf.map_fn(from_file, encoded, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    def from_file(content: tf.Tensor) -> tf.Tensor:
        return prepare(decode_graph(content))

    image = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    encoded = tf.TensorSpec((None,), tf.string, name="encoded")
    return {
        "serving_default": tf.function(from_image, [image], autograph=False),
        "encoded": tf.function(from_encoded, [encoded], autograph=False),
        "preprocessed": tf.function(outputs_of, [own], autograph=False),
    }
