"""Training callbacks that Keras lacks: losses at auxiliary heads, label smoothing for integer labels, a teacher.

    model = keras_inception.InceptionV3(aux_heads=True, classes=10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, callbacks=[AuxiliaryHeads(0.4), LabelSmoothing(0.1)])
    model.evaluate(x, y, callbacks=[AuxiliaryHeads()])

They change only what `fit` minimises. The validation `loss`, `accuracy` and all other metrics are of the main output
and the true labels. The callbacks replace the model's loss while `fit` or `evaluate` runs, and restore it at the end.
The weights are variables, so that a schedule never retraces the training step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType
from typing import Any, TypeAlias

import keras
from keras import ops
from keras.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

from .arguments import checked
from .errors import InputError
from .outputs import MAIN, main_network

Schedule: TypeAlias = Callable[[int], float]  # epoch, counted from 0 -> factor
LEAST = 1e-30  # of a probability whose logarithm is taken: its gradient, the inverse, is still finite in float32

CROSSENTROPIES = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
}


@checked
def fade(epochs: int) -> Schedule:
    """Fall linearly from 1 in the first epoch to 0 after `epochs` epochs.

    Raises:
        InputError: `epochs` is less than 1.
    """
    if epochs < 1:
        raise InputError(f"a value fades over at least 1 epoch; got {epochs}")
    return lambda epoch: max(0.0, 1 - epoch / epochs)


class _LossCallback(keras.callbacks.Callback):
    """Replaces the model's loss from the start of a `fit` or `evaluate` to its end."""

    objective: _Objective

    def set_model(self, model: keras.Model) -> None:
        """Replace the model's loss. Keras calls this; see `AuxiliaryHeads` for when to call it yourself.

        Raises:
            InputError: the model is not compiled with a cross-entropy, or its outputs do not fit.
        """
        super().set_model(model)
        self.objective = _Objective.of(model, getattr(self, "objective", None))

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start without the values of an earlier `fit`."""
        self.objective.begin()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Give the model its own loss back."""
        self.objective.end()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Give the model its own loss back after an `evaluate` outside of `fit`."""
        if not self.objective.training:
            self.objective.end()


class AuxiliaryHeads(_LossCallback):
    """Train all heads of a network on one set of labels, the auxiliary heads with a smaller loss weight.

    Use it for networks built with `aux_heads=True`, or with `weight=1.0` for networks with early exits (MSDNet weighs
    all exits alike). `fit` and `evaluate` then take the labels once, (n,) integers or (n, classes) one-hot, with
    `class_weight` and `sample_weight` as for a network of one output. The logs hold the metrics given to `compile` for
    the main output under their usual names, and `aux_1_loss`, `aux_1_accuracy`, ... for the other heads. Without the
    callback a network of several outputs takes what Keras always wants, a dict of labels. So does a loaded network: a
    file keeps no callbacks. `strip_auxiliary` returns the network to deploy.

    Keras sets the model of a callback before it traces the training step. Under a `tf.distribute` strategy, JAX or
    PyTorch it builds the loss earlier: there, call `heads.set_model(model)` once before each `fit`.

    Args:
        weight: weight of each auxiliary loss; the main loss has 1. GoogLeNet uses 0.3; TF-Slim's Inception v3 and v4
            and NASNet use 0.4.
        schedule: function of the epoch (from 0) that returns a factor for the weight, such as `fade(20)`; constant by
            default.

    Raises:
        InputError: the weight is negative or not finite, the network has only one head, or its loss is not a
            cross-entropy.
    """

    @checked
    def __init__(self, weight: float = 0.3, schedule: Schedule | None = None):
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"the weight of auxiliary heads must be a number of at least 0; got {weight}")
        self.weight, self.schedule = weight, schedule

    def set_model(self, model: keras.Model) -> None:
        """As in the base class; the model must have auxiliary heads."""
        super().set_model(model)
        if not self.objective.metrics:
            self.objective.end()
            raise InputError(
                f"{model.name} has no auxiliary heads: build it with aux_heads=True, or remove this callback"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the weight of this epoch."""
        self.objective.factors.auxiliary.assign(self.weight * (self.schedule(epoch) if self.schedule else 1))


class LabelSmoothing(_LossCallback):
    """Replace each label by (1 - e) of the true class plus e spread over all classes (Szegedy et al., 2016, section 7).

    Works for (n,) integer labels too, for which the cross-entropy of Keras up to 3.15 has no smoothing, and for all
    heads of a network. Where the loss has `label_smoothing=`, use either.

    Args:
        smoothing: e, from 0 to less than 1; the paper uses 0.1.
        schedule: function of the epoch (from 0) that returns a factor for e; constant by default.

    Raises:
        InputError: e is out of range, or the loss is not a cross-entropy, or already smooths labels.
    """

    @checked
    def __init__(self, smoothing: float = 0.1, schedule: Schedule | None = None):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(f"label smoothing must be a number from 0 to less than 1; got {smoothing}")
        self.smoothing, self.schedule = smoothing, schedule

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the smoothing of this epoch."""
        self.objective.factors.smoothing.assign(self.smoothing * (self.schedule(epoch) if self.schedule else 1))


class Distillation(_LossCallback):
    """Train a network on the probabilities of a teacher beside the labels (Hinton, Vinyals and Dean, 2015).

    `fit` takes labels (n, 2 * classes): one-hot labels, or shares of the classes, and beside them the teacher's
    probabilities for the same images. Each head, auxiliary ones too, minimises

        (1 - weight) * cross-entropy with the labels + weight * temperature ** 2 * KL(teacher, network)

    where both distributions are softened: softmax(logits / temperature). The logarithm of a probability stands for the
    logit, of which it differs by the same number for all classes, so that the softmax is the same. The square keeps the
    gradient's size (section 2 of the paper). Label smoothing changes the labels only. Metrics are of the labels.

    `keras.distillation` runs the teacher in every step, within a model of both; here it is run before, once.

    Args:
        weight: of the teacher, from 0 to 1.
        temperature: above 0; the higher, the more the improbable classes count.

    Raises:
        InputError: an argument is out of range, or the loss is not "categorical_crossentropy", or `fit` gets labels
            without the teacher's probabilities.
    """

    @checked
    def __init__(self, weight: float, temperature: float):
        super().__init__()
        if not 0 <= weight <= 1:
            raise InputError(f"the weight of a teacher must be a number from 0 to 1; got {weight}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"the temperature of a teacher must be a number above 0; got {temperature}")
        self.weight, self.temperature = weight, temperature

    def set_model(self, model: keras.Model) -> None:
        """As in the base class; the loss must be of one-hot labels."""
        super().set_model(model)
        if not isinstance(self.objective.loss, CategoricalCrossentropy):
            self.objective.end()
            raise InputError(
                "a teacher's probabilities are beside one-hot labels: compile with loss='categorical_crossentropy'"
            )
        self.objective.taught = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set weight and temperature."""
        self.objective.factors.teaching.assign(self.weight)
        self.objective.factors.temperature.assign(self.temperature)


@checked
def strip_auxiliary(model: keras.Model) -> keras.Model:
    """Return the network to deploy: the main output alone, on the same layers and weights.

    Raises:
        InputError: the network has several outputs, and none is called "predictions".
    """
    return main_network(model)


# ----------------------------------------------------------------------------------------------------------- internals


class _Factors(keras.metrics.Metric):
    """What the callbacks set at each epoch, as a metric that is neither shown nor reset.

    A step that Keras' JAX trainer compiles sees the values of the model's variables and of its metrics', no others.
    """

    def __init__(self) -> None:
        super().__init__(name="factors")
        self.auxiliary = keras.Variable(0.0, dtype="float32", trainable=False, name="auxiliary_weight")
        self.smoothing = keras.Variable(0.0, dtype="float32", trainable=False, name="label_smoothing")
        self.teaching = keras.Variable(0.0, dtype="float32", trainable=False, name="teacher_weight")
        self.temperature = keras.Variable(1.0, dtype="float32", trainable=False, name="temperature")

    def reset_state(self) -> None:
        """Nothing: the factors of an epoch hold until the next."""

    def result(self) -> dict[str, Any]:
        return {}


class _Objective:
    """Replaces what a compiled model minimises and measures, until `end`.

    Keras does not tell callbacks when an exception ends `fit`. The model then keeps the replaced loss until its next
    `fit` or `evaluate`: there Keras calls `make_train_function` or `make_test_function` without having called
    `set_model` before, and the loss is restored.
    """

    @classmethod
    def of(cls, model: keras.Model, previous: _Objective | None) -> _Objective:
        """Return the objective of the model: the installed one, the previous one of a callback, or a new one."""
        installed = getattr(model.compute_loss, "__self__", None)
        if isinstance(installed, cls) and installed.recompiled:
            installed.end()
        for found in (installed, previous):
            if isinstance(found, cls) and found.model is model and not found.recompiled:
                break
        else:
            found = cls(model)
        found.install()
        return found

    def __init__(self, model: keras.Model):
        self.model, self.expected, self.installed = model, False, False
        if not model.compiled:
            raise InputError(f"{model.name} is not compiled: call compile(optimizer, loss) first")
        self.compilation = model._loss_tracker  # `compile` makes a new one each time
        self.loss, self.uniform = _crossentropies(model.loss)
        self.taught = False  # whether labels have a teacher's probabilities beside them
        sides = _sides(model)
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy else nullcontext():
            self.factors = _Factors()
            accuracy = (
                keras.metrics.SparseCategoricalAccuracy
                if isinstance(self.loss, SparseCategoricalCrossentropy)
                else keras.metrics.CategoricalAccuracy
            )
            self.metrics = {side: (keras.metrics.Mean(f"{side}_loss"), accuracy(f"{side}_accuracy")) for side in sides}
        self.methods = {
            name: getattr(self, name)
            for name in ("compute_loss", "compute_metrics", "make_train_function", "make_test_function")
        }
        self.compiled: dict[str, Any] = {"train_function": None, "test_function": None}  # kept: not traced again
        own = (metric for pair in self.metrics.values() for metric in pair)
        self.compiled["_metrics"] = [*model._metrics, self.factors, *own]  # which Keras resets, and shows in the logs
        if sides:  # Keras builds these for the outputs that they first see: ours see the main output alone
            loss, metrics = model._compile_loss, model._compile_metrics
            self.compiled["_compile_loss"] = type(loss)(loss._user_loss, loss._user_loss_weights)
            if metrics is not None:
                self.compiled["_compile_metrics"] = type(metrics)(metrics._user_metrics, metrics._user_weighted_metrics)

    @property
    def recompiled(self) -> bool:
        """Whether `compile` was called since, so that nothing here is valid any more."""
        return self.model._loss_tracker is not self.compilation

    @property
    def training(self) -> bool:
        """Whether the model's `fit` is running, which only the stack says after an exception has ended one."""
        frame: FrameType | None = sys._getframe()
        while frame and not (frame.f_code.co_name == "fit" and frame.f_locals.get("self") is self.model):
            frame = frame.f_back
        return frame is not None

    def install(self) -> None:
        """Replace the model's attributes, past Keras' tracking of them, and expect a `fit` or `evaluate`."""
        self.expected = True
        if not self.installed:
            self.installed, attributes = True, vars(self.model)
            self.found = {name: attributes[name] for name in (*self.methods, *self.compiled) if name in attributes}
            attributes.update(self.methods | self.compiled)

    def end(self) -> None:
        """Restore the model's attributes."""
        self.expected = self.taught = False
        if not self.installed:
            return
        self.installed, attributes = False, vars(self.model)
        for name, ours in (self.methods | self.compiled).items():
            if self.recompiled and (ours is None or attributes[name] is not ours):
                continue  # `compile` has set it anew
            if name in self.compiled:
                self.compiled[name] = attributes[name]  # as traced and built, for the next `fit` with the callbacks
            del attributes[name]
            if name in self.found:
                attributes[name] = self.found[name]

    def begin(self) -> None:
        """Begin a training without auxiliary losses, smoothing and teacher; the callbacks set them at each epoch."""
        self.factors.auxiliary.assign(0.0)
        self.factors.smoothing.assign(0.0)
        self.factors.teaching.assign(0.0)

    def make_train_function(self, force: bool = False) -> Any:
        if not self.expected or self.recompiled:  # a `fit` without the callbacks, after one that an exception ended
            self.end()
            return self.model.make_train_function(force)
        self.expected = False
        return type(self.model).make_train_function(self.model, force)

    def make_test_function(self, force: bool = False) -> Any:
        if not (self.expected or self.training) or self.recompiled:
            self.end()
            return self.model.make_test_function(force)
        self.expected = False
        return type(self.model).make_test_function(self.model, force)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        heads = y_pred if self.metrics else {MAIN: y_pred}
        (main,) = keras.tree.flatten(heads[MAIN])  # a single output may be in a list or a dict
        y, soft = _with_teacher(y, main)
        total = type(self.model).compute_loss(self.model, x, y, heads[MAIN], sample_weight, training)
        if not training:
            return total
        if self.taught and soft is None:
            raise InputError(
                f"a teacher's labels are (n, {2 * main.shape[-1]}): one-hot labels, and its probabilities beside them; "
                f"got {tuple(y.shape)}"
            )
        total += self._more(self.loss(y, main, sample_weight), main, soft, sample_weight)
        for side in self.metrics:
            loss = self.loss(y, heads[side], sample_weight)
            total += self.factors.auxiliary * (loss + self._more(loss, heads[side], soft, sample_weight))
        return total

    def _more(self, loss: Any, outputs: Any, soft: Any, sample_weight: Any) -> Any:
        """What label smoothing and a teacher add to the cross-entropy of a head.

        Cross-entropy is linear in the labels: (1 - e) times the true labels' plus e times the uniform labels'.
        """
        everything = ops.full_like(outputs, 1 / outputs.shape[-1])
        more = self.factors.smoothing * (self.uniform(everything, outputs, sample_weight) - loss)
        if soft is None:
            return more
        divergence = Divergence(self.factors.temperature, from_logits=self.uniform.get_config()["from_logits"])
        return more + self.factors.teaching * (divergence(soft, outputs, sample_weight) - loss - more)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        heads = y_pred if self.metrics else {MAIN: y_pred}
        y, _ = _with_teacher(y, keras.tree.flatten(heads[MAIN])[0])
        for side, (loss, accuracy) in self.metrics.items():
            loss.update_state(self.loss(y, heads[side], sample_weight))
            accuracy.update_state(y, heads[side], sample_weight)
        return type(self.model).compute_metrics(self.model, x, y, heads[MAIN], sample_weight)


class Divergence(keras.losses.Loss):
    """T ** 2 * KL(teacher, network), of distributions that are softened by the temperature T.

    Of the teacher it takes probabilities, (n, classes); of the network too, or logits.
    """

    def __init__(self, temperature: Any, *, from_logits: bool):
        super().__init__(name="divergence")
        self.temperature, self.from_logits = temperature, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Of each image, (n,)."""
        teacher = ops.log_softmax(_logits(y_true) / self.temperature)
        network = ops.log_softmax((y_pred if self.from_logits else _logits(y_pred)) / self.temperature)
        return self.temperature**2 * ops.sum(ops.exp(teacher) * (teacher - network), axis=-1)


def _logits(probabilities: Any) -> Any:
    """Logarithms of probabilities: logits but for a number that is the same for all classes."""
    return ops.log(ops.maximum(probabilities, LEAST))


def _with_teacher(y: Any, outputs: Any) -> tuple[Any, Any]:
    """Labels, and the teacher's probabilities if they are beside them."""
    classes = outputs.shape[-1]
    if len(getattr(y, "shape", ())) == 2 and y.shape[-1] == 2 * classes:
        return y[:, :classes], y[:, classes:]
    return y, None


def _sides(model: keras.Model) -> list[str]:
    """The names of all outputs but the main one; none for a single output."""
    if len(getattr(model, "outputs", None) or ()) <= 1:  # a Sequential may not know its output before it is called
        return []
    if not isinstance(model.output, dict) or MAIN not in model.output:
        raise InputError(
            f"several outputs must be a dict with {MAIN!r}; {model.name} has {', '.join(model.output_names)}"
        )
    return [name for name in model.output if name != MAIN]


def _crossentropies(loss: Any) -> tuple[keras.losses.Loss, CategoricalCrossentropy]:
    """The compiled loss as an object, and its equivalent for one-hot labels."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    if name in CROSSENTROPIES:
        loss = CROSSENTROPIES[name]()
    if not isinstance(loss, SparseCategoricalCrossentropy | CategoricalCrossentropy):
        raise InputError(f"compile with loss={' or '.join(map(repr, CROSSENTROPIES))}; got {loss!r}")
    config: dict[str, Any] = loss.get_config()
    if config.get("label_smoothing"):
        raise InputError("the loss already smooths labels: compile it without label_smoothing")
    return loss, CategoricalCrossentropy(from_logits=config.get("from_logits", False))
