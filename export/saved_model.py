"""A TensorFlow SavedModel: what a server loads, with preprocessing, labels and weights inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from keras_inception.preprocessing import Preprocessing
from keras_inception.quiet import quiet

from ._files import new_output
from ._source import ModelOrRun, Source, in_float32
from .metadata import NAME, Record

RECORD_FILE = f"assets.extra/{NAME}.json"  # TensorFlow leaves assets.extra to others
# Bytes of weights up to which they become constants of the graph. TensorFlow copies a graph some 25 times when it saves
# one: a network of 550 MB took 15 GB, and its few, large layers gain nothing by it.
FREEZE_BELOW = 2**28

Graph: TypeAlias = Callable[[tf.Tensor], Any]  # a tf.function of one tensor


def to_saved_model(
    model_or_run: ModelOrRun,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a SavedModel for TensorFlow Serving or `tf.saved_model.load`; it needs neither Keras nor this package.

    Signatures, the batch of each one free:

    - `serving_default`: `picture`, uint8 (n, H, W, 3) RGB of any size.
    - `encoded`: `encoded`, strings (n,): the bytes of JPEG, PNG, BMP or GIF files (the first frame), each of any size.
      EXIF orientation is not applied. A file is decoded at whatever size it declares: a public server should limit it.
    - `preprocessed`: `input`, the network's own, float32 (n, *input_shape).

    Each returns `probabilities` (n, classes) float32, and with labels known `label` (n,), the most probable one, and
    `classes` (classes,), all of them in order. What does not end in a softmax or sigmoid returns `output` instead of
    `probabilities`. Without preprocessing only the last signature exists, and it is `serving_default`.

    The weights, stored once, are constants, so that TensorFlow folds and fuses batch norm when it loads the graph.

    Args:
        model_or_run: a functional model, a run or a run directory.
        path: the folder to make.
        labels: class names in the order of the outputs; a run knows them.
        preprocessing: what the network was trained with; a run knows it.
        overwrite: replace a SavedModel at `path`, once the new one is whole.

    Raises:
        InputError: the model cannot be exported, or `path` exists or cannot be written; nothing is left behind.
    """
    path = Path(path)
    with new_output(path, overwrite=overwrite, kind="SavedModel", is_kind=is_saved_model) as part:
        source = Source.of(model_or_run, labels=labels, preprocessing=preprocessing)
        module = tf.Module()
        with quiet():
            signatures = _signatures(source, _network(in_float32(source.model), module))
            tf.saved_model.save(module, str(part), signatures)
        record = Record(
            input="picture" if source.preprocessing else "input",
            preprocessing=source.preprocessing,
            labels=source.labels,
        )
        file = part / RECORD_FILE
        file.parent.mkdir()
        file.write_text(record.to_json() + "\n", encoding="utf-8")
    return path


def is_saved_model(path: Path) -> bool:
    """Whether a SavedModel is there."""
    return (path / "saved_model.pb").is_file()


def _network(model: keras.Model, module: tf.Module) -> Graph:
    """One graph function for all signatures. Its weights are constants, or variables of `module` if they are many."""
    variables = model.trainable_variables, model.non_trainable_variables
    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype, name="input")
    if sum(v.value.dtype.size * v.shape.num_elements() for group in variables for v in group) > FREEZE_BELOW:
        module.weights = [v.value for group in variables for v in group]
        return tf.function(
            lambda inputs: model(inputs, training=False), [spec], autograph=False
        ).get_concrete_function()
    weights = [[v.numpy() for v in group] for group in variables]

    def network(inputs: tf.Tensor) -> tf.Tensor:
        constants = [[tf.constant(values) for values in group] for group in weights]
        return model.stateless_call(*constants, inputs, training=False)[0]

    return tf.function(network, [spec], autograph=False).get_concrete_function()


def _signatures(source: Source, network: Graph) -> dict[str, Graph]:
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

    def from_picture(picture: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(prepare(picture))

    def from_encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(tf.map_fn(from_file, encoded, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    def from_file(content: tf.Tensor) -> tf.Tensor:
        return prepare(tf.io.decode_image(content, channels=3, expand_animations=False))

    picture = tf.TensorSpec((None, None, None, 3), tf.uint8, name="picture")
    encoded = tf.TensorSpec((None,), tf.string, name="encoded")
    return {
        "serving_default": tf.function(from_picture, [picture], autograph=False),
        "encoded": tf.function(from_encoded, [encoded], autograph=False),
        "preprocessed": tf.function(answer, [own], autograph=False),
    }
