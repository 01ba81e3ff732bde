"""Costs by hand, and against the figures that are published of networks."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import keras_inception as ki
from keras_inception import InputError
from keras_inception.analysis.cost import LayerCost, blueprint, endpoint_costs, layer_costs, total
from keras_inception.layers import TORCH, Conv, numerics
from keras_inception.model_graph import endpoints, steps


def chain(shape: tuple[int | None, ...], *chained: keras.Layer) -> keras.Model:
    inputs = keras.Input(shape)
    x = inputs
    for layer in chained:
        x = layer(x)
    return keras.Model(inputs, x)


def cost(shape: tuple[int | None, ...], *chained: keras.Layer) -> LayerCost:
    """Of the last layer."""
    return layer_costs(chain(shape, *chained))[-1]


# ---------------------------------------------------------------------------------------------------- multiply-adds


@pytest.mark.parametrize(
    ("layer", "macs", "parameters", "output"),
    [
        (layers.Conv2D(8, 3, padding="same"), 10 * 12 * 9 * 4 * 8, 9 * 4 * 8 + 8, (10, 12, 8)),
        (layers.Conv2D(8, (1, 7), 2, use_bias=False), 5 * 3 * 7 * 4 * 8, 7 * 4 * 8, (5, 3, 8)),
        (layers.Conv2D(8, 3, groups=2, use_bias=False), 8 * 10 * 9 * 2 * 8, 9 * 2 * 8, (8, 10, 8)),
        (layers.Conv2D(8, 3, dilation_rate=2, use_bias=False), 6 * 8 * 9 * 4 * 8, 9 * 4 * 8, (6, 8, 8)),
        (layers.DepthwiseConv2D(3, use_bias=False), 8 * 10 * 9 * 4, 9 * 4, (8, 10, 4)),
        (layers.DepthwiseConv2D(3, depth_multiplier=3), 8 * 10 * 9 * 12, 9 * 12 + 12, (8, 10, 12)),
        (layers.SeparableConv2D(8, 3, use_bias=False), 8 * 10 * (9 * 4 + 4 * 8), 9 * 4 + 4 * 8, (8, 10, 8)),
        (layers.Conv2DTranspose(8, 3, 2, use_bias=False), 10 * 12 * 9 * 4 * 8, 9 * 4 * 8, (21, 25, 8)),
        (layers.Dense(5), 10 * 12 * 4 * 5, 4 * 5 + 5, (10, 12, 5)),
        (layers.BatchNormalization(), 0, 16, (10, 12, 4)),
        (layers.MaxPooling2D(2), 0, 0, (5, 6, 4)),
        (layers.PReLU(shared_axes=[1, 2]), 0, 4, (10, 12, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else "",
)
def test_a_layer_by_hand(layer: keras.Layer, macs: int, parameters: int, output: tuple[int, ...]) -> None:
    found = cost((10, 12, 4), layer)
    assert (found.macs, found.parameters, found.output_shape) == (macs, parameters, output)
    assert found.activations == math.prod(output)
    assert found.kind == type(layer).__name__


def test_trainable_parameters_are_counted_apart() -> None:
    frozen = layers.Conv2D(8, 3)
    frozen.trainable = False
    model = chain((8, 8, 3), frozen, layers.BatchNormalization(), layers.Flatten(), layers.Dense(2))
    counted = total(model)
    assert counted.parameters == model.count_params()
    assert counted.trainable == sum(math.prod(w.shape) for w in model.trainable_weights)


def test_a_layer_called_twice_is_paid_for_twice_and_owned_once() -> None:
    shared, inputs = layers.Conv2D(3, 3, padding="same", use_bias=False, name="shared"), keras.Input((8, 8, 3))
    rows = [row for row in layer_costs(keras.Model(inputs, shared(shared(inputs)))) if row.name == "shared"]
    assert [row.macs for row in rows] == [8 * 8 * 9 * 3 * 3] * 2
    assert [row.parameters for row in rows] == [9 * 3 * 3, 0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (chain((None, None, 3), layers.Conv2D(2, 3)), r"unknown, .*: build the network with a fixed input_shape"),
        (chain((8, 8, 3), chain((8, 8, 3), layers.Conv2D(2, 3))), "contains the model"),
        (chain((8, 3), layers.LSTM(2)), "multiply-adds of LSTM"),
        (keras.Sequential([layers.Dense(2)]), "is not a functional model"),
    ],
    ids=["size", "nested", "recurrent", "unbuilt"],
)
def test_what_cannot_be_counted_is_an_error(model: keras.Model, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        layer_costs(model)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------- receptive field


@pytest.mark.parametrize(
    ("chained", "field", "stride"),
    [
        ([layers.Conv2D(1, 3)], (3, 3), (1, 1)),
        ([layers.Conv2D(1, 3), layers.Conv2D(1, 3)], (5, 5), (1, 1)),  # two 3x3 have the receptive field of a 5x5
        ([layers.Conv2D(1, 7, 2), layers.MaxPooling2D(3, 2)], (11, 11), (4, 4)),
        ([layers.Conv2D(1, (1, 7)), layers.Conv2D(1, (7, 1))], (7, 7), (1, 1)),
        ([layers.Conv2D(1, 3, dilation_rate=4)], (9, 9), (1, 1)),
        ([layers.SeparableConv2D(1, 3, 2), layers.DepthwiseConv2D(3)], (7, 7), (2, 2)),
        ([layers.AveragePooling2D(2), layers.Conv2DTranspose(1, 2, 2)], (2, 2), (1, 1)),
        ([layers.AveragePooling2D(2), layers.UpSampling2D(2), layers.Conv2D(1, 3)], (4, 4), (1, 1)),
        ([layers.ZeroPadding2D(2), layers.ReLU()], (1, 1), (1, 1)),
        ([layers.AveragePooling2D(2), layers.GlobalAveragePooling2D()], (40, 32), (40, 32)),
        ([layers.Flatten(), layers.Dense(1)], (40, 32), (40, 32)),
    ],
)
def test_receptive_field_by_hand(chained: list[keras.Layer], field: tuple[int, int], stride: tuple[int, int]) -> None:
    found = cost((40, 32, 1), *chained)
    assert (found.receptive_field, found.stride) == (field, stride)


def test_of_several_paths_the_one_that_sees_most() -> None:
    inputs = keras.Input((16, 16, 2))
    wide, tall = (layers.Conv2D(1, kernel, padding="same")(inputs) for kernel in ((1, 7), (5, 1)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    rows = layer_costs(keras.Model(inputs, layers.Multiply()([layers.Concatenate()([wide, tall]), gate])))
    joined, gated = (row for row in rows if row.kind in ("Concatenate", "Multiply"))
    assert joined.receptive_field == (5, 7)
    assert (gated.receptive_field, gated.stride) == ((16, 16), (1, 1))


def test_a_receptive_field_is_what_reaches_the_output() -> None:
    chained = [layers.Conv2D(1, 3, 2), layers.MaxPooling2D(3, 2), layers.Conv2D(1, (3, 5), padding="same")]
    model = chain((60, 60, 1), *chained)
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    seen = layer_costs(model)[-1].receptive_field
    middle = model.output_shape[1] // 2
    noise = np.random.default_rng(0).uniform(size=(1, 60, 60, 1)).astype("float32")
    value = model(noise)[0, middle, middle, 0]
    for axis in (0, 1):
        brighter = np.repeat(noise, 60, axis=0)  # in the i-th copy the i-th row, or column
        for i in range(60):
            brighter[i].swapaxes(0, axis)[i] += 10
        reached = np.sum(model(brighter)[:, middle, middle, 0] != value)
        assert reached == seen[axis]


@pytest.mark.parametrize(
    ("name", "endpoint", "field"),
    [  # Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", 2019, table 1
        ("inception_v3", "mixed_7c", 1311),
        ("mobilenet_v2", "features", 491),
    ],
)
def test_receptive_fields_as_published(name: str, endpoint: str, field: int) -> None:
    rows = {row.name: row for row in endpoint_costs(blueprint(ki.model_info(name).build))}
    assert rows[endpoint].receptive_field == (field, field)


# -------------------------------------------------------------------------------------------------------- endpoints


def test_endpoints_follow_from_names() -> None:
    names = [
        "stem_conv",
        "stem",
        "mix_1_b0_conv",
        "mix_1_b0",
        "mix_1",
        "mix_10_pad",
        "mix_10",
        "fc6",
        "fc6_drop",
        "x_y",
    ]
    rows = ["stem", "stem", "mix_1", "mix_1", "mix_1", "mix_10", "mix_10", "fc6", "fc6_drop", "x_y"]
    assert endpoints(names) == rows


def test_rows_of_the_table_add_up_to_the_network() -> None:
    model = blueprint(ki.InceptionV3)
    rows = endpoint_costs(model)
    assert total(rows) == total(layer_costs(model)) == total(model)
    by_name = {row.name: row for row in rows}
    assert by_name["mixed_6b"].kind == "4 branches"
    assert by_name["conv2d_1a_3x3"].kind == "3x3 conv, 32, /2"
    assert by_name["mixed_5b"].output_shape == (35, 35, 256)
    assert by_name["conv2d_1a_3x3"].parameters == 3 * 3 * 3 * 32 + 3 * 32  # batch norm has no scale here
    assert by_name["conv2d_1a_3x3"].macs == 149 * 149 * 9 * 3 * 32


def test_kinds() -> None:
    rows = {row.name: row.kind for row in endpoint_costs(blueprint(ki.MobileNetV2))}
    assert rows["block_0"] == "3x3 depthwise, 1x1"
    assert rows["block_2"] == "residual: 1x1, 3x3 depthwise, 1x1"
    assert rows["logits"] == "fully connected, 1000"


def test_layers_come_after_what_they_read_and_branches_stay_together() -> None:
    calls = steps(blueprint(ki.InceptionV3))
    assert all(source < i for i, call in enumerate(calls) for source in call.sources)
    names = [call.name for call in calls]
    branch = [name for name in names if name.startswith("mixed_5b_b2")]
    assert names[names.index(branch[0]) :][: len(branch)] == branch


# -------------------------------------------------------------------------------------------------------- blueprint


def test_a_blueprint_is_the_network_without_its_weights() -> None:
    plan, built = blueprint(ki.LeNet5, classes=3), ki.LeNet5(classes=3)
    assert layer_costs(plan) == layer_costs(built)
    assert [w.shape for w in plan.weights] == [w.shape for w in built.weights]
    ki.LeNet5()(np.zeros((1, 32, 32, 1)))  # and what is built afterwards has its own
    with pytest.raises(InputError, match="classes"):
        blueprint(ki.LeNet5, classes=0)


def test_a_blueprint_follows_the_numerics_around_it() -> None:
    def build() -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, Conv(2, 3, 2)(inputs, name="x"))

    with numerics(TORCH):
        plan = blueprint(build)
    assert plan.get_layer("x_bn").epsilon == TORCH.epsilon
    assert plan.get_layer("x_conv_pad").padding == ((1, 1), (1, 1))


def test_a_blueprint_follows_the_dtype_policy() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert blueprint(ki.LeNet5).get_layer("c1_conv").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
