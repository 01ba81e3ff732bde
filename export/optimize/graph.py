"""A functional model as a graph that rules can rewrite, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops

from keras_inception.errors import InputError
from keras_inception.model_graph import Call, call_of, detached, layer_of

PRECISIONS = "float32", "float16", "bfloat16", "float64"

Rule: TypeAlias = "Callable[[Node], Node | None]"


@dataclass(eq=False)
class Node:
    """One call of a layer, or of one of Keras' operations.

    `layer` is a pattern: `Graph.model` makes a copy of it called `name`, so that the given model stays as it is. It may
    also be a function of `keras.ops`. `weights` are the layer's own unless a rule has made others. `readers` are the
    nodes that read this one.
    """

    layer: Any
    sources: list[Node]
    shape: tuple[int | None, ...]
    name: str
    weights: list[np.ndarray] | None = None
    call: Call | None = None  # Keras' call, if it had other arguments than the sources or asked for training behaviour
    shared: bool = False  # the layer is called more than once
    readers: list[Node] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for source in dict.fromkeys(self.sources):
            source.readers.append(self)

    @property
    def channels(self) -> int:
        """The size of the last axis, which every layer with weights knows."""
        return self.shape[-1] or 0

    @property
    def is_output(self) -> bool:
        """Whether it is an output of the model."""
        return any(reader.layer is None for reader in self.readers)

    def is_a(self, *kinds: type) -> bool:
        """Whether a rule for layers of exactly these classes may take it: a subclass may compute anything."""
        training = self.call is not None and self.call.training
        return type(self.layer) in kinds and len(self.sources) == 1 and not (self.shared or training)

    def values(self) -> list[np.ndarray]:
        """The weights."""
        return self.layer.get_weights() if self.weights is None else self.weights

    def apply(self, layer: Any, tensors: list[Any]) -> Any:
        """Call a copy of the layer on the sources' outputs."""
        if self.call is not None:
            return self.call.repeat(layer, tensors)
        return layer(tensors[0]) if len(tensors) == 1 else layer(tensors)


@dataclass(frozen=True)
class _Output:
    """Takes one of several outputs of a layer."""

    index: int

    def __call__(self, outputs: Any) -> Any:
        return keras.tree.flatten(outputs)[self.index]


@dataclass(frozen=True)
class Cast:
    """A conversion that Keras' layers and models do unasked."""

    dtype: str

    def __call__(self, x: Any) -> Any:
        """Any shape -> the same."""
        return ops.cast(x, self.dtype)


class Graph:
    """The nodes between the inputs and the outputs of a model.

    Models within the model are opened: their layers become the graph's own.
    """

    def __init__(self, model: keras.Model):
        self.name = model.name
        sequential = isinstance(model, keras.Sequential)
        self.input_structure = model.inputs[0] if sequential else model.input
        self.output_structure = model.outputs[0] if sequential else model.output
        known: dict[int, Node] = {}
        ends = _read(keras.tree.flatten(self.output_structure), known)
        self.inputs = [  # an input that no output needs stays an input
            known.get(id(tensor)) or _read([tensor], known)[0] for tensor in keras.tree.flatten(self.input_structure)
        ]
        self.end = Node(None, ends, (), "outputs")
        self.recount()

    def recount(self) -> None:
        """Find the layers that are called more than once."""
        calls = Counter(id(node.layer) for node in self.nodes())
        for node in self.nodes():
            node.shared = calls[id(node.layer)] > 1

    def nodes(self) -> list[Node]:
        """Every node that the outputs need, each after its sources."""
        found: dict[Node, None] = dict.fromkeys(self.inputs)
        stack = [self.end]
        while stack:
            node = stack[-1]
            if waiting := [source for source in node.sources if source not in found]:
                stack += waiting
            else:
                found.setdefault(stack.pop())
        return [node for node in found if node is not self.end]

    def apply(self, rule: Rule) -> Iterator[Node]:
        """Apply a rule once wherever it fits; yields the nodes that it has replaced."""
        for node in self.nodes():
            alive = node.readers or node in self.inputs
            if alive and (new := rule(node)) is not None:
                _replace(node, new)
                yield node

    def plain_inputs(self, *, floats: bool) -> None:
        """Give the inputs a free batch size and, if they hold numbers of another float type, float32.

        With `floats` integer inputs become float32, too.
        """
        for node in self.inputs:
            old = node.layer
            dtype = old.dtype if is_integer(old.dtype) and not floats else "float32"
            node.layer = layers.InputLayer(batch_shape=(None, *old.batch_shape[1:]), dtype=dtype, name=old.name)

    def model(self, precision: str = "float32") -> keras.Model:
        """A functional model with layers and weights of its own.

        In a precision other than float32 the inputs have it too, and the layers at the outputs stay in float32.
        """
        values: dict[Node, Any] = {}
        copies: dict[int, Any] = {}
        names: Counter[str] = Counter()
        for node in self.nodes():
            tensors = [values[source] for source in node.sources]
            if not isinstance(node.layer, keras.Operation):
                values[node] = node.layer(*tensors)
                if not isinstance(node.layer, _Output):  # the operation that the function called gets the name
                    layer_of(values[node]).name = _unique(node.name, names)
                continue
            if first := id(node.layer) not in copies:
                own = "float32" if node.is_output else precision
                copies[id(node.layer)] = _copied(node.layer, _unique(node.name, names), own)
            layer = copies[id(node.layer)]
            if isinstance(layer, layers.InputLayer):
                values[node] = layer.output
                continue
            values[node] = node.apply(layer, tensors)
            if first and isinstance(layer, layers.Layer) and layer.weights:
                layer.set_weights(node.values())
        inputs = keras.tree.pack_sequence_as(self.input_structure, [values[node] for node in self.inputs])
        outputs = keras.tree.pack_sequence_as(self.output_structure, [values[node] for node in self.end.sources])
        return keras.Model(inputs, outputs, name=scope_name(self.name))


def _read(outputs: list[Any], known: dict[int, Node]) -> list[Node]:
    """The nodes of symbolic tensors, and of all that they are made from; `known` has those read so far, by id."""
    stack = list(outputs)  # a recursion would exceed Python's limit in a network of 1202 layers
    while stack:
        call = call_of(stack[-1])
        if waiting := [tensor for tensor in call.inputs if id(tensor) not in known]:
            stack += waiting
            continue
        stack.pop()
        if id(call.outputs[0]) in known:
            continue
        operation = call.operation
        sources = [known[id(tensor)] for tensor in call.inputs]
        if _opens(call):
            [outer], [own] = call.inputs, operation.inputs
            if outer.dtype != own.dtype and (is_integer(outer.dtype) or is_integer(own.dtype)):
                sources = [_cast(sources[0], own.dtype)]  # as a model converts what it is given
            inner = {id(own): sources[0]}
            made = _read(operation.outputs, inner)
        else:
            name, shape = operation.name, tuple(call.outputs[0].shape)
            if _casts(call):
                sources = [_cast(sources[0], call.outputs[0].dtype)]
            node = Node(operation, sources, shape, name, call=None if call.is_plain else call)
            many = len(call.outputs) > 1
            made = [
                Node(_Output(i), [node], tuple(tensor.shape), name) if many else node
                for i, tensor in enumerate(call.outputs)
            ]
        known.update(zip(map(id, call.outputs), made, strict=True))
    return [known[id(tensor)] for tensor in outputs]


def scope_name(name: str) -> str:
    """The name, or one like it, that TensorFlow takes for a scope: ASCII letters, no space, and no "_" first."""
    name = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return name if re.match("[A-Za-z0-9.]", name) else f"layer{name}"


def is_integer(dtype: str) -> bool:
    """Whether values of this type are integers or truth values."""
    return "int" in dtype or dtype == "bool"


def _casts(call: Call) -> bool:
    """Whether a layer makes floats of integers of the same shape, as `Rescaling` does.

    A cast of its own then comes before it, which stays when a rule drops the layer or folds it into another.
    """
    if len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    [given], [made] = call.inputs, call.outputs
    return is_integer(given.dtype) and "float" in made.dtype and tuple(given.shape) == tuple(made.shape)


def _cast(node: Node, dtype: str) -> Node:
    dtype = dtype if is_integer(dtype) else "float32"
    return Node(Cast(dtype), [node], node.shape, f"{node.name}_{dtype}")


def _opens(call: Call) -> bool:
    """Whether a model was called whose graph can take the place of the call."""
    model = call.operation
    if not isinstance(model, keras.Model) or call.training:
        return False
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    return bool(outputs) and len(inputs or ()) == len(call.inputs) == 1


def _replace(old: Node, new: Node) -> None:
    """Whoever read `old` reads `new`; `old`, and what only `old` read, leave the graph."""
    for reader in old.readers:
        reader.sources = [new if source is old else source for source in reader.sources]
        if reader not in new.readers:
            new.readers.append(reader)
    old.readers = []
    dead = [old]
    while dead:
        node = dead.pop()
        for source in dict.fromkeys(node.sources):
            source.readers.remove(node)
            if not source.readers:
                dead.append(source)


def _copied(layer: Any, name: str, precision: str) -> Any:
    """A layer of the same configuration, except for its name and precision; its weights are set later."""
    if not isinstance(layer, layers.Layer):  # an operation has no weights, and only some have a configuration
        return detached(layer, name)
    if isinstance(layer, layers.Lambda):
        raise InputError(
            f"layer {layer.name} is a Lambda, whose code no file can hold: use a built-in or registered layer"
        )
    try:
        config = layer.get_config() | {"name": name}
        if layer.compute_dtype != precision and layer.compute_dtype in PRECISIONS:
            config["dtype"] = precision
        return type(layer).from_config(config)
    except Exception as error:  # whatever a user's class raises
        raise InputError(
            f"layer {layer.name} ({type(layer).__name__}) cannot be copied: give the class a get_config() from which "
            "its from_config() makes it"
        ) from error


def _unique(name: str, taken: Counter[str]) -> str:
    """The name in the letters that TensorFlow allows, with a number if another node has it, as in an opened model."""
    name = scope_name(name)
    while taken[name]:
        taken[name] += 1
        name = f"{name}_{taken[name] - 1}"
    taken[name] = 1
    return name
