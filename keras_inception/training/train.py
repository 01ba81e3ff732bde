"""Train a network into a run directory, an epoch at a time, so that an interruption costs one epoch at most."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import report
from ..data import Dataset, lasting, load_folder
from ..errors import InputError
from ..evaluation.predictor import answers, summary
from ..files import write_file
from ..outputs import MAIN
from ..preprocessing import Preprocessing
from ..registry import Architecture, get
from ..run import Run
from ..terminal import console
from ..weights import Checkpoint
from . import fine_tuning, recipes
from .loop import Frozen, Job, OnFeatures, Whole, deployed, fresh, run_of
from .recipes import Recipe
from .state import BEST, BEST_HEAD, Checkpoints
from .tensorboard import write_events

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def train(
    images: str | Path | Dataset,
    *,
    out: str | Path,
    recipe: str | Recipe | None = None,
    model: str | None = None,
    size: int | None = None,
    validation: float = 0.2,
    seed: int = 0,
    weights: str | Path | None = None,
    freeze_epochs: int | None = None,
    backbone_rate: float = 0.1,
    batch_norm: bool = False,
    cache_features: bool = True,
    balance: bool = False,
    precision: str = "float32",
    tensorboard: bool = False,
    options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """Train a network on labelled images and leave a run directory at `out`.

    Without a recipe Adam, with a cosine from the learning rate to 0. The epoch with the best held-out accuracy is kept.
    Called again with the same arguments after an interruption, it goes on behind the last whole epoch, optimizer,
    schedule, averages and random numbers included, and ends as an undisturbed training does.

    With `weights` it fine-tunes, in two stages, each of which goes through the schedule: first the new classifier
    learns; then the backbone learns too, slower. The backbone's batch norms keep their statistics throughout.

    Args:
        images: a folder or "tfds:NAME" as `data.load_folder` takes it, or a `Dataset`.
        out: the run directory; it must not exist, or hold this same training unfinished.
        recipe: a name in `recipes.RECIPES`, "inception_v3", or a `Recipe`.
        model: a name that `list_models` lists; the recipe's by default.
        size: height and width of the network's input in pixels; the paper's by default.
        validation: the fraction held out where the folder has no `val/`.
        seed: of everything random.
        weights: where the network starts: what its builder takes, or a finished run directory; random by default.
        freeze_epochs: how many of the epochs the backbone stays; with weights half of them by default.
        backbone_rate: what the learning rate of the backbone is multiplied by when it learns.
        batch_norm: let the backbone's batch norms learn with it.
        cache_features: while the backbone stays, compute what it makes of the unchanged images once, and keep that on
            disk; without it every epoch goes through the backbone, with augmentation.
        balance: weigh each class by the inverse of its count in the training images.
        precision: "float32", "mixed_float16" or "mixed_bfloat16"; the kept network is float32.
        tensorboard: write the history into `out/logs` as TensorBoard reads it.
        options: the network's own arguments, {"alpha": 0.5}, beside the recipe's.
        changes: fields of the `Recipe` to change: epochs, batch_size, learning_rate, augmentation, label_smoothing ...

    Raises:
        InputError: images, model, size, recipe or `out` cannot be used; nothing is written.
    """
    out = Path(out)
    base = recipes.get(recipe) if isinstance(recipe, str) else recipe or Recipe()
    if model is not None and get(model) is not get(base.model):
        own = {k: v for k, v in base.options.items() if k in get(model).own}
        base = replace(base, model=get(model).name, options=own)
    chosen = base.with_changes({"options": {**base.options, **(options or {})}} | changes)
    frozen = _frozen_epochs(freeze_epochs, chosen.epochs, weights)
    if precision not in PRECISIONS:
        raise InputError(f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}; got {precision!r}")
    _check_out(out)
    dataset = images if isinstance(images, Dataset) else load_folder(images, validation=validation)
    architecture = get(chosen.model)
    steps = -(-len(dataset.train) // chosen.batch_size)
    own = dict(chosen.options)
    if own.get("drop_path") and "drop_path_steps" in architecture.own:
        own.setdefault("drop_path_steps", steps * chosen.epochs)  # over which the probability grows
    start = architecture.source(None if weights is None or run_of(weights) else weights, own | _sized(size))
    if start.checkpoint and not start.path:
        weights = start.checkpoint.tag  # what "imagenet" is, whatever else is published before a resumption
    preprocessing = _preprocessing(architecture, weights, size, chosen.crop, start.checkpoint)
    deployed = {k: v for k, v in own.items() if k != "aux_heads"}
    run = Run(
        builder=architecture.name,
        kwargs=start.arguments
        | {"input_shape": list(preprocessing.input_shape), "classes": len(dataset.classes)}
        | deployed,
        labels=dataset.classes,
        preprocessing=preprocessing,
        weights=None if weights is None else str(weights),
        data={
            "folder": None if isinstance(images, Dataset) else lasting(images),
            "validation": validation,
            "train": len(dataset.train),
            "val": len(dataset.val),
            "rejected": [f"{r.path}: {r.reason}" for r in dataset.rejected],
            "near_duplicates": [[str(path) for path in pair] for pair in dataset.near_duplicates],
        },
        training=chosen.to_dict()
        | {
            "recipe": recipe if isinstance(recipe, str) else None,
            "seed": seed,
            "options": own,
            "freeze_epochs": frozen,
            "backbone_rate": backbone_rate,
            "batch_norm": batch_norm,
            "cache_features": cache_features,
            "balance": balance,
            "precision": precision,
        },
        path=out,
    )
    several = own.get("aux_heads") or own.get("exits", bool(architecture.exits))
    job = Job(run, chosen, dataset, own, steps, Checkpoints(run))
    if not job.checkpoints.history:
        network = fresh(job)
        job.checkpoints.folder.mkdir(parents=True, exist_ok=True)  # what cannot be written fails before the work
        if frozen:
            job.checkpoints.keep_start(network)
    _tell(dataset)
    first = OnFeatures if cache_features and not several else Frozen
    for kind, begin, end in ((first, 0, frozen), (Whole, frozen, chosen.epochs)):
        if begin == end or len(job.checkpoints.history) >= end:
            continue
        stage = kind(job, begin, end)
        for epoch in range(len(job.checkpoints.history), end):
            logs = stage.epoch(epoch)
            if tensorboard:
                write_events(out / "logs", job.checkpoints.history)
            console.print(
                f"epoch {epoch + 1}/{chosen.epochs}  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.1%}  "
                f"held out {logs['val_accuracy']:.1%}  {logs['seconds']:.0f} s",
                highlight=False,
            )
    return _finish(job, job.checkpoints.best < frozen and first is OnFeatures)


# ----------------------------------------------------------------------------------------------------------- internals


def _check_out(out: Path) -> None:
    if (out / "run.json").exists():
        raise InputError(f"{out} holds a finished run; give another --out, or remove it")
    if out.exists() and not (out / "checkpoints").is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a run directory; give another --out")


def _frozen_epochs(asked: int | None, epochs: int, weights: str | Path | None) -> int:
    if weights is None:
        if asked:
            raise InputError("freeze_epochs is for a network that starts from weights: random ones are never frozen")
        return 0
    frozen = (epochs + 1) // 2 if asked is None else asked
    if not 0 <= frozen <= epochs:
        raise InputError(f"freeze_epochs must be from 0 to the {epochs} epochs; got {frozen}")
    return frozen


def _sized(size: int | None) -> dict[str, Any]:
    return {} if size is None else {"input_shape": (size, size, 3)}


def _preprocessing(
    architecture: Architecture,
    weights: str | Path | None,
    size: int | None,
    crop: float | None,
    checkpoint: Checkpoint | None,
) -> Preprocessing:
    """What the weights were trained with, if they come with it; otherwise the network's own."""
    if checkpoint:
        before = checkpoint.preprocessing
        return before if size is None else replace(before, size=(size, size))
    shape = architecture.input_shape if size is None else (size, size, architecture.input_shape[-1])
    if weights is not None and (source := run_of(weights)):
        before = source.preprocessing
        return before if size is None else replace(before, size=(size, size))
    own = architecture.preprocessing_for(shape)
    return own if crop is None else replace(own, crop=crop)


def _tell(dataset: Dataset) -> None:
    lines = [f"left out {r.path}: {r.reason}" for r in dataset.rejected]
    if pairs := dataset.near_duplicates:
        lines.append(f"{len(pairs)} pairs of training and held-out images are nearly the same: accuracy may flatter")
        lines += [f"nearly the same: {a} and {b}" for a, b in pairs[:5]]
    for line in lines:
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _finish(job: Job, head_only: bool) -> Run:
    """Write the rest of the run directory; `run.json` comes last. `head_only`: the best epoch was one on features."""
    run, checkpoints = job.run, job.checkpoints
    if head_only:
        network = checkpoints.start()
        fine_tuning.graft(network, checkpoints.model(BEST_HEAD))
    else:
        network = checkpoints.model(BEST)
    write_file(run.path / "model.keras", deployed(network).save)
    network, images = run.model(), job.dataset.val
    by_head = answers(network, images, run.preprocessing)
    run.metrics.update(summary(by_head, images.labels))
    with open(run.path / "history.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *dict.fromkeys(k for row in checkpoints.history for k in row)])
        writer.writeheader()
        writer.writerows({"epoch": i} | row for i, row in enumerate(checkpoints.history, 1))
    text = report.page(run, network, checkpoints.history, images, by_head[MAIN])
    (run.path / "report.html").write_text(text, encoding="utf-8")
    run.save()
    checkpoints.clear()
    return run
