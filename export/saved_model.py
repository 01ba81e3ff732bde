"""A TensorFlow SavedModel: what a server loads, with preprocessing, labels and weights inside."""

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

from .inputs import ModelOrRun, Source
from .optimize import Graph, optimize
from .tflite.metadata import NAME, Input, Record

RECORD_FILE = f"assets.extra/{NAME}.json"  # TensorFlow leaves assets.extra to others
# Bytes of weights up to which they become constants of the graph. TensorFlow copies a graph some 25 times when it saves
# one: a network of 550 MB took 15 GB, and its few, large layers gain nothing by it.
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

    Signatures, the batch of each one free:

    - `serving_default`: `image`, uint8 (n, H, W, 3) RGB of any size.
    - `encoded`: `encoded`, strings (n,): the bytes of JPEG, PNG, BMP or GIF files (the first frame), each of any size.
      EXIF orientation is not applied. A file is decoded at whatever size it declares: a public server should limit it.
    - `preprocessed`: `input`, the network's own, float32 (n, *input_shape).

    Each returns `probabilities` (n, classes) float32, and with labels known `label` (n,), the most probable one, and
    `classes` (classes,), all of them in order. What does not end in a softmax or sigmoid returns `output` instead of
    `probabilities`. Without preprocessing only the last signature exists, and it is `serving_default`.

    The network goes through `optimize` first. Its weights, stored once, are constants, so that TensorFlow fuses what it
    can when it loads the graph; beyond `FREEZE_BELOW` bytes they are variables.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to make.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        precision: of the weights and of the computation, but for the last layer; inputs and outputs are float32 all the
            same. "float16" and "bfloat16" are for GPUs that compute faster in them: half the memory, and on a CPU
            slower. float16 ends at 65,504, which networks without batch norm may pass.
        jit_compile: let XLA compile the network, anew for each batch size. For GPUs: on a CPU it is slower.
        overwrite: replace a SavedModel at `path`, once the new one is whole.

    Raises:
        InputError: the model or an argument cannot be used, or `path` exists or cannot be written; nothing is left.
    """
    if precision not in get_args(Precision):
        raise InputError(f"unknown precision {precision!r}; there are {', '.join(get_args(Precision))}")
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="SavedModel", is_kind=is_saved_model) as part:
        source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
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


def record_of(source: Source, takes: Input) -> Record:
    """What a file says of itself that takes images or pixels where it knows the preprocessing."""
    return Record(
        input=takes if source.preprocessing else "input", preprocessing=source.preprocessing, labels=source.labels
    )


def is_saved_model(path: Path) -> bool:
    """Whether a SavedModel is there."""
    return (path / "saved_model.pb").is_file()


def _network(model: keras.Model, given: str, module: tf.Module, jit_compile: bool) -> Function:
    """One graph function for all signatures, of an input of the type `given`.

    Its weights are constants, or variables of `module` if they are many.
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


def pixels_to_outputs(source: Source, module: tf.Module) -> tuple[Function, tf.TensorSpec]:
    """What other formats are made from: the optimised network on a batch of RGB pixels, 0..255, as {name: outputs}.

    Without preprocessing on its own input. The weights are constants, or variables of `module` if they are many.
    """
    network = _network(optimize(source.model), source.input_dtype, module, jit_compile=False)
    normalize = source.preprocessing.normalize if source.preprocessing else None
    shape = (*source.preprocessing.size, 3) if source.preprocessing else source.input_shape
    spec = tf.TensorSpec((None, *shape), source.input_dtype, name="pixels" if normalize else "input")

    def answer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {source.output_name: network(normalize(x) if normalize else x)}

    return tf.function(answer, [spec], autograph=False), spec


def _signatures(source: Source, network: Function) -> dict[str, Function]:
    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(inputs)
        if source.labels is None:
            return {source.output_name: outputs}
        classes = tf.constant(source.labels)
        best = tf.gather(classes, tf.argmax(outputs, axis=-1))
        return {source.output_name: outputs, "label": best, "classes": classes}

    own = tf.TensorSpec((None, *source.input_shape), source.input_dtype, name="input")
    if source.preprocessing is None:
        return {"serving_default": tf.function(answer, [own], autograph=False)}
    prepare, shape = source.preprocessing, source.preprocessing.input_shape

    def from_image(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(prepare(image))

    def from_encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(tf.map_fn(from_file, encoded, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    def from_file(content: tf.Tensor) -> tf.Tensor:
        return prepare(tf.io.decode_image(content, channels=3, expand_animations=False))

    image = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    encoded = tf.TensorSpec((None,), tf.string, name="encoded")
    return {
        "serving_default": tf.function(from_image, [image], autograph=False),
        "encoded": tf.function(from_encoded, [encoded], autograph=False),
        "preprocessed": tf.function(answer, [own], autograph=False),
    }
