"""Published tensors are matched to our variables by name. A layout holds the tables; this module applies them.

Matching is strict in both directions: every tensor of the file has a variable, or its layout ignores it, and every
variable of the model has a tensor. Otherwise the model stays unchanged, and the error shows what is left on both sides.
These differences are converted exactly: the order of a kernel's axes, flattening channels first before a dense layer,
a dense layer and a 1x1 convolution (or one that covers the map), a bias before batch norm that only the file has (it is
subtracted from the moving mean), a background class before the thousand classes of ImageNet, and their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras.layers import BatchNormalization, Dense

from ..errors import InputError
from ..model_graph import in_order
from . import rules
from .frameworks import Framework
from .rules import NameTable

Tensors: TypeAlias = Mapping[str, np.ndarray]
# Called when a file's tensor and our variable differ in shape. Returns the adapted array, or None to keep the value of
# the variable.
Adapt: TypeAlias = Callable[[keras.layers.Layer, str, np.ndarray], np.ndarray | None]

Match: TypeAlias = tuple[str, keras.layers.Layer, keras.Variable, np.ndarray]  # name of the tensor, ..., its array


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the files of a publisher name the weights: a table (see `rules`) for each network, by its registry name."""

    name: str
    framework: Framework
    tables: Mapping[str, NameTable]
    prepare: Callable[[Tensors], Tensors] = dict  # renames tensors to names that the tables can express
    convolutions: re.Pattern[str] = re.compile(r"(?!)")  # "network/module" of theirs that are dense layers of ours

    def ignores(self, name: str) -> bool:
        """Whether the tensor of this name is not a weight."""
        return bool(self.framework.ignored.fullmatch(name))


# Layers that a file may have and a model may lack: the classifier and the auxiliary heads.
HEADS = re.compile(r"(logits|fc6|fc7|c5|f6|conv10|class_maps|bottleneck|last_exit_.*|aux_.*)")
SHOWN = 5  # names on each side of an error message


def fill(
    model: keras.Model,
    network: str,
    layout: Layout,
    tensors: Tensors,
    *,
    path: Any,
    adapt: Adapt | None = None,
    classes: Sequence[int] | None = None,
) -> None:
    """Fill a model of the registry's `network` with the tensors of the file at `path`.

    A model without its top or without auxiliary heads leaves theirs in the file unused. `adapt` is called for each
    variable whose shape is not that of its tensor; without `adapt` another shape is an error. `classes` are the places
    in the file of the classes of ImageNet, where it has another order.

    Raises:
        InputError: the file does not fit; the message lists what is left on both sides. The model is unchanged.
    """
    matches, leftover, missing = match(model, network, layout, tensors, classes)
    problem = f"{path} does not hold {network} in the {layout.name} layout"
    for variable, array in fitted(matches, leftover, missing, model=model, problem=problem, adapt=adapt):
        variable.assign(array)


def fitted(
    matches: Sequence[Match],
    leftover: Sequence[str],
    missing: Sequence[str],
    *,
    model: keras.Model,
    problem: str,
    adapt: Adapt | None = None,
) -> list[tuple[keras.Variable, np.ndarray]]:
    """The variables to assign, with arrays of their shapes.

    Raises:
        InputError: something is left over or missing, or has another shape; the message is `problem` and both sides.
    """
    wrong: list[str] = []
    arrays: list[tuple[keras.Variable, np.ndarray]] = []
    for name, layer, variable, array in matches:
        if array.shape != tuple(variable.shape):
            adapted = adapt and adapt(layer, variable.name, array)
            if adapt and adapted is None:
                continue
            if adapted is None or adapted.shape != tuple(variable.shape):
                wrong.append(f"{name} {array.shape} for {layer.name}'s {tuple(variable.shape)}")
                continue
            array = adapted
        arrays.append((variable, array))
    if leftover or missing or wrong:
        sides = (("only in the file", leftover), (f"only in {model.name}", missing), ("of another shape", wrong))
        raise InputError(
            f"{problem}: " + "; ".join(f"{len(names)} {side}: {_first(names)}" for side, names in sides if names)
        )
    return arrays


def recognises(layout: Layout, network: str, tensors: Tensors) -> bool:
    """Whether the layout has a table for the registry's `network`, with a row for each of these tensors."""
    if network not in layout.tables:
        return False
    known = [rules.modules_of(theirs) for theirs in layout.tables[network].values()]
    names = (name for name in layout.prepare(tensors) if not layout.ignores(name))
    modules = {name.rsplit(layout.framework.separator, 1)[0] for name in names}
    return bool(modules) and all(any(row.fullmatch(module) for row in known) for module in modules)


def match(
    model: keras.Model, network: str, layout: Layout, tensors: Tensors, classes: Sequence[int] | None = None
) -> tuple[list[Match], list[str], list[str]]:
    """Match by name: the matches, and names and shapes of the file's tensors and of our variables without a match."""
    framework, table = layout.framework, layout.tables[network]
    left = {k: v for k, v in layout.prepare(tensors).items() if not layout.ignores(k)}
    layers = {base_and_kind(layer): layer for layer in in_order(model) if layer.weights}
    modules = rules.translate(layers, table)
    matches: list[Match] = []
    missing: list[str] = []
    for (base, kind), layer in layers.items():
        module = modules[base, kind]
        for variable in layer.weights:
            if variable.name not in framework.variables:  # a counter of drop path
                continue
            name = f"{module}{framework.separator}{framework.variables[variable.name]}"
            if module is None or name not in left:
                missing.append(f"{layer.name}/{variable.name} {tuple(variable.shape)}")
                continue
            array = left.pop(name)
            if variable.name == "kernel":
                array = framework.kernel(array, layer)
            if HEADS.fullmatch(base) and array.shape[-1] == 1001 == variable.shape[-1] + 1:
                array = array[..., 1:]  # drop the background class
            if classes and HEADS.fullmatch(base) and array.shape[-1] == len(classes):
                array = array[..., list(classes)]
            matches.append((name, layer, variable, array))
    matches = [_without_bias(match, modules, left, framework) for match in matches]
    absent = [theirs for ours, theirs in table.items() if HEADS.fullmatch(ours) and not _has(layers, ours)]
    heads = [rules.modules_of(theirs) for theirs in absent]
    leftover = [
        f"{name} {array.shape}"
        for name, array in left.items()
        if not any(head.fullmatch(name.rsplit(framework.separator, 1)[0]) for head in heads)
    ]
    return matches, leftover, missing


def named(model: keras.Model, network: str, layout: Layout) -> dict[str, np.ndarray]:
    """The weights of a model of the registry's `network` as the layout names and stores them: the reverse of `match`.

    Raises:
        InputError: the model has a layer with weights that the layout has no name for, or its files are not written.
    """
    framework, tensors = layout.framework, dict[str, np.ndarray]()
    if framework.stored is None:
        raise InputError(f"files in the {layout.name} layout are not written")
    layers = {base_and_kind(layer): layer for layer in in_order(model) if layer.weights}
    modules = rules.translate(layers, layout.tables[network])
    for key, layer in layers.items():
        variables = {variable.name: np.asarray(variable) for variable in layer.weights}
        kept = {name: array for name, array in variables.items() if name in framework.variables}
        if not kept:  # a counter of drop path
            continue
        if (module := modules[key]) is None:
            raise InputError(f"the {layout.name} layout of {network} has no name for the layer {layer.name}")
        if (kernel := kept.get("kernel")) is not None:
            kept["kernel"] = framework.stored(kernel, layer)
            if (
                isinstance(layer, Dense)
                and kept["kernel"].ndim == 4
                and not layout.convolutions.fullmatch(f"{network}/{module}")
            ):
                kept["kernel"] = kept["kernel"].reshape(len(kept["kernel"]), -1)
        names = {name: f"{module}{framework.separator}{framework.variables[name]}" for name in kept}
        tensors |= {names[name]: np.ascontiguousarray(array, np.float32) for name, array in kept.items()}
        if framework.counter and "moving_mean" in kept:
            tensors[f"{module}{framework.separator}{framework.counter}"] = np.zeros((), np.int64)
    return tensors


def _has(layers: Mapping[tuple[str, str], Any], ours: str) -> bool:
    return any(rules.matches(ours, base) for base, _ in layers)


def _without_bias(
    match: Match, modules: Mapping[tuple[str, str], str | None], left: dict, framework: Framework
) -> Match:
    """Subtract the bias of the convolution before a batch norm from the moving mean, if only the file has that bias."""
    name, layer, variable, mean = match
    if variable.name != "moving_mean":
        return match
    module = modules.get((base_name(layer.name), "conv"))
    place = f"{module}{framework.separator}{framework.variables['bias']}"
    bias = left.get(place)
    if bias is None or bias.shape != mean.shape:
        return match
    del left[place]
    return name, layer, variable, mean - bias


def base_and_kind(layer: keras.layers.Layer) -> tuple[str, str]:
    """The key of a layer in a table: "conv1_bn" -> ("conv1", "bn")."""
    return base_name(layer.name), "bn" if isinstance(layer, BatchNormalization) else "conv"


def base_name(layer: str) -> str:
    """A layer's name without its kind: "conv1_bn" -> "conv1"."""
    return re.sub(r"_(conv|bn|dense)$", "", layer)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
