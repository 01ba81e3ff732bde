"""How a network is trained, as data. A schedule counts in fractions of the training: fewer epochs keep its shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol

from keras.optimizers import schedules

from ...data import Augmentation, Changes, Shift
from ...errors import InputError


class Schedule(Protocol):
    """How the learning rate goes through a training."""

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """From `rate`, over so many steps."""


@dataclass(frozen=True)
class Cosine:
    """Half a cosine down to 0, behind a linear warm-up over the fraction `warmup` of the training."""

    warmup: float = 0.0

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """As `Schedule` says."""
        if not (warmup := round(self.warmup * steps)):
            return schedules.CosineDecay(rate, steps)
        return schedules.CosineDecay(0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup)


@dataclass(frozen=True)
class Exponential:
    """Times `factor` after each fraction `every` of the training, at once."""

    factor: float
    every: float

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """As `Schedule` says."""
        return schedules.ExponentialDecay(rate, max(1, round(self.every * steps)), self.factor, staircase=True)


@dataclass(frozen=True)
class Steps:
    """Times `factor` at each of the fractions `at`; over the first `warmup` of the training at a tenth of the rate.

    `Steps(())` is a constant rate.
    """

    at: tuple[float, ...]
    factor: float = 0.1
    warmup: float = 0.0

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """As `Schedule` says."""
        changes = [(round(fraction * steps), rate * self.factor ** (i + 1)) for i, fraction in enumerate(self.at)]
        first = rate
        if warmup := round(self.warmup * steps):
            first, changes = rate / 10, [(warmup, rate), *changes]
        changes = changes or [(steps + 1, rate)]  # a constant rate; Keras wants a boundary
        # Keras still has the old rate at a boundary.
        return schedules.PiecewiseConstantDecay([at - 1 for at, _ in changes], [first, *(rate for _, rate in changes)])


@dataclass(frozen=True)
class Polynomial:
    """(1 - t) ** power, down to 0: a straight line by default."""

    power: float = 1.0

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """As `Schedule` says."""
        return schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=self.power)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. The defaults are no paper's: Adam along a cosine, light augmentation.

    `optimizer` is the name of one in `keras.optimizers`, and `arguments` are its own. `weight_decay` is the papers' L2
    penalty, d: d / 2 times the squares of the `decayed` variables are added to the loss (Keras' own argument of that
    name is another thing: it passes by the momentum). `clip_norm` is of all gradients together. `ema` is the momentum
    of an average of the weights that is measured and kept in their place. `aux_weight` is of auxiliary heads' losses,
    and fades to 0 over the fraction `aux_fade` of the training, if that is given; early exits count as the last.
    `options` are arguments of the network. With `balance` each class is weighted by the inverse of its count in the
    training images. `precision` is of the training; the kept network is float32.

    The last four are of fine-tuning. For `freeze_epochs`, half of them by default, the backbone is frozen and the new
    classifier learns; then the backbone learns too, at `backbone_rate` times the learning rate, its batch norms only
    with `batch_norm`. With `cache_features` the frozen backbone's output for the unchanged images is computed once
    and kept on disk; without it every epoch runs the backbone, with augmentation.
    """

    model: str = "inception_v3"
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "Adam"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    schedule: Schedule = Cosine()
    weight_decay: float = 0.0
    decayed: str = "kernels"  # of DECAYED
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    aux_weight: float = 0.3
    aux_fade: float | None = None
    ema: float | None = None
    augmentation: Changes | None = Augmentation()  # noqa: RUF009  (frozen)
    crop: float | None = None  # `Preprocessing.crop` of a network that starts from random weights; None for its own
    balance: bool = False
    precision: str = "float32"  # of PRECISIONS
    freeze_epochs: int | None = None
    backbone_rate: float = 0.1
    batch_norm: bool = False
    cache_features: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name.replace('_', ' ')} must be positive; got {getattr(self, name)}")
        if self.decayed not in DECAYED:
            raise InputError(f"decayed must be {' or '.join(map(repr, DECAYED))}; got {self.decayed!r}")
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}; got {self.precision!r}"
            )

    def with_changes(self, changes: Mapping[str, Any]) -> Recipe:
        """With other values of some fields.

        Raises:
            InputError: a recipe has no such field, or not with that value.
        """
        known = [f.name for f in fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise InputError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values; what has several kinds is named by its kind."""
        record = asdict(replace(self, options={}, arguments={})) | {
            "options": dict(self.options),
            "arguments": dict(self.arguments),
        }
        for name in ("schedule", "augmentation"):
            if (value := getattr(self, name)) is not None:
                record[name] = {"kind": type(value).__name__, **asdict(value)}
        return json.loads(json.dumps(record))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Recipe:
        """Read what `to_dict` wrote.

        Raises:
            InputError: its schedule or augmentation is none of this package's.
        """
        kinds: dict[str, Any] = {
            kind.__name__: kind for kind in (Cosine, Exponential, Polynomial, Steps, Augmentation, Shift)
        }
        values = dict(record)
        for name in ("schedule", "augmentation"):
            if (given := values[name]) is None:
                continue
            arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != "kind"}
            if given["kind"] not in kinds:
                raise InputError(f"unknown {name} {given['kind']!r}; there are {', '.join(kinds)}")
            values[name] = kinds[given["kind"]](**arguments)
        return cls(**values)


# What the L2 penalty is on. Framework defaults differ: Torch's optimizers decay every variable, TF-Slim kernels.
DECAYED = ("kernels", "all", "kernels but depthwise")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
