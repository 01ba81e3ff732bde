"""A functional model as a graph that rules can rewrite, and back."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

from keras_inception.errors import InputError

PRECISIONS = "float32", "float16", "bfloat16", "float64"

Rule: TypeAlias = "Callable[[Node], Node | None]"


@dataclass(eq=False)
class Node:
    """One call of a layer, or of one of Keras' operations.

    `layer` is a pattern of which `Graph.model` makes a copy called `name`, so that the given model stays as it is; a
    function of `keras.ops` does as well. `weights` are its own unless a rule has made others. Whoever reads the node is
    in `readers`.
    """

    layer: Any
    sources: list[Node]
    shape: tuple[int | None, ...]
    name: str
    weights: list[np.ndarray] | None = None
    arguments: Any = None  # how Keras was called, if not by the sources alone
    shared: bool = False  # the layer is called elsewhere too
    readers: list[Node] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for source in dict.fromkeys(self.sources):
            source.readers.append(self)

    @property
    def channels(self) -> int:
        """The size of the last axis, which every layer with weights knows."""
        return self.shape[-1] or 0

    @property
    def training(self) -> bool:
        """Whether the layer was called so as to behave as in training, always."""
        return self.arguments is not None and bool(self.arguments.kwargs.get("training"))

    @property
    def is_output(self) -> bool:
        """Whether it is an output of the model."""
        return any(reader.layer is None for reader in self.readers)

    def is_a(self, *kinds: type) -> bool:
        """Whether a rule for layers of these very classes may take it: a subclass may compute anything."""
        return type(self.layer) in kinds and len(self.sources) == 1 and not (self.shared or self.training)

    def values(self) -> list[np.ndarray]:
        """The weights."""
        return self.layer.get_weights() if self.weights is None else self.weights

    def call(self, layer: Any, tensors: list[Any]) -> Any:
        """Call a copy of the layer on the sources' outputs."""
        if self.arguments is None:
            return layer(tensors[0]) if len(tensors) == 1 else layer(tensors)
        ids = (id(tensor) for tensor in self.arguments.keras_tensors)
        args, kwargs = self.arguments.fill_in(dict(zip(ids, tensors, strict=True)))
        return layer(*args, **kwargs)


@dataclass(frozen=True)
class _Output:
    """Takes one of several outputs of a layer."""

    index: int

    def __call__(self, outputs: Any) -> Any:
        return keras.tree.flatten(outputs)[self.index]


class Graph:
    """The nodes between the inputs of a model and the outputs that are kept.

    Models within the model are opened: their layers become the graph's own.
    """

    def __init__(self, model: keras.Model, outputs: Any):
        self.name, self.structure = model.name, outputs
        sequential = isinstance(model, keras.Sequential)
        self.input_structure = model.inputs[0] if sequential else model.input
        known: dict[int, Node] = {}
        ends = _read(keras.tree.flatten(outputs), known)
        self.inputs = [  # one that no kept output needs is an input all the same
            known.get(id(tensor)) or _read([tensor], known)[0] for tensor in keras.tree.flatten(self.input_structure)
        ]
        self.end = Node(None, ends, (), "outputs")
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
        """Apply a rule wherever it fits, once; yields the nodes that it has replaced."""
        for node in self.nodes():
            alive = node.readers or node in self.inputs
            if alive and (new := rule(node)) is not None:
                _replace(node, new)
                yield node

    def model(self, precision: str = "float32") -> keras.Model:
        """A functional model with layers and weights of its own.

        In another precision than float32 the inputs are in it too, and the last layers, at the outputs, are not.
        """
        values: dict[Node, Any] = {}
        copies: dict[int, Any] = {}
        names: Counter[str] = Counter()
        for node in self.nodes():
            tensors = [values[source] for source in node.sources]
            if not isinstance(node.layer, keras.Operation):
                values[node] = node.layer(*tensors)
                if not isinstance(node.layer, _Output):  # what the function made now has the name
                    values[node]._keras_history.operation.name = _unique(node.name, names)
                continue
            if first := id(node.layer) not in copies:
                own = "float32" if node.is_output else precision
                copies[id(node.layer)] = _copied(node.layer, _unique(node.name, names), own)
            layer = copies[id(node.layer)]
            if isinstance(layer, layers.InputLayer):
                values[node] = layer.output
                continue
            values[node] = node.call(layer, tensors)
            if first and isinstance(layer, layers.Layer) and layer.weights:
                layer.set_weights(node.values())
        inputs = keras.tree.pack_sequence_as(self.input_structure, [values[node] for node in self.inputs])
        outputs = keras.tree.pack_sequence_as(self.structure, [values[node] for node in self.end.sources])
        return keras.Model(inputs, outputs, name=self.name)


def _read(outputs: list[Any], known: dict[int, Node]) -> list[Node]:
    """The nodes of Keras' tensors, and of all that they are made from; `known` has those read so far, by id."""
    stack = list(outputs)  # not by recursion, which a network of 1202 layers exhausts
    while stack:
        operation, index, _ = stack[-1]._keras_history
        call = operation._inbound_nodes[index]
        given = call.arguments.keras_tensors
        if waiting := [tensor for tensor in given if id(tensor) not in known]:
            stack += waiting
            continue
        stack.pop()
        if id(call.outputs[0]) in known:
            continue
        sources = [known[id(tensor)] for tensor in given]
        if _opens(operation, call):
            inner = {id(tensor): source for tensor, source in zip(operation.inputs, sources, strict=True)}
            made = _read(operation.outputs, inner)
        else:
            args, kwargs = call.arguments.args, call.arguments.kwargs
            alone = len(args) == len(given) == 1 and args[0] is given[0]
            plain = alone and all(value is None or value is False for value in kwargs.values())
            arguments = None if plain else call.arguments
            shape = tuple(call.outputs[0].shape)
            node = Node(operation, sources, shape, operation.name, arguments=arguments)
            many = len(call.outputs) > 1
            made = [
                Node(_Output(i), [node], tuple(tensor.shape), operation.name) if many else node
                for i, tensor in enumerate(call.outputs)
            ]
        known.update(zip(map(id, call.outputs), made, strict=True))
    return [known[id(tensor)] for tensor in outputs]


def _opens(operation: Any, call: Any) -> bool:
    """Whether it is a model whose graph can take the place of its call."""
    if not isinstance(operation, keras.Model) or call.arguments.kwargs.get("training"):
        return False
    inputs, outputs = getattr(operation, "inputs", None), getattr(operation, "outputs", None)
    return bool(outputs) and len(inputs or ()) == len(call.arguments.keras_tensors) == 1


def _replace(old: Node, new: Node) -> None:
    """Whoever read `old` reads `new`; `old`, and what only it read, leave the graph."""
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
    """A layer of the same configuration, but for the precision that it computes in; its weights come later."""
    if not isinstance(layer, layers.Layer):  # an operation holds no weights, and only some have a configuration
        twin = copy.copy(layer)
        twin._inbound_nodes, twin._outbound_nodes, twin.name = [], [], name
        return twin
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
    """The name, with a number if an opened model brought the same one."""
    while taken[name]:
        taken[name] += 1
        name = f"{name}_{taken[name] - 1}"
    taken[name] = 1
    return name
