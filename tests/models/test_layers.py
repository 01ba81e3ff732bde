"""Functions and layer specs against plain NumPy, and the names of their layers."""

import math
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_inception import InputError, layers
from keras_inception.arguments import DropPer
from keras_inception.layers import (
    LRN,
    TF,
    TORCH,
    AdaptiveAveragePool,
    Branches,
    Chain,
    ChannelPadding,
    Conv,
    Depthwise,
    DropPath,
    LocalResponseNormalization,
    Norm,
    Numerics,
    Pool,
    Residual,
    SqueezeExcite,
    numerics,
)

CAFFE = replace(TORCH, padding="caffe")
SLIM = replace(TORCH, padding="slim")
Array = np.ndarray


def build(spec: Callable, shape: tuple[int | None, ...], **kwargs: object) -> keras.Model:
    """A model of one function or spec, called "x"."""
    inputs = keras.Input(shape, name="input")
    return keras.Model(inputs, spec(inputs, name="x", **kwargs))


def run(spec: Callable, x: Array, **kwargs: object) -> Array:
    return keras.ops.convert_to_numpy(build(spec, x.shape[1:], **kwargs)(x))


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers][1:]


def numbers(*shape: int) -> Array:
    """Positive, as maps after a ReLU are."""
    return np.random.default_rng(0).uniform(0.1, 1, shape).astype("float32")


def windows(x: Array, kernel: int, stride: int, pad: tuple[int, int]) -> Array:
    """N x H' x W' x C x kernel x kernel, after padding each side of the map by (before, after)."""
    padded = np.pad(x, [(0, 0), pad, pad, (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


# ---------------------------------------------------------------------------------------------------------- numerics


@pytest.mark.parametrize(
    ("record", "size", "kernel", "stride", "pad"),
    [
        (TF, 6, 3, 2, (0, 1)),
        (TF, 7, 3, 2, (1, 1)),
        (TF, 8, 7, 2, (2, 3)),
        (TF, 6, 3, 1, (1, 1)),
        (TORCH, 6, 3, 2, (1, 1)),
        (TORCH, 7, 3, 2, (1, 1)),
        (TORCH, 8, 7, 2, (3, 3)),
        (TORCH, 6, 3, 1, (1, 1)),
        (CAFFE, 6, 3, 2, (1, 1)),
        (SLIM, 6, 3, 2, (1, 1)),
    ],
)
def test_same_means_what_the_numerics_say(
    record: Numerics, size: int, kernel: int, stride: int, pad: tuple[int, int]
) -> None:
    x = numbers(1, size, size, 2)
    with numerics(record):
        models = [
            build(layers.depthwise, x.shape[1:], kernel=kernel, strides=stride),
            build(layers.conv, x.shape[1:], filters=2, groups=2, kernel=kernel, strides=stride, bias=False),
        ]
    expected = windows(x, kernel, stride, pad).sum((-1, -2))
    for model in models:
        model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
        np.testing.assert_allclose(model(x), expected, rtol=1e-5)


@pytest.mark.parametrize(("record", "pad"), [(TF, (0, 1)), (TORCH, (1, 1)), (CAFFE, (0, 1)), (SLIM, (0, 1))])
def test_where_a_max_pool_pads(record: Numerics, pad: tuple[int, int]) -> None:
    x = numbers(1, 6, 6, 2)
    with numerics(record):
        found = run(layers.pool, x, kind="max", size=3, strides=2)
    np.testing.assert_array_equal(found, windows(x, 3, 2, pad).max((-1, -2)))


def test_whether_an_average_pool_counts_its_padding() -> None:
    x = numbers(1, 4, 4, 1)
    sums, counts = (windows(a, 3, 1, (1, 1)).sum((-1, -2)) for a in (x, np.ones_like(x)))
    with numerics(TORCH):
        np.testing.assert_allclose(run(layers.pool, x, kind="avg"), sums / 9, rtol=1e-5)
    with numerics(TF):
        np.testing.assert_allclose(run(layers.pool, x, kind="avg"), sums / counts, rtol=1e-5)


def test_batch_norm_is_the_numerics() -> None:
    with numerics(Numerics(epsilon=0.25, momentum=0.75, gamma=False)):
        layer = build(layers.norm, (4, 4, 2)).get_layer("x")
    assert (layer.epsilon, layer.momentum, layer.scale) == (0.25, 0.75, False)


def test_numerics_hold_within_their_block() -> None:
    with numerics(TORCH):
        assert layers.current_numerics() is TORCH
        with pytest.raises(RuntimeError), numerics(CAFFE):
            raise RuntimeError
        assert layers.current_numerics() is TORCH
    assert layers.current_numerics() is TF


# ----------------------------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "pads", "keras_padding"),
    [
        (3, 1, "same", False, "same"),
        (5, 1, 2, False, "same"),  # the same zeros, and one layer less
        ((1, 7), 1, (0, 3), False, "same"),
        (3, 2, 0, False, "valid"),
        (3, 2, "valid", False, "valid"),
        (3, 2, 1, True, "valid"),
        (3, 1, 2, True, "valid"),
        (5, 1, (2, 1), True, "valid"),
    ],
)
def test_a_padding_layer_only_where_it_must_be(
    kernel: layers.Size, strides: int, padding: layers.Padding, pads: bool, keras_padding: str
) -> None:
    model = build(layers.conv, (9, 9, 1), filters=1, kernel=kernel, strides=strides, padding=padding)
    assert names(model) == (["x_pad", "x"] if pads else ["x"])
    assert model.get_layer("x").padding == keras_padding


def caffe_max_pool(x: Array, kernel: int, stride: int) -> Array:
    """The last window may extend past the edge, but must begin before it."""
    size = x.shape[1]
    starts = [i * stride for i in range(math.ceil((size - kernel) / stride) + 1) if i * stride < size]
    rows = [[x[:, i : i + kernel, j : j + kernel].max((1, 2)) for j in starts] for i in starts]
    return np.array(rows).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 3), (5, 3), (2, 3), (1, 2)])
@pytest.mark.parametrize("size", [5, 6, 7, 8, 13])
def test_ceil_pooling(kernel: int, stride: int, size: int) -> None:
    x = numbers(2, size, size, 3)
    expected = caffe_max_pool(x, kernel, stride)
    known = build(layers.pool, x.shape[1:], kind="max", size=kernel, strides=stride, padding="ceil")
    unknown = build(layers.pool, (None, None, 3), kind="max", size=kernel, strides=stride, padding="ceil")
    np.testing.assert_array_equal(known(x), expected)
    np.testing.assert_array_equal(unknown(x), expected)


@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_ceil_pooling_with_zeros_around(size: int) -> None:
    x = numbers(2, size, size, 3)
    zeros = 1 - size % 2  # an odd map needs none; no window reaches those after an even one
    padded = np.pad(x, [(0, 0), (zeros, 0), (zeros, 0), (0, 0)])
    with layers.numerics(layers.Numerics(overhang="around")):
        pool = build(layers.pool, x.shape[1:], kind="max", size=3, strides=2, padding="ceil")
        np.testing.assert_array_equal(pool(x), caffe_max_pool(padded, 3, 2))
        with pytest.raises(InputError, match="give input_shape"):
            build(layers.pool, (None, None, 3), kind="max", size=3, strides=2, padding="ceil")


# ------------------------------------------------------------------------------------------------------- other verbs


@pytest.mark.parametrize(("kind", "above", "below"), [("relu", 9, 0), ("relu6", 6, 0), ("tanh", np.tanh(9), None)])
def test_activate(kind: str, above: float, below: float | None) -> None:
    x = np.array([[[[9.0, -9.0]]]], "float32")
    expected = [above, -above if below is None else below]
    np.testing.assert_allclose(run(layers.activate, x, kind=kind).ravel(), expected, rtol=1e-6)


def test_what_adds_nothing() -> None:
    x = keras.Input((4, 4, 1))
    assert layers.activate(x, None, name="x") is x
    assert layers.drop(x, 0, name="x") is x


def test_flatten_needs_a_known_size() -> None:
    assert build(layers.flatten, (2, 3, 4)).output_shape == (None, 24)
    with pytest.raises(InputError, match="include_top=False"):
        build(layers.flatten, (None, None, 4))


def test_divisible() -> None:
    for tenths in range(1, 5000):
        asked = tenths / 10
        got = layers.make_divisible(asked)
        assert got % 8 == 0
        assert got >= max(8, 0.9 * asked)
        nearest = max(8, 8 * math.floor(asked / 8 + 0.5))
        assert got == (nearest if nearest >= 0.9 * asked else nearest + 8)
    assert layers.make_divisible(17, by=4) == 16
    assert layers.make_divisible(11.2) == 16  # 8 would be less than nine tenths


def test_squeeze_and_excitation() -> None:
    x = numbers(2, 3, 5, 8)
    model = build(layers.squeeze_excite, (3, 5, 8), ratio=4)
    reduce, b1, expand, b2 = model.get_weights()
    b1, b2 = b1 + 0.1, b2 - 0.1
    model.set_weights([reduce, b1, expand, b2])
    hidden = np.maximum(x.mean((1, 2)) @ reduce[0, 0] + b1, 0)
    gate = 1 / (1 + np.exp(-(hidden @ expand[0, 0] + b2)))
    np.testing.assert_allclose(model(x), x * gate[:, None, None], rtol=1e-5)
    assert reduce.shape[-1] == 2
    assert names(model)[-1] == "x"
    assert build(layers.squeeze_excite, (3, 5, 8), ratio=16).get_layer("x_reduce").filters == 1


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_channel_shuffle(groups: int) -> None:
    x = numbers(2, 3, 5, 12)
    # The i-th channel of every group, then the next of every group.
    expected = x.reshape(2, 3, 5, groups, 12 // groups).swapaxes(-1, -2).reshape(x.shape)
    np.testing.assert_array_equal(run(layers.shuffle, x, groups=groups), expected)
    anywhere = build(layers.shuffle, (None, None, 12), groups=groups)
    np.testing.assert_array_equal(anywhere(x), expected)
    assert anywhere.output_shape == (None, None, None, 12)


# -------------------------------------------------------------------------------------------------------- layer specs


def test_chain_names_a_table_by_its_keys_and_a_sequence_by_number() -> None:
    table = {"stem": Conv(4, 3), "pool": Pool("max")}
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.chain(inputs, table))
    assert names(model) == ["stem_conv", "stem_bn", "stem", "pool"]
    model = keras.Model(inputs, layers.chain(inputs, list(table.values()), name="x"))
    assert names(model) == ["x_0_conv", "x_0_bn", "x_0", "x_1"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Conv(4), ["x_conv", "x_bn", "x"]),
        (Conv(4, activation=None), ["x_conv", "x"]),
        (Conv(4, batch_norm=False), ["x_conv", "x"]),
        (Conv(4, activation=None, batch_norm=False), ["x"]),
        (Depthwise(), ["x_conv", "x_bn", "x"]),
        (Depthwise(activation=None), ["x_conv", "x"]),
        (Norm(), ["x_bn", "x"]),
        (Norm(activation=None), ["x"]),
        (Pool("avg"), ["x"]),
        (LRN(), ["x"]),
        (Chain(Conv(4, batch_norm=False), Chain(Pool("max"), Norm(None))), ["x_0_conv", "x_0", "x_1", "x"]),
        (SqueezeExcite(Norm(None), 2), ["x_mix", "x_squeeze", "x_reduce", "x_relu", "x_expand", "x_gate", "x"]),
    ],
)
def test_a_word_gives_its_name_to_its_last_layer(spec: layers.LayerSpec, expected: list[str]) -> None:
    assert names(build(spec, (8, 8, 4))) == expected


@pytest.mark.parametrize(
    ("spec", "has_bias"),
    [
        (Conv(4), False),
        (Conv(4, batch_norm=False), True),
        (Conv(4, batch_norm=False, bias=False), False),
        (Conv(4, bias=True), True),
    ],
)
def test_a_convolution_without_batch_norm_has_a_bias(spec: Conv, has_bias: bool) -> None:
    assert build(spec, (8, 8, 4)).get_layer("x_conv").use_bias is has_bias


def test_a_grouped_convolution_sees_its_group() -> None:
    model = build(Conv(6, 3, groups=2, batch_norm=False), (8, 8, 4))
    assert model.get_layer("x_conv").kernel.shape == (3, 3, 2, 6)


def test_branches() -> None:
    x = numbers(1, 4, 4, 2)
    model = build(Branches([], [Pool("max")], [Conv(3), Conv(5, 3)]), (4, 4, 2))
    assert model.output_shape == (None, 4, 4, 9)
    assert {"x_b1_0", "x_b2_0", "x_b2_1", "x"} <= set(names(model))
    np.testing.assert_array_equal(model(x)[..., :2], x)  # an empty path passes the input on
    np.testing.assert_array_equal(model(x)[..., 2:4], windows(x, 3, 1, (1, 1)).max((-1, -2)))


def test_residual() -> None:
    x = numbers(1, 4, 4, 2) - 0.5
    of_four = windows(x, 2, 1, (0, 0))
    plain = run(Residual(Pool("avg", 1), scale=0.5), x)
    np.testing.assert_allclose(plain, np.maximum(1.5 * x, 0), rtol=1e-6)
    linear = run(Residual(Pool("avg", 1), activation=None), x)
    np.testing.assert_allclose(linear, 2 * x, rtol=1e-6)
    smaller = run(Residual(Pool("avg", 2, 1, "valid"), activation=None, shortcut=Pool("max", 2, 1, "valid")), x)
    np.testing.assert_allclose(smaller, of_four.mean((-1, -2)) + of_four.max((-1, -2)), rtol=1e-5, atol=1e-6)


def test_a_residual_adds_the_path_first() -> None:
    model = build(Residual(Norm(None), shortcut=Pool("max")), (4, 4, 2))
    assert [tensor._keras_history.operation.name for tensor in model.get_layer("x_add").input] == [
        "x_residual",
        "x_shortcut",
    ]


def test_stochastic_depth_drops_the_later_blocks_more() -> None:
    table = {"stem": Conv(4), **{f"block{i}": Residual(Conv(4)) for i in range(1, 5)}}
    deep = layers.with_stochastic_depth(table, 0.5, "sample")
    assert deep["stem"] is table["stem"]
    assert [deep[f"block{i}"].drop for i in range(1, 5)] == [0.125, 0.25, 0.375, 0.5]
    layer = build(deep["block4"], (4, 4, 4)).get_layer("x_drop")
    assert (layer.rate, layer.per) == (0.5, "sample")


def test_excited_tables() -> None:
    table = {"stem": Conv(4), "mixed": Branches([Conv(4)], [Pool("max")]), "block": Residual(Conv(4))}
    assert layers.with_squeeze_excite(table, None) is table
    assert layers.with_squeeze_excite(table, 4) == table | {"mixed": SqueezeExcite(table["mixed"], 4)}
    in_residuals = layers.with_squeeze_excite(table, 4, Residual)
    assert in_residuals == table | {"block": Residual(SqueezeExcite(Conv(4), 4))}  # on the path, before the addition


# ------------------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize("size", [3, 4, 5])
def test_local_response_normalisation(size: int) -> None:
    x = numbers(1, 2, 2, 7) * 10
    layer = LocalResponseNormalization(size, alpha=0.1, beta=0.6, bias=1.5)
    for c in range(7):
        around = x[..., max(0, c - size // 2) : c - size // 2 + size]
        expected = x[..., c] / (1.5 + 0.1 * np.square(around).sum(-1)) ** 0.6
        np.testing.assert_allclose(layer(x)[..., c], expected, rtol=1e-5)


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_drop_path(per: DropPer) -> None:
    layer = DropPath(0.25, per, seed=1)
    x = np.ones((400, 2, 2, 3), "float32")
    np.testing.assert_array_equal(layer(x), x)
    kept = []
    for _ in range(200 if per == "batch" else 1):
        y = keras.ops.convert_to_numpy(layer(x, training=True))
        gates = y[:, 0, 0, 0]
        np.testing.assert_array_equal(y, np.broadcast_to(gates[:, None, None, None], x.shape))  # a whole path
        assert set(np.round(gates, 4)) <= {np.float32(0), np.float32(1.3333)}  # the survivors divided by 3/4
        assert per == "sample" or len(set(gates)) == 1
        kept.append(np.mean(gates > 0))
    assert np.mean(kept) == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize(("rate", "per"), [(1.0, "batch"), (-0.1, "batch"), (0.5, "epoch")])
def test_drop_path_refuses(rate: float, per: DropPer) -> None:
    with pytest.raises(ValueError, match="got"):
        DropPath(rate, per)


def test_channel_padding() -> None:
    x = numbers(1, 2, 2, 3)
    padded = ChannelPadding(5)(x)
    np.testing.assert_array_equal(padded[..., :3], x)
    np.testing.assert_array_equal(padded[..., 3:], np.zeros((1, 2, 2, 2)))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "layer",
    [
        LocalResponseNormalization(3, 0.1, 0.6, 1.5),
        DropPath(0.5, "batch", seed=3),
        ChannelPadding(7),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_own_layers_come_back_from_their_configuration(layer: keras.Layer, policy: str) -> None:
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    configuration = layer.get_config() | {"dtype": policy}
    typed = type(layer).from_config(configuration)
    assert typed(numbers(2, 4, 4, 4), training=True).dtype == typed.compute_dtype


@pytest.mark.parametrize("side", [2, 7, 14])
@pytest.mark.parametrize("known", [True, False])
def test_an_adaptive_pool_averages_overlapping_windows(side: int, known: bool) -> None:
    """PyTorch's windows, from floor(i H / n) to ceil((i + 1) H / n)."""
    image = keras.Input((side, side, 3) if known else (None, None, 3))
    model = keras.Model(image, AdaptiveAveragePool(4)(image))
    assert model.output_shape == (None, 4, 4, 3)
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype("float32")
    ends = [(math.floor(i * side / 4), math.ceil((i + 1) * side / 4)) for i in range(4)]
    expected = [[x[:, a:b, c:d].mean(axis=(1, 2)) for c, d in ends] for a, b in ends]
    np.testing.assert_allclose(model(x), np.moveaxis(expected, 2, 0), rtol=1e-5, atol=1e-6)
