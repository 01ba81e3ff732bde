"""Networks that can stop early, as one network for each exit."""

from __future__ import annotations

import keras

from keras_inception.errors import InputError
from keras_inception.models.fractalnet import ColumnChoice, extract_column
from keras_inception.outputs import exit_name, exit_names, main_output, outputs_of


def exit_networks(model: keras.Model, exits: bool | None = None) -> dict[str, keras.Model]:
    """One network for each exit, "exit_1" the earliest; the last exit is the model's main output. Empty without exits.

    An MSDNet returns its exits. A FractalNet returns none, but each of its columns is a network of its own (section 3
    of its paper): with `exits=True` the columns are the exits, the shallowest first, and the whole network is the last.

    Args:
        model: a functional model, which is not changed.
        exits: None takes the exits that the model returns; True a FractalNet's columns too; False none.

    Raises:
        InputError: `exits=True`, and the model has none.
    """
    if exits is False:
        return {}
    if names := exit_names(model):
        outputs = outputs_of(model)
        ordered = [*(outputs[name] for name in names), main_output(model)]
        return {exit_name(i): keras.Model(model.input, end, name=model.name) for i, end in enumerate(ordered, 1)}
    if not exits:
        return {}
    columns = next((layer.columns for layer in model.layers if isinstance(layer, ColumnChoice)), 0)
    if not columns:
        raise InputError(
            f"{model.name} has no early exits: leave exits= out (an MSDNet has, and a FractalNet's columns)"
        )
    return {exit_name(c): extract_column(model, c) for c in range(1, columns + 1)} | {exit_name(columns + 1): model}
