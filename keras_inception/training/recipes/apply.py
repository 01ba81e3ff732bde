"""Applies a recipe to a network: with what Keras has, and with the few things that Keras does not have."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import keras
import numpy as np
from keras.layers import BatchNormalization, DepthwiseConv2D, SeparableConv2D

from ...callbacks import AuxiliaryHeads, Distillation, LabelSmoothing, fade
from ...errors import InputError
from ...outputs import exit_names
from ...terminal import uninterrupted
from .recipe import Recipe


def compile_for(network: keras.Model, recipe: Recipe, steps: int, *, mixed: bool = False) -> None:
    """Compile the network for the recipe; its schedule covers `steps` steps. `attach` does the rest.

    With `mixed` its labels are shares of classes.

    Raises:
        InputError: Keras' optimizer of that name does not take these arguments.
    """
    optimizer = optimizer_for(recipe, steps)
    # Keras does so itself, but not for a network that it loads: the file holds only the policies of the layers.
    if any(layer.dtype_policy.name == "mixed_float16" for layer in network.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = "categorical_crossentropy" if mixed else "sparse_categorical_crossentropy"
    network.compile(optimizer, loss, metrics=["accuracy"], auto_scale_loss=False)
    optimizer.build(network.trainable_variables)  # built in the first step, it makes Keras trace that step twice


def optimizer_for(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer; its schedule covers `steps` steps.

    Raises:
        InputError: Keras' optimizer of that name does not take these arguments.
    """
    try:
        return getattr(keras.optimizers, recipe.optimizer)(
            learning_rate=recipe.schedule.over(recipe.learning_rate, steps),
            global_clipnorm=recipe.clip_norm,
            use_ema=recipe.ema is not None,
            # An average over more steps than there are would still be close to the initial weights at the end.
            ema_momentum=min(recipe.ema or 0.0, max(0.9, 1 - 10 / steps)),
            **recipe.arguments,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{recipe.optimizer} of keras.optimizers with {dict(recipe.arguments)}: {error}") from error


def attach(network: keras.Model, recipe: Recipe) -> None:
    """Add the L2 penalty to the variables of a network, new or loaded: its file does not hold it."""
    if recipe.weight_decay:
        penalty = keras.regularizers.L2(recipe.weight_decay / 2)
        for variable in decayed(network, recipe.decayed):
            variable.regularizer = penalty


@contextmanager
def fitting(network: keras.Model, rates: Mapping[str, float] | None = None) -> Iterator[None]:
    """Within the block `fit` keeps the network's own weights at its end, and scales the learning rate of variables.

    Keras replaces the weights by their averages whenever `fit` ends; here it ends after each epoch. `rates` maps the
    path of a variable to a factor for its learning rate. That is exact for every optimizer, while a factor for the
    gradient would have no effect on Adam: `update_step` is what each optimizer overrides, and it gets the rate. Only
    the instance is changed, and only within the block; Keras traces the step in the first `fit`, and keeps it.
    """
    optimizer = network.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    factors = [(rates or {}).get(v.path, 1.0) for v in network.trainable_variables]

    def update_step(gradient: object, variable: object, learning_rate: object) -> None:
        rate = learning_rate * factors[inner._get_variable_index(variable)]
        type(inner).update_step(inner, gradient, variable, rate)

    vars(optimizer)["finalize_variable_values"] = lambda variables: None
    if rates:
        vars(inner)["update_step"] = update_step
    try:
        yield
    finally:
        vars(optimizer).pop("finalize_variable_values")
        vars(inner).pop("update_step", None)


def decayed(network: keras.Model, which: str) -> list[keras.Variable]:
    """Return the variables that weight decay applies to; `which` is one of `DECAYED`."""
    if which == "all":
        return list(network.trainable_variables)
    spared = (DepthwiseConv2D,) if which == "kernels but depthwise" else ()
    layers = [x for x in network.layers if not isinstance(x, (BatchNormalization, *spared))]
    kernels = [v for layer in layers for v in layer.trainable_variables if v.name.endswith("kernel")]
    if spared:  # the depthwise half of a separable convolution is a variable of the same layer
        halves = {id(x.depthwise_kernel) for x in layers if isinstance(x, SeparableConv2D)}
        kernels = [v for v in kernels if id(v) not in halves]
    return kernels


def callbacks_for(network: keras.Model, recipe: Recipe, *, taught: bool = False) -> list[keras.callbacks.Callback]:
    """Return the callbacks for the losses of all heads, for label smoothing and for a teacher."""
    callbacks: list[keras.callbacks.Callback] = []
    if isinstance(network.output, dict):
        fading = fade(max(1, round(recipe.aux_fade * recipe.epochs))) if recipe.aux_fade else None
        callbacks.append(AuxiliaryHeads(1.0) if exit_names(network) else AuxiliaryHeads(recipe.aux_weight, fading))
    if recipe.label_smoothing:
        callbacks.append(LabelSmoothing(recipe.label_smoothing))
    if taught:
        callbacks.append(Distillation(recipe.teacher_weight, recipe.temperature))
    return callbacks


@contextmanager
def averaged(network: keras.Model) -> Iterator[None]:
    """Within the block the network has the average of its weights, if its optimizer keeps one."""
    optimizer = network.optimizer
    if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        yield
        return
    own = network.get_weights()
    try:
        with network.distribute_strategy.scope():
            optimizer.finalize_variable_values(network.trainable_variables)
        yield
    finally:
        with uninterrupted():
            network.set_weights(own)


def reseed(network: keras.Model, seed: int, epoch: int, worker: int = 0) -> None:
    """Seed what is random by the epoch alone, so that a resumed training draws the same numbers, each worker its own.

    Not TensorFlow's seed, which `tf.data` mixes into that of every pipeline: whoever sets it makes TensorFlow forget
    its optimized functions, and the next epoch begins by optimizing the training step again. Once is enough.
    """
    random.seed(seed)
    np.random.seed(seed)
    for i, state in enumerate(random_states(network)):
        state.assign([(seed * 1_000_003 + epoch + worker * 500_009) % 2**31, i])


def random_states(network: keras.Model) -> list[keras.Variable]:
    """The variables of which the network draws what is random in it, as dropout."""
    return [v for v in network.variables if v.name == "seed_generator_state"]
