"""MSDNet: multi-scale dense networks, which can stop early. Huang, Chen, Li, Wu, van der Maaten, Weinberger, 2018."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from keras.layers import Concatenate, Dense, GlobalAveragePooling2D

from ..arguments import Argument
from ..builder import register
from ..layers import TORCH, Conv, LayerTable, Pool, Tensor, chain
from ..registry import Paper

PAPER = Paper(
    title="Multi-Scale Dense Networks for Resource Efficient Image Classification",
    authors="Huang, Chen, Li, Wu, van der Maaten, Weinberger",
    year=2018,
    url="https://arxiv.org/abs/1703.09844",
)

WIDTHS = (1, 2, 4, 4)  # width multipliers of the scales, finest first
BLOCKS = 5  # on ImageNet

Maps = dict[int, Tensor]  # scale, 1 is the finest -> its map


def bottleneck(x: Tensor, filters: int, scale: int, strides: int, *, name: str) -> Tensor:
    """1x1 and 3x3 convolution on a map of that scale: N x H x W x C -> N x H/s x W/s x filters."""
    inner = min(x.shape[-1], WIDTHS[scale - 1] * filters)
    table: LayerTable = {f"{name}_reduce": Conv(inner), name: Conv(filters, 3, strides)}
    return chain(x, table)


def grow(maps: Maps, scale: int, growth: int, *, name: str) -> Tensor:
    """One layer at one scale, section 4: the old features, new ones of the finer map, new ones of this map."""
    x, finer = maps[scale], maps.get(scale - 1)
    new = WIDTHS[scale - 1] * growth
    if finer is None:
        return Concatenate(name=name)([x, bottleneck(x, new, scale, 1, name=f"{name}_normal")])
    down = bottleneck(finer, new // 2, scale - 1, 2, name=f"{name}_down")
    return Concatenate(name=name)([x, down, bottleneck(x, new // 2, scale, 1, name=f"{name}_normal")])


def dense_blocks(x: Tensor, channels: int, growth: int, scales: int, steps: Sequence[int]) -> Tensor:
    """All layers, from the finest first map to the coarsest last one; `block_b` ends after `steps[b - 1]` more layers.

    The scales are dropped one by one, the finest first, at equal distances in depth. When one is dropped, a 1x1
    convolution halves the channels of the others (section 4, "Network reduction").
    """
    maps: Maps = {1: x}
    for scale in range(2, scales + 1):
        maps[scale] = Conv(channels * WIDTHS[scale - 1], 3, 2)(maps[scale - 1], name=f"scale_{scale}")
    depth = sum(steps)
    life = math.ceil(depth / scales)  # layers until the finest scale is dropped, then until each next one
    blocks = {(sum(steps[:b]), scales): f"block_{b}" for b in range(1, len(steps) + 1)}
    for layer in range(1, depth + 1):
        dropped = (layer - 1) // life
        drops = dropped > max(0, layer - 2) // life
        grown: Maps = {}
        for scale in range(dropped + 1, scales + 1):
            place = f"layer_{layer}_scale_{scale}"
            name = place if drops else blocks.get((layer, scale), place)
            grown[scale] = grow(maps, scale, growth, name=name)
        maps, channels = grown, channels + growth
        if drops:
            channels //= 2
            for scale, grown_map in grown.items():
                name = blocks.get((layer, scale), f"transition_{layer}_scale_{scale}")
                maps[scale] = Conv(channels * WIDTHS[scale - 1])(grown_map, name=name)
    return maps[scales]


def classify(x: Tensor, width: int, classes: int, name: str) -> Tensor:
    """Two strided convolutions of that width and a linear layer: N x H x W x C -> N x classes, logits."""
    x = Conv(width, 3, 2)(x, name=f"{name}_conv1")
    x = Conv(width, 3, 2)(x, name=f"{name}_conv2")
    return Dense(classes, name=f"{name}_logits")(GlobalAveragePooling2D(name=f"{name}_pool")(x))


def imagenet_exit(x: Tensor, classes: int, name: str = "last_exit") -> Tensor:
    """An exit whose convolutions keep the map's channels."""
    return classify(x, x.shape[-1], classes, name)


def cifar_exit(x: Tensor, classes: int, name: str = "last_exit") -> Tensor:
    """An exit whose convolutions have 128 channels."""
    return classify(x, 128, classes, name)


def backbone(
    x: Tensor,
    *,
    step: Annotated[
        int, Argument("Layers of each of the five blocks: 4, 6 or 7 in the paper.", at_least=1, at_most=20)
    ] = 4,
    base: Annotated[
        int | None,
        Argument("Layers of the first block; None is `step`, the paper's is step + 3.", at_least=1, at_most=20),
    ] = None,
) -> Tensor:
    """MSDNet for ImageNet, 23,958,440 parameters at step 4 with all five exits.

    A network that can stop early: it has five classifiers, one after every block of layers. The model returns all of
    them as a dict of "exit_1" to "exit_4" and "predictions", which is the fifth and last. All are trained, with equal
    weight.

    By default all blocks have the same number of layers, as in the authors' PyTorch release and its weights; in the
    paper the first has 3 more. As in that release the stem has 32 channels and a bias. Batch norm and padding are
    PyTorch's.
    """
    x = Conv(32, 7, 2, bias=True)(x, name="stem")  # 112 x 112 x 32
    x = Pool("max", 3, 2)(x, name="stem_pool")  # 56 x 56 x 32
    return dense_blocks(x, 32, 16, 4, [base or step] + [step] * (BLOCKS - 1))


def cifar_backbone(x: Tensor, *, steps: Sequence[int]) -> Tensor:
    """MSDNet for CIFAR, with an exit after every block of layers.

    The model returns all exits as a dict of "exit_1", "exit_2" ... and "predictions", which is the last. All are
    trained, with equal weight.

    MSDNetCIFAR, for anytime prediction, has 24 layers and exits after layers 4, 6, 8 ... 24. MSDNetCIFARBudget, for a
    budget that a batch shares, has 28 layers and exits after layers 1, 3, 6, 10, 15, 21 and 28.
    """
    return dense_blocks(Conv(16, 3)(x, name="stem"), 16, 6, 3, steps)  # 32 x 32 x 16


MSDNet = register(
    "MSDNet",
    "msdnet",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=23_958_440,
    macs=1_355_606_016,
    head=imagenet_exit,
    exits={f"block_{b}": imagenet_exit for b in range(1, BLOCKS)},
    numerics={"torch": TORCH},
)

cifar = partial(
    register,
    backbone=cifar_backbone,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=16,
    head=cifar_exit,
    numerics={"torch": TORCH},
    classes=10,
)

MSDNetCIFAR = cifar(
    "MSDNetCIFAR",
    "msdnet_cifar",
    parameters=5_470_050,
    macs=133_973_760,
    exits={f"block_{b}": cifar_exit for b in range(1, 11)},
    steps=(4, *(2,) * 10),
)
MSDNetCIFARBudget = cifar(
    "MSDNetCIFARBudget",
    "msdnet_cifar_budget",
    parameters=3_885_394,
    macs=136_484_608,
    exits={f"block_{b}": cifar_exit for b in range(1, 7)},
    steps=(1, 2, 3, 4, 5, 6, 7),
)
