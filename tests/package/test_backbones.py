"""Backbones for detection and segmentation: the maps of every network by stride, and dilated copies."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import (
    LeNet5,
    MobileNetV2,
    ResNet18,
    ResNet20,
    ResNet50V2,
    ShuffleNetV2,
    Xception,
    dilated,
    feature_pyramid,
    model_info,
)
from keras_inception.analysis import blueprint
from keras_inception.errors import InputError

IMAGENET = (4, 8, 16, 32)
ENDS_AT_16 = {"squeezenet1_0", "squeezenet1_1"}


# ------------------------------------------------------------------------------------------------------------- pyramid


def test_every_network_has_maps(plan) -> None:
    """On the network with its top: the strides that its reductions make, and maps of about that size."""
    side = plan.architecture.input_shape[0]
    strides = (1, 2, 4) if side <= 32 and "fractal" not in plan.architecture.name else IMAGENET
    if plan.architecture.name in ENDS_AT_16:
        strides = IMAGENET[:-1]
    pyramid = feature_pyramid(plan.model, strides)
    assert list(pyramid.output) == [f"stride_{stride}" for stride in strides]
    assert pyramid.strides == strides
    for stride, channels, map_ in zip(strides, pyramid.channels, pyramid.output.values(), strict=True):
        _, height, width, depth = map_.shape
        assert height == width
        assert depth == channels
        assert 0.6 < height * stride / side < 1.2  # "valid" padding shrinks a map, rounding up enlarges it


@pytest.mark.parametrize(
    ("name", "strides", "channels"),
    [
        ("resnet50", (2, 4, 8, 16, 32), (64, 256, 512, 1024, 2048)),
        ("resnet50_v2", (2, 4, 8, 16, 32), (64, 256, 512, 1024, 2048)),
        ("inception_v3", (2, 4, 8, 16, 32), (64, 192, 288, 768, 2048)),
        ("densenet121", (2, 4, 8, 16, 32), (64, 256, 512, 1024, 1024)),
        ("xception", (2, 4, 8, 16, 32), (64, 128, 256, 728, 2048)),
        ("vgg16", (1, 2, 4, 8, 16, 32), (64, 128, 256, 512, 512, 512)),
        ("nasnet_mobile", (2, 8, 16, 32), (32, 264, 528, 1056)),
        ("mobilenet_v2", (2, 4, 8, 16, 32), (16, 24, 32, 96, 1280)),
    ],
)
def test_the_maps_that_others_take(name, strides, channels) -> None:
    """The channels of timm's `features_only`, on images of any size; MobileNet v2's last map is wider."""
    model = blueprint(model_info(name).build, include_top=False)
    pyramid = feature_pyramid(model, strides)
    assert pyramid.channels == channels
    assert pyramid.output["stride_32"].shape == (None, None, None, channels[-1])


def test_it_computes_with_the_layers_of_the_network(tmp_path) -> None:
    model = MobileNetV2(alpha=0.35, input_shape=(64, 64, 3), classes=3)
    pyramid = feature_pyramid(model, (8, 32))
    assert pyramid.get_layer("block_5") is model.get_layer("block_5")
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    maps = pyramid.predict(images, verbose=0)
    endpoints = keras.Model(model.input, [model.get_layer(name).output for name in ("block_5", "features")])
    for map_, expected in zip(maps.values(), endpoints.predict(images, verbose=0), strict=True):
        np.testing.assert_array_equal(map_, expected)
    pyramid.save(tmp_path / "pyramid.keras")
    again = keras.models.load_model(tmp_path / "pyramid.keras").predict(images, verbose=0)
    assert {name: map_.shape for name, map_ in again.items()} == {
        "stride_8": (2, 8, 8, 16),
        "stride_32": (2, 2, 2, 1280),
    }
    np.testing.assert_allclose(again["stride_8"], maps["stride_8"], rtol=1e-5)


def test_a_model_made_elsewhere() -> None:
    """The sum of a block is taken, not a convolution inside the next block that has the same stride."""
    x = images = keras.Input((32, 32, 3))
    for i, filters in enumerate((8, 16)):
        y = layers.Conv2D(filters, 1, name=f"reduce{i}")(x)
        y = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"stride{i}")(y)
        x = layers.Add(name=f"sum{i}")([y, layers.Conv2D(filters, 1, strides=2, name=f"short{i}")(x)])
    model = keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    pyramid = feature_pyramid(model, (2, 4))
    assert pyramid.channels == (8, 16)
    assert pyramid.output["stride_2"] is model.get_layer("sum0").output
    sequential = keras.Sequential([keras.Input((8, 8, 3)), layers.MaxPooling2D(), layers.Conv2D(5, 1)])
    assert feature_pyramid(sequential, [2]).channels == (5,)


def test_a_stride_that_the_network_has_not() -> None:
    model = blueprint(LeNet5)
    with pytest.raises(InputError, match=r"^lenet5 has maps of the strides 1, 2, 4; got 4, 8, 16, 32$"):
        feature_pyramid(model)
    with pytest.raises(InputError, match=r"^lenet5 has maps of the strides 1, 2, 4; got none$"):
        feature_pyramid(model, ())


# ------------------------------------------------------------------------------------------------------------- dilated


@pytest.mark.parametrize(
    ("build", "kwargs", "output_stride"),
    [
        (ResNet18, {"input_shape": (64, 64, 3)}, 8),
        (ResNet18, {"input_shape": (64, 64, 3), "numerics": "keras"}, 16),
        (ResNet20, {"input_shape": (32, 32, 3)}, 1),
        (ResNet50V2, {"input_shape": (64, 64, 3)}, 8),
        (ResNet50V2, {"input_shape": (64, 64, 3), "numerics": "keras"}, 16),
        (MobileNetV2, {"alpha": 0.35, "input_shape": (65, 65, 3)}, 8),
        (MobileNetV2, {"alpha": 0.35, "input_shape": (64, 64, 3), "numerics": "torch"}, 8),
        (Xception, {"input_shape": (71, 71, 3)}, 16),
        (ShuffleNetV2, {"scale": 0.5}, 16),
    ],
)
def test_the_network_is_found_in_its_dilated_copy(build, kwargs, output_stride) -> None:
    """Every `factor`-th position of the finer map is the network's own: weights, padding and dilation fit."""
    model = build(include_top=False, **kwargs)
    fine = dilated(model, output_stride)
    assert [layer.name for layer in fine.layers] == [layer.name for layer in model.layers]
    assert fine.count_params() == model.count_params()
    size = model.input_shape[1] or 64
    images = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
    coarse, finer = model.predict(images, verbose=0), fine.predict(images, verbose=0)
    factor = 2 if output_stride == 16 else 4
    np.testing.assert_allclose(finer[:, ::factor, ::factor], coarse, atol=1e-4 * np.abs(coarse).max())
    assert feature_pyramid(fine, [output_stride]).channels == (coarse.shape[-1],)


def test_strides_that_cannot_be_undone() -> None:
    with pytest.raises(InputError, match=r"^lenet5 ends at stride 4 and can end at 1, 2; got 3$"):
        dilated(LeNet5(), 3)
    with pytest.raises(
        InputError, match=r"^'block13_.*' pools at stride 16, and Keras has no dilated pool: end at 16 or"
    ):
        dilated(blueprint(Xception), 8)
    with pytest.raises(
        InputError, match=r"^lenet5 cannot end at stride 2: a layer fixes the size of its map; build"
    ):  # its dense layers fix the map's size
        dilated(LeNet5(), 2)
