"""Figures that articles give of Inception, computed to the last digit; docs/claims.md has them as printed."""

from fractions import Fraction

import keras
import pytest

from keras_inception.analysis.cost import blueprint, layer_costs, total
from keras_inception.layers import Branches, Conv, LayerSpec, chain
from keras_inception.registry import get


def macs(*specs: LayerSpec, channels: int, size: int = 28) -> int:
    inputs = keras.Input((size, size, channels))
    return total(keras.Model(inputs, chain(inputs, specs, name="x"))).macs


def network(name: str) -> keras.Model:
    return blueprint(get(name).build)


@pytest.fixture(scope="module")
def googlenet() -> keras.Model:
    return network("googlenet")


def test_a_5x5_convolution_costs_120_million_multiplications() -> None:
    assert macs(Conv(32, 5), channels=192) == 120_422_400


def test_with_a_bottleneck_of_16_it_costs_a_tenth() -> None:
    assert macs(Conv(16), Conv(32, 5), channels=192) == 12_443_648


def test_the_example_module_makes_256_channels(googlenet: keras.Model) -> None:
    """64 + 128 + 32 + 32, on 28 x 28 x 192: module (3a) of GoogLeNet."""
    concatenate = googlenet.get_layer("mixed_3b")
    assert concatenate.input[0].shape[1:3] == (28, 28)
    assert [branch.shape[-1] for branch in concatenate.input] == [64, 128, 32, 32]
    assert concatenate.output.shape[1:] == (28, 28, 256)


@pytest.mark.parametrize(
    ("factors", "whole", "share", "percent"),
    [
        ([Conv(64, 3), Conv(64, 3)], Conv(64, 5), Fraction(18, 25), 72),
        ([Conv(64, (1, 3)), Conv(64, (3, 1))], Conv(64, 3), Fraction(6, 9), 67),
    ],
    ids=["3x3 3x3 for 5x5", "1x3 3x1 for 3x3"],
)
def test_what_a_factorised_convolution_costs(
    factors: list[LayerSpec], whole: LayerSpec, share: Fraction, percent: int
) -> None:
    found = Fraction(macs(*factors, channels=64), macs(whole, channels=64))
    assert found == share
    assert round(100 * found) == percent


def test_the_fan_out_costs_as_much_as_the_chain() -> None:
    """Figure 7 of v3 has parallel 1x3 and 3x1, for twice the channels."""
    fan = Branches([Conv(64, (1, 3))], [Conv(64, (3, 1))])
    assert macs(fan, channels=64) == macs(Conv(64, (1, 3)), Conv(64, (3, 1)), channels=64)


def test_googlenet_beside_alexnet(googlenet: keras.Model) -> None:
    """The paper's "12 times fewer parameters" is between round numbers, 60 and 5 million: what is built has 8.7.

    Without the classifier, the only dense layer there is, it has 10.2 times fewer than AlexNet.
    """
    ours, alexnet = total(googlenet).trainable, total(network("alexnet")).trainable
    assert (ours, alexnet) == (6_998_552, 60_965_224)
    assert round(alexnet / ours, 2) == 8.71
    classifier = next(row.trainable for row in layer_costs(googlenet) if row.name == "logits")
    assert round(alexnet / (ours - classifier), 1) == 10.2


def test_googlenet_costs_one_and_a_half_billion_multiply_adds(googlenet: keras.Model) -> None:
    assert total(googlenet).macs == 1_582_671_872
    assert round(total(network("inception_v1_bn")).macs / 1e9, 1) == 1.5  # as released: 3x3 for 5x5
