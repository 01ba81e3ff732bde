"""Every network by name. One dictionary; nothing else keeps a list.

A family file describes its networks, `register` makes builders of the descriptions: it adds what all networks have in
common (input, head, auxiliary heads, weights, the checks of their arguments), so that a family holds only its tables.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import keras
from keras.layers import Activation, Dense, GlobalAveragePooling2D, GlobalMaxPooling2D

from . import weights as published
from .errors import InputError
from .layers import TF, Numerics, Tensor, activate, drop, flatten, numerics
from .preprocessing import Preprocessing, scaled

Backbone: TypeAlias = Callable[..., Tensor]  # (x, **own) -> the last feature map
Head: TypeAlias = Callable[..., Tensor]  # (x, classes, **own) -> logits
AuxHead: TypeAlias = Callable[..., Tensor]  # (endpoint, classes, *, name) -> logits


class Builder(Protocol):
    """A network's constructor; `help()` of any one lists its own arguments."""

    __name__: str

    def __call__(self, **kwargs: Any) -> keras.Model:
        """Build the network as a flat functional model."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a network was published."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network as its family file describes it.

    `parameters` (trainable) and `macs` (multiply-adds of convolutions and dense layers, one image) are of the default
    arguments; the tests recompute both. `smallest` is the smallest legal height and width.
    """

    name: str
    builder: str
    alias: str | None  # another builder name that people know it by
    paper: Paper
    backbone: Backbone
    head: Head
    aux_heads: Mapping[str, AuxHead]
    exits: Mapping[str, AuxHead]  # the early ones of a network that can stop early
    own: dict[str, Any]  # the family's own arguments and their defaults
    fixed: Mapping[str, Any]  # the arguments that make this variant of the family
    numerics: Mapping[str, Numerics]  # the first is the default
    preprocessing: Callable[[tuple[int, int], int], Preprocessing]
    input_shape: tuple[int, int, int]
    classes: int
    smallest: int
    parameters: int | None
    macs: int | None
    build: Builder = field(repr=False, compare=False)

    @property
    def weights(self) -> tuple[published.Checkpoint, ...]:
        """What is published for it, the preferred first: tags, accuracies, licences."""
        return published.checkpoints(self.name)

    def source(self, weights: published.Weights, arguments: Mapping[str, Any]) -> published.WeightsSource:
        """What `build(weights=weights, **arguments)` starts from.

        Raises:
            InputError: there are no such weights, or they were trained with other arguments.
        """
        return published.choose(self.name, weights, arguments, own=self.own, numerics=self.numerics)

    def preprocessing_for(self, input_shape: tuple[int, int, int] | None = None) -> Preprocessing:
        """How images are prepared for training this network from scratch, for an (H, W, C) input."""
        height, width, channels = input_shape or self.input_shape
        return self.preprocessing((height, width), channels)


ARCHITECTURES: dict[str, Architecture] = {}


def average_head(x: Tensor, classes: int, *, dropout: float = 0.0) -> Tensor:
    """Global average pool, dropout, dense: N x H x W x C -> N x classes, logits."""
    x = GlobalAveragePooling2D(name="avg_pool")(x)
    x = drop(x, dropout, name="dropout")
    return Dense(classes, name="logits")(x)


def pooled_head(x: Tensor, classes: int) -> Tensor:
    """As `average_head`, for a backbone that has its dropout, and an argument of that name, itself."""
    return average_head(x, classes)


def dense_head(x: Tensor, classes: int, *, dropout: float = 0.5) -> Tensor:
    """Two hidden layers of 4,096 with dropout behind each, dense: N x H x W x C -> N x classes, logits."""
    x = flatten(x, name="flatten")
    for name in ("fc6", "fc7"):
        x = activate(Dense(4096, name=f"{name}_dense")(x), "relu", name=name)
        x = drop(x, dropout, name=f"{name}_drop")
    return Dense(classes, name="logits")(x)


def register(
    builder: str,
    name: str,
    backbone: Backbone,
    *,
    paper: Paper,
    input_shape: tuple[int, int, int],
    smallest: int,
    parameters: int | None,
    macs: int | None,
    alias: str | None = None,
    head: Head = average_head,
    aux_heads: Mapping[str, AuxHead] | None = None,
    exits: Mapping[str, AuxHead] | None = None,
    numerics: Mapping[str, Numerics] | None = None,
    preprocessing: Callable[[tuple[int, int], int], Preprocessing] = scaled,
    classes: int = 1000,
    defaults: Mapping[str, Any] | None = None,
    **fixed: Any,
) -> Builder:
    """Make the builder of a described network and enter it under `name`.

    The builder's own arguments are the keyword-only arguments of `backbone` and `head`, less those in `fixed`, with
    `defaults` in place of the functions' own; a network with `aux_heads` takes `aux_heads=False` too, and
    one with early `exits` `exits=True`. Both are given as endpoint -> head.
    """
    if name in ARCHITECTURES:
        raise ValueError(f"{name!r} is registered already, by {ARCHITECTURES[name].backbone.__module__}")
    own = {k: v for k, v in (_keyword_only(backbone) | _keyword_only(head)).items() if k not in fixed}
    own |= defaults or {}
    if aux_heads:
        own["aux_heads"] = False
    if exits:
        own["exits"] = True

    def build(**kwargs: Any) -> keras.Model:
        return _assemble(ARCHITECTURES[name], kwargs)

    build.__name__ = build.__qualname__ = builder
    build.__module__ = backbone.__module__
    ARCHITECTURES[name] = entry = Architecture(
        name=name,
        builder=builder,
        alias=alias,
        paper=paper,
        backbone=backbone,
        head=head,
        aux_heads=aux_heads or {},
        exits=exits or {},
        own=own,
        fixed=fixed,
        numerics=numerics or {"tf": TF},
        preprocessing=preprocessing,
        input_shape=input_shape,
        classes=classes,
        smallest=smallest,
        parameters=parameters,
        macs=macs,
        build=build,
    )
    build.__signature__ = _signature(entry)  # type: ignore[attr-defined]
    build.__doc__ = _docstring(entry)
    return build


def _keyword_only(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


# -------------------------------------------------------------------------------------------------------- the builder


def _common(entry: Architecture) -> dict[str, Any]:
    """The arguments that every builder has, as in keras.applications, and `numerics`."""
    return {
        "weights": None,
        "include_top": True,
        "input_shape": None,
        "input_tensor": None,
        "pooling": None,
        "classes": entry.classes,
        "classifier_activation": "softmax",
        "name": None,
        "numerics": next(iter(entry.numerics)),
    }


def _assemble(entry: Architecture, kwargs: Mapping[str, Any]) -> keras.Model:
    arguments = _common(entry) | entry.own
    if unknown := sorted(set(kwargs) - set(arguments)):
        raise TypeError(f"{entry.builder}() takes no {', '.join(map(repr, unknown))}; it takes {', '.join(arguments)}")
    source = entry.source(kwargs.get("weights"), kwargs)
    arguments |= source.arguments | dict(kwargs)
    include_top, pooling, classes = (arguments[k] for k in ("include_top", "pooling", "classes"))
    if pooling not in (None, "avg", "max"):
        raise InputError(f"pooling must be None, 'avg' or 'max'; got {pooling!r}")
    if not isinstance(classes, int) or classes < 1:
        raise InputError(f"classes must be a whole number of at least 1; got {classes!r}")
    if arguments.get("aux_heads") and not include_top:
        raise InputError("aux_heads=True needs include_top=True: auxiliary heads classify, as the top does")

    inputs, x = _inputs(entry, arguments, source.input_shape or entry.input_shape)
    with numerics(_chosen_numerics(entry, arguments["numerics"])):
        x = entry.backbone(x, **_take(entry.backbone, arguments, entry.fixed))
        outputs: Any = x
        if include_top:
            logits = {"predictions": entry.head(x, classes, **_take(entry.head, arguments, entry.fixed))}
            if side_heads := _side_heads(entry, arguments):
                endpoints = keras.Model(inputs, x)
                for side, (at, side_head) in side_heads.items():
                    logits[side] = side_head(endpoints.get_layer(at).output, classes, name=side)
            # The last step is float32 under mixed precision too: a softmax over many classes needs it.
            activation = arguments["classifier_activation"] or "linear"
            outputs = {k: Activation(activation, dtype="float32", name=k)(v) for k, v in logits.items()}
            if not side_heads:
                outputs = outputs["predictions"]
        elif pooling:
            outputs = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D}[pooling](name=f"{pooling}_pool")(x)
    model = keras.Model(inputs, outputs, name=arguments["name"] or entry.name)
    published.load(model, source)
    return model


def _side_heads(entry: Architecture, arguments: Mapping[str, Any]) -> dict[str, tuple[str, AuxHead]]:
    """The classifiers that are wanted beside the last: output name -> endpoint, head."""
    wanted = {
        "aux": entry.aux_heads if arguments.get("aux_heads") else {},
        "exit": entry.exits if arguments.get("exits") else {},
    }
    return {f"{kind}_{i}": item for kind, heads in wanted.items() for i, item in enumerate(heads.items(), 1)}


def _take(function: Callable[..., Any], arguments: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {k: fixed[k] if k in fixed else arguments[k] for k in _keyword_only(function)}


def _chosen_numerics(entry: Architecture, choice: str | Numerics) -> Numerics:
    if isinstance(choice, Numerics):
        return choice
    if choice not in entry.numerics:
        raise InputError(f"{entry.builder} has numerics {', '.join(map(repr, entry.numerics))}; got {choice!r}")
    return entry.numerics[choice]


def _inputs(entry: Architecture, arguments: Mapping[str, Any], default: tuple[int, int, int]) -> tuple[Any, Tensor]:
    """The model's inputs, and the tensor that the network starts from; `default` is the shape that a top comes with."""
    tensor, shape = arguments["input_tensor"], arguments["input_shape"]
    if tensor is not None:
        _check_shape(entry, tuple(tensor.shape[1:]))
        sources = keras.utils.get_source_inputs(tensor)
        return sources[0] if len(sources) == 1 else sources, tensor  # Keras asks for a list where it got one
    if shape is None:  # as in keras.applications: a network without its top takes any size
        shape = default if arguments["include_top"] else (None, None, default[-1])
    _check_shape(entry, tuple(shape))
    inputs = keras.Input(shape, name="images")
    return inputs, inputs


def _check_shape(entry: Architecture, shape: tuple[Any, ...]) -> None:
    if len(shape) != 3 or not isinstance(shape[-1], int) or shape[-1] < 1:
        raise InputError(f"input_shape is (height, width, channels), as {entry.input_shape}; got {shape}")
    if any(side is not None and side < entry.smallest for side in shape[:2]):
        raise InputError(
            f"{entry.builder} takes images of at least {entry.smallest} x {entry.smallest} pixels; "
            f"got {shape[0]} x {shape[1]}"
        )


def _signature(entry: Architecture) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(k, kind, default=v) for k, v in (_common(entry) | entry.own).items()]
    return inspect.Signature(parameters, return_annotation=keras.Model)


def _docstring(entry: Architecture) -> str:
    height, width, channels = entry.input_shape
    about = inspect.getdoc(entry.backbone) or ""
    numerics = " or ".join(map(repr, entry.numerics))
    own = f"\n    {', '.join(entry.own)}: see above." if entry.own else ""
    return f"""{entry.builder}. {entry.paper.authors}, {entry.paper.year}, "{entry.paper.title}". {entry.paper.url}

{about}

Args:
    weights: None (random); "imagenet" (the first that is published), or another tag that `model_info` lists; the path
        of a published file as it is, or of a `.weights.h5` or `.keras` file of this network. Published weights set the
        defaults of `numerics`, `classes` and `input_shape` to what they were trained with.
    include_top: end in the classifier; without it the output is the last feature map, N x H x W x C.
    input_shape: (height, width, channels) in pixels, {height} x {width} x {channels} by default; at least
        {entry.smallest} x {entry.smallest}.
    input_tensor: a Keras tensor to build on, in place of a new input.
    pooling: without the top: None, "avg" or "max" over the map, for N x C.
    classes: how many classes the top tells apart.
    classifier_activation: "softmax", or None for logits.
    name: the model's name, "{entry.name}" by default.
    numerics: {numerics}, or a `layers.Numerics`: whose padding and batch norm to follow.{own}

Returns:
    A flat functional `keras.Model`: images, N x {height} x {width} x {channels} float32 as the weights' preprocessing
    makes them -> N x classes float32 probabilities. With aux_heads=True a dict of "predictions", "aux_1", ...,
    with early exits, where the network has them, of "predictions", which is the last, "exit_1", ...

Raises:
    InputError: an argument is not allowed; the message says what is.
"""


# ------------------------------------------------------------------------------------------------------------ look-up


def architectures() -> list[Architecture]:
    """All networks, in the order of their families."""
    importlib.import_module(".models", __package__)  # a family enters its networks when it is imported
    return list(ARCHITECTURES.values())


def get(name: str) -> Architecture:
    """The architecture of that name, "inception_v3" or "InceptionV3".

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    by_key = {_key(a.name): a for a in architectures()}
    by_key |= {_key(a.alias): a for a in architectures() if a.alias}
    if (found := by_key.get(_key(name))) is None:
        near = difflib.get_close_matches(_key(name), by_key, n=3, cutoff=0.5)
        nearest = " or ".join(by_key[key].name for key in near)
        hint = f"did you mean {nearest}?" if near else "`keras-inception models` lists them"
        raise InputError(f"unknown model {name!r}: {hint}")
    return found


def _key(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names matching a shell pattern, sorted; with `pretrained`, those that have published weights.

    >>> list_models("inception_v?")
    ['inception_v1', 'inception_v2', 'inception_v3', 'inception_v4']
    """
    return sorted(fnmatch.filter((a.name for a in architectures() if a.weights or not pretrained), pattern))


def create_model(name: str, **kwargs: Any) -> keras.Model:
    """Build a network by its name; `kwargs` are its builder's arguments.

    >>> create_model("lenet5").output_shape
    (None, 10)

    Raises:
        InputError: there is no such network, or an argument is not allowed; the message says what is.
    """
    return get(name).build(**kwargs)


def model_info(name: str) -> Architecture:
    """What is known of a network by its name: paper, input, parameters, multiply-adds, own arguments, `weights`.

    >>> known = model_info("InceptionV3")
    >>> known.name, known.input_shape, known.parameters, known.paper.year
    ('inception_v3', (299, 299, 3), 23817352, 2015)

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    return get(name)
