"""The comparison itself: weights find their place, and a network that is not the reference's is noticed."""

import keras
import numpy as np
import pytest
from keras.layers import Add, BatchNormalization, Concatenate, Conv2D, Dense, Flatten, ReLU

from .pairing import Mismatch, pair
from .units import answers, assign, image, seeded, units

SHAPE = (8, 8, 3)


def network(*, bias: bool = False, gamma: bool = True, epsilon: float = 1e-3) -> keras.Model:
    """Two convolutions side by side, batch norm, and a dense layer on the map."""
    x = inputs = keras.Input(SHAPE)
    sides = [
        BatchNormalization(epsilon=epsilon, scale=gamma, name=f"norm_{i}")(
            Conv2D(4, 3, use_bias=bias, name=f"conv_{i}")(x)
        )
        for i in range(2)
    ]
    x = Concatenate()([ReLU()(side) for side in sides])
    return keras.Model(inputs, Dense(5, name="logits")(Flatten()(x)))


def difference(ours: keras.Model, theirs: keras.Model, order: dict | None = None) -> float:
    """Of the logits, once the weights of the one are in the other."""
    own, other = units(ours, order), units(theirs)
    weights = seeded(own, seed=0)
    assign(own, weights)
    assign(other, pair([u.name for u in own], weights, [u.name for u in other], [u.shapes for u in other]))
    x = image(SHAPE, seed=0)
    return float(np.abs(answers(ours, x)["predictions"] - answers(theirs, x)["predictions"]).max())


def test_the_same_network_has_the_same_logits() -> None:
    assert difference(network(), network()) == 0


def test_a_bias_before_batch_norm_goes_into_its_mean() -> None:
    theirs = network(bias=True)
    assert difference(network(), theirs) < 1e-5
    assert np.abs(theirs.get_layer("conv_0").bias).min() > 0


def test_a_gamma_that_only_the_reference_has_is_1() -> None:
    assert difference(network(gamma=False), network()) < 1e-6


def test_swapped_branches_are_noticed() -> None:
    assert difference(network(), network(), order={"Concatenate": (1, 0)}) > 0.1


def test_another_epsilon_is_noticed() -> None:
    assert difference(network(), network(epsilon=1e-5)) > 1e-4


def test_a_bias_that_only_we_have_is_a_mismatch_of_two_sides() -> None:
    with pytest.raises(Mismatch, match=r"> +0 +conv_0 kernel3x3x3x4 bias4 +conv_0 kernel3x3x3x4\n"):
        difference(network(bias=True), network())


def test_a_missing_layer_is_a_mismatch_of_two_sides() -> None:
    x = inputs = keras.Input(SHAPE)
    shorter = keras.Model(inputs, Conv2D(4, 3, use_bias=False, name="conv_0")(x))
    with pytest.raises(Mismatch, match=r"unit 1 of 5 \(ours, left\) and 1 \(reference, right\)"):
        difference(network(), shorter)


def test_order_walks_the_inputs_of_a_layer_by_its_class_or_name() -> None:
    model = network()
    assert [u.name for u in units(model)] == ["conv_0", "norm_0", "conv_1", "norm_1", "logits"]
    for pattern in ("Concatenate", model.layers[-3].name[:5] + ".*"):
        names = [u.name for u in units(model, {pattern: (1, 0)})]
        assert names == ["conv_1", "norm_1", "conv_0", "norm_0", "logits"]


def test_a_dense_layers_rows_are_permuted_for_a_channels_first_flatten() -> None:
    kernel = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)  # height, width, channels, out
    (arrays,) = pair(["logits"], [{"kernel": kernel}], ["fc"], [{"kernel": (1, 1, 24, 5)}])
    pixels = np.random.default_rng(0).random((2, 3, 4))
    expected = pixels.ravel() @ kernel.reshape(24, 5)
    np.testing.assert_allclose(pixels.transpose(2, 0, 1).ravel() @ arrays["kernel"].reshape(24, 5), expected)


def test_activations_stay_of_order_one_through_a_hundred_residual_blocks() -> None:
    x = inputs = keras.Input((4, 4, 8))
    for _ in range(100):
        y = ReLU()(BatchNormalization()(Conv2D(8, 3, padding="same", use_bias=False)(x)))
        x = ReLU()(Add()([BatchNormalization()(Conv2D(8, 3, padding="same", use_bias=False)(y)), x]))
    model = keras.Model(inputs, Dense(100)(Flatten()(x)))
    network = units(model)
    assign(network, seeded(network, seed=0))
    assert 0.1 < answers(model, image((4, 4, 8), seed=0))["predictions"].std() < 10
