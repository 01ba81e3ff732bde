"""A fake-quantised Keras 2 model as an int8 .tflite file."""

from __future__ import annotations

import gc
import tempfile
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_inception.errors import InputError, first_line
from keras_inception.terminal import foreign_call, quiet

from ...tflite.convert import Edge
from ...tflite.flatbuffer import float_operators


def to_int8(
    model: Any, *, input_name: str = "input", output_name: str = "output", batch: int = 1, edge: Edge = "float32"
) -> bytes:
    """Convert a fake-quantised Keras 2 model to a .tflite file, int8 inside, as `to_tflite` does a float network.

    Raises:
        InputError: it cannot be converted, or an operator inside it stays in float.
    """
    with quiet(), tempfile.TemporaryDirectory() as folder:
        _save_constants(model, folder, input_name, output_name, batch)
        gc.collect()  # the traced graphs have cycles, and hold the weights several times
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(edge)
        try:
            with foreign_call():
                content = converter.convert()
        except Exception as error:  # the converter raises many kinds, with pages of text
            raise InputError(f"{model.name} cannot be converted to int8: {first_line(error)}") from error
    if left := float_operators(content):
        raise InputError(
            f"{model.name} keeps {', '.join(sorted(set(left)))} in float: TFLite has no int8 kernel for it"
        )
    return content


def _save_constants(model: Any, folder: str, input_name: str, output_name: str, batch: int) -> None:
    """Write a SavedModel with constants; one with variables takes three times as long to write and read."""
    spec = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name=input_name)
    traced = tf.function(lambda x: model(x, training=False), [spec], autograph=False).get_concrete_function()
    constant = convert_variables_to_constants_v2(traced)

    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name: constant(x)[0]}

    tf.saved_model.save(tf.Module(), folder, tf.function(serve, [spec], autograph=False))
