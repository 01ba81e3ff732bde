"""A network is one flat functional graph of known layers, of rank 4 at most; a row is read only at its last layer."""

import keras

from keras_inception.model_graph import endpoints, steps

from ..conftest import Network


def test_only_known_layers_and_no_model_inside(plan: Network) -> None:
    for operation in plan.model.operations:
        kind = type(operation)
        assert isinstance(operation, keras.layers.Layer), f"{operation.name} is an operation outside any layer"
        assert not isinstance(operation, (keras.Model, keras.layers.Lambda)), operation.name
        registered = keras.saving.get_registered_name(kind)
        assert registered.startswith("keras_inception>") or getattr(keras.layers, kind.__name__, None) is kind, kind


def test_rank_is_at_most_4(plan: Network) -> None:
    too_high = [call.name for call in steps(plan.model) for shape in call.shapes if len(shape) > 3]  # less the batch
    assert not too_high


def test_what_leaves_a_row_is_its_last_layer(plan: Network) -> None:
    """That layer has the row's name, so `get_layer(row)` is the only thing that the rest of the network reads."""
    calls = steps(plan.model)
    rows = endpoints([call.name for call in calls])
    leaks = [
        f"{call.name} of {row} reads {calls[source].name} of {rows[source]}"
        for call, row in zip(calls, rows, strict=True)
        for source in call.sources
        if rows[source] != row and calls[source].name != rows[source]
    ]
    assert not leaks
