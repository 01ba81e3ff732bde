"""ShuffleNet v1. Zhang, Zhou, Lin, Sun, 2018."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..arguments import Argument, se_argument
from ..builder import register
from ..errors import InputError
from ..layers import (
    TF,
    TORCH,
    Branches,
    Conv,
    Depthwise,
    LayerSpec,
    Pool,
    Residual,
    SqueezeExcite,
    Tensor,
    activate,
    shuffle,
)
from ..registry import Paper

PAPER = Paper(
    title="ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
    authors="Zhang, Zhou, Lin, Sun",
    year=2018,
    url="https://arxiv.org/abs/1707.01083",
)

CHANNELS = {  # Table 1
    # g: stage 2, 3, 4
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
UNITS = (4, 8, 4)  # in stage 2, 3, 4
# The stem has 24 channels times the scale, except in these released networks: 12 and 36 do not divide into 8 groups,
# and only 24 at (1.5, 3) gives the paper's 292 M multiply-adds.
STEMS = {(0.5, 8): 16, (1.5, 3): 24, (1.5, 8): 24}  # (scale, groups)
SCALES = (0.25, 2)


@dataclass(frozen=True)
class Bottleneck:
    """Figure 2(b) and (c), the right path: reduce to a quarter of the channels, shuffle, filter, expand."""

    inner: int
    out: int
    groups: int
    strides: int
    first_groups: int

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x out."""
        x = Conv(self.inner, groups=self.first_groups)(x, name=f"{name}_compress")
        x = shuffle(x, self.groups, name=f"{name}_shuffle") if self.groups > 1 else x
        x = Depthwise(3, self.strides, activation=None)(x, name=f"{name}_depthwise")
        return Conv(self.out, groups=self.groups, activation=None)(x, name=name)


@dataclass(frozen=True)
class Unit:
    """Figure 2(b), which adds its input, or at stride 2 Figure 2(c), which concatenates its average-pooled input."""

    out: int
    groups: int
    strides: int
    first_groups: int
    se_ratio: int | None

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x out."""
        new = self.out - x.shape[-1] if self.strides == 2 else self.out
        path: LayerSpec = Bottleneck(self.out // 4, new, self.groups, self.strides, self.first_groups)
        if self.se_ratio is not None:
            path = SqueezeExcite(path, self.se_ratio)
        if self.strides == 1:
            return Residual(path)(x, name=name)
        return activate(Branches([path], [Pool("avg", 3, 2)])(x, name=f"{name}_concat"), "relu", name=name)


def widths(scale: float, groups: int) -> tuple[int, ...]:
    """Channels of the stem and of stages 2, 3 and 4."""
    stem = STEMS.get((scale, groups), round(24 * scale))
    return stem, *(round(c * scale) for c in CHANNELS[groups])


def indivisible(scale: float, groups: int) -> int | None:
    """The first number of channels that does not divide into the groups, or None."""
    stem, *stages = widths(scale, groups)
    return next((c for c in (stem, *stages, *(c // 4 for c in stages)) if c % groups), None)


def check(scale: float, groups: int) -> None:
    """Refuse a scale whose channels do not divide into the groups, and name the nearest that do."""
    if (channels := indivisible(scale, groups)) is None:
        return
    lowest, highest = (round(1000 * s) for s in SCALES)
    legal = [s / 1000 for s in range(lowest, highest + 1) if not indivisible(s / 1000, groups)]
    nearest = [*[s for s in legal if s < scale][-1:], *[s for s in legal if s > scale][:1]]
    raise InputError(
        f"scale={scale} gives {channels} channels, which do not divide into groups={groups}; "
        f"the nearest scales that do: {', '.join(map(str, nearest))}"
    )


def backbone(
    x: Tensor,
    *,
    scale: Annotated[
        float,
        Argument(
            'Width multiplier of the paper\'s "ShuffleNet s×". All channels must divide into the groups.',
            at_least=SCALES[0],
            at_most=SCALES[1],
        ),
    ] = 1.0,
    groups: Annotated[Literal[1, 2, 3, 4, 8], Argument("Groups of the pointwise convolutions.")] = 3,
    se_ratio: Annotated[int | None, se_argument("in each unit's path, before the addition")] = None,
) -> Tensor:
    """ShuffleNet v1, 1,865,728 parameters at scale 1 with 3 groups.

    The stem follows the authors' release where that differs: 24 channels at scale 1.5 with 3 or 8 groups, 16 at scale
    0.5 with 8. A stride-2 unit puts its new channels before the averaged ones, where the release puts them after: the
    same network with its channels in another order. By default padding and batch norm are PyTorch's.
    """
    check(scale, groups)
    stem, *stages = widths(scale, groups)
    x = Conv(stem, 3, 2)(x, name="conv1")  # 112 x 112 x 24
    x = Pool("max", 3, 2)(x, name="maxpool")  # 56 x 56 x 24
    for stage, (out, n) in enumerate(zip(stages, UNITS, strict=True), 2):  # 28 x 28, 14 x 14, 7 x 7
        for i in range(1, n + 1):
            # The very first pointwise convolution is not grouped: its input is too narrow (section 3.2).
            first_groups = 1 if (stage, i) == (2, 1) else groups
            unit = Unit(out, groups, 2 if i == 1 else 1, first_groups, se_ratio)
            x = unit(x, name=f"stage{stage}_{i}")
    return x


ShuffleNetV1 = register(
    "ShuffleNetV1",
    "shufflenet_v1",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=1_865_728,
    macs=137_460_672,
    numerics={"torch": TORCH, "tf": TF},
)
