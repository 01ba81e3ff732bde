"""What an export starts from: a network with one input and one output, its preprocessing and its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_inception.errors import InputError
from keras_inception.layers import deep_graph
from keras_inception.model_graph import fits, layer_of
from keras_inception.outputs import main_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

from .optimize.fold import kernels_and_bias
from .optimize.graph import Graph, Node, is_integer, scope_name

ModelOrRun: TypeAlias = keras.Model | Run | str | Path | Any  # of other models `Exportable.of` says what to do


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A checked functional network, (n, *input_shape) -> (n, ...).

    `model` has one output; `given` is the unchanged model that it was taken from, with all outputs. `labels` are the
    class names in the order of the outputs; `preprocessing` turns images into the network's input.
    """

    model: keras.Model
    given: keras.Model
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    run: Run | None = None

    @classmethod
    @deep_graph()
    def of(
        cls,
        model_or_run: ModelOrRun,
        *,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Exportable:
        """Check a model, a run or a run directory. A run knows its labels and its preprocessing.

        Raises:
            InputError: it is not a functional model with one input and one main output, it has a layer or weights that
                cannot be exported, or labels or preprocessing do not fit it.
        """
        run = None
        if isinstance(model_or_run, str | Path):
            if (path := Path(model_or_run)).suffix in (".keras", ".h5", ".hdf5"):
                raise InputError(f"{path} is a file: give the model, keras.models.load_model({str(path)!r})")
            model_or_run = Run.load(model_or_run)
        if isinstance(model_or_run, Run):
            run, labels = model_or_run, labels or model_or_run.labels
            preprocessing = preprocessing or run.preprocessing
            model_or_run = run.model()
        if not isinstance(model_or_run, keras.Model):
            raise InputError(_no_model(model_or_run))
        given = model_or_run
        model = _one_to_one(given)
        _check_layers(model)
        if not _is_plain(model, floats=preprocessing is not None):
            given = _plain(given, floats=preprocessing is not None)
            model = _one_to_one(given)
        if labels is not None and len(labels) == 2 and (two := _two_classes(model)):
            given = model = two
        if labels is not None and (blank := [label for label in labels if not label.strip()]):
            raise InputError(f"the label {blank[0]!r} is blank: give each class a name")
        if labels is not None and model.output_shape != (None, len(labels)):
            one = " (two for a single sigmoid)" if model.output_shape == (None, 1) else ""
            raise InputError(
                f"{len(labels)} labels for the output {model.output_shape}: give one label per class{one}, "
                "in the order of the outputs"
            )
        if preprocessing is not None and not fits(preprocessing.input_shape, model.input_shape[1:]):
            raise InputError(
                f"the network takes {model.input_shape[1:]}, the preprocessing makes {preprocessing.input_shape}: "
                "give the preprocessing that the network was trained with"
            )
        return cls(
            model=model,
            given=model if isinstance(given, keras.Sequential) else given,  # Keras 3: it has no `output`
            labels=tuple(labels) if labels else None,
            preprocessing=preprocessing,
            run=run,
        )

    def with_float_input(self) -> Exportable:
        """The same for a network whose input is float32: integers are cast within it."""
        if not is_integer(self.input_dtype):
            return self
        return replace(self, model=_plain(self.model, floats=True), given=_plain(self.given, floats=True))

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The network's input without the batch axis. Free sides have the preprocessing's size, or are None."""
        return self.preprocessing.input_shape if self.preprocessing else self.model.input_shape[1:]

    @property
    def input_dtype(self) -> str:
        """The dtype of the network's input: float32 in all registered networks."""
        return "float32" if self.preprocessing else self.model.inputs[0].dtype

    @property
    def output_name(self) -> str:
        """The output's name in a signature: "probabilities" after a softmax or sigmoid, else "output"."""
        layer = layer_of(self.model.outputs[0])
        activation = getattr(layer, "activation", None)
        probable = activation in (keras.activations.softmax, keras.activations.sigmoid)
        return "probabilities" if probable or isinstance(layer, keras.layers.Softmax) else "output"


def _one_to_one(model: keras.Model) -> keras.Model:
    """The network from its one input to its one or main output."""
    output = main_output(model)
    if len(model.inputs) > 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise InputError(
            f"{model.name} has {len(model.inputs)} inputs ({names}); export takes one: give "
            "keras.Model(the image, an output that needs it alone)"
        )
    return keras.Model(model.inputs[0], output, name=model.name)


def _no_model(given: object) -> str:
    """Why something is not exported."""
    expected = f"expected a keras.Model, a Run or a run directory; got {type(given).__name__}"
    if any(kind.__module__.startswith("tf_keras") for kind in type(given).__mro__):
        return f"{expected} of Keras 2 (tf_keras): save it as model.h5, and give keras.models.load_model('model.h5')"
    return expected


def _is_plain(model: keras.Model, *, floats: bool) -> bool:
    """Whether it has a free batch size, float32 or integer inputs, and names that TensorFlow takes."""
    [tensor] = model.inputs
    dtype = tensor.dtype == "float32" or (is_integer(tensor.dtype) and not floats)
    names = [model.name, *(layer.name for layer in _layers(model))]
    return tensor.shape[0] is None and dtype and all(name == scope_name(name) for name in names)


def _plain(model: keras.Model, *, floats: bool) -> keras.Model:
    """A copy with a free batch size, float32 or integer inputs, and names that TensorFlow takes."""
    graph = Graph(model)
    graph.plain_inputs(floats=floats)
    return graph.model()


def _two_classes(model: keras.Model) -> keras.Model | None:
    """[1 - p, p] of a single sigmoid p(z): it is the softmax of [0, z]. None without a sigmoid at the end."""
    graph = Graph(model)
    [end] = graph.end.sources
    if end.shape != (None, 1) or getattr(end.layer, "activation", None) is not keras.activations.sigmoid:
        return None
    dense = type(end.layer) is keras.layers.Dense
    kernel, bias = kernels_and_bias(end) if dense else (np.ones((1, 1)), np.zeros(1))
    weights = [np.pad(kernel, [(0, 0), (1, 0)]).astype(np.float32), np.pad(bias, (1, 0)).astype(np.float32)]
    layer = keras.layers.Dense(2, activation="softmax")
    graph.end = Node(None, [Node(layer, end.sources, (None, 2), end.name, weights)], (), "outputs")
    return graph.model()


def _check_layers(model: keras.Model) -> None:
    [tensor] = model.inputs
    if tensor.dtype == "string":
        raise InputError(f"{model.name} takes strings: export a model that takes the numbers after its look-up layer")
    for layer in _layers(model):
        if mode := getattr(layer, "quantization_mode", None):
            raise InputError(
                f"layer {layer.name} is quantised to {mode}: give the float model, and quantization= to to_tflite"
            )
        if isinstance(layer, keras.layers.Lambda):
            raise InputError(
                f"layer {layer.name} is a Lambda, whose code no file can hold: use a built-in or registered layer"
            )
    for variable in model.variables:
        values = variable.numpy()
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            raise InputError(
                f"{variable.path} holds {np.sum(~np.isfinite(values))} values that are NaN or infinite: "
                "the training diverged; train again, with a smaller learning rate"
            )


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def compiled(prepare: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """A preprocessing step as a graph, uint8 (H, W, 3) -> float32: the same values, many times as fast."""
    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    graph = tf.function(prepare, [spec], autograph=False).get_concrete_function()
    return lambda image: graph(tf.constant(image)).numpy()


def as_convolution(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """`preprocessing.normalize` as one 1x1 convolution: kernel (1, 1, 3, channels) and bias (channels,).

    The normalisation is affine in a pixel's red, green and blue, so black and the three primaries determine its matrix.
    In int8 one operator rounds once. On two x86 cores it took 0.10 ms (float32) and 0.14 ms (int8) for a 224 x 224
    image; a difference and a product took 0.38 and 0.57 ms.
    """
    black, *primaries = preprocessing.normalize(255 * np.eye(4, 3, -1, np.float32)).numpy()
    return ((np.stack(primaries) - black) / np.float32(255))[np.newaxis, np.newaxis], black
