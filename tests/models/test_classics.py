"""The classics before residual networks: what parity and conformance do not test."""

import functools
import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import pytest
from keras.layers import Conv2D, Dense, Dropout, MaxPooling2D

from keras_inception import InputError, create_model
from keras_inception.analysis.cost import blueprint, total
from keras_inception.layers import LocalResponseNormalization
from keras_inception.registry import get


@functools.cache
def plan(name: str) -> keras.Model:
    """A network with its default arguments, without weights."""
    return blueprint(get(name).build)


# --------------------------------------------------------------------- a direct reading of Caffe's layers, C x H x W

Attributes = Mapping[str, int | float]
Blobs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # layer name -> weight (out, in of a group, height, width), bias


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, a: Attributes) -> np.ndarray:
    pad, stride, groups = a.get("pad", 0), a.get("stride", 1), a.get("group", 1)
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    halves = zip(np.split(weight, groups), np.split(windows, groups), strict=True)
    return np.concatenate([np.tensordot(w, v, ((1, 2, 3), (0, 3, 4))) for w, v in halves]) + bias[:, None, None]


def lrn(x: np.ndarray, a: Attributes) -> np.ndarray:
    n, half = a["local_size"], a["local_size"] // 2
    sums = np.stack([np.square(x[max(0, c - half) : c + half + 1]).sum(0) for c in range(len(x))])
    return x / (1 + a["alpha"] / n * sums) ** a["beta"]


def pooling(x: np.ndarray, a: Attributes, reduce: np.ufunc) -> np.ndarray:
    """The last window may extend past the edge, and only values of the map count."""
    k, s = a["kernel_size"], a["stride"]
    height, width = (math.ceil((side - k) / s) + 1 for side in x.shape[1:])
    rows = [[reduce(x[:, i * s : i * s + k, j * s : j * s + k], (1, 2)) for j in range(width)] for i in range(height)]
    return np.array(rows).transpose(2, 0, 1)


def caffe(prototxt: Sequence[tuple[str, str, Attributes]], blobs: Blobs, x: np.ndarray) -> np.ndarray:
    for name, kind, attributes in prototxt:
        if kind in ("CONVOLUTION", "INNER_PRODUCT"):
            # An inner product is a convolution that covers the map, whose weights Caffe lays out flat.
            x = convolution(x, *blobs[name], attributes)
        elif kind == "LRN":
            x = lrn(x, attributes)
        else:
            x = pooling(x, attributes, {"MAX": np.max, "AVE": np.mean}[kind])
        if attributes.get("relu", kind == "CONVOLUTION" or name in ("fc6", "fc7")):
            x = np.maximum(x, 0)
    return x


NORM = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}
POOL = {"kernel_size": 3, "stride": 2}
BVLC_ALEXNET = [
    ("conv1", "CONVOLUTION", {"kernel_size": 11, "stride": 4}),
    ("norm1", "LRN", NORM),
    ("pool1", "MAX", POOL),
    ("conv2", "CONVOLUTION", {"pad": 2, "kernel_size": 5, "group": 2}),
    ("norm2", "LRN", NORM),
    ("pool2", "MAX", POOL),
    ("conv3", "CONVOLUTION", {"pad": 1, "kernel_size": 3}),
    ("conv4", "CONVOLUTION", {"pad": 1, "kernel_size": 3, "group": 2}),
    ("conv5", "CONVOLUTION", {"pad": 1, "kernel_size": 3, "group": 2}),
    ("pool5", "MAX", POOL),
    ("fc6", "INNER_PRODUCT", {}),
    ("fc7", "INNER_PRODUCT", {}),
    ("fc8", "INNER_PRODUCT", {}),
]
# CaffeNet has the pool before the normalisation.
CAFFENET = [BVLC_ALEXNET[i] for i in (0, 2, 1, 3, 5, 4, *range(6, 13))]
LENET = [
    ("conv1", "CONVOLUTION", {"kernel_size": 5, "relu": False}),
    ("pool1", "MAX", {"kernel_size": 2, "stride": 2}),
    ("conv2", "CONVOLUTION", {"kernel_size": 5, "relu": False}),
    ("pool2", "MAX", {"kernel_size": 2, "stride": 2}),
    ("fc6", "INNER_PRODUCT", {}),
    ("fc8", "INNER_PRODUCT", {}),
]
NIN_IMAGENET = [
    ("conv1", "CONVOLUTION", {"kernel_size": 11, "stride": 4}),
    ("cccp1", "CONVOLUTION", {}),
    ("cccp2", "CONVOLUTION", {}),
    ("pool0", "MAX", POOL),
    ("conv2", "CONVOLUTION", {"pad": 2, "kernel_size": 5}),
    ("cccp3", "CONVOLUTION", {}),
    ("cccp4", "CONVOLUTION", {}),
    ("pool2", "MAX", POOL),
    ("conv3", "CONVOLUTION", {"pad": 1, "kernel_size": 3}),
    ("cccp5", "CONVOLUTION", {}),
    ("cccp6", "CONVOLUTION", {}),
    ("pool3", "MAX", POOL),
    ("conv4", "CONVOLUTION", {"pad": 1, "kernel_size": 3}),
    ("cccp7", "CONVOLUTION", {}),
    ("cccp8", "CONVOLUTION", {}),
    ("pool4", "AVE", {"kernel_size": 6, "stride": 1}),
]
NIN_CIFAR = [
    ("conv1", "CONVOLUTION", {"pad": 2, "kernel_size": 5}),
    ("cccp1", "CONVOLUTION", {}),
    ("cccp2", "CONVOLUTION", {}),
    ("pool1", "MAX", POOL),
    ("conv2", "CONVOLUTION", {"pad": 2, "kernel_size": 5}),
    ("cccp3", "CONVOLUTION", {}),
    ("cccp4", "CONVOLUTION", {}),
    ("pool2", "AVE", POOL),
    ("conv3", "CONVOLUTION", {"pad": 1, "kernel_size": 3}),
    ("cccp5", "CONVOLUTION", {}),
    ("cccp6", "CONVOLUTION", {}),
    ("pool3", "AVE", {"kernel_size": 8, "stride": 1}),
]


def blobs_of(model: keras.Model, prototxt: Sequence[tuple[str, str, Attributes]]) -> Blobs:
    """The model's weights under the prototxt's names, both in order of execution, in Caffe's layout."""
    weighted = [layer for layer in model.layers if layer.weights]
    names = [name for name, kind, _ in prototxt if kind in ("CONVOLUTION", "INNER_PRODUCT")]
    blobs = {}
    for name, layer in zip(names, weighted, strict=True):
        kernel, bias = layer.get_weights()
        if isinstance(layer, Dense):
            grid = model.get_layer("flatten").input.shape[1:3] if name == "fc6" else (1, 1)
            kernel = kernel.reshape(*grid, -1, kernel.shape[-1])
        blobs[name] = kernel.transpose(3, 2, 0, 1), bias
    return blobs


@pytest.mark.parametrize(
    ("name", "prototxt", "shape", "arguments"),
    [
        ("alexnet", BVLC_ALEXNET, (71, 71, 3), {}),  # maps of 16, 8, 4: every pool hangs over the edge
        ("alexnet", CAFFENET, (71, 71, 3), {"pool_first": True}),
        ("lenet5", LENET, (28, 28, 1), {"variant": "caffe"}),
        ("nin", NIN_IMAGENET, (224, 224, 3), {}),  # maps of 54, 27, 13: the first one does
        ("nin_cifar", NIN_CIFAR, (32, 32, 3), {}),
    ],
    ids=["alexnet", "caffenet", "lenet", "nin", "nin_cifar"],
)
def test_what_caffes_prototxt_says(name: str, prototxt: Sequence, shape: tuple[int, int, int], arguments: dict) -> None:
    keras.utils.set_random_seed(0)
    model = create_model(name, input_shape=shape, classes=10, classifier_activation=None, **arguments)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel = layer.weights[0]
            scale = np.sqrt(2 / np.prod(kernel.shape[:-1]), dtype="float32")
            bias = rng.standard_normal(kernel.shape[-1], "float32") / 10
            layer.set_weights([rng.standard_normal(kernel.shape, "float32") * scale, bias])
    image = rng.normal(0, 50, shape).astype("float32")  # as large as pixels, or LRN does nothing
    logits = caffe(prototxt, blobs_of(model, prototxt), image.transpose(2, 0, 1))
    ours = keras.ops.convert_to_numpy(model(image[None]))[0]
    assert np.abs(ours).std() > 0.1
    np.testing.assert_allclose(ours, logits.reshape(-1), rtol=1e-4, atol=1e-4 * np.abs(logits).max())


# --------------------------------------------------------------------------------------- the families' own arguments


def norms(model: keras.Model) -> list[LocalResponseNormalization]:
    return [layer for layer in model.layers if isinstance(layer, LocalResponseNormalization)]


def test_alexnet_has_the_papers_normalisation_by_argument() -> None:
    constants = [(n.size, n.alpha, n.beta, n.bias) for n in norms(blueprint(get("alexnet").build, lrn="paper"))]
    assert constants == [(5, 1e-4, 0.75, 2.0)] * 2


@pytest.mark.parametrize(("pool_first", "before"), [(False, "conv1"), (True, "pool1")])
def test_zfnet_normalises_before_or_behind_its_pool(pool_first: bool, before: str) -> None:
    model = blueprint(get("zfnet").build, pool_first=pool_first)
    assert model.get_layer("norm1").input is model.get_layer(before).output
    assert model.get_layer("conv2_conv").input is model.get_layer("norm1" if pool_first else "pool1").output


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("alexnet", {"conv1": 55, "pool1": 27, "pool2": 13, "pool5": 6}),
        ("alexnet_owt", {"conv1": 55, "pool1": 27, "pool2": 13, "pool5": 6}),
        ("zfnet", {"conv1": 110, "pool1": 55, "conv2": 26, "pool2": 13, "pool5": 6}),  # the paper's Figure 3
        ("nin", {"conv1": 54, "pool0": 27, "pool2": 13, "pool3": 6}),
        ("squeezenet1_1", {"conv1": 111, "pool1": 55, "pool3": 27, "pool5": 13}),
        ("densenet_bc100_12", {"denseblock1": 32, "denseblock2": 16, "denseblock3": 8}),
    ],
)
def test_maps_are_the_papers(name: str, maps: dict[str, int]) -> None:
    model = plan(name)
    assert {endpoint: model.get_layer(endpoint).output.shape[1] for endpoint in maps} == maps


@pytest.mark.parametrize(
    ("name", "depth"),
    [("vgg11", 11), ("vgg16_bn", 16), ("densenet121", 121), ("densenet40_12", 40), ("densenet_bc100_12", 100)],
)
def test_depth_is_the_names(name: str, depth: int) -> None:
    model = plan(name)
    assert sum(isinstance(layer, Conv2D | Dense) for layer in model.layers) == depth


def test_plain_densenet_has_neither_bottleneck_nor_compression() -> None:
    model = plan("densenet40_12")
    for i in range(1, 13):
        layer = model.get_layer(f"denseblock1_layer{i}_conv2")
        assert (layer.input.shape[-1], layer.filters, layer.kernel_size) == (16 + 12 * (i - 1), 12, (3, 3))
    assert model.get_layer("transition1_conv").filters == 16 + 12 * 12


@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt", "zfnet", "vgg11", "nin", "nin_cifar", "squeezenet1_0"])
def test_dropout_is_the_papers_and_an_argument(name: str) -> None:
    def rates(**kwargs: float) -> list[float]:
        model = blueprint(get(name).build, **kwargs) if kwargs else plan(name)
        return [layer.rate for layer in model.layers if isinstance(layer, Dropout)]

    assert set(rates()) == {0.5}
    assert set(rates(dropout=0.2)) == {0.2}
    assert rates(dropout=0.0) == []


def test_densenet_drops_behind_every_convolution_but_the_first() -> None:
    model = blueprint(get("densenet_bc100_12").build, dropout=0.2)
    convolutions = [layer for layer in model.layers if isinstance(layer, Conv2D)]
    dropped = [layer.input for layer in model.layers if isinstance(layer, Dropout)]
    assert {id(x) for x in dropped} == {id(layer.output) for layer in convolutions[1:]}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("vgg11", [f"block{b}_conv{i}" for b, n in enumerate((1, 1, 2, 2, 2), 1) for i in range(1, n + 1)]),
        ("densenet40_12", ["denseblock1", "denseblock2", "denseblock3"]),
        ("squeezenet1_1", [f"fire{i}" for i in range(2, 10)]),
    ],
)
def test_squeeze_and_excitation_of_each_row(name: str, rows: list[str]) -> None:
    plain, excited = plan(name), blueprint(get(name).build, se_ratio=8)
    widths = [plain.get_layer(row).output.shape[-1] for row in rows]
    assert all(excited.get_layer(row).__class__.__name__ == "Multiply" for row in rows)
    added = sum(2 * c * (c // 8) + c // 8 + c for c in widths)
    assert total(excited).trainable - total(plain).trainable == added


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "alexnet_owt", "zfnet", "vgg11"])
def test_a_dense_top_needs_a_size(name: str) -> None:
    with pytest.raises(InputError, match="give both in input_shape, or include_top=False") as error:
        create_model(name, input_shape=(None, None, 3))
    assert "\n" not in str(error.value)
    assert create_model(name, include_top=False).output_shape[1:3] == (None, None)


def test_lenets_subsampling_is_two_by_two() -> None:
    model = create_model("lenet5")
    assert [model.get_layer(s).output.shape[1:] for s in ("s2", "s4")] == [(14, 14, 6), (5, 5, 16)]
    assert not any(isinstance(layer, MaxPooling2D) for layer in model.layers)
    with pytest.raises(InputError, match="at least 16 x 16"):
        create_model("lenet5", input_shape=(15, 15, 1))
