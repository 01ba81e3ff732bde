"""The weights of a network as a file that another library's implementation of it loads: timm's, torchvision's, Keras'.

The names are those of the layouts that published weights are read in. A file is only written for a network that
computes what the library's own computes with the same weights, so its numerics must be those of the layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from keras.layers import Dropout, InputLayer

from keras_inception.analysis.cost import blueprint
from keras_inception.arguments import checked
from keras_inception.errors import InputError
from keras_inception.files import new_output
from keras_inception.layers import DropPath, deep_graph
from keras_inception.outputs import auxiliary_names, classifiers, main_network
from keras_inception.registry import Architecture, get
from keras_inception.run import Run
from keras_inception.weights.matching import Layout, named
from keras_inception.weights.publishers import LAYOUTS, keras_team
from keras_inception.weights.writers import WRITERS, write_h5

from .inputs import ModelOrRun

TORCH_LAYOUTS = tuple(name for name, layout in LAYOUTS.items() if layout.framework.counter)
# What differs without a difference of the output.
UNSEEN = ("name", "trainable", "dtype", "momentum", "synchronized", "build_config")
UNSEEN_ENDINGS = ("_initializer", "_regularizer", "_constraint")


@checked
def to_torch(
    model_or_run: ModelOrRun, path: str | Path, *, layout: str, network: str | None = None, overwrite: bool = False
) -> Path:
    """Write the weights as a state_dict that a PyTorch library loads into its own network; PyTorch is not needed.

    `timm.create_model("resnet50", num_classes=3).load_state_dict(...)` takes the file with layout "timm", and
    `torchvision.models.resnet50(num_classes=3)` the one with layout "torchvision". Auxiliary heads are written where
    the layout has them: without them give torchvision's networks `aux_logits=False`. The images are prepared as for the
    network here; torchvision's `googlenet` and `inception_v3` need `transform_input=False`.

    Args:
        model_or_run: a network of this package with its classifier, a run or a run directory. Any number of classes.
        path: the file to write, a .safetensors, .pth or .pt.
        layout: whose names: "timm", "torchvision", "cadene" (pretrained-models.pytorch, and timm's legacy networks),
            "pytorchcv" or "facenet" (facenet-pytorch).
        network: the network's name in the registry; a run knows it, and a model has it as its own name.
        overwrite: replace a file at `path`, after the new one is complete.

    Raises:
        InputError: the layout does not have the network, or computes something else than the model, as other numerics
            do; or `path` exists or cannot be written. Nothing is left.
    """
    path = Path(path)
    if layout not in TORCH_LAYOUTS:
        raise InputError(f"layout is one of {', '.join(TORCH_LAYOUTS)}; got {layout!r}")
    if (write := WRITERS.get(path.suffix)) is None:
        raise InputError(f"{path} must end in one of {', '.join(WRITERS)}")
    with _new_file(path, overwrite) as part:
        model, entry, _ = _exact(model_or_run, LAYOUTS[layout], network)
        write(part, named(model, entry.name, LAYOUTS[layout]))
    return path


@checked
def to_keras_h5(
    model_or_run: ModelOrRun, path: str | Path, *, network: str | None = None, overwrite: bool = False
) -> Path:
    """Write the weights as `keras.applications` saves its own: Keras 2's .h5 layout, with Keras' names and order.

    `keras.applications.ResNet50(weights="path.h5", classes=3)` takes the file, as does `load_weights`, in Keras 2 and
    in Keras 3. `ResNeXt` is in the package keras-applications.

    Args:
        model_or_run: a network of this package with its classifier, a run or a run directory. Any number of classes.
        path: the file to write, an .h5.
        network: the network's name in the registry; a run knows it, and a model has it as its own name.
        overwrite: replace a file at `path`, after the new one is complete.

    Raises:
        InputError: as of `to_torch`.
    """
    path = Path(path)
    if path.suffix != ".h5" or path.name.endswith(".weights.h5"):
        raise InputError(
            f"{path} must end in .h5; a .weights.h5 is of Keras' newer layout, model.save_weights writes it"
        )
    with _new_file(path, overwrite) as part:
        model, entry, width = _exact(model_or_run, LAYOUTS["keras"], network)
        tensors = named(model, entry.name, LAYOUTS["keras"])
        write_h5(part, keras_team.layers_of(tensors, _keras_layers(model, entry, **width)))
    return path


def check_layout(model_or_run: ModelOrRun, layout: str) -> None:
    """Check that a network can be written in a layout.

    Raises:
        InputError: as of `to_torch`.
    """
    _exact(model_or_run, LAYOUTS[layout], None)


def layouts_of(network: str) -> tuple[str, ...]:
    """The layouts that a network of the registry can be written in."""
    return tuple(dict.fromkeys(c.layout for c in get(network).weights if LAYOUTS[c.layout].framework.stored))


def _new_file(path: Path, overwrite: bool) -> Any:
    kind = f"{path.suffix} file"
    return new_output(path, overwrite=overwrite, kind=kind, is_kind=lambda p: p.is_file() and p.suffix == path.suffix)


# ---------------------------------------------------------------------------------------------------------- the network


@deep_graph()
def _exact(
    model_or_run: ModelOrRun, layout: Layout, network: str | None
) -> tuple[keras.Model, Architecture, dict[str, Any]]:
    """The network, its description and its own arguments, if the layout's implementation computes the same."""
    model, entry = _given(model_or_run, network)
    variants = [c for c in entry.weights if c.layout == layout.name]
    if not variants:
        can = ", ".join(layouts_of(entry.name)) or "none"
        raise InputError(f"{entry.name} is not in the {layout.name} layout; it can be written in: {can}")
    heads = classifiers(main_network(model))
    if not heads or None in model.input_shape[3:]:
        raise InputError(f"{model.name} has no classifier: give the network with its top")
    aux = bool(auxiliary_names(model)) and any(c.kwargs.get("aux_heads") for c in variants)
    model = model if aux else main_network(model)
    found: list[tuple[int, str, str]] = []  # differences, the first, the arguments
    for arguments in _distinct(variants):
        like = {"input_shape": model.input_shape[1:], "classes": heads[0].output.shape[-1]}
        like |= {"aux_heads": True} if aux else {}
        differences = list(_differences(model, blueprint(entry.build, **like, **arguments)))
        if not differences:
            return model, entry, {k: v for k, v in arguments.items() if k != "numerics"}
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        found.append((len(differences), differences[0], shown))
    _, first, shown = min(found)
    raise InputError(
        f"{model.name} computes something else than {layout.name}'s {entry.name}: {first}; build it with {shown}"
    )


def _given(model_or_run: ModelOrRun, network: str | None) -> tuple[keras.Model, Architecture]:
    if isinstance(model_or_run, str | Path):
        model_or_run = Run.load(model_or_run)
    if isinstance(model_or_run, Run):
        return model_or_run.model(), get(network or model_or_run.builder)
    if not isinstance(model_or_run, keras.Model):
        raise InputError(f"expected a keras.Model, a Run or a run directory; got {type(model_or_run).__name__}")
    try:
        return model_or_run, get(network or model_or_run.name)
    except InputError as error:
        raise InputError(f"{error}; say which network this is, network='resnet50' for example") from error


def _distinct(variants: Any) -> list[dict[str, Any]]:
    """The arguments of the networks that a layout has weights for."""
    found: list[dict[str, Any]] = []
    for record in variants:
        arguments = {"numerics": record.numerics, **{k: v for k, v in record.kwargs.items() if k != "aux_heads"}}
        if arguments not in found:
            found.append(arguments)
    return found


def _differences(model: keras.Model, other: keras.Model) -> Iterator[str]:
    """Which layers of two networks of the same architecture compute something else, apart from their weights."""
    ours, theirs = _settings(model), _settings(other)
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name not in ours or name not in theirs:
            yield f"it has {'a' if name in theirs else 'no'} layer {name}"
            continue
        for key, value in theirs[name].items():
            if ours[name].get(key) != value:
                yield f"{name} has {key} {value} there and {ours[name].get(key)} here"


def _settings(model: keras.Model) -> dict[str, dict[str, Any]]:
    """The configurations of the layers that decide what a network computes, by name."""
    return {
        layer.name: {
            key: json.loads(json.dumps(value, default=str))
            for key, value in layer.get_config().items()
            if key not in UNSEEN and not key.endswith(UNSEEN_ENDINGS)
        }
        for layer in model.layers
        if not isinstance(layer, InputLayer | Dropout | DropPath) and layer.name not in model.output_names
    }


# ---------------------------------------------------------------------------------------------------------------- Keras


@deep_graph()
def _keras_layers(model: keras.Model, entry: Architecture, **width: float) -> dict[str, list[tuple[int, ...]]]:
    """The layers with weights of Keras' own network in its order, and the shapes of their weights.

    Keras 3 has no ResNeXt. Its layers have the names and the order of ResNet's, but not their biases and shapes.
    """
    name = (entry.alias or entry.builder).replace("ResNeXt", "ResNet").partition("_")[0]
    known = "ResNeXt" not in entry.builder
    classes = classifiers(model)[0].output.shape[-1]
    like = {"weights": None, "input_shape": model.input_shape[1:], "classes": classes}
    network = blueprint(getattr(keras.applications, name), **like, **width)
    return {layer.name: [tuple(v.shape) for v in layer.weights if known] for layer in network.layers if layer.weights}
