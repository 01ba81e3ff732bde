"""ShuffleNet v2. Ma, Zhang, Zheng, Sun, 2018."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from keras.layers import Concatenate, Cropping2D, Reshape

from ..arguments import Argument, se_argument
from ..builder import register
from ..layers import TF, TORCH, Chain, Conv, Depthwise, LayerSpec, Pool, SqueezeExcite, Tensor, as_map, shuffle
from ..registry import Paper

PAPER = Paper(
    title="ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
    authors="Ma, Zhang, Zheng, Sun",
    year=2018,
    url="https://arxiv.org/abs/1807.11164",
)

CHANNELS = {  # Table 5
    # scale: stage 2, conv 5; stages 3 and 4 are twice and four times as wide as stage 2
    0.5: (48, 1024),
    1.0: (116, 1024),
    1.5: (176, 1024),
    2.0: (244, 2048),
}
UNITS = (4, 8, 4)  # in stage 2, 3, 4


def split(x: Tensor, *, name: str) -> tuple[Tensor, Tensor]:
    """The first and the second half of the channels: N x H x W x 2C -> twice N x H x W x C.

    The halves are the two columns of an HW x 2 map, cut out by Cropping2D: built-in layers only, no rank above 4. In a
    .tflite file they are unit-stride slices, which XNNPACK delegates with the rest and runs as fast as a SPLIT.
    """
    pixels = Reshape((-1, 2, x.shape[-1] // 2), name=f"{name}_halves")(x)

    def half(columns: tuple[int, int], name: str) -> Tensor:
        return as_map(Cropping2D(((0, 0), columns), name=f"{name}_cut")(pixels), x, name=name)

    return half((0, 1), f"{name}_left"), half((1, 0), f"{name}_right")


@dataclass(frozen=True)
class Unit:
    """Figure 3(c), or at stride 2 Figure 3(d)."""

    out: int
    strides: int
    se_ratio: int | None

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x out."""
        pointwise, depthwise = Conv(self.out // 2), Depthwise(3, self.strides, activation=None)
        path: LayerSpec = Chain(pointwise, depthwise, pointwise)
        if self.se_ratio is not None:
            path = SqueezeExcite(path, self.se_ratio)
        if self.strides == 1:
            left, right = split(x, name=f"{name}_split")
        else:
            left, right = Chain(depthwise, pointwise)(x, name=f"{name}_left"), x
        x = Concatenate(name=f"{name}_concat")([left, path(right, name=f"{name}_right")])
        return shuffle(x, 2, name=name)


def widths(scale: float) -> tuple[int, int]:
    """Channels of stage 2 and of conv 5: Table 5, linear between its columns, in steps of 4."""
    columns = zip(*CHANNELS.values(), strict=True)
    stage2, conv5 = (4 * round(float(np.interp(scale, list(CHANNELS), column)) / 4) for column in columns)
    return stage2, conv5


def backbone(
    x: Tensor,
    *,
    scale: Annotated[
        float,
        Argument(
            "Width multiplier of the paper's \"ShuffleNet v2 s×\". The widths are Table 5's, which are not "
            "proportional to it; those of a scale between two columns are interpolated.",
            at_least=min(CHANNELS),
            at_most=max(CHANNELS),
        ),
    ] = 1.0,
    se_ratio: Annotated[
        int | None, se_argument("in each unit's right path, as in the paper's SE-ShuffleNet v2")
    ] = None,
) -> Tensor:
    """ShuffleNet v2, 2,278,604 parameters at scale 1.

    Both paths of a stride-2 unit give half of its channels, as in torchvision and Figure 3(d); in the authors' release
    the left path keeps the number of its input. By default padding and batch norm are PyTorch's.
    """
    stage2, conv5 = widths(scale)
    x = Conv(24, 3, 2)(x, name="conv1")  # 112 x 112 x 24
    x = Pool("max", 3, 2)(x, name="maxpool")  # 56 x 56 x 24
    for stage, n in enumerate(UNITS, 2):  # 28 x 28 x 116, 14 x 14 x 232, 7 x 7 x 464
        for i in range(1, n + 1):
            unit = Unit(stage2 * 2 ** (stage - 2), 2 if i == 1 else 1, se_ratio)
            x = unit(x, name=f"stage{stage}_{i}")
    return Conv(conv5)(x, name="conv5")  # 7 x 7 x 1024


ShuffleNetV2 = register(
    "ShuffleNetV2",
    "shufflenet_v2",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=2_278_604,
    macs=144_907_992,
    numerics={"torch": TORCH, "tf": TF},
)
