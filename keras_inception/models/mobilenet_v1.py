"""MobileNet v1. Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam, 2017."""

from typing import Literal

from ..errors import InputError
from ..layers import TF, TORCH, Conv, Depthwise, Table, Tensor, chain, check_multiplier, excited
from ..registry import Paper, register

PAPER = Paper(
    title="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    authors="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
    year=2017,
    url="https://arxiv.org/abs/1704.04861",
)

SEPARABLES = [  # Table 1
    # c, s     output
    (64, 1),  # 112 x 112 x 64
    (128, 2),  # 56 x 56 x 128
    (128, 1),  # 56 x 56 x 128
    (256, 2),  # 28 x 28 x 256
    (256, 1),  # 28 x 28 x 256
    (512, 2),  # 14 x 14 x 512
    (512, 1),  # 14 x 14 x 512
    (512, 1),  # 14 x 14 x 512
    (512, 1),  # 14 x 14 x 512
    (512, 1),  # 14 x 14 x 512
    (512, 1),  # 14 x 14 x 512
    (1024, 2),  # 7 x 7 x 1024
    (1024, 1),  # 7 x 7 x 1024
]


def table(alpha: float, activation: str) -> Table:
    """Table 1 at that width; the names are the checkpoint's."""

    def pointwise(c: int, kernel: int = 1, strides: int = 1) -> Conv:
        return Conv(max(8, int(c * alpha)), kernel, strides, activation=activation)

    layers: dict[str, Conv | Depthwise] = {"conv2d_0": pointwise(32, 3, 2)}  # 112 x 112 x 32
    for i, (c, s) in enumerate(SEPARABLES, 1):  # Figure 3
        layers[f"conv2d_{i}_depthwise"] = Depthwise(3, s, activation=activation)
        layers[f"conv2d_{i}_pointwise"] = pointwise(c)
    return layers


def backbone(
    x: Tensor, *, alpha: float = 1.0, activation: Literal["relu6", "relu"] = "relu6", se_ratio: int | None = None
) -> Tensor:
    """MobileNet v1, 4,231,976 parameters at alpha 1.

    Departures from the paper, both the released network's: ReLU6, where `activation="relu"` gives the paper's ReLU, and
    no layer is narrower than 8.

    `alpha` is the width multiplier, 0.01 to 4 (0.25, 0.5, 0.75 and 1 in the paper): every layer's channels are that
    many times the paper's, rounded down. The paper's other multiplier, of the resolution, is `input_shape`.

    `se_ratio` adds a squeeze-and-excitation module of that reduction behind each separable convolution.
    """
    check_multiplier(alpha, 0.01, 4, argument="alpha")
    if activation not in ("relu6", "relu"):
        raise InputError(f"activation must be 'relu6' or 'relu'; got {activation!r}")
    stem, *separables = table(alpha, activation).items()
    return chain(stem[1](x, name=stem[0]), excited(dict(separables), se_ratio, Conv))


MobileNetV1 = register(
    "MobileNetV1",
    "mobilenet_v1",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=4_231_976,
    macs=568_740_352,
    alias="MobileNet",
    numerics={"tf": TF, "torch": TORCH},
    defaults={"dropout": 1e-3},
)
MobileNet = MobileNetV1
