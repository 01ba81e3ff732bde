"""A network with early exits, cut into stages, so that an image that leaves early costs only the stages it ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from ..analysis.cost import layer_costs, total
from ..arguments import checked
from ..data import input_errors
from ..errors import InputError
from ..model_graph import steps
from ..outputs import outputs_of

# (n, *input_shape) floats, preprocessed, or batches of these, with or without labels: `Split.batches(...)`.
Images: TypeAlias = np.ndarray | Iterable[Any]


@dataclass(frozen=True, eq=False)
class ExitPredictions:
    """The predictions for n images, and the exit at which each left.

    `probabilities` is (n, classes); `exits` is (n,), where 1 is the first exit; `macs` is (n,), multiply-adds spent.
    """

    probabilities: np.ndarray
    exits: np.ndarray
    macs: np.ndarray


class Cascade:
    """A network cut after each of its exits, so that an image can stop there. It shares the network's weights.

    `names` are the exits, the cheapest first. `macs` are the multiply-adds of an image that leaves there: those of the
    layers that this exit and the exits before it need. `stages[k]` continues from exit k: it takes the tensors that
    cross the cut, and returns the next exit's probabilities and the tensors that cross the next cut.
    """

    @checked
    def __init__(self, model: keras.Model):
        """Cut a flat functional model whose outputs are a dict of exits, (n, classes) probabilities each.

        Raises:
            InputError: the model has no early exits, or not one input of fixed size.
        """
        self.model = model
        self.outputs = _exits(model)
        self.names = tuple(self.outputs)
        self.input_shape = tuple(model.input_shape[1:])
        ordered = keras.Model(model.inputs, list(self.outputs.values()))
        calls = steps(ordered)  # the calls of each exit follow those of the exits before; the first is the input
        place = {id(tensor): i for i, call in enumerate(calls) for tensor in call.tensors}
        starts = [1, *(place[id(tensor)] + 1 for tensor in ordered.outputs)]
        spent = np.cumsum([row.macs for row in layer_costs(ordered)])
        self.macs = tuple(int(spent[start - 1]) for start in starts[1:])
        self._cuts: list[list[Any]] = []  # for each start, the tensors computed before it and read after it
        for start in starts:
            read = sorted({source for call in calls[start:] for source in call.sources if source < start})
            self._cuts.append([tensor for source in read for tensor in calls[source].tensors])

    @cached_property
    def stages(self) -> list[Any]:
        """The traced stages, made on first use: a network of hundreds of layers takes seconds."""
        exits = zip(self._cuts, self._cuts[1:], self.outputs.values(), strict=False)
        return [_stage(entering, [output, *leaving]) for entering, leaving, output in exits]

    def every_exit(self, images: Images, batch_size: int = 64) -> np.ndarray:
        """Return the probabilities of every exit for every image: (exits, n, classes)."""
        return np.concatenate(list(self._probabilities(images, batch_size)), axis=1)

    def most_confident(self, images: Images, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Return the highest probability of every exit for every image, and its class: (exits, n) each."""
        batches = [(a.max(axis=2), a.argmax(axis=2)) for a in self._probabilities(images, batch_size)]
        probabilities, classes = (np.concatenate(parts, axis=1) for parts in zip(*batches, strict=True))
        return probabilities, classes

    def _probabilities(self, images: Images, batch_size: int) -> Iterator[np.ndarray]:
        """Yield (exits, b, classes) batch by batch, as 50,000 images of 1,000 classes need not be in memory at once."""
        for batch in self._batches(images, batch_size):
            found, tensors = [], [batch]
            for name, stage in zip(self.names, self.stages, strict=True):
                output, *tensors = stage(*tensors)
                found.append(output.numpy())
                if found[-1].min() < 0 or not np.allclose(found[-1].sum(axis=1), 1, atol=0.02):
                    raise InputError(
                        f"{name} gives no probabilities: build the network with classifier_activation='softmax'"
                    )
            yield np.stack(found)

    def run(self, images: Images, thresholds: Sequence[float], batch_size: int = 64) -> ExitPredictions:
        """Let each image leave at the first exit whose highest probability reaches its threshold.

        Images that continue are collected after each cut, so that every stage works on full batches.
        """
        last = len(self.stages) - 1
        left: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # image numbers, probabilities, exit

        def after(stream: Iterator[Waiting], exit: int) -> Iterator[Waiting]:
            for which, tensors in _full(stream, batch_size):
                output, *crossing = self.stages[exit](*tensors)
                found = output.numpy()
                leaves = (found.max(axis=1) >= thresholds[exit]) | (exit == last)
                left.append((which[leaves], found[leaves], np.full(leaves.sum(), exit)))
                stays = np.flatnonzero(~leaves)
                if len(stays):
                    yield which[stays], [tf.gather(tensor, stays) for tensor in crossing]

        stream = _numbered(self._batches(images, batch_size))
        for exit in range(last + 1):
            stream = after(stream, exit)
        list(stream)  # runs the generators; no image passes the last exit
        which, probabilities, exits = (np.concatenate(parts) for parts in zip(*left, strict=True))
        order = np.argsort(which)
        exits = exits[order]
        return ExitPredictions(probabilities[order], exits + 1, np.array(self.macs)[exits])

    def _batches(self, images: Images, batch_size: int) -> Iterator[tf.Tensor]:
        """Yield the images in batches, checked; there is at least one."""
        if isinstance(images, np.ndarray):
            images = [images[i : i + batch_size] for i in range(0, len(images), batch_size)] or [images]
        empty = True
        with input_errors():
            for item in images:
                batch = item[0] if isinstance(item, tuple | list) else item
                kind = getattr(batch, "dtype", type(batch).__name__)
                shape = tuple(getattr(batch, "shape", ()))
                if shape[1:] != self.input_shape or 0 in shape or "float" not in str(getattr(kind, "name", kind)):
                    wanted = ", ".join(map(str, self.input_shape))
                    raise InputError(
                        f"images must be (n, {wanted}) floats, n at least 1, as the network's preprocessing makes "
                        f"them, or batches of such; got {shape} {getattr(kind, 'name', kind)}"
                    )
                yield tf.cast(batch, tf.float32)
                empty = False
        if empty:
            raise InputError("there are no images")


Waiting: TypeAlias = tuple[np.ndarray, list[tf.Tensor]]  # image numbers, and the tensors that the next stage takes


def _exits(model: keras.Model) -> dict[str, Any]:
    """Return the model's outputs, the cheapest first, and among equals the one computed first."""
    outputs = outputs_of(model)
    if len(outputs) < 2:
        raise InputError(
            f"{model.name} has no early exits: anytime prediction takes a functional model whose outputs are several "
            "classifiers, such as MSDNet()"
        )
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in outputs.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"every output must be an exit, one probability a class; {model.name} has {listed}")
    if len(model.inputs) != 1:
        raise InputError(f"{model.name} has {len(model.inputs)} inputs; anytime prediction takes one, the images")
    place = {id(tensor): i for i, call in enumerate(steps(model)) for tensor in call.tensors}
    cost = {name: total(keras.Model(model.inputs, tensor)).macs for name, tensor in outputs.items()}
    return {name: outputs[name] for name in sorted(outputs, key=lambda name: (cost[name], place[id(outputs[name])]))}


def _stage(entering: list[Any], leaving: list[Any]) -> Any:
    """Trace a part of the graph. Unlike a `Model`, `keras.Function` adds no nodes to the model's layers."""
    part = keras.Function(entering, leaving)
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in entering]
    return tf.function(lambda *tensors: part(list(tensors))).get_concrete_function(*signature)


def _numbered(batches: Iterator[tf.Tensor]) -> Iterator[Waiting]:
    begin = 0
    for batch in batches:
        yield np.arange(begin, begin + len(batch)), [batch]
        begin += len(batch)


def _full(stream: Iterator[Waiting], size: int) -> Iterator[Waiting]:
    """Regroup the images into batches of `size`; the last batch may be smaller."""
    waiting: list[Waiting] = []
    count = 0
    for item in stream:
        waiting.append(item)
        count += len(item[0])
        if count >= size:
            which, tensors = _join(waiting)
            for begin in range(0, count - size + 1, size):
                yield which[begin : begin + size], [tensor[begin : begin + size] for tensor in tensors]
            count %= size
            waiting = [(which[len(which) - count :], [tensor[len(which) - count :] for tensor in tensors])]
    if count:
        yield _join(waiting)


def _join(waiting: list[Waiting]) -> Waiting:
    columns = zip(*(tensors for _, tensors in waiting), strict=True)
    return np.concatenate([which for which, _ in waiting]), [tf.concat(parts, axis=0) for parts in columns]
