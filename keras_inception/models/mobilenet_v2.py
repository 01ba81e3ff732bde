"""MobileNet v2. Sandler, Howard, Zhu, Zhmoginov, Chen, 2018."""

from dataclasses import dataclass, replace
from typing import Annotated

from ..arguments import Argument, se_argument
from ..builder import register
from ..layers import TF, TORCH, Conv, Depthwise, LayerSpec, Residual, SqueezeExcite, Tensor, chain, make_divisible
from ..registry import Paper

PAPER = Paper(
    title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    authors="Sandler, Howard, Zhu, Zhmoginov, Chen",
    year=2018,
    url="https://arxiv.org/abs/1801.04381",
)

BOTTLENECKS = [  # Table 2
    # t,  c, n, s    output
    (1, 16, 1, 1),  # 112 x 112 x 16
    (6, 24, 2, 2),  # 56 x 56 x 24
    (6, 32, 3, 2),  # 28 x 28 x 32
    (6, 64, 4, 2),  # 14 x 14 x 64
    (6, 96, 3, 1),  # 14 x 14 x 96
    (6, 160, 3, 2),  # 7 x 7 x 160
    (6, 320, 1, 1),  # 7 x 7 x 320
]


@dataclass(frozen=True)
class Bottleneck:
    """Table 1: expand by `t`, filter each channel, project to `c` without an activation."""

    t: int
    c: int
    s: int
    se_ratio: int | None = None

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x c."""
        specs: dict[str, LayerSpec] = (
            {f"{name}_expand": Conv(self.t * x.shape[-1], activation="relu6")} if self.t > 1 else {}
        )
        depthwise = Depthwise(3, self.s, activation="relu6")
        specs |= {
            f"{name}_depthwise": SqueezeExcite(depthwise, self.se_ratio) if self.se_ratio is not None else depthwise,
            name: Conv(self.c, activation=None),
        }
        return chain(x, specs)


def backbone(
    x: Tensor,
    *,
    alpha: Annotated[
        float,
        Argument(
            "Width multiplier (0.35 to 1.4 in the paper): every layer has that many times the paper's channels, "
            "rounded to a multiple of 8, but the last convolution is never narrower than 1,280.",
            at_least=0.01,
            at_most=4,
        ),
    ] = 1.0,
    se_ratio: Annotated[int | None, se_argument("after each bottleneck's depthwise convolution")] = None,
) -> Tensor:
    """MobileNet v2, 3,504,872 parameters at alpha 1.

    Squeeze-and-excitation follows the depthwise convolution, where the map is widest, as in MobileNetV3 (Howard et al.,
    2019).
    """
    x = Conv(make_divisible(32 * alpha), 3, 2, activation="relu6")(x, name="stem")  # 112 x 112 x 32
    blocks = [(t, make_divisible(c * alpha), s if i == 0 else 1) for t, c, n, s in BOTTLENECKS for i in range(n)]
    for i, (t, c, s) in enumerate(blocks):
        block = Bottleneck(t, c, s, se_ratio)
        spec = Residual(block, activation=None) if s == 1 and x.shape[-1] == c else block
        x = spec(x, name=f"block_{i}")
    return Conv(make_divisible(1280 * max(1.0, alpha)), activation="relu6")(x, name="features")  # 7 x 7 x 1280


MobileNetV2 = register(
    "MobileNetV2",
    "mobilenet_v2",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=3_504_872,
    macs=300_774_272,
    numerics={"tf": replace(TF, momentum=0.999), "torch": TORCH},
)
