"""MSDNet: multi-scale dense networks, which can stop early. Huang, Chen, Li, Wu, van der Maaten, Weinberger, 2018."""

import math
from collections.abc import Sequence
from functools import partial

from keras.layers import Concatenate, Dense, GlobalAveragePooling2D

from ..errors import InputError
from ..layers import TORCH, Conv, Pool, Table, Tensor, chain
from ..registry import Paper, register

PAPER = Paper(
    title="Multi-Scale Dense Networks for Resource Efficient Image Classification",
    authors="Huang, Chen, Li, Wu, van der Maaten, Weinberger",
    year=2018,
    url="https://arxiv.org/abs/1703.09844",
)

WIDTHS = (1, 2, 4, 4)  # of the scales, finest first: what channels and bottlenecks are multiplied by
BLOCKS = 5  # on ImageNet

Maps = dict[int, Tensor]  # scale, 1 is the finest -> its map


def bottleneck(x: Tensor, filters: int, scale: int, strides: int, *, name: str) -> Tensor:
    """1x1, 3x3 from a map of that scale: N x H x W x C -> N x H/s x W/s x filters."""
    inner = min(x.shape[-1], WIDTHS[scale - 1] * filters)
    words: Table = {f"{name}_reduce": Conv(inner), name: Conv(filters, 3, strides)}
    return chain(x, words)


def grow(maps: Maps, scale: int, growth: int, *, name: str) -> Tensor:
    """One layer at one scale, section 4: what was there, then new features of the finer map, then of this one."""
    x, finer = maps[scale], maps.get(scale - 1)
    new = WIDTHS[scale - 1] * growth
    if finer is None:
        return Concatenate(name=name)([x, bottleneck(x, new, scale, 1, name=f"{name}_normal")])
    down = bottleneck(finer, new // 2, scale - 1, 2, name=f"{name}_down")
    return Concatenate(name=name)([x, down, bottleneck(x, new // 2, scale, 1, name=f"{name}_normal")])


def dense_blocks(x: Tensor, channels: int, growth: int, scales: int, steps: Sequence[int]) -> Tensor:
    """All layers, from the finest first map to the coarsest last one; behind `steps[b - 1]` more of them, `block_b`.

    The scales are dropped one by one, the finest first, at equal distances in depth. Where one is, a 1x1 convolution
    halves the channels of the others (section 4, "Network reduction").
    """
    maps: Maps = {1: x}
    for scale in range(2, scales + 1):
        maps[scale] = Conv(channels * WIDTHS[scale - 1], 3, 2)(maps[scale - 1], name=f"scale_{scale}")
    depth = sum(steps)
    life = math.ceil(depth / scales)  # of the finest scale, in layers, and then of each next one
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
    """An exit that keeps its map's channels."""
    return classify(x, x.shape[-1], classes, name)


def cifar_exit(x: Tensor, classes: int, name: str = "last_exit") -> Tensor:
    """An exit of 128 channels."""
    return classify(x, 128, classes, name)


def backbone(x: Tensor, *, step: int = 4, base: int | None = None) -> Tensor:
    """MSDNet for ImageNet, 23,958,440 parameters at step 4 with all five exits.

    A network that can stop early: it has five classifiers, one behind every block of layers, and returns them all, as a
    dict of "exit_1" to "exit_4" and "predictions", which is the fifth and last. All of them are trained, with equal
    weight. `exits=False` gives the last one alone, as a plain classifier.

    `step` is how many layers lie between two exits (4, 6 or 7 in the paper) and `base` how many before the first:
    `step` by default, as in the authors' PyTorch release and its weights; step + 3 as in the paper. As in that release
    the stem has 32 channels, and a bias. Batch norm and padding are PyTorch's.
    """
    for name, value in (("step", step), ("base", base)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 20):
            raise InputError(f"{name} is a number of layers, 1 to 20; got {value!r}")
    x = Conv(32, 7, 2, bias=True)(x, name="stem")  # 112 x 112 x 32
    x = Pool("max", 3, 2)(x, name="stem_pool")  # 56 x 56 x 32
    return dense_blocks(x, 32, 16, 4, [base or step] + [step] * (BLOCKS - 1))


def cifar_backbone(x: Tensor, *, steps: Sequence[int]) -> Tensor:
    """MSDNet for CIFAR, with an exit behind every block of layers.

    It returns all of them, as a dict of "exit_1", "exit_2" ... and "predictions", which is the last. All are trained,
    with equal weight. `exits=False` gives the last one alone, as a plain classifier.

    MSDNetCIFAR, for anytime prediction, has 24 layers and exits behind layers 4, 6, 8 ... 24. MSDNetCIFARBudget, for a
    budget that a batch shares, has 28 layers and exits behind layers 1, 3, 6, 10, 15, 21 and 28.
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
