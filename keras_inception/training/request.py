"""A training as data: what is asked for, resolved and checked, before anything is built or written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from ..builder import checked_options
from ..data import Dataset, fingerprint, lasting
from ..errors import InputError
from ..preprocessing import Fill, Preprocessing, ResizeMode
from ..registry import Architecture, get
from ..run import Run, run_of
from ..weights import copy_weights, fit_classes
from ..weights.record import Checkpoint
from ..weights.source import FREE
from ..weights.transfer import reinitialise_classifiers
from . import recipes
from .recipes import Recipe
from .recipes.apply import optimizer_for
from .recipes.recipe import AUTO
from .teacher import Teacher, teacher_of

# Arguments of a network that change its training only: weights trained with one value serve a network of another.
TRAINING_ONLY = {
    "dropout",
    "drop_path",
    "drop_path_steps",
    "global_drop_path",
    "stochastic_depth",
    "stochastic_depth_per",
}


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a network's weights come from, with the network they were trained in.

    `weights` is a tag, or the path of a file or a run. `digest` is the sha256 of that file, or of the run's model; it
    tells apart what has the same path, and knows again what has moved. Random weights have none of these.
    """

    weights: str | None = None
    network: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    digest: str | None = None
    is_run: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """Everything that decides a training's result. Two equal requests end in the same weights.

    `network` and `arguments` build the network that is trained. `data` has the folder, the shares that are held out,
    the counts and the fingerprint of the split (`data.fingerprint`). `recipe` says how, `recipe_name` which paper's it
    is.
    """

    network: str
    arguments: dict[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    start: Start
    data: dict[str, Any]
    recipe: Recipe
    recipe_name: str | None = None
    seed: int = 0
    teacher: Teacher | None = None

    def to_dict(self) -> dict[str, Any]:
        """The request as plain JSON values."""
        record = {
            "network": self.network,
            "arguments": self.arguments,
            "labels": self.labels,
            "preprocessing": self.preprocessing.to_dict(),
            "start": asdict(self.start),
            "data": self.data,
            "recipe": self.recipe.to_dict(),
            "recipe_name": self.recipe_name,
            "seed": self.seed,
            "teacher": self.teacher.to_dict() if self.teacher else None,
        }
        return json.loads(json.dumps(record))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TrainingRequest:
        """Read what `to_dict` wrote."""
        return cls(
            **dict(record)
            | {
                "labels": tuple(record["labels"]),
                "preprocessing": Preprocessing.from_dict(record["preprocessing"]),
                "start": Start(**record["start"]),
                "recipe": Recipe.from_dict(record["recipe"]),
                "teacher": _taught_by(record),
            }
        )

    def build(self) -> keras.Model:
        """The network as it starts: random, or with its weights, and a new classifier where the classes differ.

        It computes in the recipe's precision; in float32 where that is not decided yet.
        """
        before = keras.config.dtype_policy()
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy("float32" if self.recipe.precision == AUTO else self.recipe.precision)
        try:
            weights = None if self.start.is_run else self.start.weights
            network = get(self.network).build(weights=weights, **self.arguments)
        finally:
            keras.config.set_dtype_policy(before)
        if self.start.is_run:
            assert self.start.weights is not None
            run = Run.load(self.start.weights)
            copy_weights(run.model(), network, name=self.start.weights)
            if run.labels != self.labels:  # other classes, even where there are as many
                reinitialise_classifiers(network)
        fit_classes(network, self.labels)
        return network

    def with_recipe(self, recipe: Recipe) -> TrainingRequest:
        """With another recipe for the same network and images, and the argument that follows from it."""
        arguments = dict(self.arguments)
        if "drop_path_steps" in arguments and "drop_path_steps" not in recipe.options:
            arguments["drop_path_steps"] = _drop_path_steps(recipe, self.data["train"])
        return replace(self, recipe=recipe, arguments=arguments)

    @property
    def architecture(self) -> Architecture:
        """The network's entry in the registry."""
        return get(self.network)

    def difference(self, other: Mapping[str, Any]) -> str | None:
        """The first field, in words, in which another request (of `to_dict`) differs; None if they are the same.

        A path may differ where what is there has the same content.
        """
        ours, theirs = _compared(self.to_dict()), _compared(other)
        for name in [*ours, *(name for name in theirs if name not in ours)]:
            if ours.get(name) != theirs.get(name):
                if name == "data.fingerprint":
                    return "other images, or another split of them"
                if name == "teacher":
                    return f"{'another' if theirs[name] and ours[name] else 'a' if theirs[name] else 'no'} teacher"
                words = f"{name.split('.')[-1]} {theirs.get(name)!r}, not {ours.get(name)!r}"
                further = " (the learning rate follows their number: finish it, then train further with --weights)"
                return words + (further if name == "recipe.epochs" else "")
        return None

    def finished(
        self,
        path: Path,
        *,
        validation: Mapping[str, float],
        test: Mapping[str, float] | None,
        folds: Iterable[Mapping[str, float]] = (),
    ) -> Run:
        """The record of the training that it asked for, and what was measured on its images."""
        record = self.to_dict()
        return Run(
            builder=self.network,
            kwargs={k: v for k, v in record["arguments"].items() if k != "aux_heads"},
            labels=self.labels,
            preprocessing=self.preprocessing,
            weights=self.start.weights,
            data=record["data"],
            training=record["recipe"]
            | {"recipe": self.recipe_name, **{k: record[k] for k in ("seed", "start", "teacher")}},
            metrics=dict(test or validation),
            measured_on="test" if test else "validation",
            validation_metrics=dict(validation),
            folds=[dict(fold) for fold in folds],
            path=path,
        )


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide the result, the nested ones of the network, the recipe and the start by themselves."""
    flat: dict[str, Any] = {"data.fingerprint": record["data"]["fingerprint"]}
    for name in ("network", "labels", "seed"):
        flat[name] = record[name]
    preprocessing = Preprocessing.from_dict(record["preprocessing"]).to_dict()  # an older record lacks fields
    flat |= {f"preprocessing.{k}": v for k, v in preprocessing.items()}
    recipe = Recipe().to_dict() | record["recipe"]  # as does its recipe
    for group, values in {"arguments": record["arguments"], "recipe": recipe}.items():
        flat |= {f"{group}.{k}": v for k, v in values.items()}
    flat["teacher"] = teacher.identity if (teacher := _taught_by(record)) else None
    start = dict(record["start"])
    if start["digest"]:
        del start["weights"]
    return flat | {f"start.{k}": v for k, v in start.items()}


def _taught_by(record: Mapping[str, Any]) -> Teacher | None:
    """The teacher in a request of `to_dict`; an older one lacks the field."""
    return Teacher.from_dict(found) if (found := record.get("teacher")) else None


# ----------------------------------------------------------------------------------------------------------- resolving


def resolve(
    dataset: Dataset,
    *,
    images: Any,
    validation: float,
    test: float,
    recipe: str | Recipe | None,
    model: str | None,
    weights: str | Path | None,
    size: int | None,
    resize: ResizeMode | None,
    fill: Fill | None,
    seed: int,
    changes: Mapping[str, Any],
    teacher: str | Path | Run | None = None,
) -> TrainingRequest:
    """The request that the arguments of `train` make for these images.

    Raises:
        InputError: an argument cannot be used, or two contradict each other.
    """
    if not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise InputError(f"seed must be an integer from 0 to 4,294,967,295; got {seed!r}")
    run = None if weights is None else run_of(weights)
    chosen = recipe_for(recipe, model, run, weights, changes)
    architecture = get(chosen.model)
    own = dict(chosen.options)
    if own.get("drop_path") and "drop_path_steps" in architecture.own:
        own.setdefault("drop_path_steps", _drop_path_steps(chosen, len(dataset.train)))
    begin = _from_run(run, own, architecture, size) if run else _from_weights(weights, own, architecture, size, chosen)
    preprocessing = begin.preprocessing.with_resize(resize, fill)
    if (mode := preprocessing.resize_mode) != "crop" and (changes.get("crop") or 1) != 1:
        raise InputError(f"crop is for resize 'crop'; {mode!r} keeps the whole image: leave one out")
    arguments = begin.trained | {"input_shape": list(preprocessing.input_shape), "classes": len(dataset.classes)} | own
    return TrainingRequest(
        network=architecture.name,
        arguments=arguments,
        labels=dataset.classes,
        preprocessing=preprocessing,
        start=begin.start,
        data={
            "folder": lasting(images) if isinstance(images, str | Path) else None,
            "validation": validation,
            "test_share": test,
            "fingerprint": fingerprint(dataset),
            "train": len(dataset.train),
            "val": len(dataset.val),
            "test": len(dataset.test or ()),
            "rejected": [f"{r.path}: {r.reason}" for r in dataset.rejected],
            "near_duplicates": [
                [str(pair.first), str(pair.second), " and ".join(pair.sides)] for pair in dataset.leaks
            ],
            "contradictions": [[str(pair.first), str(pair.second), *pair.classes] for pair in dataset.contradictions],
        },
        recipe=chosen,
        recipe_name=recipe if isinstance(recipe, str) else None,
        seed=seed,
        teacher=None if teacher is None else teacher_of(teacher, dataset.classes),
    )


def _drop_path_steps(recipe: Recipe, images: int) -> int:
    """The steps over which the probability grows: all."""
    return -(-images // recipe.batch_size) * recipe.epochs


def published(
    recipe: str | Recipe | None, model: str | None, size: int | None, changes: Mapping[str, Any]
) -> Checkpoint | None:
    """The weights for ImageNet that a training starts from by itself; None where a paper's recipe trains from scratch.

    None too where none are published for the network, or for its arguments.

    Raises:
        InputError: there is no such recipe, network or field.
    """
    if not _is_general(recipe):
        return None
    chosen = recipe_for(recipe, model, None, None, dict(changes) | {"freeze_epochs": None})
    architecture, shape = get(chosen.model), {} if size is None else {"input_shape": (size, size, 3)}
    if size is not None and size < architecture.smallest:  # refused when it is built
        return None
    try:
        return architecture.source("imagenet", {**chosen.options, **shape}).checkpoint
    except InputError:
        return None


def recipe_for(
    recipe: str | Recipe | None,
    model: str | None,
    run: Run | None,
    weights: Any,
    changes: Mapping[str, Any],
) -> Recipe:
    """The recipe with its network and every change.

    Raises:
        InputError: no such recipe, network or field; or a run of another network to start from.
    """
    default = recipes.FROM_SCRATCH if weights is None else recipes.FINE_TUNE
    base = recipe if isinstance(recipe, Recipe) else recipes.get(recipe or default)
    asked = model or (None if _is_general(recipe) else base.model)
    if run and asked is not None and get(asked) is not get(run.builder):
        by = f"model {asked!r}" if model else f"recipe {recipe!r}, which is of {base.model}"
        raise InputError(f"{weights} is a run of {run.builder}; got {by}: leave it out, or give other weights")
    named = asked or (run.builder if run else base.model)
    if get(named) is not get(base.model):
        kept = {k: v for k, v in base.options.items() if k in get(named).own}
        base = replace(base, model=get(named).name, options=kept)
    options = checked_options(get(named), {**base.options, **(changes.get("options") or {})})
    chosen = base.with_changes({**changes, "options": options})
    optimizer_for(chosen, steps=1)  # what Keras refuses is refused here
    return replace(chosen, freeze_epochs=_frozen_epochs(chosen, weights))


def _is_general(recipe: str | Recipe | None) -> bool:
    """Whether a recipe is for any network."""
    return recipe in (None, recipes.FROM_SCRATCH, recipes.FINE_TUNE)


def _frozen_epochs(recipe: Recipe, weights: Any) -> int:
    asked, epochs = recipe.freeze_epochs, recipe.epochs
    if weights is None:
        if asked:
            raise InputError("freeze_epochs is for a network that starts from weights: random ones are never frozen")
        return 0
    # Epochs on cached features take no time, and few of them leave the classifier far from its best.
    frozen = max(1, epochs - max(1, round(epochs / 5))) if asked is None else asked
    if not 0 <= frozen <= epochs:
        raise InputError(f"freeze_epochs must be from 0 to the {epochs} epochs; got {frozen}")
    return frozen


@dataclass(frozen=True)
class _Beginning:
    """Where the weights come from, the arguments that their network must have, and their preprocessing."""

    start: Start
    trained: dict[str, Any]
    preprocessing: Preprocessing


def _from_run(run: Run, own: Mapping[str, Any], architecture: Architecture, size: int | None) -> _Beginning:
    start = Start(
        weights=run.address or str(run.path.resolve()),
        network=run.builder,
        arguments=run.kwargs,
        digest=_digest(run.path / "model.keras"),
        is_run=True,
    )
    return _Beginning(start, _trained(run, own, architecture), _sized(run.preprocessing, size))


def _from_weights(
    weights: str | Path | None, own: Mapping[str, Any], architecture: Architecture, size: int | None, recipe: Recipe
) -> _Beginning:
    """From published weights, a file, or none."""
    shape = {} if size is None else {"input_shape": (size, size, 3)}
    source = architecture.source(weights, {**own, **shape})
    checkpoint, trained = source.checkpoint, source.arguments
    start = Start()
    if checkpoint and not source.path:  # what "imagenet" is, whatever else is published before a resumption
        start = Start(weights=checkpoint.tag, network=checkpoint.model, arguments=dict(trained))
    elif weights is not None:
        start = Start(
            weights=str(Path(weights).resolve()),
            network=architecture.name,
            arguments=dict(trained),
            digest=_digest(source.path),
        )
    if checkpoint:
        return _Beginning(start, trained, _sized(checkpoint.preprocessing, size))
    if source.input_shape:  # a .tflite file's
        size = size or source.input_shape[0]
    return _Beginning(start, trained, _own_preprocessing(architecture, size, None if weights else recipe.crop))


def _trained(run: Run, own: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    """The arguments of a run's network that a network with its weights must have.

    Raises:
        InputError: `own` has another value for one of them.
    """
    trained = {k: v for k, v in run.kwargs.items() if k not in FREE}
    every = {**architecture.own, "numerics": next(iter(architecture.numerics)), **trained}
    for name, value in own.items():
        if name not in FREE | TRAINING_ONLY and name in every and value != every[name]:
            raise InputError(
                f"{run.path} was trained with {name}={every[name]!r}; got {value!r}: leave {name} out, "
                "or start from other weights"
            )
    return {k: v for k, v in trained.items() if k != "drop_path_steps"}


def _sized(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    return preprocessing if size is None else replace(preprocessing, size=(size, size))


def _own_preprocessing(architecture: Architecture, size: int | None, crop: float | None) -> Preprocessing:
    """The network's own, for training from scratch."""
    shape = architecture.input_shape if size is None else (size, size, architecture.input_shape[-1])
    own = architecture.preprocessing_for(shape)
    return own if crop is None else replace(own, crop=crop)


def _digest(path: Path | None) -> str | None:
    if path is None or not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
