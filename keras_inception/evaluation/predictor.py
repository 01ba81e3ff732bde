"""How good a network is: on what training held out, from one view of an image or several, alone or with others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..data import Crops, Split, input_errors, load_folder
from ..errors import InputError
from ..outputs import MAIN
from ..preprocessing import Preprocessing
from ..run import Run

CROPS = (1, 10, 12, 144)


def held_out(run: Run) -> Split:
    """The images that a run's training held out.

    Raises:
        InputError: it was trained on arrays, or its folder has moved or changed its classes.
    """
    folder = run.data.get("folder")
    if folder is None:
        raise InputError(f"{run.path} was trained on arrays, which it does not keep: say which images to measure on")
    if not Path(folder).is_dir():
        raise InputError(f"the images of {run.path} are no longer at {folder}: say which to measure on")
    split = load_folder(folder, validation=run.data["validation"]).val
    if split.classes != run.labels:
        raise InputError(f"{folder} now holds other classes than {run.path} was trained on: say which images to use")
    return split


def evaluate(
    model: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32, crops: int = 1
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0..1), mean cross-entropy, and the number of images; top-1 of each early exit too.

    `crops` as for `answers`.
    """
    return summary(answers(model, split, preprocessing, batch_size=batch_size, crops=crops), split.labels)


def probabilities(
    model: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32, crops: int = 1
) -> np.ndarray:
    """The network's answers: (n, classes) float32, in the order of the images; `crops` as for `answers`."""
    return answers(model, split, preprocessing, batch_size=batch_size, crops=crops)[MAIN]


def answers(
    model: keras.Model, split: Split, preprocessing: Preprocessing, *, batch_size: int = 32, crops: int = 1
) -> dict[str, np.ndarray]:
    """What every head of the network says: (n, classes) float32 each, in the order of the images.

    With several `crops` (10, 12 or 144, see `data.Crops`) the mean over those views of an image.
    """
    if crops not in CROPS:
        raise InputError(f"crops must be {', '.join(map(str, CROPS[:-1]))} or {CROPS[-1]}; got {crops}")
    views = Crops(crops) if crops > 1 else None
    found: dict[str, list[np.ndarray]] = {}
    with input_errors():
        given = split.batches(preprocessing, max(1, batch_size // crops), augmentation=views)
        for heads in predictions(model.predict_on_batch, (x if views is None else np.concatenate(x) for x, _ in given)):
            for name, said in (heads if isinstance(heads, dict) else {MAIN: heads}).items():
                found.setdefault(name, []).append(said.reshape(len(said) // crops, crops, -1).mean(axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def predictions(answer: Callable[[Any], Any], given: Iterable[Any]) -> Iterator[Any]:
    """What a network's function says of each batch, as float32. A short last one is filled up: it would trace anew."""
    size = 0
    for x in given:
        n = len(x)
        size = size or n
        filled = np.concatenate([x, np.zeros((size - n, *x.shape[1:]), np.float32)]) if n < size else x
        said = answer(filled)
        yield keras.tree.map_structure(lambda output, n=n: np.asarray(output, np.float32)[:n], said)


def together(runs: Sequence[Run], images: Split, *, batch_size: int = 32, crops: int = 1) -> np.ndarray:
    """The mean of several runs' answers, each with its own preprocessing: (n, classes) float32.

    Raises:
        InputError: they tell apart other classes.
    """
    for run in runs[1:]:
        if run.labels != runs[0].labels:
            raise InputError(f"{run.path} and {runs[0].path} tell apart other classes, or in another order")
    total = np.zeros((len(images), len(runs[0].labels)), np.float64)
    for run in runs:
        total += probabilities(run.model(), images, run.preprocessing, batch_size=batch_size, crops=crops)
    return (total / len(runs)).astype(np.float32)


def summary(by_head: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """What `evaluate` returns, of `answers`."""
    early = {f"{k}_top1": scores(v, labels)["top1"] for k, v in by_head.items() if k.startswith("exit")}
    return scores(by_head[MAIN], labels) | early


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1, top-5, loss and n, of answers (n, classes) and labels (n,).

    Of classes that are equally probable, as rounded answers often are, any may come first: a tie counts as the chance
    that the right one does.
    """
    own = probabilities[np.arange(len(labels)), labels]
    ahead = (~(probabilities <= own[:, None])).sum(axis=1)  # so that nothing is behind NaN
    equal = np.maximum((probabilities == own[:, None]).sum(axis=1), 1)  # with itself
    return {
        "top1": float(np.clip((1 - ahead) / equal, 0, 1).mean()),
        "top5": float(np.clip((5 - ahead) / equal, 0, 1).mean()),
        "loss": float(-np.log(np.clip(own, 1e-7, 1)).mean()),
        "n": len(labels),
    }
