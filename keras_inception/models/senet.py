"""Squeeze-and-excitation networks. Hu, Shen, Sun, 2017.

ResNet and ResNeXt with the module of Figure 3 in each residual path, reduction 16, and SENet-154. As in the authors'
release (Caffe) the stem's pool hangs over the edge instead of being padded, and SE-ResNet strides in the first 1x1.
"""

from dataclasses import replace
from functools import partial

from ..layers import TORCH, Conv, Gate, Path, Pool, Table, Tensor
from ..registry import Paper, register
from .resnet import BLOCKS, imagenet, stages, stream

PAPER = Paper(
    title="Squeeze-and-Excitation Networks",
    authors="Hu, Shen, Sun",
    year=2017,
    url="https://arxiv.org/abs/1709.01507",
)
CAFFE = replace(TORCH, padding="caffe")

SENET154_STEM: Table = {
    "conv1": Conv(64, 3, 2),  # 112 x 112 x 64
    "conv2": Conv(64, 3),  # 112 x 112 x 64
    "conv3": Conv(128, 3),  # 112 x 112 x 128
    "pool1": Pool("max", 3, 2),  # 56 x 56 x 128
}


def bottleneck(filters: int, strides: int) -> Path:
    """ResNeXt's of 64 groups, the channels of its first 1x1 halved."""
    return Path(Conv(filters // 2), Conv(filters, 3, strides, groups=64), Conv(filters, activation=None))


def projection(filters: int, strides: int) -> Conv:
    """A 3x3 where the map is halved: a 1x1 would see only every fourth pixel."""
    return Conv(filters, 3 if strides > 1 else 1, strides, activation=None)


def senet154(
    x: Tensor,
    *,
    se_ratio: int | None = 16,
    stochastic_depth: float = 0.0,
    stochastic_depth_per: Gate = "batch",
) -> Tensor:
    """SENet-154 as released: ResNet-152's depth in bottlenecks of 64 groups, with a deeper stem.

    `se_ratio` is the squeeze-and-excitation modules' reduction; without one there are none.

    `stochastic_depth` is the probability, 0 to less than 1, that training leaves out the last block's path; it grows
    linearly from the first. `stochastic_depth_per` says what one gate is drawn for: a "batch" or a "sample".
    """
    table = {**SENET154_STEM, **stages(BLOCKS[152], 128, 256, bottleneck, projection)}  # -> 7 x 7 x 2048
    return stream(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


EXCITED = {"se_ratio": 16}
CAFFE_1x1 = replace(CAFFE, bottleneck_stride="1x1")
RESNET_NUMERICS = {"caffe": CAFFE_1x1, "torch": TORCH, "tf2cv": replace(TORCH, bottleneck_stride="1x1")}
se_resnet = partial(imagenet, paper=PAPER, defaults=EXCITED, numerics=RESNET_NUMERICS)
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
    defaults={"dropout": 0.2},
    numerics={"caffe": CAFFE, "torch": TORCH},
)
