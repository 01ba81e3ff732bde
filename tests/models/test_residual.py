"""Residual networks: stochastic depth, shortcuts, strides, grouped convolutions."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import create_model, layers
from keras_inception.analysis.cost import blueprint, total
from keras_inception.models import resnet
from keras_inception.registry import get

SLOW = pytest.mark.slow
TINY = (8, 8, 3)


@cache
def resnet8(per: str) -> keras.Model:
    """The shortest of section 4.2's networks, one block for each stage."""
    inputs = keras.Input(TINY)
    features = resnet.cifar(inputs, depth=8, stochastic_depth=0.5, stochastic_depth_per=per)
    return keras.Model(inputs, features)


def images(n: int, shape: tuple[int, int, int] = TINY) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, *shape)).astype("float32")


def drops(model: keras.Model) -> list[layers.DropPath]:
    """Ordered by depth."""
    return [layer for layer in model.layers if isinstance(layer, layers.DropPath)]


def op_types(function: Callable[..., Any], *arguments: Any) -> Counter[str]:
    """The number of operations of each type in a function's graph and in the functions that it calls."""
    graph = tf.function(function).get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return Counter(node.op for node in nodes)


# ----------------------------------------------------------------------------------------------------- stochastic depth


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "wide_resnet16_8",
        "resnet18",
        *(pytest.param(name, marks=SLOW) for name in ("senet154", "resnet110_v2")),
    ],
)
def test_drop_probability_grows_linearly_to_the_last_block(name: str) -> None:
    model = create_model(name, stochastic_depth=0.4, include_top=False)
    blocks = sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
    expected = [0.4 * block / blocks for block in range(1, blocks + 1)]
    np.testing.assert_allclose([drop.rate for drop in drops(model)], expected)
    assert {drop.per for drop in drops(model)} == {"batch"}


def test_plain_network_has_no_gate() -> None:
    assert not drops(create_model("resnet20", input_shape=TINY))


def test_paths_survive_as_often_as_they_should() -> None:
    model = resnet8("sample")
    n = 4096
    paths = keras.Model(model.input, [drop.output for drop in drops(model)])(images(n), training=True)
    for drop, path in zip(drops(model), paths, strict=True):
        survivors = np.any(path.numpy() != 0, axis=(1, 2, 3)).mean()
        deviation = np.sqrt(drop.rate * (1 - drop.rate) / n)
        assert abs(survivors - (1 - drop.rate)) < 5 * deviation, drop.name


def test_one_gate_a_mini_batch_is_one_for_all_its_samples() -> None:
    model = resnet8("batch")
    paths = keras.Model(model.input, [drop.output for drop in drops(model)])
    run = tf.function(lambda x: [tf.reduce_any(path != 0, (1, 2, 3)) for path in paths(x, training=True)])
    batches = 400
    survived = np.array([[gates.numpy() for gates in run(images(3))] for _ in range(batches)])
    assert (survived == survived[..., :1]).all()
    for drop, frequency in zip(drops(model), survived[..., 0].mean(0), strict=True):
        deviation = np.sqrt(drop.rate * (1 - drop.rate) / batches)
        assert abs(frequency - (1 - drop.rate)) < 5 * deviation, drop.name


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_expected_output_is_the_output_at_test_time(rate: float) -> None:
    inputs = keras.Input(TINY)
    block = layers.Residual(resnet.basic(3, 1), activation=None, drop=rate, drop_per="sample")
    model = keras.Model(inputs, block(inputs, name="block"))
    for layer in model.layers:  # frozen batch norm computes the same in training, so only the dropped paths differ
        layer.trainable = False
    n = 4096
    x = np.repeat(images(1), n, axis=0)
    at_test = model(x[:1], training=False).numpy()[0]
    outputs = model(x, training=True).numpy()
    path = np.abs(at_test - x[0])
    deviation = path * np.sqrt(rate / (1 - rate) / n)  # of the mean: a path is 0 or 1 / (1 - rate) times itself
    assert path.max() > 0.1
    assert (np.abs(outputs.mean(0, dtype="float64") - at_test) <= 5 * deviation + 1e-5).all()


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_inference_graph_has_no_random_operation(per: str) -> None:
    model = resnet8(per)
    x = tf.TensorSpec((None, *TINY))
    assert any("Random" in op for op in op_types(lambda x: model(x, training=True), x))
    assert not any("Random" in op for op in op_types(lambda x: model(x, training=False), x))


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_gates_survive_saving_and_cloning(per: str, tmp_path: Path) -> None:
    model = resnet8(per)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(images(2)), loaded(images(2)))
    for copy in (loaded, keras.models.clone_model(model)):
        assert [(drop.rate, drop.per) for drop in drops(copy)] == [(drop.rate, per) for drop in drops(model)]
        # and they still drop
        assert np.ptp([copy(images(2), training=True).numpy() for _ in range(5)], axis=0).max() > 0


@SLOW
def test_resnet1202_builds_and_classifies() -> None:
    model = create_model("resnet1202_sd", input_shape=TINY)
    weighted = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len(weighted) == 1202
    assert np.isfinite(model(images(1))).all()


# ------------------------------------------------------------------------------------------------ shortcuts and strides


@pytest.mark.parametrize("side", [6, 7])
def test_parameter_free_shortcuts(side: int) -> None:
    x = images(2, (side, side, 3))
    half = (side + 1) // 2
    even = np.pad(x, [(0, 0), (0, side % 2), (0, side % 2), (0, 0)])
    expected = {
        "subsampling": x[:, ::2, ::2],
        "averaging": even.reshape(2, half, 2, half, 2, 3).mean((2, 4)),
    }
    for name, smaller in expected.items():
        inputs = keras.Input((None, None, 3))
        shortcut = keras.Model(inputs, resnet.SHORTCUTS[name](5, 2)(inputs, name="shortcut"))
        assert not shortcut.weights
        wanted = np.concatenate([smaller, np.zeros((2, half, half, 2))], axis=-1)
        np.testing.assert_allclose(shortcut(x), wanted, atol=1e-6)


@pytest.mark.parametrize(("numerics", "strides"), [("torch", [1, 2, 1]), ("keras", [2, 1, 1]), ("caffe", [2, 1, 1])])
def test_which_convolution_of_a_bottleneck_strides(numerics: str, strides: list[int]) -> None:
    model = create_model("resnet50", include_top=False, numerics=numerics)
    path = [layer for layer in model.layers if layer.name.startswith("conv3_block1_residual")]
    assert [layer.strides[0] for layer in path if isinstance(layer, keras.layers.Conv2D)] == strides


@pytest.mark.parametrize(
    ("numerics", "strides"), [("torch", [1, 2, 1]), ("pytorchcv", [2, 1, 1]), ("keras", [1, 1, 1])]
)
def test_which_convolution_of_a_pre_activation_bottleneck_strides(numerics: str, strides: list[int]) -> None:
    model = blueprint(get("resnet50_v2").build, numerics=numerics)
    path = [layer for layer in model.layers if layer.name.startswith("conv3_block1_residual")]
    assert [layer.strides[0] for layer in path if isinstance(layer, keras.layers.Conv2D)] == strides


@pytest.mark.parametrize(("numerics", "ends"), [("torch", [32, 16, 8, 4]), ("slim", [16, 8, 4, 4])])
def test_which_block_of_a_stage_strides(numerics: str, ends: list[int]) -> None:
    model = create_model("resnet50", include_top=False, numerics=numerics, input_shape=(128, 128, 3))
    blocks = ("conv2_block3", "conv3_block4", "conv4_block6", "conv5_block3")
    assert [model.get_layer(block).output.shape[1] for block in blocks] == ends
    assert model.count_params() == create_model("resnet50", include_top=False).count_params()


# ------------------------------------------------------------------------------------------------------- pre-activation


@pytest.mark.parametrize(
    ("first", "norms", "trainable"),
    [
        ("block", ["conv2_block1_preact_bn"], 25_549_352),
        ("stem", ["conv1_bn"], 25_549_352),
        ("both", ["conv1_bn", "conv2_block1_preact_bn"], 25_549_480),
    ],
)
def test_where_the_first_activation_is(first: str, norms: list[str], trainable: int) -> None:
    model = blueprint(get("resnet50_v2").build, first_activation=first)
    before = [layer.name for layer in model.layers[: model.layers.index(model.get_layer("conv2_block1_residual_0"))]]
    assert [name for name in before if name.endswith("_bn")] == norms
    assert total(model).trainable == trainable


@pytest.mark.parametrize(
    ("name", "macs", "trainable"),
    [  # of tf_keras.applications, counted layer by layer
        ("resnet50_v2", 3_482_255_360, 25_568_360),
        ("resnet101_v2", 7_194_476_544, 44_577_896),
        ("resnet152_v2", 10_906_697_728, 60_236_904),
    ],
)
def test_keras_applications_v2_has_biases_and_strides_early(name: str, macs: int, trainable: int) -> None:
    found = total(blueprint(get(name).build, numerics="keras"))
    assert (found.macs, found.trainable) == (macs, trainable)


def test_a_bias_is_only_where_no_batch_norm_follows() -> None:
    def biased(numerics: str) -> set[str]:
        model = blueprint(get("resnet50_v2").build, numerics=numerics)
        return {layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.use_bias}

    blocks = {
        f"conv{stage}_block{i}" for stage, n in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True) for i in range(1, n + 1)
    }
    ends = {f"{block}_residual" for block in blocks} | {f"conv{stage}_block1_shortcut" for stage in (2, 3, 4, 5)}
    assert not biased("torch") | biased("pytorchcv")
    assert biased("keras") == biased("slim") == ends | {"conv1"}


@pytest.mark.parametrize("numerics", ["torch", "keras"])
def test_the_path_reads_an_activated_map_and_an_identity_shortcut_does_not(numerics: str) -> None:
    model = blueprint(get("resnet50_v2").build, numerics=numerics)
    producer = {}
    for name in ("conv3_block1", "conv3_block2", "conv3_block4"):
        path, shortcut = model.get_layer(name).input
        first = next(layer for layer in model.layers if layer.name.startswith(f"{name}_residual"))
        producer[name] = shortcut._keras_history.operation.name, first.input._keras_history.operation.name
        assert path is model.get_layer(f"{name}_residual").output
    assert producer["conv3_block1"] == ("conv3_block1_shortcut", "conv3_block1_preact")
    assert model.get_layer("conv3_block1_shortcut").input is model.get_layer("conv3_block1_preact").output
    assert producer["conv3_block2"] == ("conv3_block1", "conv3_block1")  # its path begins with its own batch norm
    last = "conv3_block4_shortcut" if numerics == "keras" else "conv3_block3"
    assert producer["conv3_block4"] == (last, "conv3_block3")


def test_the_last_row_of_a_pre_activation_network_is_its_activation() -> None:
    model = create_model("resnet110_v2", include_top=False, input_shape=TINY)
    assert model.layers[-1].name == "norm"
    assert isinstance(model.layers[-1], keras.layers.ReLU)
    inner = keras.Model(model.input, model.get_layer("conv4_block18").output)
    assert inner(images(2)).numpy().min() < 0


def test_squeeze_and_excitation_stands_before_the_addition() -> None:
    model = create_model("wide_resnet16_8", include_top=False, se_ratio=16)
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert len(adds) == 6
    assert all(isinstance(add.input[0]._keras_history.operation, keras.layers.Multiply) for add in adds)


# ------------------------------------------------------------------------------------------------- grouped convolution


def test_grouped_convolution_is_one_operation() -> None:
    inputs = keras.Input((8, 8, 256))
    model = keras.Model(inputs, resnet.bottleneck(256, 1, groups=32, width=2)(inputs, name="path"))
    found = op_types(lambda x: model(x, training=False), tf.TensorSpec((1, 8, 8, 256)))
    assert found["Conv2D"] == 3
    assert not {"Split", "SplitV", "ConcatV2", "StridedSlice"} & set(found)
