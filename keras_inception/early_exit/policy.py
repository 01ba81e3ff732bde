"""Anytime prediction: each image leaves a network with early exits where its prediction is confident enough.

`calibrate` chooses thresholds for a budget, an average number of multiply-adds per image: the "budgeted batch
classification" of Huang et al., 2018, section 3 (https://arxiv.org/abs/1703.09844), with thresholds as in the authors'
release. `curve` measures the accuracy of several budgets, and of each exit alone, the paper's "anytime prediction".

    policy = early_exit.calibrate(model, held_out, budget=40e6)
    prediction = policy.predict(images)
    prediction.probabilities, prediction.exits, prediction.macs.mean()
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import keras
import numpy as np

from ..arguments import Argument, Count, checked
from ..errors import InputError
from ..files import write_figure, write_file
from .network import Cascade, ExitPredictions, Images

Budget: TypeAlias = Annotated[
    float, Argument(states="multiply-adds per image, from the first to the last value of Cascade(model).macs")
]
NEVER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """When to stop: at the first exit whose highest probability reaches its threshold.

    `thresholds` has a value in [0, 1] for each exit, 0 for the last, and 2 where no image leaves. `shares` is the
    fraction of images that should leave at each exit; `budget` is then the average multiply-adds per image.
    """

    cascade: Cascade = field(repr=False)
    budget: float
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    def predict(self, images: Images, batch_size: Count = 64) -> ExitPredictions:
        """Predict each image, without computing the stages after the exit at which it leaves.

        Args:
            images: (n, *input_shape) floats, preprocessed for the network, or batches of these.
            batch_size: images per batch, at every stage.

        Raises:
            InputError: the images have another shape or type, or there are none.
        """
        return self.cascade.run(images, self.thresholds, batch_size)

    def save(self, path: str | Path) -> None:
        """Write the policy as JSON, without the network."""
        rows = zip(self.cascade.names, self.cascade.macs, self.thresholds, self.shares, strict=True)
        exits = [dict(zip(("name", "macs", "threshold", "share"), row, strict=True)) for row in rows]
        text = json.dumps({"budget": self.budget, "exits": exits}, indent=1)
        write_file(Path(path), lambda part: part.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path: str | Path, model: keras.Model | Cascade) -> Policy:
        """Read a file that `save` wrote, for the network that it was calibrated on.

        Raises:
            InputError: it is no such file, or it belongs to a network with other exits.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            budget, exits = float(record["budget"]), record["exits"]
            found = [(row["name"], row["macs"]) for row in exits]
            thresholds = tuple(float(row["threshold"]) for row in exits)
            shares = tuple(float(row["share"]) for row in exits)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a file of Policy.save: {error!r}") from error
        cascade = _cascade(model)
        own = list(zip(cascade.names, cascade.macs, strict=True))
        if found != own:
            raise InputError(
                f"{path} belongs to a network with the exits {_listed(found)}; this one has {_listed(own)}"
            )
        return cls(cascade=cascade, budget=budget, thresholds=thresholds, shares=shares)


@checked
def calibrate(model: keras.Model | Cascade, images: Images, *, budget: Budget, batch_size: Count = 64) -> Policy:
    """Choose thresholds with which images like these cost the budget on average (Huang et al., 2018).

    The share q_k = z (1 - q)^(k - 1) q of all images leaves at exit k, where z makes the sum 1. The budget determines
    q. The thresholds let that many of `images` leave: at each exit, the most confident of those that are left. As in
    the authors' release, 1 - q may exceed 1: above the plain average of the exits, later exits get larger shares.

    Args:
        model: a functional model with a dict of exits, or its `Cascade`, which avoids cutting it again.
        images: held-out images, (n, *input_shape) floats, preprocessed, or batches of these
            (`split.batches(preprocessing, 64)`). Labels are not needed. More images meet the budget more closely.
        budget: average multiply-adds per image, from the first to the last value of `Cascade(model).macs`.
        batch_size: images per batch.

    Raises:
        InputError: the network has no exits, the budget is out of range, or the images have another shape.
    """
    cascade = _cascade(model)
    shares = _shares(cascade, budget)  # refuses a wrong budget before the network runs
    confidence, _ = cascade.most_confident(images, batch_size)
    return _policy(cascade, budget, shares, confidence)


def _cascade(model: keras.Model | Cascade) -> Cascade:
    return model if isinstance(model, Cascade) else Cascade(model)


def _shares(cascade: Cascade, budget: Any) -> np.ndarray:
    """Return the geometric distribution over the exits that costs the budget."""
    costs = np.array(cascade.macs, float)
    if not isinstance(budget, Real) or not costs[0] <= budget <= costs[-1]:
        raise InputError(
            f"the budget must be multiply-adds per image, {costs[0]:,.0f} (all leave at {cascade.names[0]}) to "
            f"{costs[-1]:,.0f} (none before {cascade.names[-1]}); got {budget!r}"
        )
    low, high = 0.0, 1.0  # bisection for t in [0, 1], where 1 - q = t / (1 - t)
    powers = np.arange(len(costs))
    for _ in range(60):
        t = (low + high) / 2
        weights = t**powers * (1 - t) ** powers[::-1]
        shares = weights / weights.sum()
        low, high = (t, high) if shares @ costs < budget else (low, t)
    return shares


def _policy(cascade: Cascade, budget: float, shares: np.ndarray, confidence: np.ndarray) -> Policy:
    """Choose thresholds that let these shares leave; `confidence` is (exits, n)."""
    images = confidence.shape[1]
    goals = np.round(np.cumsum(shares) * images).astype(int)  # how many have left after each exit
    waiting = np.arange(images)
    thresholds = []
    for goal, certainty in zip(goals[:-1], confidence, strict=False):
        leave = goal - (images - len(waiting))  # ties may have let too many leave before
        if goal == images:
            thresholds.append(0.0)
        elif leave > 0:
            thresholds.append(float(np.sort(certainty[waiting])[-leave]))
        else:
            thresholds.append(NEVER)
        waiting = waiting[certainty[waiting] < thresholds[-1]]
    return Policy(
        cascade=cascade, budget=float(budget), thresholds=(*thresholds, 0.0), shares=tuple(map(float, shares))
    )


def _listed(exits: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({macs:,})" for name, macs in exits)


# --------------------------------------------------------------------------------------------------------------- curve


@dataclass(frozen=True, kw_only=True)
class Point:
    """A policy with its measured multiply-adds per test image, and its accuracy, 0..1."""

    policy: Policy
    macs: float
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """The measured points of each exit alone, and of all exits under each budget."""

    exits: tuple[Point, ...]
    budgets: tuple[Point, ...]


@checked
def curve(
    model: keras.Model | Cascade,
    held_out: Images,
    images: Images,
    labels: np.ndarray,
    *,
    budgets: int | Sequence[float] = 20,
    batch_size: Count = 64,
) -> Curve:
    """Measure accuracy against multiply-adds: calibrated on `held_out`, measured on `images`.

    Every point has its policy, ready to `predict`. That of a single exit lets all images leave there.

    Args:
        model: a functional model with a dict of exits, or its `Cascade`.
        held_out: images as for `calibrate`.
        images: the test images, in the same form.
        labels: (n,) integers, the classes of `images`.
        budgets: average multiply-adds per image; or their number, evenly spaced from the first exit's to the last's.
        batch_size: images computed at a time.

    Raises:
        InputError: as for `calibrate`, or the labels are not one class per image.
    """
    cascade = _cascade(model)
    first, *_, last = cascade.macs
    spend = np.linspace(first, last, max(2, budgets)).tolist() if isinstance(budgets, int) else list(budgets)
    shares = [_shares(cascade, budget) for budget in spend]
    labels, classes = np.asarray(labels), next(iter(cascade.outputs.values())).shape[-1]
    certainty, predicted = cascade.most_confident(images, batch_size)
    count = predicted.shape[1]
    if (
        labels.shape != (count,)
        or not np.issubdtype(labels.dtype, np.integer)
        or not 0 <= labels.min() <= labels.max() < classes
    ):
        raise InputError(
            f"labels must be ({count},) integers, 0 to {classes - 1}, one for each image; "
            f"got {labels.shape} {labels.dtype}"
        )
    right = predicted == labels
    confidence, _ = cascade.most_confident(held_out, batch_size)
    costs = np.array(cascade.macs)

    def measure(policy: Policy) -> Point:
        leaves = (certainty >= np.array(policy.thresholds)[:, np.newaxis]).argmax(axis=0)
        accuracy = right[leaves, np.arange(count)].mean()
        return Point(policy=policy, macs=float(costs[leaves].mean()), accuracy=float(accuracy))

    alone = [_policy(cascade, macs, share, confidence) for macs, share in zip(costs, np.eye(len(costs)), strict=True)]
    shared = [_policy(cascade, *item, confidence) for item in zip(spend, shares, strict=True)]
    return Curve(tuple(map(measure, alone)), tuple(map(measure, shared)))


@checked
def plot(curve: Curve, path: str | Path, *, title: str = "") -> None:
    """Plot accuracy against average multiply-adds per image, for the budgets and the exits.

    The file extension of `path` determines the format: ".png", ".svg" or another one of Matplotlib's.

    Raises:
        InputError: Matplotlib does not write that format, or the folder does not exist.
    """
    from matplotlib.figure import Figure  # half a second, which nothing else here needs

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*_line(curve.budgets), marker=".", label="all exits, one budget")
    axes.plot(*_line(curve.exits), "s--", color="gray", linewidth=1, label="one exit for all images")
    for point, name in zip(curve.exits, curve.exits[0].policy.cascade.names, strict=True):
        place = (point.macs / 1e6, 100 * point.accuracy)
        side, right = ("left", 6) if point is not curve.exits[-1] else ("right", -6)
        axes.annotate(name, place, (right, -13), textcoords="offset points", ha=side, fontsize=8, color="dimgray")
    axes.margins(y=0.09)
    axes.set(xlabel="million multiply-adds per image, on average", ylabel="accuracy, %", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    write_figure(Path(path), figure)


def _line(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.macs / 1e6 for point in points], [100 * point.accuracy for point in points]
