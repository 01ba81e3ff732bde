"""From what a caller gives as `weights` to a filled network."""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import keras
import numpy as np

from ..errors import InputError
from ..layers import Numerics
from ..outputs import auxiliary_names, main_network
from ..terminal import note
from .catalogue import checkpoints, find
from .download import fetch, file_name, has_digest
from .names import fill, recognise
from .readers import READERS, read
from .record import Checkpoint
from .transfer import adapter

Weights: TypeAlias = str | Path | Checkpoint | None

OURS = (".weights.h5", ".keras")
THEIRS = (*READERS, ".zip")
# A builder's arguments that are no part of what was trained: a checkpoint goes into a network of any.
FREE = {"weights", "include_top", "input_shape", "classes", "aux_heads", "exits"}

loaded: WeakKeyDictionary[keras.Model, Checkpoint] = WeakKeyDictionary()  # what a model was filled with


@dataclass(frozen=True)
class Source:
    """Where a network's weights come from: nowhere, a file of our own, or what was published.

    A file that is none of the published ones is taken for the first of those that have its layout, and not `exact`.
    """

    path: Path | None = None  # None: not yet downloaded
    checkpoint: Checkpoint | None = None
    tensors: Mapping[str, np.ndarray] | None = None  # None: not yet read
    exact: bool = True

    @property
    def arguments(self) -> dict[str, Any]:
        """The builder's arguments that make the network of the publisher."""
        if (c := self.checkpoint) is None:
            return {}
        trained = {k: v for k, v in c.kwargs.items() if k not in FREE}
        classes = 1000 if c.classes == 1001 else c.classes  # without the background
        return trained | {"numerics": c.numerics, "classes": classes}

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Of the images that its accuracy was measured on."""
        return self.checkpoint.preprocessing.input_shape if self.checkpoint else None


def choose(
    network: str,
    weights: Weights,
    chosen: Mapping[str, Any],
    *,
    own: Mapping[str, Any],
    numerics: Mapping[str, Numerics],
) -> Source:
    """What a caller means by `weights`; nothing is downloaded yet.

    `chosen` are the arguments that the caller gives; `own` and `numerics` are the registry's of `network`: its own
    arguments with their defaults, and its numerics by name.

    Raises:
        InputError: there are no such weights, or they were trained in another network than the one that was chosen.
    """
    if weights is None:
        return Source()
    theirs = checkpoints(network)
    varied = {"numerics"}.union(*(c.kwargs for c in theirs)) - FREE
    given = {k: v for k, v in chosen.items() if k in varied}

    def other(checkpoint: Checkpoint) -> tuple[str, Any] | None:
        """The first argument that the caller gives otherwise, and its value in the checkpoint's network."""
        trained = {**own, **checkpoint.kwargs, "numerics": checkpoint.numerics}
        same = {k: v == trained[k] for k, v in given.items()}
        if isinstance(given.get("numerics"), Numerics):
            same["numerics"] = given["numerics"] == numerics[checkpoint.numerics]
        return next(((k, trained[k]) for k in given if not same[k]), None)

    if isinstance(weights, Checkpoint):
        source = Source(checkpoint=weights)
    elif isinstance(weights, Path) or (isinstance(weights, str) and _is_path(weights, network)):
        source = _of_file(Path(weights), network, [c for c in theirs if not other(c)])
    elif not isinstance(weights, str):
        raise InputError(_allowed(weights))
    elif weights == "imagenet" and (fitting := [c for c in theirs if c.dataset == "imagenet" and not other(c)]):
        size = tuple(chosen.get("input_shape") or ())[:2]  # one network may have been trained at several
        source = Source(checkpoint=min(fitting, key=lambda c: bool(size) and c.preprocessing.size != size))
    else:
        source = Source(checkpoint=find(network, weights))
    if (checkpoint := source.checkpoint) and source.exact:
        if checkpoint.model != network:
            raise InputError(f"{checkpoint.id} is a checkpoint of {checkpoint.model}, not of {network}")
        if wrong := other(checkpoint):
            name, value = wrong
            raise InputError(
                f"{checkpoint.id} was trained with {name}={value!r}; got {chosen[name]!r}: "
                f"leave {name} out, or choose other weights"
            )
    return source


def load(model: keras.Model, source: Source | str | Path) -> None:
    """Fill `model` with what `choose` has chosen, or with a `.weights.h5` or `.keras` file of the same network.

    Raises:
        InputError: there is no such file, it is damaged, or it holds another network. The model is as it was.
    """
    if not isinstance(source, Source):
        source = Source(path=Path(source))
        if not str(source.path).endswith(OURS):
            raise InputError(f"{source.path} is not a .weights.h5 or .keras file; published files go to the builder")
    if source.checkpoint:
        _fill(model, source.checkpoint, source)
    elif source.path:
        _load_ours(model, source.path)


def checkpoint_of(model: keras.Model) -> Checkpoint:
    """What the model's weights were when it was built, however it was trained since.

    Raises:
        InputError: it was built without published weights, or it comes from a file.
    """
    if (checkpoint := loaded.get(model)) is None:
        raise InputError(
            f"{model.name} has no published weights, or was saved since: a run directory keeps its preprocessing and "
            "labels, and keras_inception.weights.find(...) has a checkpoint's"
        )
    return checkpoint


# ----------------------------------------------------------------------------------------------------------- choosing


def _is_path(weights: str, network: str) -> bool:
    """Whether this is a file's name: a tag has no folder, and a dot only before a digit."""
    if weights in {c.tag for c in checkpoints(network)}:
        return False
    return os.sep in weights or bool(re.search(r"\.[a-z]\w*$", weights)) or Path(weights).is_file()


def _allowed(given: Any) -> str:
    endings = f"{', '.join((OURS + THEIRS)[:-1])} or {THEIRS[-1]}"
    return f"weights is None, 'imagenet', a tag, a Checkpoint or the path of a {endings} file; got {given!r}"


def _of_file(path: Path, network: str, fitting: Sequence[Checkpoint]) -> Source:
    """A file of the caller's; `fitting` are the checkpoints that agree with the arguments."""
    if not path.name.endswith(OURS + THEIRS):
        hint = "; weights.from_tflite(model, path) reads a .tflite" if path.suffix == ".tflite" else ""
        raise InputError(_allowed(str(path)) + hint)
    if not path.is_file():
        raise InputError(f"no weights file at {path}")
    if path.name.endswith(OURS):
        return Source(path=path)
    tensors = read(path)
    layouts = recognise(network, tensors)
    published = checkpoints(network)
    known = [c for c in published if c.layout in layouts]
    if not known:
        published_in = ", ".join(sorted({c.layout for c in published})) or "none that is published"
        raise InputError(
            f"{path} does not hold {network}: the names of its {len(tensors)} tensors, as {next(iter(tensors))!r}, are "
            f"not of a layout that {network} is known in ({published_in})"
        )
    for checkpoint in known:
        if _is_called(path, checkpoint) or (checkpoint.hash and has_digest(path, checkpoint.hash)):
            return Source(path, checkpoint, tensors)
    taken = next((c for c in known if c in fitting), known[0])
    if len({(c.numerics, str(c.preprocessing)) for c in known}) > 1:
        note(f"{path} is not known here; taken for {taken.id}: numerics {taken.numerics!r} and its preprocessing")
    return Source(path, taken, tensors, exact=False)


def _is_called(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether a file, or a folder that it is in, has the name that the checkpoint's has at its publisher's."""
    names = {file_name(checkpoint), *(Path(urlsplit(url).path).name for url in checkpoint.urls)}
    names |= {name.removesuffix(".zip") for name in names}
    repository = checkpoint.hf_repo.replace("/", "--")  # as in the cache of Hugging Face's own client
    return path.name in names or (bool(repository) and any(part.endswith(repository) for part in path.parts))


# ------------------------------------------------------------------------------------------------------------ loading


def _load_ours(model: keras.Model, path: Path) -> None:
    before = model.get_weights()
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):  # Keras warns of what it leaves out
            model.load_weights(path)
        for variable in model.variables:
            if not np.isfinite(np.asarray(variable)).all():
                raise InputError(f"{path} is damaged: {variable.path} has values that are not finite")
    except (ValueError, KeyError, OSError, UserWarning, zipfile.BadZipFile) as error:
        model.set_weights(before)
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} does not fit {model.name}: {reason}") from error


def _fill(model: keras.Model, checkpoint: Checkpoint, source: Source) -> None:
    if source.path is None and _is_pytorchs(checkpoint) and not _has_torch():
        others = [c.tag for c in checkpoints(checkpoint.model) if not _is_pytorchs(c)]
        instead = f", or choose {others[0]!r}" if others else ""
        raise InputError(f"{checkpoint.id} needs PyTorch: pip install 'keras-inception[torch]'{instead}")
    path = source.path or fetch(checkpoint)
    tensors = read(path) if source.tensors is None else source.tensors
    side = auxiliary_names(model)
    fresh = bool(side) and not checkpoint.kwargs.get("aux_heads")
    target = main_network(model) if fresh else model
    fill(target, checkpoint.model, checkpoint.layout, tensors, path=path, adapt=adapter(model, checkpoint))
    if fresh:
        note(f"{checkpoint.id} has no auxiliary heads: {' and '.join(side)} start untrained")
    loaded[model] = checkpoint


def _is_pytorchs(checkpoint: Checkpoint) -> bool:
    return file_name(checkpoint).endswith((".pth", ".pt"))


def _has_torch() -> bool:
    try:
        return importlib.util.find_spec("torch") is not None
    except ValueError:  # somebody has taken it out
        return False
