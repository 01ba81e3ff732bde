"""MobileNet v1. Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam, 2017."""

from typing import Annotated, Literal

from ..arguments import Argument, se_argument
from ..builder import register
from ..layers import TF, TORCH, Conv, Depthwise, LayerTable, Tensor, chain, with_squeeze_excite
from ..registry import Paper

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


def table(alpha: float, activation: str) -> LayerTable:
    """Table 1 at that width, with the checkpoint's names."""

    def pointwise(c: int, kernel: int = 1, strides: int = 1) -> Conv:
        return Conv(max(8, int(c * alpha)), kernel, strides, activation=activation)

    layers: dict[str, Conv | Depthwise] = {"conv2d_0": pointwise(32, 3, 2)}  # 112 x 112 x 32
    for i, (c, s) in enumerate(SEPARABLES, 1):  # Figure 3
        layers[f"conv2d_{i}_depthwise"] = Depthwise(3, s, activation=activation)
        layers[f"conv2d_{i}_pointwise"] = pointwise(c)
    return layers


def backbone(
    x: Tensor,
    *,
    alpha: Annotated[
        float,
        Argument(
            "Width multiplier (0.25, 0.5, 0.75 and 1 in the paper): every layer has that many times the paper's "
            "channels, rounded down. The paper's other multiplier, of the resolution, is `input_shape`.",
            at_least=0.01,
            at_most=4,
        ),
    ] = 1.0,
    activation: Annotated[
        Literal["relu6", "relu"], Argument("The released networks have ReLU6, the paper ReLU.")
    ] = "relu6",
    se_ratio: Annotated[int | None, se_argument("after each separable convolution")] = None,
) -> Tensor:
    """MobileNet v1, 4,231,976 parameters at alpha 1.

    Departures from the paper, both the released network's: the activation is ReLU6, and no layer is narrower than 8.
    """
    stem, *separables = table(alpha, activation).items()
    return chain(stem[1](x, name=stem[0]), with_squeeze_excite(dict(separables), se_ratio, Conv))


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
    dropout=1e-3,
)
MobileNet = MobileNetV1
