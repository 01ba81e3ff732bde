"""Squeeze-and-excitation networks. Hu, Shen, Sun, 2017.

ResNet and ResNeXt with the module of Figure 3 in each residual path, reduction 16, and SENet-154. As in the authors'
release (Caffe) the last window of the stem's pool extends past the edge instead of the map being padded, and SE-ResNet
strides in the first 1x1.
"""

from dataclasses import replace
from functools import partial

from ..arguments import StochasticDepth, StochasticDepthPer
from ..builder import register
from ..layers import TORCH, Chain, Conv, LayerTable, Pool, Tensor
from ..registry import Paper
from .resnet import BLOCKS, SERatio, imagenet, residual_chain, stages

PAPER = Paper(
    title="Squeeze-and-Excitation Networks",
    authors="Hu, Shen, Sun",
    year=2017,
    url="https://arxiv.org/abs/1709.01507",
)
CAFFE = replace(TORCH, padding="caffe")

SENET154_STEM: LayerTable = {
    "conv1": Conv(64, 3, 2),  # 112 x 112 x 64
    "conv2": Conv(64, 3),  # 112 x 112 x 64
    "conv3": Conv(128, 3),  # 112 x 112 x 128
    "pool1": Pool("max", 3, 2),  # 56 x 56 x 128
}


def bottleneck(filters: int, strides: int) -> Chain:
    """ResNeXt's bottleneck of 64 groups, with half the channels in its first 1x1."""
    return Chain(Conv(filters // 2), Conv(filters, 3, strides, groups=64), Conv(filters, activation=None))


def projection(filters: int, strides: int) -> Conv:
    """A 3x3 where the map is halved: a 1x1 would read only every fourth pixel."""
    return Conv(filters, 3 if strides > 1 else 1, strides, activation=None)


def senet154(
    x: Tensor,
    *,
    se_ratio: SERatio = 16,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """SENet-154 as released: ResNet-152's depth in bottlenecks of 64 groups, with a deeper stem."""
    table = {**SENET154_STEM, **stages(BLOCKS[152], 128, 256, bottleneck, projection)}  # -> 7 x 7 x 2048
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


CAFFE_1x1 = replace(CAFFE, bottleneck_stride="1x1")
RESNET_NUMERICS = {"caffe": CAFFE_1x1, "torch": TORCH, "tf2cv": replace(TORCH, bottleneck_stride="1x1")}
se_resnet = partial(imagenet, paper=PAPER, se_ratio=16, numerics=RESNET_NUMERICS)
se_resnext = partial(se_resnet, numerics={"caffe": CAFFE, "torch": TORCH}, groups=32, width=2)

SEResNet50 = se_resnet("SEResNet50", "seresnet50", depth=50, parameters=28_088_024, macs=3_860_488_192)
SEResNet101 = se_resnet("SEResNet101", "seresnet101", depth=101, parameters=49_326_872, macs=7_574_937_600)
SEResNet152 = se_resnet("SEResNet152", "seresnet152", depth=152, parameters=66_821_848, macs=11_288_993_792)
SEResNeXt50_32x4d = se_resnext(
    "SEResNeXt50_32x4d", "seresnext50_32x4d", depth=50, parameters=27_559_896, macs=4_232_994_816
)
SEResNeXt101_32x4d = se_resnext(
    "SEResNeXt101_32x4d", "seresnext101_32x4d", depth=101, parameters=48_955_416, macs=7_974_739_968
)
SENet154 = register(
    "SENet154",
    "senet154",
    senet154,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=115_088_984,
    macs=20_688_363_520,
    dropout=0.2,
    numerics={"caffe": CAFFE, "torch": TORCH},
)
