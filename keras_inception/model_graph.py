"""Keras' functional graph, read: the one module that uses the private attributes it is kept in.

`call_of` finds the layer call that made a tensor; `steps` lists all calls of a flat model, branch by branch;
`endpoints` finds the table row of each from its name. Tables, diagrams, costs, weight names and graph rewriting
are readings of these. `load` opens a file.
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from .errors import InputError

LARGEST_CONFIGURATION = 2**26  # bytes; that of ResNet-1202 has three million


class Call:
    """One call of a layer, of one of Keras' operations, or of a model within the model. Equal for the same call."""

    def __init__(self, node: Any):
        self._node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self._node is other._node

    def __hash__(self) -> int:
        return id(self._node)

    @property
    def operation(self) -> Any:
        """What was called."""
        return self._node.operation

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensors among the arguments, in their order."""
        return self._node.arguments.keras_tensors

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The positional arguments: symbolic tensors, and constants between them."""
        return self._node.arguments.args

    @property
    def outputs(self) -> list[Any]:
        """The symbolic tensors that it returned, flat."""
        return self._node.outputs

    @property
    def training(self) -> bool:
        """Whether it was called with `training=True`, so that it behaves so in inference too."""
        return bool(self._node.arguments.kwargs.get("training"))

    @property
    def is_plain(self) -> bool:
        """Whether it was called as `layer(tensor)`, with no other argument."""
        args, kwargs = self._node.arguments.args, self._node.arguments.kwargs
        alone = len(args) == len(self.inputs) == 1 and args[0] is self.inputs[0]
        return alone and all(value is None or value is False for value in kwargs.values())

    def repeat(self, operation: Any, tensors: Sequence[Any]) -> Any:
        """Call another operation on other tensors with these arguments."""
        given = dict(zip(map(id, self.inputs), tensors, strict=True))
        args, kwargs = self._node.arguments.fill_in(given)
        return operation(*args, **kwargs)


def call_of(tensor: Any) -> Call:
    """The call that made a symbolic tensor; for an input that of its `InputLayer`."""
    operation, index, _ = tensor._keras_history
    return Call(operation._inbound_nodes[index])


def layer_of(tensor: Any) -> Any:
    """The layer that made a symbolic tensor; of a model within the model, the layer inside it."""
    operation, _, position = tensor._keras_history
    while isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        operation, _, position = operation.outputs[position]._keras_history
    return operation


def grid(tensor: Any) -> tuple[int, int, int]:
    """(height, width, channels) of the map that a dense layer's input was flattened from; 1 x 1 if from none."""
    call = call_of(tensor)
    if isinstance(call.operation, layers.Flatten):
        return tuple(call.inputs[0].shape[1:])
    if isinstance(call.operation, layers.Dropout | layers.Activation | layers.ReLU):
        return grid(call.inputs[0])
    return 1, 1, tensor.shape[-1]


def times_called(layer: Any) -> int:
    """How often a layer was called on symbolic tensors, in any model."""
    return len(layer._inbound_nodes)


def detached(operation: Any, name: str) -> Any:
    """A copy of one of Keras' operations (not of a layer) under another name, not called yet."""
    made = copy.copy(operation)
    made._inbound_nodes, made._outbound_nodes, made.name = [], [], name
    return made


def fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    """Whether a shape matches a pattern, in which None stands for any size."""
    return len(shape) == len(pattern) and all(p in (None, s) for s, p in zip(shape, pattern, strict=True))


def check_archive(path: Path) -> None:
    """Raise a `ValueError` if a `.keras` archive states a configuration larger than any network's; unpack nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist() if info.filename.endswith(".json"))
        if size > LARGEST_CONFIGURATION:
            raise ValueError(f"its configuration is stated to have {size:,} bytes")


def load(path: Path, *, compiled: bool = False) -> keras.Model:
    """Load a model that Keras has saved. Keras 3.10 saves a single input as a list of one; it is a tensor again here.

    With the list, every call of the model on a tensor warns that the structures differ.
    """
    check_archive(path)
    model = keras.models.load_model(path, compile=compiled)
    if isinstance(given := getattr(model, "_inputs_struct", None), list) and len(given) == 1:
        model._inputs_struct = given[0]
    return model


@dataclass(frozen=True)
class Step:
    """One call of one layer. `sources` are the positions of the steps whose outputs it reads."""

    layer: Any
    sources: tuple[int, ...]
    tensors: tuple[Any, ...]  # its symbolic outputs

    @property
    def shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """The shapes of its outputs for one image, without the batch axis."""
        return tuple(tuple(tensor.shape[1:]) for tensor in self.tensors)

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of its first output, the only one of most layers: (height, width, channels) of a map."""
        return self.shapes[0]


def steps(model: keras.Model) -> list[Step]:
    """The layer calls of a flat functional model; each comes after its sources, and a branch stays together.

    Raises:
        InputError: the model is not functional, or contains another model.
    """
    if not getattr(model, "outputs", None):
        raise InputError(
            f"{model.name} is not a functional model: its layers can be listed only when it has been called"
        )
    position: dict[Call, int] = {}
    found: list[Step] = []
    stack = [call_of(tensor) for tensor in reversed(model.outputs)]
    while stack:  # depth first; a recursion would exceed Python's limit in a network of 1202 layers
        call = stack[-1]
        parents = [call_of(tensor) for tensor in call.inputs]
        if waiting := [parent for parent in parents if parent not in position]:
            stack.append(waiting[0])
            continue
        stack.pop()
        if call in position:
            continue
        if isinstance(call.operation, keras.Model):
            raise InputError(
                f"{model.name} contains the model {call.operation.name!r}: build that one with input_tensor= instead, "
                "so that its layers are the model's own"
            )
        position[call] = len(found)
        found.append(Step(call.operation, tuple(position[parent] for parent in parents), tuple(call.outputs)))
    return found


def in_order(model: keras.Model) -> list[Any]:
    """The layers of a flat functional model in the order of `steps`, a shared one for each of its calls."""
    return [step.layer for step in steps(model)]


def endpoints(names: Sequence[str]) -> list[str]:
    """For each layer the row of the network's table that it belongs to.

    The last layer of the row "mixed_5b" has the row's name, and the layers before it are called "mixed_5b_...". A layer
    that belongs to no row is a row of its own.
    """
    last = {name: i for i, name in enumerate(names)}

    def row(i: int, name: str) -> str:
        cuts = (name[:at] for at, letter in enumerate(name) if letter == "_")
        return next((cut for cut in cuts if last.get(cut, -1) > i), name)

    return [row(i, name) for i, name in enumerate(names)]
