"""Weights that were trained for one task, in a network for another: other classes, channels or auxiliary heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.layers import Dense, InputLayer, ZeroPadding2D

from ..arguments import checked
from ..errors import InputError
from ..model_graph import grid, in_order
from ..outputs import MAIN, classifiers
from ..terminal import note
from .labels import imagenet_labels
from .matching import HEADS, Adapt, Match, base_name, fitted
from .record import Checkpoint, loaded

AUXILIARY = ("aux_", "exit_")  # how the layers of auxiliary heads and early exits begin
CLASSIFIER = ("logits", "conv10_conv", "class_maps_conv", "last_exit_logits")  # the layers of main classifiers
# What a layer computes, apart from its weights; the numbers of a ZeroPadding2D depend on the input size too.
SETTINGS = ("epsilon", "strides", "padding", "groups", "dilation_rate", "activation", "max_value", "negative_slope")


@checked
def copy_weights(source: keras.Model, target: keras.Model, *, name: str) -> None:
    """Copy the weights of a network into another of the same architecture, by the names of the layers.

    The classifiers may be for other classes: those of `target` stay as they are. The first convolution is adapted if
    the images have other channels. Auxiliary heads and early exits that only `source` has are ignored, and those that
    only `target` has stay as they are.

    Args:
        source: the network to copy from.
        target: the network to fill.
        name: what to call `source` in messages, a path for example.

    Raises:
        InputError: the networks differ in anything else; the message lists both sides. `target` is unchanged.
    """
    tensors = {f"{layer.name}|{i}": array for layer in source.layers for i, array in enumerate(layer.get_weights())}
    copy_tensors(tensors, target, name=name, configs={layer.name: layer.get_config() for layer in source.layers})


def copy_tensors(
    tensors: Mapping[str, np.ndarray],
    target: keras.Model,
    *,
    name: str,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """As `copy_weights`, from a file's tensors {"layer|weight": array}; `configs` are the layers' configurations.

    Without `configs` networks that differ only in a stride, the padding, an activation or batch norm's epsilon are not
    told apart.
    """
    theirs: dict[str, list[np.ndarray]] = {}
    for key, array in tensors.items():
        theirs.setdefault(key.partition("|")[0], []).append(array)
    heads = {layer.name for layer in classifiers(target)}
    matches: list[Match] = []
    missing: list[str] = []
    untrained: list[str] = []
    for layer in in_order(target):
        if not layer.weights:
            continue
        if len(theirs.get(layer.name, ())) == len(layer.weights):
            pairs = zip(layer.weights, theirs.pop(layer.name), strict=True)
            matches += [(f"{layer.name}/{variable.name}", layer, variable, array) for variable, array in pairs]
        elif layer.name not in theirs and (layer.name in heads or layer.name.startswith(AUXILIARY)):
            untrained.append(layer.name)
        else:  # a scalar is the counter of drop path
            missing += [f"{layer.name}/{v.name} {tuple(v.shape)}" for v in layer.weights if v.shape]
    left = {n: arrays for n, arrays in theirs.items() if not _is_optional(n, arrays, target)}
    leftover = [f"{layer_name} {array.shape}" for layer_name, arrays in left.items() for array in arrays]
    problem = f"{name} does not fit {target.name}"
    if nested := next((n for n in theirs if "/layers/" in n or n == target.name), None):
        problem += f" (its layers are in the model {nested.partition('/')[0]!r} inside: save that one by itself)"
    values = fitted(matches, leftover, missing, model=target, problem=problem, adapt=adapter(target, name=name))
    _check_settings(configs or {}, target, problem)
    for variable, value in values:
        variable.assign(value)
    if outputs := [n for n in target.output_names if any(u.startswith(f"{n}_") for u in untrained)]:
        note(f"{name} has no auxiliary heads: {' and '.join(outputs)} start untrained")


def _is_optional(layer: str, arrays: Sequence[np.ndarray], target: keras.Model) -> bool:
    """Whether the target may lack a layer of the source: a head, or the counter of drop path."""
    has_top = MAIN in target.output_names
    return (
        layer.startswith(AUXILIARY)
        or (not has_top and bool(HEADS.fullmatch(base_name(layer))))
        or all(array.ndim == 0 for array in arrays)
    )


def _check_settings(configs: Mapping[str, Mapping[str, Any]], target: keras.Model, problem: str) -> None:
    """Refuse a source whose layers fit the target's and compute something else with the same weights."""
    for layer in target.layers:
        theirs = configs.get(layer.name)
        if not theirs or isinstance(layer, ZeroPadding2D) or layer.name in target.output_names:
            continue
        ours = layer.get_config()
        for key in SETTINGS:
            if key in ours and key in theirs and _plain(ours[key]) != _plain(theirs[key]):
                raise InputError(
                    f"{problem}: {layer.name} has {key} {theirs[key]} there and {ours[key]} here; "
                    "build the network with the arguments, numerics for example, that it was trained with"
                )


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def adapter(model: keras.Model, *, name: str, size: Sequence[int] = ()) -> Adapt:
    """How to adapt a tensor of weights `name` that has another shape than the model's variable.

    A classifier for other classes keeps its initial values. A first convolution for other channels gets the sum of the
    kernels of all channels for one channel; otherwise the channels are repeated in order, scaled to keep their sum.
    `size` is the height and width that the weights were trained at, if it is known.
    """
    heads, stems = classifiers(model), first_convolutions(model)

    def adapt(layer: keras.layers.Layer, variable: str, array: np.ndarray) -> np.ndarray | None:
        shape = tuple(getattr(layer, variable).shape)
        if layer in heads and array.shape[:-1] == shape[:-1]:
            return None
        if layer in stems and variable == "kernel" and array.ndim == 4:
            return _with_channels(array, shape[2])
        if isinstance(layer, Dense) and array.ndim == 2 and len(array) != shape[0] and grid(layer.input)[:2] != (1, 1):
            trained, ours = (" x ".join(map(str, pixels)) for pixels in (size, model.input_shape[1:3]))
            raise InputError(
                f"{layer.name} of {name} takes the whole map of an image of {trained or 'another number of'} pixels, "
                f"not of {ours}: leave input_shape out, or give include_top=False"
            )
        return array

    return adapt


def _with_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """height x width x trained channels x filters -> height x width x channels x filters."""
    trained = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % trained] * np.float32(trained / channels)


@checked
def fit_classes(model: keras.Model, labels: Sequence[str]) -> None:
    """Prepare the classifiers of a model with published weights to learn these classes.

    They are initialised anew, unless they were trained on ImageNet and the labels are the WordNet ids of its classes.

    Raises:
        InputError: it is no Keras model, or the labels are no strings.
    """
    known = tuple(label.synset for label in imagenet_labels())
    published = loaded.get(model)
    if isinstance(published, Checkpoint) and not (published.dataset == "imagenet" and tuple(labels) == known):
        reinitialise_classifiers(model)


def reinitialise_classifiers(model: keras.Model) -> None:
    """Give the classifiers new initial weights."""
    for layer in classifiers(model):
        layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))
        if layer.use_bias:
            layer.bias.assign(layer.bias_initializer(layer.bias.shape))


def first_convolutions(model: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions that take the image, directly or through layers without weights."""
    seen = {id(tensor) for tensor in model.inputs}
    found: list[keras.layers.Layer] = []
    for layer in in_order(model):
        if isinstance(layer, InputLayer) or not all(id(tensor) in seen for tensor in keras.tree.flatten(layer.input)):
            continue
        if layer.weights:
            found.append(layer)
        else:
            seen.add(id(layer.output))
    return found
