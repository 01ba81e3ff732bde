"""Networks that can stop early, as one network for each exit."""

from __future__ import annotations

import re

import keras

from keras_inception.errors import InputError
from keras_inception.models.fractalnet import ColumnChoice, extract_column

EXIT = re.compile(r"exit_([1-9]\d*)")


def exit_networks(model: keras.Model, exits: bool | None = None) -> dict[str, keras.Model]:
    """The network of every exit, "exit_1" the soonest, the last one's answer the model's; empty if it has but one.

    MSDNet's exits are those that it returns. A FractalNet returns none, yet each of its columns is a network by itself
    (section 3 of its paper): with `exits=True` they are the exits, shallowest first, and the whole network the last.

    Args:
        model: a functional model, which is not changed.
        exits: None takes the exits that the model returns; True a FractalNet's columns too; False none.

    Raises:
        InputError: `exits=True`, and the model has none.
    """
    if exits is False:
        return {}
    outputs = model.output
    early = sum(map(is_exit, outputs)) if isinstance(outputs, dict) and "predictions" in outputs else 0
    if early:
        ordered = [outputs[f"exit_{i}"] for i in range(1, early + 1)] + [outputs["predictions"]]
        return {f"exit_{i}": keras.Model(model.input, end, name=model.name) for i, end in enumerate(ordered, 1)}
    columns = next((layer.columns for layer in model.layers if isinstance(layer, ColumnChoice)), 0)
    if exits and not columns:
        raise InputError(
            f"{model.name} has no early exits: leave exits= out (an MSDNet has, and a FractalNet's columns)"
        )
    if not exits:
        return {}
    return {f"exit_{c}": extract_column(model, c) for c in range(1, columns + 1)} | {f"exit_{columns + 1}": model}


def is_exit(name: str) -> bool:
    """Whether an output or a signature is called as an exit is."""
    return EXIT.fullmatch(name) is not None
