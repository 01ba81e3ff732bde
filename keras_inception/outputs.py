"""The outputs of a network: which is the main one, what the others are called, and what makes them.

A network returns one classifier's output, or a dict: "predictions" is the last classifier, "aux_1", "aux_2" ... are
auxiliary heads, which only training needs, and "exit_1", "exit_2" ... are early exits, the soonest first. This module
is the one owner of that convention. It also takes functional and `Sequential` models made elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from .errors import InputError
from .layers import deep_graph
from .model_graph import call_of, layer_of

MAIN = "predictions"
EMBEDDING = "embedding"  # what `with_embedding` calls the features

_AUXILIARY, _EXIT = re.compile(r"aux_([1-9]\d*)"), re.compile(r"exit_([1-9]\d*)")


def is_auxiliary(name: str) -> bool:
    """Whether an output of this name is an auxiliary head."""
    return _AUXILIARY.fullmatch(name) is not None


def is_exit(name: str) -> bool:
    """Whether an output, or a signature of an exported file, of this name is an early exit."""
    return _EXIT.fullmatch(name) is not None


def auxiliary_name(number: int) -> str:
    """What the auxiliary head of this number is called; 1 is the nearest to the input."""
    return f"aux_{number}"


def exit_name(number: int) -> str:
    """What the exit of this number is called; 1 is the soonest."""
    return f"exit_{number}"


def by_name(structure: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """What a model returns, or its symbolic outputs, as a dict; a single output is the main one.

    `names` are those of a list of several outputs.
    """
    if isinstance(structure, Mapping):
        return dict(structure)
    listed = list(structure) if isinstance(structure, list | tuple) else [structure]
    return {MAIN: listed[0]} if len(listed) == 1 else dict(zip(names, listed, strict=True))


def outputs_of(model: keras.Model) -> dict[str, Any]:
    """The symbolic outputs of a functional model by name.

    Raises:
        InputError: the model is not functional, or a `Sequential` that has not been built.
    """
    if not getattr(model, "outputs", None):
        raise InputError(
            f"{model.name} ({type(model).__name__}) is not a functional model, so its layers cannot be followed: "
            "build it with keras.Model(inputs, outputs)"
        )
    if isinstance(model, keras.Sequential):  # has no `output` in Keras 3
        return by_name(model.outputs)
    return by_name(model.output, model.output_names)


def main_output(model: keras.Model) -> Any:
    """The symbolic output of the main classifier: the only output, or the one called "predictions".

    Raises:
        InputError: the model is not functional, or has several outputs and none of that name.
    """
    outputs = outputs_of(model)
    if len(outputs) > 1 and MAIN not in outputs:
        raise InputError(
            f"{model.name} has {len(outputs)} outputs ({', '.join(outputs)}) and none is called {MAIN}: "
            "give keras.Model(model.input, the one you want)"
        )
    return outputs[MAIN] if MAIN in outputs else next(iter(outputs.values()))


@deep_graph()
def main_network(model: keras.Model) -> keras.Model:
    """The model with its main output alone, over the same layers and weights; itself if it has no other.

    Raises:
        InputError: as of `main_output`.
    """
    output = main_output(model)
    alone = isinstance(model, keras.Sequential) or model.output is output
    return model if alone else keras.Model(model.input, output, name=model.name)


@deep_graph()
def without_auxiliary(model: keras.Model) -> keras.Model:
    """The network for inference: without auxiliary heads, with its early exits; itself if it has no such heads."""
    outputs = outputs_of(model)
    kept = {name: output for name, output in outputs.items() if not is_auxiliary(name)}
    if len(kept) == len(outputs) or MAIN not in outputs or not all(map(_is_head, outputs)):
        return model
    return keras.Model(model.input, kept if len(kept) > 1 else kept[MAIN], name=model.name)


def auxiliary_names(model: keras.Model) -> tuple[str, ...]:
    """The auxiliary heads of a model, in the order of their numbers."""
    return _numbered(_AUXILIARY, outputs_of(model))


def exit_names(model: keras.Model) -> tuple[str, ...]:
    """The early exits that a model returns, the soonest first; the main output, which comes last, is not among them."""
    return exits_among(outputs_of(model))


def exits_among(names: Iterable[str]) -> tuple[str, ...]:
    """The early exits among names of outputs or signatures, the soonest first."""
    return _numbered(_EXIT, names)


def _numbered(pattern: re.Pattern[str], names: Iterable[str]) -> tuple[str, ...]:
    found = {name: int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    return tuple(sorted(found, key=found.__getitem__))  # exit_2 before exit_10


def classifier_of(output: Any) -> Any:
    """The layer that makes the classes of a symbolic output: the first with weights on the way back.

    Raises:
        InputError: a layer with several inputs comes first, or no layer has weights.
    """
    tensor = output
    while not getattr(layer := layer_of(tensor), "weights", None):
        inputs = call_of(tensor).inputs
        if len(inputs) != 1:
            raise InputError(f"the output {layer_of(output).name} has no classifier: no layer with weights makes it")
        [tensor] = inputs
    return layer


def classifiers(model: keras.Model) -> list[Any]:
    """The classifier of each output of a network of this package, and none of one without a top."""
    named = (output for output in outputs_of(model).values() if _is_head(layer_of(output).name))
    return [classifier_of(output) for output in named]


def _is_head(name: str) -> bool:
    return name == MAIN or is_auxiliary(name) or is_exit(name)


@deep_graph()
def backbone_of(model: keras.Model) -> keras.Model:
    """Images -> what the main classifier takes, before the dropout in front of it, over the model's own layers.

    Auxiliary heads and early exits are not part of it.

    Raises:
        InputError: as of `main_output` and `classifier_of`.
    """
    tensor = main_output(model)
    classifier = classifier_of(tensor)
    while (call := call_of(tensor)).operation is not classifier:
        if isinstance(call.operation, keras.Model):
            raise InputError(
                f"the classifier of {model.name} is in the model {call.operation.name!r}: build that one with "
                "input_tensor= instead, so that its layers are the model's own"
            )
        [tensor] = call.inputs
    [tensor] = call.inputs
    while isinstance(call_of(tensor).operation, keras.layers.Dropout):
        [tensor] = call_of(tensor).inputs
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, tensor, name=f"{model.name}_backbone")


@deep_graph()
def with_embedding(model: keras.Model) -> keras.Model:
    """Images -> {"predictions": the main output, "embedding": (n, features)}, over the model's own layers.

    The embedding is what the main classifier takes, before dropout; of a classifier that is a convolution the mean of
    its map.

    Raises:
        InputError: as of `backbone_of`.
    """
    features = backbone_of(model).output
    if len(features.shape) > 2:
        features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(model.inputs[0], {MAIN: main_output(model), EMBEDDING: features}, name=model.name)
