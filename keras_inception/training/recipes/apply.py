"""A recipe on a network: what Keras has for it, and the few things that Keras has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import keras
from keras.layers import BatchNormalization, DepthwiseConv2D, SeparableConv2D

from ...callbacks import AuxiliaryHeads, LabelSmoothing, fade
from ...errors import InputError
from ...outputs import exit_names
from .recipe import Recipe


def compile_for(network: keras.Model, recipe: Recipe, steps: int) -> None:
    """Compile the network for the recipe over so many steps, its whole schedule; `attach` does the rest."""
    try:
        make = getattr(keras.optimizers, recipe.optimizer)
        optimizer = make(
            learning_rate=recipe.schedule.over(recipe.learning_rate, steps),
            global_clipnorm=recipe.clip_norm,
            use_ema=recipe.ema is not None,
            # An average over more steps than there are would still be near its start at the end.
            ema_momentum=min(recipe.ema or 0.0, max(0.9, 1 - 10 / steps)),
            **recipe.arguments,
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{recipe.optimizer} of keras.optimizers with {dict(recipe.arguments)}: {error}") from error
    # Keras would do so itself, but not again for a network that it loads: its file has the layers' policies alone.
    if any(layer.dtype_policy.name == "mixed_float16" for layer in network.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    network.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], auto_scale_loss=False)
    optimizer.build(network.trainable_variables)  # in the first step it would make Keras trace that step twice


def attach(network: keras.Model, recipe: Recipe, rates: Mapping[str, float] | None = None) -> None:
    """Give a compiled network, fresh or loaded, what its file does not hold: the L2 penalty, and rates of its own.

    `rates` has, by the path of a variable, what the optimizer's learning rate is multiplied by for it.
    """
    if recipe.weight_decay:
        penalty = keras.regularizers.L2(recipe.weight_decay / 2)
        for variable in decayed(network, recipe.decayed):
            variable.regularizer = penalty
    optimizer = network.optimizer
    # `fit` ends after each epoch here, and at its end Keras would put the averages in place of the weights for good.
    optimizer.finalize_variable_values = lambda variables: None
    if rates:
        factors = [rates.get(v.path, 1.0) for v in network.trainable_variables]
        _scale(getattr(optimizer, "inner_optimizer", optimizer), factors)


def decayed(network: keras.Model, which: str) -> list[keras.Variable]:
    """The variables that a recipe's weight decay is on."""
    if which == "all":
        return list(network.trainable_variables)
    spared = (DepthwiseConv2D,) if which == "kernels but depthwise" else ()
    layers = [x for x in network.layers if not isinstance(x, (BatchNormalization, *spared))]
    kernels = [v for layer in layers for v in layer.trainable_variables if v.name.endswith("kernel")]
    if spared:  # the depthwise half of a separable convolution is a variable of the same layer
        halves = {id(x.depthwise_kernel) for x in layers if isinstance(x, SeparableConv2D)}
        kernels = [v for v in kernels if id(v) not in halves]
    return kernels


def _scale(optimizer: keras.optimizers.Optimizer, factors: list[float]) -> None:
    """Multiply the learning rate of each variable by its factor.

    Exact for every optimizer, where a factor on the gradient would change nothing for Adam and its kin: `update_step`
    is what each of them overrides, and gets the rate beside the variable.
    """
    step = optimizer.update_step

    def update_step(gradient: object, variable: object, learning_rate: object) -> None:
        step(gradient, variable, learning_rate * factors[optimizer._get_variable_index(variable)])

    optimizer.update_step = update_step


def callbacks_for(network: keras.Model, recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Losses at every head, and label smoothing."""
    callbacks: list[keras.callbacks.Callback] = []
    if isinstance(network.output, dict):
        fading = fade(max(1, round(recipe.aux_fade * recipe.epochs))) if recipe.aux_fade else None
        callbacks.append(AuxiliaryHeads(1.0) if exit_names(network) else AuxiliaryHeads(recipe.aux_weight, fading))
    if recipe.label_smoothing:
        callbacks.append(LabelSmoothing(recipe.label_smoothing))
    return callbacks


@contextmanager
def averaged(network: keras.Model) -> Iterator[None]:
    """Within it the network has the average of its weights, if its optimizer keeps one; behind it its own again."""
    optimizer = network.optimizer
    if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        yield
        return
    own = network.get_weights()
    type(optimizer).finalize_variable_values(optimizer, network.trainable_variables)
    try:
        yield
    finally:
        network.set_weights(own)


def reseed(network: keras.Model, seed: int, epoch: int) -> None:
    """Let what is random in layers depend on the epoch alone, and not on what came before it in this process."""
    states = [v for v in network.variables if v.name == "seed_generator_state"]
    for i, state in enumerate(states):
        state.assign([(seed * 1_000_003 + epoch) % 2**31, i])
