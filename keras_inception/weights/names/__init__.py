"""Where a published file's tensors go: one table a layout and network, and the loop that reads it.

Strict both ways: every tensor of a file finds its place or is one that its layout ignores, and every weight of the
model is filled; or nothing is changed and the error shows both sides. These differences are bridged exactly: the order
of a kernel's axes, a channels-first flatten before a dense layer, a dense layer against a 1x1 convolution or one that
covers the map, a bias before batch norm that only the file has (the moving mean takes it in), and a background class
before the thousand of ImageNet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras.layers import BatchNormalization

from ...errors import InputError
from ...model_graph import in_order
from . import rules
from .cadene import CADENE
from .facenet import FACENET
from .keras_team import KERAS_TEAM
from .layout import Layout, Tensors
from .pytorchcv import PYTORCHCV
from .tf2cv import TF2CV
from .timm import TIMM
from .torchvision import TORCHVISION

# Asked where a tensor's shape is not our variable's: what to put there instead, None to leave the variable as it is.
Adapt: TypeAlias = Callable[[keras.layers.Layer, str, np.ndarray], np.ndarray | None]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (KERAS_TEAM, TIMM, TORCHVISION, CADENE, PYTORCHCV, TF2CV, FACENET)
}
# What a file may have and a model be without: the classifier, and the auxiliary ones.
HEADS = re.compile(r"(logits|fc6|fc7|conv10|class_maps|bottleneck|aux_.*)")
SHOWN = 5  # names on each side of an error


def fill(
    model: keras.Model, network: str, layout: str, tensors: Tensors, *, path: Any, adapt: Adapt | None = None
) -> None:
    """Fill a model of the registry's `network` with the tensors of the file at `path`, which is in that layout.

    A model without its top, or without auxiliary heads, leaves the file's unused. `adapt` is asked about each variable
    that has another shape than its tensor; without it, that is an error too.

    Raises:
        InputError: the file does not fit; the message shows what has no place on either side. The model is as it was.
    """
    variables, leftover, missing = match(model, network, layout, tensors)
    wrong: list[str] = []
    arrays: list[tuple[keras.Variable, np.ndarray]] = []
    for name, layer, variable, array in variables:
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
        text = "; ".join(f"{len(names)} {side}: {_first(names)}" for side, names in sides if names)
        raise InputError(f"{path} does not hold {network} in the {layout} layout: {text}")
    for variable, array in arrays:
        variable.assign(array)


def recognise(network: str, tensors: Tensors) -> list[str]:
    """The layouts in which the registry's `network` has tensors of these names; two publishers may have the same."""
    layouts = [layout for layout in LAYOUTS.values() if network in layout.tables]
    return [layout.name for layout in layouts if _speaks_of(layout, network, tensors)]


def _speaks_of(layout: Layout, network: str, tensors: Tensors) -> bool:
    """Whether a row of the layout's table is about each of the tensors."""
    known = [rules.anything(theirs) for theirs in layout.tables[network].values()]
    names = (name for name in layout.prepare(tensors) if not layout.ignores(name))
    modules = {name.rsplit(layout.framework.separator, 1)[0] for name in names}
    return bool(modules) and all(any(row.fullmatch(module) for row in known) for module in modules)


# ------------------------------------------------------------------------------------------------------- the matching

Match: TypeAlias = tuple[str, keras.layers.Layer, keras.Variable, np.ndarray]  # their name, our layer, its variable


def match(model: keras.Model, network: str, layout: str, tensors: Tensors) -> tuple[list[Match], list[str], list[str]]:
    """What fits by name; names and shapes of the file's tensors, and of our variables, that are left over."""
    about = LAYOUTS[layout]
    framework, table = about.framework, about.tables[network]
    left = {k: v for k, v in about.prepare(tensors).items() if not about.ignores(k)}
    layers = {word_of(layer): layer for layer in in_order(model) if layer.weights}
    modules = rules.translate(layers, table)
    matches: list[Match] = []
    missing: list[str] = []
    for word, layer in layers.items():
        for variable in layer.weights:
            if variable.name not in framework.variables:  # a counter of drop path's
                continue
            name = f"{modules[word]}{framework.separator}{framework.variables[variable.name]}"
            if modules[word] is None or name not in left:
                missing.append(f"{layer.name}/{variable.name} {tuple(variable.shape)}")
                continue
            array = left.pop(name)
            if variable.name == "kernel":
                array = framework.kernel(array, layer)
            if HEADS.fullmatch(word[0]) and array.shape[-1] == 1001 == variable.shape[-1] + 1:
                array = array[..., 1:]  # without the background
            matches.append((name, layer, variable, array))
    matches = [_without_bias(match, modules, left, framework.separator) for match in matches]
    absent = [theirs for ours, theirs in table.items() if HEADS.fullmatch(ours) and not _has(layers, ours)]
    heads = [rules.anything(theirs) for theirs in absent]
    leftover = [
        f"{name} {array.shape}"
        for name, array in left.items()
        if not any(head.fullmatch(name.rsplit(framework.separator, 1)[0]) for head in heads)
    ]
    return matches, leftover, missing


def _has(words: Mapping[tuple[str, str], Any], ours: str) -> bool:
    return any(rules.matches(ours, word) for word, _ in words)


def _without_bias(match: Match, modules: Mapping[tuple[str, str], str | None], left: dict, separator: str) -> Match:
    """A moving mean less the bias of the convolution before, where only the file has one."""
    name, layer, variable, mean = match
    if variable.name != "moving_mean":
        return match
    module = modules.get((word_of(layer)[0], "conv"))
    bias = left.get(f"{module}{separator}bias")
    if bias is None or bias.shape != mean.shape:
        return match
    del left[f"{module}{separator}bias"]
    return name, layer, variable, mean - bias


def word_of(layer: keras.layers.Layer) -> tuple[str, str]:
    """The word of a table that made a layer, and the layer's kind: "conv1_bn" -> ("conv1", "bn")."""
    kind = "bn" if isinstance(layer, BatchNormalization) else "conv"
    return re.sub(r"_(conv|bn|dense)$", "", layer.name), kind


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
