"""Wide residual networks. Zagoruyko, Komodakis, 2016.

The CIFAR networks are Table 1's: B(3, 3) blocks with batch norm and ReLU before each convolution. The ImageNet networks
are ResNets whose bottlenecks have a 3x3 of twice the width, as the authors released them.
"""

from functools import partial
from typing import Annotated

from .. import layers
from ..arguments import StochasticDepth, StochasticDepthPer, dropout_argument
from ..builder import register
from ..layers import TORCH, Chain, LayerSpec, LayerTable, Norm, Tensor, drop, pooled_head
from ..registry import Paper
from .resnet import SERatio, imagenet, residual_chain, stages
from .resnet_v2 import preactivated

PAPER = Paper(
    title="Wide Residual Networks",
    authors="Zagoruyko, Komodakis",
    year=2016,
    url="https://arxiv.org/abs/1605.07146",
)

Conv = partial(layers.Conv, activation=None, batch_norm=False, bias=False)


def basic(filters: int, strides: int, *, dropout: float) -> Chain:
    """Figure 1(d), starting at its first convolution."""
    return Chain(Conv(filters, 3, strides), Norm(), partial(drop, rate=dropout), Conv(filters, 3))


def projection(filters: int, strides: int) -> LayerSpec:
    """A 1x1 convolution where the shape changes."""
    return Conv(filters, 1, strides)


def cifar(
    x: Tensor,
    *,
    depth: int,
    width: int,
    dropout: Annotated[float, dropout_argument("between the convolutions of each block; the paper's is 0.3")] = 0.0,
    se_ratio: SERatio = None,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """The wide residual network of Table 1, for images of 32 x 32, `depth` layers deep and `width` times as wide.

    Where the shape changes, a projection reads the activated map; elsewhere the shortcut is the identity.
    """
    blocks = (depth - 4) // 6
    path = partial(basic, dropout=dropout)
    table: LayerTable = {
        "conv1": Conv(16, 3),  # 32 x 32 x 16
        **preactivated(stages((blocks,) * 3, 16, 16 * width, path, projection)),  # 8 x 8 x 64k
        "norm": Norm(),
    }
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


wide_cifar = partial(
    register,
    backbone=cifar,
    head=pooled_head,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=4,
    classes=10,
    numerics={"torch": TORCH},
)
wide = partial(imagenet, paper=PAPER, numerics={"torch": TORCH}, width=2)

WideResNet28_10 = wide_cifar(
    "WideResNet28_10", "wide_resnet28_10", depth=28, width=10, parameters=36_479_194, macs=5_243_328_768
)
WideResNet16_8 = wide_cifar(
    "WideResNet16_8", "wide_resnet16_8", depth=16, width=8, parameters=10_961_370, macs=1_548_145_664
)
WideResNet40_4 = wide_cifar(
    "WideResNet40_4", "wide_resnet40_4", depth=40, width=4, parameters=8_949_210, macs=1_298_582_016
)
WideResNet50_2 = wide("WideResNet50_2", "wide_resnet50_2", depth=50, parameters=68_883_240, macs=11_398_021_120)
WideResNet101_2 = wide("WideResNet101_2", "wide_resnet101_2", depth=101, parameters=126_886_696, macs=22_753_050_624)
