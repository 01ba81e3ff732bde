"""The Inception networks: what parity and conformance do not test."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras.layers import AveragePooling2D, Multiply, Rescaling

from keras_inception import InputError, create_model
from keras_inception.analysis.cost import blueprint, total
from keras_inception.layers import TORCH, SignedPool, numerics
from keras_inception.registry import get

from ..parity.units import answers, assign, image, seeded, units
from .test_classics import convolution, lrn, pooling

Maps = dict[str, tuple[int, ...]]


@functools.cache
def plan(name: str, **kwargs: object) -> keras.Model:
    """A network without weights."""
    return blueprint(get(name).build, **kwargs)


def maps(model: keras.Model, names: list[str]) -> list[tuple[int, ...]]:
    return [model.get_layer(name).output.shape[1:] for name in names]


# ------------------------------------------------------------------------------ v1, read from bvlc_googlenet's prototxt

MODULES = {  # num_output of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
LRN = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}
POOL = {"kernel_size": 3, "stride": 2}


def googlenet(x: np.ndarray, layer: Callable[[], tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The prototxt, read in NumPy: C x H x W -> logits. `layer()` is the next layer's weight and bias."""

    def conv(x: np.ndarray, num_output: int, pad: int = 0, stride: int = 1) -> np.ndarray:
        weight, bias = layer()
        assert len(weight) == num_output
        return np.maximum(convolution(x, weight, bias, {"pad": pad, "stride": stride}), 0)

    def dense(x: np.ndarray) -> np.ndarray:
        weight, bias = layer()
        return weight.reshape(len(weight), -1) @ x.ravel() + bias

    def inception(x: np.ndarray, n1x1: int, r3x3: int, n3x3: int, r5x5: int, n5x5: int, proj: int) -> np.ndarray:
        surrounded = np.pad(x, ((0, 0), (1, 1), (1, 1)))  # a ReLU's output: zeros lose to whatever is there
        pooled = pooling(surrounded, {"kernel_size": 3, "stride": 1}, np.max)
        branches = conv(x, n1x1), conv(conv(x, r3x3), n3x3, 1), conv(conv(x, r5x5), n5x5, 2), conv(pooled, proj)
        return np.concatenate(branches)

    def auxiliary(x: np.ndarray) -> np.ndarray:
        x = conv(pooling(x, {"kernel_size": 5, "stride": 3}, np.mean), 128)
        return dense(np.maximum(dense(x), 0))

    logits = {}
    x = lrn(pooling(conv(x, 64, 3, 2), POOL, np.max), LRN)
    x = pooling(lrn(conv(conv(x, 64), 192, 1), LRN), POOL, np.max)
    for name, num_output in MODULES.items():
        x = inception(x, *num_output)
        if name in ("3b", "4e"):
            x = pooling(x, POOL, np.max)
        if name in ("4a", "4d"):
            logits[f"aux_{1 + len(logits)}"] = auxiliary(x)
    return logits | {"predictions": dense(x.mean((1, 2)))}


def test_v1_is_what_the_prototxt_says() -> None:
    shape = (128, 128, 3)  # maps of 64, 32, 16, 8: every pool hangs over the edge, and the auxiliary map is 2 x 2
    model = create_model("inception_v1", aux_heads=True, input_shape=shape, classifier_activation=None)
    network = units(model)  # in the prototxt's order, auxiliary heads where they branch off
    weights = seeded(network, seed=0)
    assign(network, weights)
    x = image(shape, seed=0)

    blobs = iter([(w["kernel"].transpose(3, 2, 0, 1), w["bias"]) for w in weights])
    expected = googlenet(x[0].transpose(2, 0, 1).astype("float64"), lambda: next(blobs))
    assert next(blobs, None) is None
    for name, logits in answers(model, x).items():
        assert 0.1 < expected[name].std() < 10
        np.testing.assert_allclose(logits, expected[name], rtol=0, atol=1e-4, err_msg=name)


# ------------------------------------------------------------------------------------------------------ papers' tables


def test_v2_rethinking_has_every_map_of_table_1() -> None:
    table = {  # layer: its output, which is the next row's input
        "conv2d_1a_3x3": (149, 149, 32),
        "conv2d_2a_3x3": (147, 147, 32),
        "conv2d_2b_3x3": (147, 147, 64),
        "maxpool_3a_3x3": (73, 73, 64),
        "conv2d_3b_3x3": (71, 71, 80),
        "conv2d_4a_3x3": (35, 35, 192),
        "conv2d_4b_3x3": (35, 35, 288),
        "mixed_6a": (17, 17, 768),  # the last of 3 x Inception
        "mixed_7a": (8, 8, 1280),  # the last of 5 x Inception
        "mixed_7c": (8, 8, 2048),  # the last of 2 x Inception
    }
    model = plan("inception_v2_rethinking")
    assert maps(model, list(table)) == list(table.values())
    assert maps(model, ["mixed_5b", "mixed_5c"]) == [(35, 35, 288)] * 2
    assert maps(model, [f"mixed_6{i}" for i in "bcde"]) == [(17, 17, 768)] * 4


SLIM = {  # the endpoints that TF-slim's checkpoints name, lower case; block8_10 is its Block8
    "inception_v1_bn": "conv2d_1a_7x7 maxpool_2a_3x3 conv2d_2b_1x1 conv2d_2c_3x3 maxpool_3a_3x3 mixed_3b mixed_3c "
    "maxpool_4a_3x3 mixed_4b mixed_4c mixed_4d mixed_4e mixed_4f maxpool_5a_2x2 mixed_5b mixed_5c",
    "inception_v2": "conv2d_1a_7x7 maxpool_2a_3x3 conv2d_2b_1x1 conv2d_2c_3x3 maxpool_3a_3x3 mixed_3b mixed_3c "
    "mixed_4a mixed_4b mixed_4c mixed_4d mixed_4e mixed_5a mixed_5b mixed_5c",
    "inception_v3": "conv2d_1a_3x3 conv2d_2a_3x3 conv2d_2b_3x3 maxpool_3a_3x3 conv2d_3b_1x1 conv2d_4a_3x3 "
    "maxpool_5a_3x3 mixed_5b mixed_5c mixed_5d mixed_6a mixed_6b mixed_6c mixed_6d mixed_6e mixed_7a mixed_7b mixed_7c",
    "inception_v4": "conv2d_1a_3x3 conv2d_2a_3x3 conv2d_2b_3x3 mixed_3a mixed_4a mixed_5a mixed_5b mixed_5c mixed_5d "
    "mixed_5e mixed_6a mixed_6b mixed_6c mixed_6d mixed_6e mixed_6f mixed_6g mixed_6h mixed_7a mixed_7b mixed_7c "
    "mixed_7d",
    "inception_resnet_v2": "conv2d_1a_3x3 conv2d_2a_3x3 conv2d_2b_3x3 maxpool_3a_3x3 conv2d_3b_1x1 conv2d_4a_3x3 "
    "maxpool_5a_3x3 mixed_5b block35_10 mixed_6a block17_20 mixed_7a block8_10 conv2d_7b_1x1",
}


@pytest.mark.parametrize("name", SLIM)
def test_endpoints_have_the_checkpoints_names_and_order(name: str) -> None:
    layers = [layer.name for layer in plan(name).layers]
    positions = [layers.index(endpoint) for endpoint in SLIM[name].split()]
    assert positions == sorted(positions)


# --------------------------------------------------------------------------------------------------------- arguments

AUXILIARY = [  # parameters with the heads, of Caffe's, torchvision's and TF-slim's networks
    ("inception_v1", {}, 2, 13_378_280),
    ("inception_v1_bn", {}, 2, 13_004_888),
    ("inception_v3", {"numerics": "torch"}, 1, 27_161_264),
    ("inception_v4", {}, 1, 42_679_816 + 3_359_464),
    ("inception_resnet_v2", {"numerics": "torch"}, 1, 55_843_464 + 3_367_656),
]


@pytest.mark.parametrize(("name", "kwargs", "heads", "parameters"), AUXILIARY)
def test_auxiliary_heads_are_as_large_as_the_released(name: str, kwargs: dict, heads: int, parameters: int) -> None:
    model = plan(name, aux_heads=True, **kwargs)
    assert sorted(model.output) == [*(f"aux_{i + 1}" for i in range(heads)), "predictions"]
    assert total(model).trainable == parameters


def test_inception_v2_of_slim() -> None:
    """Parameters without the classifier, moving statistics included, as in TF-Slim's own test."""
    model = plan("inception_v2", variant="slim", numerics="slim", include_top=False)
    assert sum(int(np.prod(weight.shape)) for weight in model.weights) == 10_173_112
    assert [model.get_layer(f"mixed_4{i}").output.shape[-1] for i in "bcde"] == [576] * 4


def test_auxiliary_heads_say_when_an_image_is_too_small_for_them() -> None:
    with pytest.raises(InputError, match="needs a map of at least 5 x 5; got 3 x 3"):
        plan("inception_v3", aux_heads=True, input_shape=(75, 75, 3))


@pytest.mark.parametrize("name", ["inception_v3", "inception_v1_bn"])
def test_auxiliary_heads_take_other_sizes(name: str) -> None:
    anywhere, fixed = (plan(name, aux_heads=True, input_shape=s) for s in ((None, None, 3), (331, 363, 3)))
    assert [w.shape for w in anywhere.weights] == [w.shape for w in fixed.weights]


def test_the_paper_s_auxiliary_head_needs_a_known_size() -> None:
    with pytest.raises(InputError, match="fixed image size"):
        plan("inception_v1", aux_heads=True, input_shape=(None, None, 3))


EXCITED = [
    ("inception_v1", 9),
    ("inception_v1_bn", 9),
    ("inception_v2", 10),
    ("inception_v2_rethinking", 10),
    ("inception_v3", 11),
    ("inception_v4", 4 + 1 + 7 + 1 + 3),
    ("inception_resnet_v1", 5 + 10 + 5),
    ("inception_resnet_v2", 10 + 20 + 10),
    ("xception", 12),
]


@pytest.mark.parametrize(("name", "modules"), EXCITED)
def test_se_ratio_adds_a_module_to_each_block(name: str, modules: int) -> None:
    gates = [layer for layer in plan(name, se_ratio=4).layers if isinstance(layer, Multiply)]
    assert len(gates) == modules


def test_residual_scale_is_of_the_three_blocks() -> None:
    layers = plan("inception_resnet_v1", residual_scale=(0.3, 0.2, 0.1)).layers
    found = {layer.name: layer.scale for layer in layers if isinstance(layer, Rescaling)}
    assert found == {
        f"block{k}_{i}_scale": s for k, n, s in ((35, 5, 0.3), (17, 10, 0.2), (8, 5, 0.1)) for i in range(1, n + 1)
    }


def test_v3_has_no_max_pool_in_its_last_module() -> None:
    assert isinstance(plan("inception_v3").get_layer("mixed_7c_b3_0"), AveragePooling2D)


@pytest.mark.parametrize("size", [7, 8])
def test_xceptions_pool_pads_with_nothing_rather_than_zeros(size: int) -> None:
    x = -1 - np.random.default_rng(0).random((1, size, size, 2)).astype("float32")  # all below the padding's zeros
    inputs = keras.Input(x.shape[1:])
    with numerics(TORCH):
        model = keras.Model(inputs, SignedPool()(inputs, name="pool"))
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2]
    np.testing.assert_array_equal(model(x)[0], windows.max((3, 4)))
