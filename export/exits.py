"""Networks with early exits, as one network for each exit."""

from __future__ import annotations

import re

import keras

from keras_inception.errors import InputError
from keras_inception.models.fractalnet import ColumnChoice, extract_column
from keras_inception.outputs import MAIN

EXIT = re.compile(r"exit_([1-9]\d*)")


def exit_networks(model: keras.Model, exits: bool | None = None) -> dict[str, keras.Model]:
    """One network per exit, "exit_1" the earliest; the last has the model's main output. Empty without early exits.

    MSDNet returns its exits. A FractalNet returns none, but each of its columns is a network of its own (section 3 of
    its paper): with `exits=True` the columns are the exits, the shallowest first, and the whole network is the last.

    Args:
        model: a functional model, which is not changed.
        exits: None takes the exits that the model returns; True also a FractalNet's columns; False none.

    Raises:
        InputError: `exits=True`, and the model has no early exits.
    """
    if exits is False:
        return {}
    outputs = model.output
    early = sum(map(is_exit, outputs)) if isinstance(outputs, dict) and MAIN in outputs else 0
    if early:
        ordered = [outputs[f"exit_{i}"] for i in range(1, early + 1)] + [outputs[MAIN]]
        return {f"exit_{i}": keras.Model(model.input, end, name=model.name) for i, end in enumerate(ordered, 1)}
    columns = next((layer.columns for layer in model.layers if isinstance(layer, ColumnChoice)), 0)
    if exits and not columns:
        raise InputError(
            f"{model.name} has no early exits: leave exits= out (an MSDNet has early exits, a FractalNet columns)"
        )
    if not exits:
        return {}
    return {f"exit_{c}": extract_column(model, c) for c in range(1, columns + 1)} | {f"exit_{columns + 1}": model}


def is_exit(name: str) -> bool:
    """Whether an output or a signature has the name of an exit."""
    return EXIT.fullmatch(name) is not None
