"""ResNeXt. Xie, Girshick, Dollár, Tu, He, 2016.

ResNet's stages with grouped bottlenecks. Cardinality and width of a group are Table 1's: C groups of d channels at
conv2, where d doubles from stage to stage, so the 3x3 is C d / 64 times as wide as ResNet's. The 3x3 strides, as in the
authors' release.
"""

from dataclasses import replace
from functools import partial

from ..layers import TORCH
from ..registry import Paper
from .resnet import imagenet

PAPER = Paper(
    title="Aggregated Residual Transformations for Deep Neural Networks",
    authors="Xie, Girshick, Dollár, Tu, He",
    year=2016,
    url="https://arxiv.org/abs/1611.05431",
)

KERAS = replace(TORCH, epsilon=1.001e-5, momentum=0.99)

resnext = partial(imagenet, paper=PAPER, numerics={"torch": TORCH, "keras": KERAS})
c32d4 = partial(resnext, groups=32, width=32 * 4 // 64)
c64d4 = partial(resnext, groups=64, width=64 * 4 // 64)

ResNeXt50_32x4d = c32d4("ResNeXt50_32x4d", "resnext50_32x4d", depth=50, parameters=25_028_904, macs=4_230_479_872)
ResNeXt101_32x4d = c32d4("ResNeXt101_32x4d", "resnext101_32x4d", depth=101, parameters=44_177_704, macs=7_969_996_800)
ResNeXt101_64x4d = c64d4("ResNeXt101_64x4d", "resnext101_64x4d", depth=101, parameters=83_455_272, macs=15_460_270_080)
