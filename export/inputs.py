"""What is exported: a network with one input and one output, and what is known about its images and classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np

from keras_inception.errors import InputError
from keras_inception.model_graph import layer_of
from keras_inception.outputs import main_output
from keras_inception.preprocessing import Preprocessing
from keras_inception.run import Run

ModelOrRun: TypeAlias = keras.Model | Run | str | Path


@dataclass(frozen=True, kw_only=True)
class Source:
    """A functional network, (n, *input_shape) -> (n, ...), checked; the model that it came from is not changed.

    `given` is that model, with all of its outputs. `labels` are the class names in the order of the outputs;
    `preprocessing` makes the network's input from images.
    """

    model: keras.Model
    given: keras.Model
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    run: Run | None = None

    @classmethod
    def of(
        cls,
        model_or_run: ModelOrRun,
        *,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Source:
        """Take a model, a run or a run directory; a run knows its labels and its preprocessing.

        Raises:
            InputError: not a functional model of one input and one output, or one that cannot be exported; or labels or
                preprocessing that do not fit it.
        """
        run = None
        if isinstance(model_or_run, str | Path):
            model_or_run = Run.load(model_or_run)
        if isinstance(model_or_run, Run):
            run, labels = model_or_run, labels or model_or_run.labels
            preprocessing = preprocessing or run.preprocessing
            model_or_run = run.model()
        if not isinstance(model_or_run, keras.Model):
            raise InputError(f"expected a keras.Model, a Run or a run directory; got {type(model_or_run).__name__}")
        model = _one_to_one(model_or_run)
        _check_layers(model)
        if labels is not None and model.output_shape != (None, len(labels)):
            raise InputError(
                f"{len(labels)} labels for the output {model.output_shape}: give one label for each class, "
                "in the order of the outputs"
            )
        if preprocessing is not None and not fits(preprocessing.input_shape, model.input_shape[1:]):
            raise InputError(
                f"the network takes {model.input_shape[1:]}, the preprocessing makes {preprocessing.input_shape}: "
                "give the preprocessing that the network was trained with"
            )
        return cls(
            model=model,
            given=model if isinstance(model_or_run, keras.Sequential) else model_or_run,  # Keras 3: it has no `output`
            labels=tuple(labels) if labels else None,
            preprocessing=preprocessing,
            run=run,
        )

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The network's input without the batch; free sides are as the preprocessing makes them, or None."""
        return self.preprocessing.input_shape if self.preprocessing else self.model.input_shape[1:]

    @property
    def input_dtype(self) -> str:
        """The type of the network's input, float32 but for a user's own networks."""
        return "float32" if self.preprocessing else self.model.inputs[0].dtype

    @property
    def output_name(self) -> str:
        """What the network's numbers are called in a signature: "probabilities" behind a softmax or sigmoid."""
        layer = layer_of(self.model.outputs[0])
        activation = getattr(layer, "activation", None)
        probable = activation in (keras.activations.softmax, keras.activations.sigmoid)
        return "probabilities" if probable or isinstance(layer, keras.layers.Softmax) else "output"


def _one_to_one(model: keras.Model) -> keras.Model:
    """The network from its one input to its one or main output."""
    output = main_output(model)
    if len(model.inputs) > 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise InputError(f"{model.name} has {len(model.inputs)} inputs ({names}); export takes one")
    return keras.Model(model.inputs[0], output, name=model.name)


def _check_layers(model: keras.Model) -> None:
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Lambda):
            raise InputError(
                f"layer {layer.name} is a Lambda, whose code no file can hold: put a built-in or registered layer there"
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


def fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    """Whether a shape is one that the pattern allows, in which None is any size."""
    return len(shape) == len(pattern) and all(p in (None, s) for s, p in zip(shape, pattern, strict=True))


def as_convolution(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """`preprocessing.normalize` as one 1x1 convolution: kernel (1, 1, 3, channels) and bias (channels,).

    The normalisation is affine in a pixel's red, green and blue, so black and the three primaries tell its matrix. In
    int8 one operator rounds once. On two x86 cores it took 0.10 ms (float32) and 0.14 ms (int8) of a 224 x 224 image,
    where a difference and a product took 0.38 and 0.57 ms.
    """
    black, *primaries = preprocessing.normalize(255 * np.eye(4, 3, -1, np.float32)).numpy()
    return ((np.stack(primaries) - black) / np.float32(255))[np.newaxis, np.newaxis], black
