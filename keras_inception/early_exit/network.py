"""A network with early exits, cut in stages, so that an image that leaves early costs no more than it must."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from ..analysis.cost import layer_costs, total
from ..data import input_errors
from ..errors import InputError
from ..model_graph import steps
from ..outputs import outputs_of

# (n, *input_shape) floats as the network takes them, or batches of such, alone or with labels: `Split.batches(...)`.
Images: TypeAlias = np.ndarray | Iterable[Any]


@dataclass(frozen=True, eq=False)
class Prediction:
    """For n images, where each left, and with what answer.

    `probabilities` is (n, classes); `exits` is (n,), 1 is the first exit; `macs` is (n,), multiply-adds spent.
    """

    probabilities: np.ndarray
    exits: np.ndarray
    macs: np.ndarray


class Cascade:
    """A network cut behind each of its exits, so that an image can stop there; weights stay the network's own.

    `names` are the exits, the cheapest first. `macs` is what one image costs that leaves there: multiply-adds of the
    layers which this exit and those before it need. `stages[k]` goes on from exit k: it takes the tensors that cross
    the cut, and gives the exit's probabilities and the tensors that cross the next one.
    """

    def __init__(self, model: keras.Model):
        """Cut a flat functional model with a dict of outputs: each an exit, N x classes probabilities.

        Raises:
            InputError: it has no early exits, or not one input of fixed size.
        """
        self.model = model
        self.outputs = _exits(model)
        self.names = tuple(self.outputs)
        self.input_shape = tuple(model.input_shape[1:])
        ordered = keras.Model(model.inputs, list(self.outputs.values()))
        calls = steps(ordered)  # each exit's own follow those of the exits before; the first is the input
        place = {id(tensor): i for i, call in enumerate(calls) for tensor in call.tensors}
        starts = [1, *(place[id(tensor)] + 1 for tensor in ordered.outputs)]
        spent = np.cumsum([row.macs for row in layer_costs(ordered)])
        self.macs = tuple(int(spent[start - 1]) for start in starts[1:])
        self._cuts: list[list[Any]] = []  # at each start, the tensors made before and read behind
        for start in starts:
            read = sorted({source for call in calls[start:] for source in call.sources if source < start})
            self._cuts.append([tensor for source in read for tensor in calls[source].tensors])

    @cached_property
    def stages(self) -> list[Any]:
        """Traced when first used: a network of hundreds of layers takes seconds."""
        exits = zip(self._cuts, self._cuts[1:], self.outputs.values(), strict=False)
        return [_stage(entering, [answer, *leaving]) for entering, leaving, answer in exits]

    def every_exit(self, images: Images, batch_size: int = 64) -> np.ndarray:
        """What each exit says of each image: (exits, n, classes) probabilities."""
        return np.concatenate(list(self._answers(images, batch_size)), axis=1)

    def surest(self, images: Images, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Each exit's highest probability for each image, and its class: twice (exits, n)."""
        batches = [(a.max(axis=2), a.argmax(axis=2)) for a in self._answers(images, batch_size)]
        probabilities, classes = (np.concatenate(parts, axis=1) for parts in zip(*batches, strict=True))
        return probabilities, classes

    def _answers(self, images: Images, batch_size: int) -> Iterator[np.ndarray]:
        """Batch by batch, (exits, b, classes): of 50,000 images and 1,000 classes not all need be in memory."""
        for batch in self._batches(images, batch_size):
            answers, tensors = [], [batch]
            for name, stage in zip(self.names, self.stages, strict=True):
                answer, *tensors = stage(*tensors)
                answers.append(answer.numpy())
                if answers[-1].min() < 0 or not np.allclose(answers[-1].sum(axis=1), 1, atol=0.02):
                    raise InputError(
                        f"{name} gives no probabilities: build the network with classifier_activation='softmax'"
                    )
            yield np.stack(answers)

    def run(self, images: Images, thresholds: Sequence[float], batch_size: int = 64) -> Prediction:
        """Let each image leave at the first exit whose highest probability reaches its threshold.

        Images that go on wait for each other behind each cut, so that every stage works on full batches.
        """
        last = len(self.stages) - 1
        left: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # which images, with what answer, at which exit

        def go_on(stream: Iterator[Waiting], exit: int) -> Iterator[Waiting]:
            for which, tensors in _full(stream, batch_size):
                answer, *crossing = self.stages[exit](*tensors)
                answers = answer.numpy()
                leaves = (answers.max(axis=1) >= thresholds[exit]) | (exit == last)
                left.append((which[leaves], answers[leaves], np.full(leaves.sum(), exit)))
                stays = np.flatnonzero(~leaves)
                if len(stays):
                    yield which[stays], [tf.gather(tensor, stays) for tensor in crossing]

        stream = _numbered(self._batches(images, batch_size))
        for exit in range(last + 1):
            stream = go_on(stream, exit)
        list(stream)  # pulls the images through; the last exit lets none pass
        which, probabilities, exits = (np.concatenate(parts) for parts in zip(*left, strict=True))
        order = np.argsort(which)
        exits = exits[order]
        return Prediction(probabilities[order], exits + 1, np.array(self.macs)[exits])

    def _batches(self, images: Images, batch_size: int) -> Iterator[tf.Tensor]:
        """The images as batches, checked; at least one."""
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


Waiting: TypeAlias = tuple[np.ndarray, list[tf.Tensor]]  # numbers of images, and the tensors they go on from


def _exits(model: keras.Model) -> dict[str, Any]:
    """The model's outputs, the cheapest first; of equally expensive ones, the one that is computed first."""
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
    """A part of the graph over the model's own layers. `keras.Function` adds no node to them, as a `Model` would."""
    part = keras.Function(entering, leaving)
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in entering]
    return tf.function(lambda *tensors: part(list(tensors))).get_concrete_function(*signature)


def _numbered(batches: Iterator[tf.Tensor]) -> Iterator[Waiting]:
    begin = 0
    for batch in batches:
        yield np.arange(begin, begin + len(batch)), [batch]
        begin += len(batch)


def _full(stream: Iterator[Waiting], size: int) -> Iterator[Waiting]:
    """The same images in batches of that size, the last one of what is left."""
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
