"""Train a network into a run directory, an epoch at a time, so that an interruption costs one epoch at most."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .. import hub, report
from ..arguments import checked
from ..data import Dataset, as_dataset
from ..data.split import joined
from ..errors import InputError, first_line
from ..evaluation import KerasPredictor, summary
from ..evaluation.doubts import Doubt, doubted, doubts
from ..evaluation.folds import Folds
from ..files import locked, write_file
from ..layers import deep_graph
from ..outputs import MAIN
from ..preprocessing import Fill, ResizeMode
from ..run import CURVES, STATE, Run
from ..terminal import heard_again, note, progress_shown, tell_progress
from ..weights.download import fetch
from ..weights.record import Checkpoint
from . import fine_tuning
from .automatic import decided
from .cluster import connected
from .distribution import (
    StrategyName,
    from_chief,
    is_chief,
    lost_workers,
    place,
    replicas,
    scope,
    spans_machines,
    strategy_for,
    training_on,
)
from .feature_cache import features
from .k_fold import cross_validate, folds_of
from .limits import Limits, finishes, in_seconds
from .loop import BEST, BEST_HEAD, START, FrozenTrainer, HeadTrainer, Job, NetworkTrainer, run_epochs
from .memory import out_of_memory
from .progress import epoch_line
from .recipes import Recipe
from .recipes.recipe import AUTO
from .request import published, resolve
from .state import TrainingState, check_directory
from .tensorboard import write_events
from .trackers import Trackers

FOLDS = "folds"  # the folder of cross-validation


@checked
@deep_graph()
def train(
    images: str | Path | Dataset | tf.data.Dataset | Sequence[tf.data.Dataset],
    *,
    out: str | Path,
    recipe: str | Recipe | None = None,
    model: str | None = None,
    weights: str | Path | None = AUTO,
    size: int | None = None,
    resize: ResizeMode | None = None,
    fill: Fill | None = None,
    validation: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    time: float | str | None = None,
    k_fold: int | None = None,
    tensorboard: bool = False,
    teacher: str | Path | Run | None = None,
    track: str | Sequence[str] = (),
    strategy: StrategyName = "auto",
    **changes: Any,
) -> Run:
    """Train a network on labelled images and leave a run directory at `out`.

    Without a recipe it is `recipes.FINE_TUNE`, or `recipes.FROM_SCRATCH` from random weights. The epoch with the best
    accuracy on the validation images is kept. The result, `Run.metrics`, is measured on the test images, where there
    are such.

    The same call resumes a training that was interrupted: it continues after the last whole epoch, with the state of
    optimizer, schedule, averages and random numbers, and ends in the weights of an undisturbed training. SIGTERM and
    SIGHUP, unless the process handles them in its own way, cost no epoch: one process continues after the batch in
    which they came. The images may have moved meanwhile; other images, another split or another network are refused.

    From weights it fine-tunes in two stages, each of which goes through the whole schedule: first the new classifier
    learns, then the backbone learns too, at a lower rate. The backbone's batch norms keep their statistics throughout.

    Where memory runs out, the epoch is repeated with half the images at a time, and the gradients of the parts are
    added up: batch size and steps are as before. Only batch norms that learn see smaller batches.

    Args:
        images: a folder, or another place as `data.load_folder` takes it; a `Dataset`, which
            `data.from_arrays` makes of arrays; or a `tf.data.Dataset`, or two or three of them, as
            `data.from_tf_data` takes them.
        out: the run directory. It must be new, empty, or hold this same training unfinished.
        recipe: a name in `recipes.RECIPES`, "inception_v3", or a `Recipe`.
        model: a name that `list_models` lists; by default that of the run in `weights`, or of the recipe.
        weights: where the network starts: what its builder takes, or a finished run directory, or a run on the hub,
            "hf://USER/NAME", whose network is taken with all its arguments; None for random weights. By default those
            that are published for ImageNet, which are downloaded once, before training; random where there are none,
            and for a paper's recipe.
        size: height and width of the network's input in pixels; by default that of the weights, or the paper's.
        resize: how images of other proportions come to that size, "crop", "stretch" or "letterbox" (`Preprocessing`);
            by default as for the weights, or "crop".
        fill: the colour around letterboxed images, a grey level or (red, green, blue), 0..255; by default the mean's.
        validation: the fraction that is held out for validation where there are no such images, as in a folder `val/`.
        test: the fraction that is held out for test where there are no such images, as in a folder `test/`; 0 for none.
        seed: of everything random.
        time: how long to train, in seconds or as "90s", "30m" or "1.5h"; resumed trainings count what they took
            before. It ends before an epoch that would not fit, and does not shorten the schedule.
        k_fold: first train so many networks in the same way, each without another part of the training and validation
            images, and predict that part. `Run.folds` has their metrics, `out/folds.csv` the answer for each image, and
            labels in doubt are those that they contradict. `out/folds` has their run directories.
        tensorboard: write the history into `out/logs` as TensorBoard reads it.
        teacher: a trained network whose probabilities for the unchanged training images are learned beside the labels
            (`callbacks.Distillation`, weighted by `teacher_weight` and softened by `temperature` of the recipe): a
            finished run, a `.keras` file of a network of this package, or published weights as
            "mobilenet_v2.imagenet". Its classes are those of the images, in any order; it has its own preprocessing.
        track: "wandb" or "mlflow", or both: a run in Weights & Biases or MLflow gets the request, each epoch's row of
            the history, the result and the report. A resumed training continues it. A tracker that fails costs a line.
        strategy: "mirrored" trains on all GPUs of this machine, or on several CPU devices; "none" on one device; "auto"
            on several GPUs where there are any. "multi_worker" trains on all workers that the variable TF_CONFIG or a
            step of Slurm names, and "auto" too where these name several; each makes the same call, with an `out` that
            all of them see, before TensorFlow has computed anything in its process. The first of them writes. Every
            device has a share of each batch, and batch norms take their statistics over the whole batch, so that the
            training is that of one device: `batch_size` is of all devices together, and the learning rate does not
            change.
        changes: fields of the `Recipe` to change: epochs, batch_size, learning_rate, augmentation, freeze_epochs,
            balance, precision, jit, ...; `options` are arguments of the network, {"alpha": 0.5}. `augmentation` may be
            the name of a preset, "medium", or ["medium", "mixup=0.2"] (`data.presets`). A `batch_size` of "auto" is
            found on the device; the learning rate does not follow it.

    Raises:
        InputError: images, model, size, resize, recipe, weights, teacher, track, strategy or `out` cannot be used;
            nothing is written.
    """
    out, seconds, trackers = Path(out), in_seconds(time), Trackers(track)
    if spans_machines(strategy):
        _check_alone(k_fold=k_fold, batch_size=changes.get("batch_size"))
        connected()
    check_directory(out)
    state = TrainingState(out / STATE, name=out)
    if asks_batch_size := changes.get("batch_size") == AUTO:
        del changes["batch_size"]  # a recipe has a number
    automatic = published(recipe, model, size, changes) if weights == AUTO else None
    if weights == AUTO:
        weights = automatic.tag if automatic else None
    weights = hub.pinned(weights, state.weights)
    dataset = as_dataset(images, validation=validation, test=test)
    how: dict[str, Any] = {"recipe": recipe, "model": model, "weights": weights}
    how |= {"size": size, "resize": resize, "fill": fill, "seed": seed, "teacher": teacher}
    request = resolve(dataset, images=images, validation=validation, test=test, changes=changes, **how)
    if k_fold is not None:
        both = joined(dataset.train, dataset.val)
        fold = folds_of(both, k_fold, seed)
    if automatic and not state.exists:
        _fetch(automatic)
    with state.readable() if state.exists else nullcontext():
        request = decided(request, dataset, state.request, batch_size=asks_batch_size)
    devices = strategy_for(strategy, request.recipe.batch_size)
    job, begun = Job(request, dataset, state), state.exists
    with training_on(devices), lost_workers(out):
        chief, workers = is_chief(), place()[1]
        state.writes = chief
        if workers > 1:
            _agree(job)
            heard_again()  # what TensorFlow did to SIGTERM, it has done by now
    if not chief:
        trackers = Trackers(())
    # What cannot be downloaded or built is said before anything is written.
    teaching = request.teacher.model() if request.teacher else None
    with training_on(devices), lost_workers(out):
        network = None if begun else _start(job)
    with _writing(out) if chief else progress_shown(False), trackers:
        state.open(request.to_dict(), request.difference, MEASURES)
        trackers.start(out, request, state)
        if chief:
            _tell(dataset)
        if not request.start.weights:
            note(f"{request.network} starts from random weights")
        frozen = request.recipe.freeze_epochs
        if frozen and changes.get("augmentation") and request.recipe.augmentation and _on_features(job):
            note(f"the first {frozen} epochs train on cached features, of images without augmentation (--no-features)")
        if request.teacher:
            note(f"taught by {request.teacher.network} of {request.teacher.weights}")
            job = replace(job, targets=request.teacher.targets(teaching, dataset.train))
            del teaching  # its memory is the student's
        folds = None
        if k_fold is not None:
            the_same = partial(
                train, time=time, strategy=strategy, **how, **changes | {"batch_size": request.recipe.batch_size}
            )
            folds = cross_validate(both, fold, out / FOLDS, the_same)
        limits = Limits.of(request.recipe, seconds, state.seconds)
        try:
            epochs = _epochs(job, network, limits)
            del network  # where memory runs out, that of the first one is needed
            with training_on(devices), lost_workers(out):
                for _ in epochs:
                    if tensorboard and chief:
                        write_events(out / "logs", state.history)
                    trackers.log(state.history)
                    tell_progress(epoch_line(state.history, request.recipe, len(dataset.train), limits))
                if len(state.history) < request.recipe.epochs:
                    note(f"{limits.reached(state.history)}: the training ends", style="")
        except KeyboardInterrupt as interrupt:
            if workers > 1 or not (state.history and finishes(interrupt)):
                raise
        run = _finish(job, folds) if chief else None
        state.clear()
        with training_on(devices), lost_workers(out):
            from_chief(None)  # the others wait until the run is there
        run = run or Run.load(out)
        trackers.finish(run)  # may wait for a connection
    return run


# ----------------------------------------------------------------------------------------------------------- internals

MEASURES = (*CURVES, "seconds")  # of an epoch; networks with heads have more


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Within the block this process alone writes the run directory.

    Raises:
        InputError: another process does, or the directory holds something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "training into", wait=False):
        check_directory(out)
        yield


def _check_alone(*, k_fold: int | None, batch_size: Any) -> None:
    """Refuse what one machine decides or trains by itself.

    Raises:
        InputError: it is asked for.
    """
    if k_fold is not None:
        raise InputError("k_fold trains on one machine: leave it out, or the strategy over several workers")
    if batch_size == AUTO:
        raise InputError("several workers do not look for a batch size: give a number, of all of them together")


def _agree(job: Job) -> None:
    """Compare what this worker would train with what the chief would, before anything is written.

    Raises:
        InputError: they differ, or do not see the same run directory.
    """
    order = hashlib.sha256(job.dataset.train.content_digests().tobytes()).hexdigest()  # their shares follow it
    found: list[Any] = [job.request.to_dict(), order, job.state.epochs]
    request, chiefs_order, epochs = from_chief(found)
    here = f"worker {place()[0]} differs from worker 0, which has"
    if other := job.request.difference(request):
        raise InputError(f"{here} {other}: give the same command and the same images everywhere")
    if order != chiefs_order:
        raise InputError(f"{here} the images in another order: give the same folder everywhere")
    if found[2] != epochs:
        raise InputError(f"{here} {epochs} epochs in {job.state.name}, not {found[2]}: give an --out that all share")


def _fetch(checkpoint: Checkpoint) -> None:
    """Download weights that nobody has named.

    Raises:
        InputError: they cannot be had.
    """
    try:
        fetch(checkpoint)
    except InputError as error:
        raise InputError(f"{error}; or start from random weights (--weights none)") from error


def _start(job: Job) -> keras.Model:
    """The network that the request asks for, as it is trained.

    Raises:
        InputError: it cannot be built, or its weights cannot be downloaded.
    """
    with scope():
        network = job.request.build()
    # A moving average over more steps than an epoch has would still be near its start when it is first needed.
    slowest = max(0.9, 1 - 10 / job.steps)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, slowest)
    return network


def _epochs(job: Job, network: keras.Model | None, limits: Limits) -> Iterator[dict[str, float]]:
    """Train what is left, within the limits; yields the history's row of each epoch.

    What this machine cannot do is done otherwise, from the last whole epoch on, as a resumption begins.
    """
    if (paused := job.state.paused) and paused.devices != replicas():
        note(f"epoch {job.state.begun} begins again: it was interrupted on {paused.devices} devices")
        job.state.forget_pause()
    while True:
        try:
            return (yield from _stages(job, network, limits))
        except (MemoryError, tf.errors.OpError) as error:
            _give_way(job, error)
        network = None
        gc.collect()  # a model is in cycles, and its memory is what is missing


def _give_way(job: Job, error: Exception) -> None:
    """Train on with half the images at a time where memory ran out; without XLA where it has failed.

    Raises:
        InputError: not even one image fits into memory.
    """
    if out_of_memory(error):
        held = job.micro_batch
        if replicas() > 1:
            raise InputError(
                f"memory ran out with {job.recipe.batch_size // replicas()} images on each of {replicas()} devices: "
                "give a smaller --batch-size or --size"
            ) from error
        if held == 1:
            raise InputError(
                f"memory ran out with one image of {' x '.join(map(str, job.request.preprocessing.size))} at a time: "
                "give a smaller --size or network, or end what else uses the memory"
            ) from error
        job.state.remember(micro_batch=-(-held // 2))
        note(
            f"memory ran out with {held} images at a time: the epoch is repeated with {job.micro_batch} at a time, "
            f"the gradients of a batch of {job.recipe.batch_size} added up"
        )
    elif job.jit:
        job.state.remember(jit=False)
        note(f"XLA cannot compile or run this training ({first_line(error)}): it continues without")
    else:
        raise error


def _stages(job: Job, network: keras.Model | None, limits: Limits) -> Iterator[dict[str, float]]:
    """Train what is left of both stages, within the limits; yields the history's row of each epoch."""
    frozen, epochs, history = job.recipe.freeze_epochs or 0, job.recipe.epochs, job.state.history
    if len(history) < frozen and not limits.reached(history):
        trainer = _first_stage(job, network, frozen)
        yield from run_epochs(trainer, job.state, frozen, ends=limits.reached)
        network = trainer.network()
    if len(history) < epochs and not limits.reached(history):
        yield from run_epochs(_second_stage(job, network, frozen, epochs), job.state, epochs, ends=limits.reached)


def _first_stage(job: Job, network: keras.Model | None, frozen: int) -> NetworkTrainer:
    """The trainer of a frozen backbone's classifier."""
    resumed = job.state.begun > 0
    if not resumed:
        network = network or _start(job)
        job.state.keep(START, network.save)
    if _on_features(job):
        return HeadTrainer(job, network or job.load(job.state.path(START)), 0, frozen, resumed=resumed)
    if network is not None:
        fine_tuning.freeze(network)
    return FrozenTrainer(job, network, 0, frozen)


def _second_stage(job: Job, network: keras.Model | None, frozen: int, epochs: int) -> NetworkTrainer:
    """The trainer of the whole network."""
    if job.state.begun > frozen:
        network = None
    elif frozen and network is None:
        network = job.load(job.state.path(START))
        fine_tuning.copy_layers(job.load(job.state.last), network)
    else:
        network = network or _start(job)
    if network is not None and job.request.start.weights:
        fine_tuning.unfreeze(network, batch_norm=job.recipe.batch_norm)
    return NetworkTrainer(job, network, frozen, epochs)


def _on_features(job: Job) -> bool:
    """Whether the first stage trains on the features of a frozen backbone; several heads need the backbone itself."""
    arguments = job.request.arguments
    exits = arguments.get("exits", bool(job.request.architecture.exits))
    return job.recipe.cache_features and not (arguments.get("aux_heads") or exits)


def _tell(dataset: Dataset) -> None:
    first, *lines = dataset.describe()
    note(first, style="")
    leaks, contradictions = dataset.leaks, dataset.contradictions
    for sides, n in Counter(pair.sides for pair in leaks).items():
        lines.append(f"{n:,} pairs of {' and '.join(sides)} images are nearly the same: accuracy may flatter")
    lines += [f"nearly the same: {pair.first} and {pair.second}" for pair in leaks[:5]]
    if contradictions:
        lines.append(f"{len(contradictions):,} pairs of images are nearly the same, and labelled differently")
    for first, second, _, (one, other) in contradictions[:5]:
        lines.append(f"labelled {one}: {first}; labelled {other}: {second}")
    for line in lines:
        note(line)


def _finish(job: Job, folds: Folds | None) -> Run:
    """Write the run directory. `run.json` comes after all that the run needs, and before the report.

    Where a process ends in between, the state is still there, and the same command does it again.
    """
    state, out = job.state, job.state.name
    if state.best() < (job.recipe.freeze_epochs or 0) and _on_features(job):
        network = job.load(state.path(START))
        fine_tuning.copy_layers(job.load(state.path(BEST_HEAD)), network)
    else:
        network = job.load(state.path(BEST))
    network = fine_tuning.deployed(network)
    write_file(out / "model.keras", network.save)
    request, dataset = job.request, job.dataset
    predictor = KerasPredictor(model=network, labels=request.labels, preprocessing=request.preprocessing)
    held = state.found.get("micro_batch", 32)
    outputs = predictor.probabilities(dataset.val, batch_size=held)
    validation, tested = summary(outputs, dataset.val.labels), None
    if dataset.test is not None:
        outputs = predictor.probabilities(dataset.test, batch_size=held)
        tested = summary(outputs, dataset.test.labels)
    run = request.finished(out, validation=validation, test=tested, folds=folds.measured if folds else ())
    run = replace(run, training=run.training | state.found)
    write_file(out / "history.csv", lambda part: part.write_text(_history(state.history), encoding="utf-8"))
    if folds:
        answers = report.folds(folds)
        write_file(out / report.FOLDS, lambda part: part.write_text(answers, encoding="utf-8"))
    if found := doubted(folds.probabilities, folds.images.labels) if folds else _doubts(job):
        write_file(out / report.DOUBTS, lambda part: part.write_text(report.doubts(dataset, found), encoding="utf-8"))
    run.save()
    try:
        page = report.page(run, network, state.history, dataset.held_out, outputs[MAIN], dataset=dataset)
    except Exception as error:  # a page that cannot be drawn never costs the run
        note(f"the report could not be drawn ({error}); `keras-inception report {out}` tries again")
    else:
        write_file(out / "report.html", lambda part: part.write_text(page, encoding="utf-8"))
    return run


def _doubts(job: Job) -> list[Doubt]:
    """The labels that the features of the first stage doubt."""
    if not (job.recipe.freeze_epochs and _on_features(job)):
        return []
    sides = job.dataset.train, job.dataset.val
    backbone = fine_tuning.backbone_of(job.load(job.state.path(START)))
    found = features(backbone, sides, job.request.preprocessing, batch_size=job.micro_batch)
    labels = np.concatenate([split.labels for split in sides])
    return doubts(np.concatenate(found), labels, len(job.dataset.classes))


def _history(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *dict.fromkeys(k for row in rows for k in row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"epoch": i} | row for i, row in enumerate(rows, 1))
    return text.getvalue()
