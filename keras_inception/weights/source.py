"""Resolve what a caller gives as `weights`, and fill the network."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import keras
import numpy as np

from .. import hub
from ..arguments import checked
from ..errors import InputError
from ..files import parse_json
from ..layers import Numerics
from ..model_graph import check_archive
from ..outputs import auxiliary_names, main_network
from ..terminal import note
from .download import fetch, file_name, has_digest
from .labels import devkit_places
from .matching import Layout, fill, recognises
from .publishers import LAYOUTS, checkpoints, find
from .readers import INDEX, READERS, read
from .record import Checkpoint, loaded
from .tensorflow import ARCHIVES, checkpoint_at
from .tflite import TFLITE, TFLiteNetwork, fill_tflite, recognise_tflite
from .transfer import CLASSIFIER, adapter, copy_tensors

Weights: TypeAlias = str | Path | Checkpoint | None

OWN = (".weights.h5", ".keras")
# The files that the folder of a run, or of a network of the Hugging Face hub, has its weights in; the first is taken.
IN_FOLDERS = (
    *("model.keras", "model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
# Arguments of a builder that may differ from those of the network that the weights were trained in.
FREE = {"weights", "include_top", "input_shape", "classes", "aux_heads", "exits"}


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a network come from: nowhere, the caller's own file, or a published checkpoint.

    A file in a published layout that is none of the published files is treated as the first of those with this layout,
    and is not `exact`. A `.tflite` file is recognised as the network that it holds.
    """

    path: Path | None = None  # None: not downloaded yet
    checkpoint: Checkpoint | None = None
    tensors: Mapping[str, np.ndarray] | None = None  # None: not read yet
    exact: bool = True
    tflite: TFLiteNetwork | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The builder's arguments for the network that the weights were trained in, as far as they are known."""
        if self.tflite:
            return {k: v for k, v in self.tflite.arguments.items() if k != "input_shape"}
        if (c := self.checkpoint) is None:
            return _classes(self.tensors or {})
        trained = {k: v for k, v in c.kwargs.items() if k not in FREE}
        classes = 1000 if c.classes == 1001 else c.classes  # the background class is dropped
        return trained | {"numerics": c.numerics, "classes": classes}

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """The shape of the images that the published accuracy was measured on, or that a `.tflite` file takes."""
        if self.tflite:
            return self.tflite.arguments["input_shape"]
        return self.checkpoint.preprocessing.input_shape if self.checkpoint else None


@checked
def choose(
    network: str,
    weights: Weights,
    chosen: Mapping[str, Any],
    *,
    own: Mapping[str, Any],
    numerics: Mapping[str, Numerics],
) -> WeightsSource:
    """Resolve `weights`; nothing is downloaded yet.

    `chosen` are the arguments that the caller gives. `own` and `numerics` are the registry's for `network`: its own
    arguments with their defaults, and its numerics by name.

    Raises:
        InputError: there are no such weights, or they were trained in a network with other arguments.
    """
    if weights is None:
        return WeightsSource()
    theirs = checkpoints(network)
    varied = {"numerics"}.union(*(c.kwargs for c in theirs)) - FREE
    given = {k: v for k, v in chosen.items() if k in varied}

    def other(checkpoint: Checkpoint) -> tuple[str, Any] | None:
        """The first argument that differs from the checkpoint's network, and its value there."""
        trained = {**own, **checkpoint.kwargs, "numerics": checkpoint.numerics}
        same = {k: v == trained[k] for k, v in given.items()}
        if isinstance(given.get("numerics"), Numerics):
            same["numerics"] = given["numerics"] == numerics[checkpoint.numerics]
        return next(((k, trained[k]) for k in given if not same[k]), None)

    if isinstance(weights, Checkpoint):
        source = WeightsSource(checkpoint=weights)
    elif isinstance(weights, Path) or (isinstance(weights, str) and _is_path(weights, network)):
        source = _of_file(Path(weights), network, [c for c in theirs if not other(c)])
    elif not isinstance(weights, str):
        raise InputError(_allowed(weights))
    elif weights == "imagenet" and (fitting := [c for c in theirs if c.is_for_imagenet and not other(c)]):
        size = tuple(chosen.get("input_shape") or ())[:2]  # a network may have been trained at several sizes
        source = WeightsSource(checkpoint=min(fitting, key=lambda c: bool(size) and c.preprocessing.size != size))
    else:
        source = WeightsSource(checkpoint=find(network, weights))
    if (checkpoint := source.checkpoint) and source.exact:
        if checkpoint.model != network:
            raise InputError(f"{checkpoint.id} is a checkpoint of {checkpoint.model}, not of {network}")
        if wrong := other(checkpoint):
            name, value = wrong
            raise InputError(
                f"{checkpoint.id} was trained with {name}={value!r}; got {chosen[name]!r}: "
                f"leave {name} out, or choose other weights"
            )
    if found := source.tflite:
        if found.network != network:
            raise InputError(f"{source.path} holds {found.network}, not {network}")
        for name, value in found.arguments.items():
            same = (value, numerics.get(value)) if name == "numerics" else (value,)
            if name not in FREE and chosen.get(name, value) not in same:
                raise InputError(
                    f"{source.path} was made with {name}={value!r}; got {chosen[name]!r}: leave {name} out"
                )
    return source


@checked
def load(model: keras.Model, source: WeightsSource | str | Path) -> None:
    """Fill `model` with what `choose` returned, or with a `.weights.h5`, `.keras` or `.h5` file of the same network.

    The file's network may have other classes, channels, input size or auxiliary heads: see `transfer.copy_weights`.

    Raises:
        InputError: there is no such file, it is damaged, or it holds another network. The model is unchanged.
    """
    if not isinstance(source, WeightsSource):
        source = WeightsSource(path=Path(source))
        if not str(source.path).endswith((".h5", ".keras")):
            raise InputError(f"{source.path} is not a .weights.h5, .keras or .h5 file; others go to the builder")
    if source.checkpoint:
        _fill(model, source.checkpoint, source)
    elif source.tflite and source.path:
        fill_tflite(model, source.path, adapt=adapter(model, name=str(source.path)))
    elif source.path:
        tensors = read(source.path) if source.tensors is None else source.tensors
        copy_tensors(tensors, model, name=str(source.path), configs=_configs(source.path))


# ----------------------------------------------------------------------------------------------------------- choosing


def _is_path(weights: str, network: str) -> bool:
    """Whether this is the name of a file: a tag has no folder, and a dot only before a digit."""
    if weights == "imagenet" or weights in {c.tag for c in checkpoints(network)}:
        return False
    there = bool(weights) and (Path(weights).exists() or checkpoint_at(Path(weights)) is not None)
    return os.sep in weights or bool(re.search(r"\.[a-z]\w*$", weights)) or there


def _allowed(given: Any) -> str:
    *endings, last = (*OWN, *(ending for ending in (*READERS, TFLITE) if ending not in OWN))
    files = f"{', '.join(endings)} or {last} file or of a TensorFlow checkpoint"
    return f"weights is None, 'imagenet', a tag, a Checkpoint or the path of a {files}; got {given!r}"


def _of_file(path: Path, network: str, fitting: Sequence[Checkpoint]) -> WeightsSource:
    """A file of the caller's; `fitting` are the checkpoints that agree with the arguments."""
    path = _file_at(path)
    if path.suffix == TFLITE:
        return WeightsSource(path, tflite=recognise_tflite(path))
    tensors = read(path)
    if path.name.endswith(OWN):
        return WeightsSource(path, tensors=tensors)
    published = checkpoints(network)
    known = [c for c in published if recognises(_layout(c), network, tensors)]
    if not known:
        if path.suffix == ".h5":  # a whole model of ours, perhaps
            return WeightsSource(path, tensors=tensors)
        layouts = ", ".join(sorted({c.layout for c in published})) or "none that is published"
        raise InputError(
            f"{path} does not hold {network}: the names of its {len(tensors)} tensors, as {next(iter(tensors))!r}, are "
            f"not of a layout that {network} is known in ({layouts})"
        )
    for checkpoint in known:
        if _is_called(path, checkpoint) or (checkpoint.hash and has_digest(path, checkpoint.hash)):
            return WeightsSource(path, checkpoint, tensors)
    taken = next((c for c in known if c in fitting), known[0])
    if len({(c.numerics, str(c.preprocessing)) for c in known}) > 1:
        note(f"{path} is not a known file; treated as {taken.id}: numerics {taken.numerics!r} and its preprocessing")
    return WeightsSource(path, taken, tensors, exact=False)


def _file_at(path: Path) -> Path:
    """The file of weights at a path: itself, or the one in the folder of a run or of a network of the Hugging Face hub.

    The path may be the address of a run on the hub.

    Raises:
        InputError: it is a file of another kind; nothing says yet that it is there.
    """
    if hub.is_address(path):
        path, _ = hub.download(hub.Address.of(path))
    if path.is_dir() and (inside := next((path / name for name in IN_FOLDERS if (path / name).is_file()), None)):
        return inside
    if checkpoint := checkpoint_at(path):
        return checkpoint
    if path.name.endswith((*READERS, *INDEX, TFLITE)):
        return path
    hint = ""
    if (path / "saved_model.pb").is_file():
        hint = "; it is a SavedModel, which keeps no names of layers: save the model as .keras where it was made"
    elif path.is_dir():
        hint = f"; this folder has no TensorFlow checkpoint and none of {', '.join(IN_FOLDERS)}"
    raise InputError(_allowed(str(path)) + hint)


def _layout(checkpoint: Checkpoint) -> Layout:
    if (layout := LAYOUTS.get(checkpoint.layout)) is None:
        raise InputError(f"{checkpoint.id}: layout must be one of {', '.join(LAYOUTS)}; got {checkpoint.layout!r}")
    return layout


def _is_called(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether a file, or a folder that it is in, has the name of the publisher's file."""
    names = {file_name(checkpoint), *(Path(urlsplit(url).path).name for url in checkpoint.urls), checkpoint.page_file}
    names |= {name.removesuffix(".zip") for name in names}
    archives = {name.removesuffix(ending) for name in names for ending in ARCHIVES if name.endswith(ending)}
    names |= {f"{name}.ckpt{ending}" for name in archives for ending in ("", ".index")}
    repository = checkpoint.hf_repo.replace("/", "--")  # as in the cache of Hugging Face's client
    return path.name in names or (bool(repository) and any(part.endswith(repository) for part in path.parts))


# ------------------------------------------------------------------------------------------------------------ loading


def _classes(tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The number of classes in a file of ours, as an argument."""
    widths = [array.shape[-1] for name, array in tensors.items() if name.partition("|")[0] in CLASSIFIER and array.ndim]
    return {"classes": widths[0]} if widths else {}


def _configs(path: Path) -> dict[str, dict[str, Any]]:
    """The configurations of the layers in a .keras archive, by name; {} for other files. Nothing is built from them."""
    if path.suffix != ".keras":
        return {}
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            layers = parse_json(archive.read("config.json"))["config"]["layers"]
        return {layer["config"]["name"]: dict(layer["config"]) for layer in layers}
    except Exception as error:  # of zipfile, or of what JSON of another kind is taken for
        raise InputError(f"{path} is damaged: its config.json does not list the layers") from error


def _fill(model: keras.Model, checkpoint: Checkpoint, source: WeightsSource) -> None:
    path = source.path or fetch(checkpoint)
    tensors = read(path) if source.tensors is None else source.tensors
    heads = auxiliary_names(model)
    untrained = bool(heads) and not checkpoint.kwargs.get("aux_heads")
    target = main_network(model) if untrained else model
    adapt = adapter(model, name=checkpoint.id, size=checkpoint.preprocessing.size)
    classes = devkit_places() if checkpoint.class_order == "ilsvrc" else None
    fill(target, checkpoint.model, _layout(checkpoint), tensors, path=path, adapt=adapt, classes=classes)
    if untrained:
        note(f"{checkpoint.id} has no auxiliary heads: {' and '.join(heads)} start untrained")
    loaded[model] = checkpoint
