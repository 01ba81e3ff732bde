"""From a network's description to the function that builds it.

`register` adds what all networks share: input, head, side heads, weights, the checks of arguments, the signature and
the docstring. So a family file holds only its tables.
"""

from __future__ import annotations

import difflib
import gc
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Union

import keras
from keras.layers import Activation, GlobalAveragePooling2D, GlobalMaxPooling2D

from . import weights as published
from .arguments import Argument, annotated, keyword_only, shown
from .errors import InputError
from .layers import Numerics, Tensor, average_head, deep_graph, numerics
from .outputs import MAIN, auxiliary_name, exit_name
from .registry import ARCHITECTURES, Architecture, Backbone, Builder, SideHead


def register(builder: str, name: str, backbone: Backbone, **description: Any) -> Builder:
    """Make the builder of a network and enter the network in the registry under `name`.

    `description` has the fields of `Architecture`, and values for keyword-only arguments of `backbone` and of its
    `head`. Those that are annotated with an `Argument` become the builder's own, and a value is their default. All
    others make the variant: the value is fixed.
    """
    if name in ARCHITECTURES:
        raise ValueError(f"{name!r} is registered already, by {ARCHITECTURES[name].backbone.__module__}")
    of_architecture = {f.name for f in fields(Architecture)}
    record = {k: v for k, v in description.items() if k in of_architecture}
    variant = {k: v for k, v in description.items() if k not in of_architecture}
    head = record.get("head", average_head)
    if unknown := variant.keys() - keyword_only(backbone).keys() - keyword_only(head).keys():
        raise TypeError(f"{name}: neither the backbone nor the head takes {', '.join(sorted(unknown))}")
    own = {
        k: replace(argument, default=variant.pop(k, argument.default))
        for k, argument in {**annotated(backbone), **annotated(head)}.items()
    }

    def build(**kwargs: Any) -> keras.Model:
        return _assemble(ARCHITECTURES[name], kwargs)

    build.__name__ = build.__qualname__ = builder
    build.__module__ = backbone.__module__
    own |= _side_arguments(record.get("aux_heads"), record.get("exits"))
    entry = Architecture(
        name=name, builder=builder, backbone=backbone, own_arguments=own, fixed=variant, build=build, **record
    )
    ARCHITECTURES[name] = entry
    build.__signature__ = _signature(entry)  # type: ignore[attr-defined]
    build.__doc__ = _docstring(entry)
    return build


# ---------------------------------------------------------------------------------------------------------- arguments


def arguments(entry: Architecture) -> dict[str, Argument]:
    """All arguments of a network's builder: those of keras.applications, `numerics`, and the network's own."""
    smallest, channels = entry.smallest, entry.input_shape[-1]
    common = [
        Argument(
            "Initial weights. None is random, 'imagenet' the first published checkpoint; `model_info` lists the tags. "
            "A path is that of a published file as it is, or of a .weights.h5 or .keras file of this network. "
            "Published weights set the defaults of `numerics`, `classes` and `input_shape` to those that they were "
            "trained with.",
            states="None, 'imagenet', another tag, a Checkpoint or a path",
            name="weights",
            type=str | Path | published.Checkpoint | None,
        ),
        Argument(
            "Whether the network ends in its classifier; without it the output is the last feature map, N x H x W x C.",
            name="include_top",
            type=bool,
            default=True,
        ),
        Argument(
            f"Shape of an image in pixels. None is {entry.input_shape}, or (None, None, {channels}) without the top.",
            at_least=1,
            states=f"(height, width, channels), as {entry.input_shape}, height and width None or at least {smallest}, "
            "or None",
            name="input_shape",
            type=tuple[int | None, int | None, int] | None,
        ),
        Argument(
            "Tensor to build the network on, N x H x W x C, in place of a new input.",
            states="a symbolic Keras tensor or None",
            name="input_tensor",
            type=keras.KerasTensor | None,
        ),
        Argument(
            "Global pooling of the last feature map where there is no top: N x C. None keeps the map.",
            name="pooling",
            type=Literal["avg", "max"] | None,
        ),
        Argument("Number of classes.", at_least=1, name="classes", type=int, default=entry.classes),
        Argument(
            "Activation of the classifier; None gives logits.",
            states="'softmax', the name of another Keras activation, or None",
            name="classifier_activation",
            type=str | None,
            default="softmax",
        ),
        Argument(
            f"The model's name; None is '{entry.name}'.",
            states="a string without '/', or None",
            name="name",
            type=str | None,
        ),
        Argument(
            "Which framework's padding and batch norm to follow.",
            name="numerics",
            # One Literal a name: Python keeps unions, and takes those of Literals that differ in order for the same.
            type=Union[*(Literal[name] for name in entry.numerics), Numerics],  # type: ignore[valid-type]
            default=next(iter(entry.numerics)),
        ),
    ]
    return {argument.name: argument for argument in common} | dict(entry.own_arguments)


def settable(entry: Architecture) -> dict[str, Argument]:
    """The arguments that a training may choose. Images and weights decide the others."""
    by_name = replace(arguments(entry)["numerics"], type=Literal[tuple(entry.numerics)])  # type: ignore[valid-type]
    return {"numerics": by_name} | dict(entry.own_arguments)


def checked_options(entry: Architecture, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a training chooses, as plain Python values.

    Raises:
        InputError: the network has no such argument, or the value is not allowed; the message says what is.
    """
    known = settable(entry)
    for name in options.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
        raise InputError(f"{entry.name} has no argument {name!r} that a training can set; {hint}")
    return {name: known[name].check(value) for name, value in options.items()}


def _side_arguments(
    aux_heads: Mapping[str, SideHead] | None, exits: Mapping[str, SideHead] | None
) -> dict[str, Argument]:
    """The arguments that add side heads, where the network has some."""
    found = []
    if aux_heads:
        places = " and ".join(f"`{endpoint}`" for endpoint in aux_heads)
        about = f"Whether auxiliary classifiers for training are added after {places}."
        found.append(Argument(about, name="aux_heads", type=bool, default=False))
    if exits:
        about = "Whether all early exits are outputs; False gives the last classifier alone, as a plain classifier."
        found.append(Argument(about, name="exits", type=bool, default=True))
    return {argument.name: argument for argument in found}


def _checked(entry: Architecture, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments as plain Python values, each of which is allowed by itself."""
    known = arguments(entry)
    for name in kwargs.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
        raise TypeError(f"{entry.builder}() got an unexpected keyword argument {name!r}; {hint}")
    values = {name: known[name].check(value) for name, value in kwargs.items()}

    def refuse(name: str) -> None:
        raise InputError(f"{name} must be {known[name].allowed}; got {shown(kwargs[name])}")

    if (shape := values.get("input_shape")) is not None:
        _check_size(entry, "input_shape", shape)
    if (label := values.get("name")) is not None and (not label or "/" in label):
        refuse("name")
    if (activation := values.get("classifier_activation")) is not None:
        try:
            keras.activations.get(activation)
        except ValueError:
            refuse("classifier_activation")
    return values


def _check_size(entry: Architecture, name: str, shape: tuple[int | None, ...]) -> None:
    height, width = shape[:2]
    if any(side is not None and side < entry.smallest for side in (height, width)):
        raise InputError(
            f"{name}: {entry.builder} takes images of at least {entry.smallest} x {entry.smallest} pixels; "
            f"got {height} x {width}"
        )


# -------------------------------------------------------------------------------------------------------------- model


def _assemble(entry: Architecture, kwargs: Mapping[str, Any]) -> keras.Model:
    given = _checked(entry, kwargs)
    source = entry.source(given.get("weights"), given)
    values = {name: argument.default for name, argument in arguments(entry).items()} | source.arguments | given
    if values.get("aux_heads") and not values["include_top"]:
        raise InputError("aux_heads=True needs include_top=True: auxiliary heads are classifiers, as the top is")
    inputs, x = _inputs(entry, values, source.input_shape or entry.input_shape)
    chosen = values["numerics"]
    chosen = chosen if isinstance(chosen, Numerics) else entry.numerics[chosen]
    with deep_graph(), numerics(chosen), _growing():
        x = entry.backbone(x, **_take(entry.backbone, values, entry.fixed))
        if values["include_top"]:
            outputs = _classifiers(entry, values, inputs, x)
        elif pooling := values["pooling"]:
            outputs = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D}[pooling](name=f"{pooling}_pool")(x)
        else:
            outputs = x
        model = keras.Model(inputs, outputs, name=values["name"] or entry.name)
        published.load(model, source)
    return model


@contextmanager
def _growing() -> Iterator[None]:
    """Without Python's search for dead cycles: it finds none in a graph that grows, and takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _classifiers(entry: Architecture, values: Mapping[str, Any], inputs: Any, x: Tensor) -> Any:
    """The probabilities of the network's top; with side heads a dict of all outputs."""
    classes = values["classes"]
    logits = {MAIN: entry.head(x, classes, **_take(entry.head, values, entry.fixed))}
    if side_heads := _side_heads(entry, values):
        endpoints = keras.Model(inputs, x)
        for side, (at, side_head) in side_heads.items():
            logits[side] = side_head(endpoints.get_layer(at).output, classes, name=side)
    # The last step is float32 under mixed precision too: a softmax over many classes needs it.
    activation = values["classifier_activation"] or "linear"
    outputs = {name: Activation(activation, dtype="float32", name=name)(value) for name, value in logits.items()}
    return outputs if side_heads else outputs[MAIN]


def _side_heads(entry: Architecture, values: Mapping[str, Any]) -> dict[str, tuple[str, SideHead]]:
    """The classifiers beside the last one that are asked for: output name -> endpoint, head."""
    auxiliary = entry.aux_heads if values.get("aux_heads") else {}
    exits = entry.exits if values.get("exits") else {}
    return {
        name(i): item
        for name, heads in ((auxiliary_name, auxiliary), (exit_name, exits))
        for i, item in enumerate(heads.items(), 1)
    }


def _take(function: Backbone, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword-only arguments of one of the network's functions."""
    return {k: fixed[k] if k in fixed else values.get(k, default) for k, default in keyword_only(function).items()}


def _inputs(entry: Architecture, values: Mapping[str, Any], default: tuple[int, int, int]) -> tuple[Any, Tensor]:
    """The model's inputs, and the tensor that the network starts from; `default` is the input shape with a top."""
    tensor, shape = values["input_tensor"], values["input_shape"]
    if tensor is not None:
        if len(tensor.shape) != 4 or tensor.shape[-1] is None:
            raise InputError(f"input_tensor must be N x H x W x C, with a known C; got {tensor.shape}")
        _check_size(entry, "input_tensor", tensor.shape[1:])
        sources = keras.utils.get_source_inputs(tensor)
        return sources[0] if len(sources) == 1 else sources, tensor  # a list of one makes Keras expect a list
    if shape is None:  # as in keras.applications: a network without its top takes any size
        shape = default if values["include_top"] else (None, None, default[-1])
    inputs = keras.Input(shape, name="images")
    return inputs, inputs


# ------------------------------------------------------------------------------------------------------ documentation


def _signature(entry: Architecture) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, kind, default=argument.default, annotation=argument.type)
        for name, argument in arguments(entry).items()
    ]
    return inspect.Signature(parameters, return_annotation=keras.Model)


def _docstring(entry: Architecture) -> str:
    height, width, channels = entry.input_shape
    listed = "\n".join(argument.doc for argument in arguments(entry).values())
    several = ""
    if entry.aux_heads:
        several = '\n    With aux_heads=True a dict of "predictions", "aux_1" ...'
    if entry.exits:
        several = '\n    With exits=True a dict of "exit_1", "exit_2" ... and "predictions", the last.'
    return f"""{entry.builder}. {entry.paper.authors}, {entry.paper.year}, "{entry.paper.title}". {entry.paper.url}

{inspect.getdoc(entry.backbone) or ""}

Args:
{listed}

Returns:
    A flat functional `keras.Model`: images, N x {height} x {width} x {channels} float32, prepared by the weights'
    preprocessing -> N x classes float32 probabilities.{several}

Raises:
    InputError: an argument is not allowed; the message says what is.
"""
