"""How a network is trained, as data. Schedules count in fractions of the training: fewer epochs keep their shape."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol

from keras import optimizers
from keras.optimizers import schedules

from ...data import Augmentation, Changes, presets
from ...data.augmentation import from_record, to_record
from ...errors import InputError

# Of a teacher. For small networks Hinton et al. (arXiv 1503.02531, section 3) found temperatures from 2.5 to 4 best; of
# the settings in benchmarks/distillation.md this one is.
TEMPERATURE, TEACHER_WEIGHT = 4.0, 0.5


class Schedule(Protocol):
    """How the learning rate changes during a training."""

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """Return the Keras schedule that starts from `rate` and covers `steps` steps."""


def _require(name: str, value: Any, valid: bool, allowed: str) -> None:
    if not valid:
        raise InputError(f"{name} must be {allowed}; got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1


@dataclass(frozen=True)
class Cosine:
    """Half a cosine down to 0, after a linear warm-up over the fraction `warmup` of the training."""

    warmup: float = 0.0

    def __post_init__(self) -> None:
        _require("warmup", self.warmup, _is_number(self.warmup) and 0 <= self.warmup < 1, "from 0 to less than 1")

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """See `Schedule`."""
        if not (warmup := round(self.warmup * steps)):
            return schedules.CosineDecay(rate, steps)
        return schedules.CosineDecay(0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup)


@dataclass(frozen=True)
class Exponential:
    """Multiplied by `factor` after each fraction `every` of the training, in steps; by default as of Inception v3."""

    factor: float = 0.94
    every: float = 0.02

    def __post_init__(self) -> None:
        _require("factor", self.factor, _is_number(self.factor) and self.factor > 0, "a positive number")
        _require("every", self.every, _is_fraction(self.every), "a fraction of the training")

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """See `Schedule`."""
        return schedules.ExponentialDecay(rate, max(1, round(self.every * steps)), self.factor, staircase=True)


@dataclass(frozen=True)
class Steps:
    """Multiplied by `factor` at each fraction in `at`; a tenth of the rate during the first fraction `warmup`.

    `Steps(())` is a constant rate. By default as of ResNet on CIFAR-10.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        valid = isinstance(self.at, tuple) and all(map(_is_fraction, self.at)) and sorted(self.at) == list(self.at)
        _require("at", self.at, valid, "fractions of the training, in order")
        _require("factor", self.factor, _is_number(self.factor) and self.factor > 0, "a positive number")
        _require("warmup", self.warmup, _is_number(self.warmup) and 0 <= self.warmup < 1, "from 0 to less than 1")

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """See `Schedule`."""
        changes = [(round(fraction * steps), rate * self.factor ** (i + 1)) for i, fraction in enumerate(self.at)]
        first = rate
        if warmup := round(self.warmup * steps):
            first, changes = rate / 10, [(warmup, rate), *changes]
        changes = changes or [(steps + 1, rate)]  # a constant rate; Keras needs one boundary
        # At a boundary Keras still has the old rate.
        return schedules.PiecewiseConstantDecay([at - 1 for at, _ in changes], [first, *(rate for _, rate in changes)])


@dataclass(frozen=True)
class Polynomial:
    """(1 - t) ** power, down to 0: linear by default."""

    power: float = 1.0

    def __post_init__(self) -> None:
        _require("power", self.power, _is_number(self.power) and self.power > 0, "a positive number")

    def over(self, rate: float, steps: int) -> schedules.LearningRateSchedule:
        """See `Schedule`."""
        return schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=self.power)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. The defaults follow no paper.

    `model` is the network's name, and `options` are its arguments. `optimizer` is a name in `keras.optimizers`, and
    `arguments` are its own arguments. `weight_decay` is the papers' L2 penalty d: the loss gets d / 2 times the squares
    of the `decayed` variables. (Keras' argument of that name does not pass through the momentum.) `clip_norm` limits
    the norm of all gradients together. `ema` is the momentum of an average of the weights, which is evaluated and kept.
    `aux_weight` is the weight of the auxiliary losses; it fades to 0 over the fraction `aux_fade` of the training, if
    that is given. Early exits have the weight of the last classifier. `balance` weights each class by the inverse of
    its count in the training images. Of the last stage, `patience` epochs in turn without a better one end the
    training; None for none.

    `precision` is that of the training; the kept network is float32. "auto" is mixed_float16 on a GPU of compute
    capability 7.0 or more, mixed_bfloat16 on a TPU, if the network's outputs and loss stay what they are in float32;
    else float32. `jit` has XLA compile the training step; None decides that by the device and the length of the
    training. What both come to is decided when a training begins, and is part of its request (`training.automatic`).

    With a teacher, `teacher_weight` is the weight of its softened probabilities in the loss, and 1 less it that of the
    labels; `temperature` softens them (`callbacks.Distillation`).

    The last four fields are for fine-tuning. For `freeze_epochs`, four fifths of the epochs by default, the backbone is
    frozen and the new classifier is trained. Then all layers are trained at `backbone_rate` times the learning rate,
    batch norms only with `batch_norm`; where nothing was frozen, the classifier has the whole rate. With
    `cache_features` the frozen backbone's output for the unchanged images is computed once and kept on disk; without it
    every epoch runs the backbone, with augmentation.

    Raises:
        InputError: a field has a wrong type, or a value out of its range.
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
    crop: float | None = None  # `Preprocessing.crop` for random initial weights; None keeps the network's
    balance: bool = False
    precision: str = "float32"  # of PRECISIONS, or AUTO
    jit: bool | None = None
    patience: int | None = None
    temperature: float = TEMPERATURE
    teacher_weight: float = TEACHER_WEIGHT
    freeze_epochs: int | None = None
    backbone_rate: float = 0.1
    batch_norm: bool = False
    cache_features: bool = True

    def __post_init__(self) -> None:
        for name, (valid, allowed) in ALLOWED.items():
            _require(name, value := getattr(self, name), valid(value), allowed)

    def with_changes(self, changes: Mapping[str, Any]) -> Recipe:
        """Return a copy with other values of some fields.

        The schedule may be the name of its class, "steps", or a mapping: {"kind": "steps", "factor": 0.2} makes a new
        one, {"factor": 0.2} changes this recipe's. `augmentation` may be in words too, "medium" or ["medium",
        "mixup=0.2"], as `data.presets.in_words` takes them. `arguments` are added to those of the optimizer; another
        optimizer has these alone.

        Raises:
            InputError: a recipe has no such field, or the value is not allowed.
        """
        known = [f.name for f in fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise InputError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")
        values = dict(changes)
        if isinstance(given := values.get("schedule"), str | Mapping):
            values["schedule"] = _schedule(given, self.schedule)
        if isinstance(words := values.get("augmentation"), str | list | tuple):
            values["augmentation"] = presets.in_words([words] if isinstance(words, str) else words, self.augmentation)
        if isinstance(asked := values.get("optimizer"), str):
            values["optimizer"] = next((name for name in OPTIMIZERS if name.lower() == asked.lower()), asked)
            values.setdefault("arguments", {})
        elif isinstance(arguments := values.get("arguments"), Mapping):
            values["arguments"] = {**self.arguments, **arguments}
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values; schedule and augmentation have their class name as `kind`."""
        record = asdict(replace(self, options={}, arguments={})) | {
            "options": dict(self.options),
            "arguments": dict(self.arguments),
        }
        record["schedule"] = {"kind": type(self.schedule).__name__, **asdict(self.schedule)}  # type: ignore[call-overload]
        record["augmentation"] = to_record(self.augmentation)
        return json.loads(json.dumps(record))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Recipe:
        """Read what `to_dict` wrote.

        Raises:
            InputError: its schedule or augmentation is none of this package's.
        """
        read = {"schedule": _schedule(record["schedule"]), "augmentation": from_record(record["augmentation"])}
        return cls(**dict(record) | read)


# Where the L2 penalty applies. Framework defaults differ: Torch's optimizers decay every variable, TF-Slim kernels.
DECAYED = ("kernels", "all", "kernels but depthwise")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
AUTO = "auto"
OPTIMIZERS = tuple(
    name
    for name, kind in vars(optimizers).items()
    if isinstance(kind, type)
    and issubclass(kind, optimizers.Optimizer)
    and kind not in (optimizers.Optimizer, optimizers.LossScaleOptimizer)
)
SCHEDULES: dict[str, Any] = {kind.__name__.lower(): kind for kind in (Cosine, Exponential, Steps, Polynomial)}


def _schedule(given: str | Mapping[str, Any], base: Any = None) -> Schedule:
    """What a name, or a mapping with the class as `kind`, asks for; without a kind `base` with other arguments."""
    record = {"kind": given} if isinstance(given, str) else dict(given)
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k != "kind"}
    name = str(record.get("kind", type(base).__name__))
    if (kind := SCHEDULES.get(name.lower())) is None:
        raise InputError(f"unknown schedule {name!r}; there are {', '.join(SCHEDULES)}")
    known = [f.name for f in fields(kind)]
    if unknown := sorted(set(arguments) - set(known)):
        raise InputError(f"schedule {kind.__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return kind(**arguments) if "kind" in record else replace(base, **arguments)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63  # which a file keeps


_COUNT = _is_count, "a positive integer"
_BOOL = (lambda x: isinstance(x, bool)), "True or False"
_TEXT = (lambda x: isinstance(x, str)), "a name"
_MAPPING = (lambda x: isinstance(x, Mapping)), "a mapping of names to values"
_POSITIVE = (lambda x: _is_number(x) and x > 0), "a positive number"
_NOT_NEGATIVE = (lambda x: _is_number(x) and x >= 0), "a number of at least 0"

ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {  # field -> what it must be
    "model": _TEXT,
    "options": _MAPPING,
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "optimizer": ((lambda x: x in OPTIMIZERS), f"of keras.optimizers: {', '.join(OPTIMIZERS)}"),
    "arguments": _MAPPING,
    "learning_rate": _POSITIVE,
    "schedule": ((lambda x: hasattr(x, "over")), "a schedule such as Cosine()"),
    "weight_decay": _NOT_NEGATIVE,
    "decayed": ((lambda x: x in DECAYED), " or ".join(map(repr, DECAYED))),
    "clip_norm": ((lambda x: x is None or (_is_number(x) and x > 0)), "a positive number, or None"),
    "label_smoothing": ((lambda x: _is_number(x) and 0 <= x < 1), "a number from 0 to less than 1"),
    "aux_weight": _NOT_NEGATIVE,
    "aux_fade": ((lambda x: x is None or (_is_number(x) and 0 < x <= 1)), "a fraction of the training, or None"),
    "ema": ((lambda x: x is None or (_is_number(x) and 0 <= x < 1)), "a number from 0 to less than 1, or None"),
    "augmentation": ((lambda x: x is None or hasattr(x, "views")), "an augmentation such as Augmentation(), or None"),
    "crop": ((lambda x: x is None or (_is_number(x) and 0 < x <= 1)), "a fraction above 0, at most 1, or None"),
    "balance": _BOOL,
    "precision": ((lambda x: x in (*PRECISIONS, AUTO)), f"{', '.join(PRECISIONS)} or {AUTO}"),
    "jit": ((lambda x: x is None or isinstance(x, bool)), "True, False, or None"),
    "patience": ((lambda x: x is None or _is_count(x)), "a positive integer, or None"),
    "temperature": _POSITIVE,
    "teacher_weight": ((lambda x: _is_number(x) and 0 <= x <= 1), "a number from 0 to 1"),
    "freeze_epochs": ((lambda x: x is None or x == 0 or _is_count(x)), "an integer of at least 0, or None"),
    "backbone_rate": _NOT_NEGATIVE,
    "batch_norm": _BOOL,
    "cache_features": _BOOL,
}
