"""What Keras lacks for training these networks: losses at auxiliary heads, and label smoothing for integer labels.

    model = keras_inception.InceptionV3(aux_heads=True, classes=10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, callbacks=[AuxiliaryHeads(0.4), LabelSmoothing(0.1)])

Both change what `fit` minimises, and neither what is reported: `loss` of validation, `accuracy` and every other metric
are of the main head and the true labels. The weights live in variables, so a schedule never retraces the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

import keras
from keras import ops
from keras.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

from .errors import InputError
from .outputs import MAIN

Schedule: TypeAlias = Callable[[int], float]  # epoch, from 0 -> what the value is multiplied by

CROSSENTROPIES = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
}


def fade(epochs: int) -> Schedule:
    """From 1 in the first epoch linearly to 0, which it reaches behind `epochs` of them."""
    if epochs < 1:
        raise InputError(f"a value fades over at least 1 epoch; got {epochs}")
    return lambda epoch: max(0.0, 1 - epoch / epochs)


class AuxiliaryHeads(keras.callbacks.Callback):
    """Train every head of a network on the one set of labels, with a smaller loss at all but the last.

    For a network of `aux_heads=True`, and with `weight=1.0` for one of early exits (MSDNet weighs all alike). `fit` and
    `evaluate` take the labels once, (n,) integers or (n, classes) one-hot, and with them `class_weight` and
    `sample_weight`, as for a network of one output. The logs have the metrics given to `compile` of the main head
    under their usual names, and `aux_1_loss`, `aux_1_accuracy` ... of the others. `strip_auxiliary` makes the network
    to deploy.

    Keras tells callbacks of the model before it traces the training step; only under a `tf.distribute` strategy it
    builds the loss still earlier: there call `heads.set_model(model)` once before `fit`.

    Args:
        weight: of an auxiliary head's loss beside the main one's 1: 0.3 in GoogLeNet, 0.4 in TF-Slim's Inception v3
            and v4 and in NASNet.
        schedule: epoch, from 0 -> what the weight is multiplied by, such as `fade(20)`; constant by default.

    Raises:
        InputError: the weight is negative, the network has one head, or its loss is not a cross-entropy.
    """

    def __init__(self, weight: float = 0.3, schedule: Schedule | None = None):
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"the weight of auxiliary heads is a number of at least 0; got {weight}")
        self.weight, self.schedule = weight, schedule

    def set_model(self, model: keras.Model) -> None:
        """Called by Keras; see the class for when to call it yourself."""
        super().set_model(model)
        self.objective = _Objective.of(model)
        if not self.objective.metrics:
            raise InputError(f"{model.name} has no auxiliary head: build it with aux_heads=True, or leave the callback")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the weight of the epoch."""
        self.objective.weight.assign(self.weight * (self.schedule(epoch) if self.schedule else 1))
        self.objective.reset()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Count from zero: Keras resets only the metrics that the model holds."""
        self.objective.reset()


class LabelSmoothing(keras.callbacks.Callback):
    """Train towards (1 - e) of the true class and e shared by all of them (Szegedy et al., 2016, section 7).

    For (n,) integer labels too, for which Keras 3.15's cross-entropy has no smoothing, and for every head of a network.

    Args:
        smoothing: e, 0 to less than 1; the paper's is 0.1.
        schedule: epoch, from 0 -> what e is multiplied by; constant by default.

    Raises:
        InputError: e is out of range, or the loss is not a cross-entropy, or one that smoothes already.
    """

    def __init__(self, smoothing: float = 0.1, schedule: Schedule | None = None):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(f"label smoothing is a number from 0 to less than 1; got {smoothing}")
        self.smoothing, self.schedule = smoothing, schedule

    def set_model(self, model: keras.Model) -> None:
        """Called by Keras; under a `tf.distribute` strategy call it once yourself, before `fit`."""
        super().set_model(model)
        self.objective = _Objective.of(model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the smoothing of the epoch."""
        self.objective.smoothing.assign(self.smoothing * (self.schedule(epoch) if self.schedule else 1))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leave no smoothing to a later `fit` without this callback."""
        self.objective.smoothing.assign(0.0)


def strip_auxiliary(model: keras.Model) -> keras.Model:
    """The network to deploy: the main head alone, on the same layers and weights, with identical predictions.

    Raises:
        InputError: the network has no output called "predictions".
    """
    if not isinstance(model.output, dict):
        return model
    if MAIN not in model.output:
        raise InputError(f"{model.name} has no output {MAIN!r}; it has {', '.join(model.output)}")
    return keras.Model(model.input, model.output[MAIN], name=model.name)


# ----------------------------------------------------------------------------------------------------------- internals


class _Objective:
    """What a compiled model minimises and measures, in place of its own `compute_loss` and `compute_metrics`."""

    @classmethod
    def of(cls, model: keras.Model) -> _Objective:
        """The model's own, made at the first call."""
        installed = getattr(model.compute_loss, "__self__", None)
        if isinstance(installed, cls) and installed.compiled is model.loss:
            return installed
        return cls(model)

    def __init__(self, model: keras.Model):
        self.model, self.compiled = model, model.loss
        sides = [name for name in model.output if name != MAIN] if isinstance(model.output, dict) else []
        self.loss, self.uniform = _crossentropies(model.loss)
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy else nullcontext():
            self.weight = keras.Variable(0.0, dtype="float32", trainable=False, name="auxiliary_weight")
            self.smoothing = keras.Variable(0.0, dtype="float32", trainable=False, name="label_smoothing")
            accuracy = (
                keras.metrics.SparseCategoricalAccuracy
                if isinstance(self.loss, SparseCategoricalCrossentropy)
                else keras.metrics.CategoricalAccuracy
            )
            self.metrics = {side: (keras.metrics.Mean(f"{side}_loss"), accuracy(f"{side}_accuracy")) for side in sides}
        model.compute_loss, model.compute_metrics = self.compute_loss, self.compute_metrics
        model.train_function = model.test_function = None  # a step traced before would go on with the old loss

    def reset(self) -> None:
        for pair in self.metrics.values():
            for metric in pair:
                metric.reset_state()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        heads = y_pred if self.metrics else {MAIN: y_pred}
        total = type(self.model).compute_loss(self.model, x, y, heads[MAIN], sample_weight, training)
        if not training:
            return total
        total += self._smoothed(self.loss(y, heads[MAIN], sample_weight), heads[MAIN], sample_weight, added=True)
        for side in self.metrics:
            loss = self.loss(y, heads[side], sample_weight)
            total += self.weight * self._smoothed(loss, heads[side], sample_weight)
        return total

    def _smoothed(self, loss: Any, probabilities: Any, sample_weight: Any, added: bool = False) -> Any:
        """Cross-entropy is linear in the labels: (1 - e) of the true ones' and e of the uniform ones'."""
        everything = ops.full_like(probabilities, 1 / probabilities.shape[-1])
        more = self.smoothing * (self.uniform(everything, probabilities, sample_weight) - loss)
        return more if added else loss + more

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        heads = y_pred if self.metrics else {MAIN: y_pred}
        logs = type(self.model).compute_metrics(self.model, x, y, heads[MAIN], sample_weight)
        for side, (loss, accuracy) in self.metrics.items():
            value = self.loss(y, heads[side], sample_weight)
            loss.update_state(value)
            accuracy.update_state(y, heads[side], sample_weight)
            logs |= {loss.name: loss.result(), accuracy.name: accuracy.result()}
        return logs


def _crossentropies(loss: Any) -> tuple[keras.losses.Loss, CategoricalCrossentropy]:
    """The compiled loss as an object, and the same for one-hot labels."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", None))
    if name not in CROSSENTROPIES:
        raise InputError(f"compile with loss={' or '.join(map(repr, CROSSENTROPIES))}; got {loss!r}")
    if not isinstance(loss, keras.losses.Loss):
        loss = CROSSENTROPIES[name]()
    config = loss.get_config()
    if config.get("label_smoothing"):
        raise InputError("the loss smoothes labels already: compile it without label_smoothing")
    return loss, CategoricalCrossentropy(from_logits=config.get("from_logits", False))
