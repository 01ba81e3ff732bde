"""ResNet v2: batch norm and ReLU precede the convolutions. He, Zhang, Ren, Sun, 2016.

The residual unit is Figure 4(e)'s. Widths and numbers of blocks are those of ResNet. ResNet-200 has 16 more blocks than
ResNet-152, on the map of 28 x 28.
"""

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from .. import layers
from ..arguments import Argument, StochasticDepth, StochasticDepthPer
from ..builder import register
from ..layers import (
    TORCH,
    Chain,
    LayerSpec,
    LayerTable,
    Norm,
    Pool,
    Residual,
    SignedPool,
    Tensor,
    current_numerics,
    pooled_head,
)
from ..registry import Paper
from . import resnet
from .resnet import Block, SERatio, imagenet, residual_chain, stages

PAPER = Paper(
    title="Identity Mappings in Deep Residual Networks",
    authors="He, Zhang, Ren, Sun",
    year=2016,
    url="https://arxiv.org/abs/1603.05027",
)


# ------------------------------------------------------------------------------------------------------------- blocks


def Conv(filters: int, kernel: int = 1, strides: int = 1, *, bias: bool = False) -> layers.Conv:
    """A convolution alone; `bias` is of one that no batch norm follows, for the numerics that have it."""
    bias = bias and current_numerics().unnormed_bias
    return layers.Conv(filters, kernel, strides, activation=None, batch_norm=False, bias=bias)


def basic(filters: int, strides: int) -> Chain:
    """Figure 4(e), starting at its first convolution."""
    return Chain(Conv(filters, 3, strides), Norm(), Conv(filters, 3, bias=True))


def bottleneck(filters: int, strides: int) -> Chain:
    """The same with a 1x1, a 3x3 and a 1x1, as in section 4."""
    first, second = (strides, 1) if current_numerics().bottleneck_stride == "1x1" else (1, strides)
    inner = filters // 4
    return Chain(Conv(inner, 1, first), Norm(), Conv(inner, 3, second), Norm(), Conv(filters, bias=True))


def projection(filters: int, strides: int) -> LayerSpec:
    """A 1x1 convolution where the shape changes."""
    return Conv(filters, 1, strides, bias=True)


def preactivated(table: dict[str, Residual]) -> dict[str, LayerSpec]:
    """The table with batch norm and ReLU before each block's path, and before its projection if it has one."""
    rows: dict[str, LayerSpec] = {}
    for name, block in table.items():
        if block.shortcut and not isinstance(block.shortcut, Pool):
            rows[f"{name}_preact"] = Norm()
        else:
            block = replace(block, path=Chain(Norm(), block.path))
        rows[name] = replace(block, activation=None)
    return rows


# ------------------------------------------------------------------------------------------------------------ networks

BLOCKS = resnet.BLOCKS | {200: (3, 24, 36, 3)}


def backbone(
    x: Tensor,
    *,
    depth: int,
    first_activation: Annotated[
        Literal["block", "stem", "both"],
        Argument(
            "Where the first batch norm and ReLU are: 'block' is after the pool, as in every other block, 'stem' is "
            "between conv1 and the pool (the paper), 'both' is at both places (pytorchcv)."
        ),
    ] = "block",
    se_ratio: SERatio = None,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """The pre-activation ResNet for ImageNet. The last row is a batch norm and a ReLU, after all blocks.

    Departures from the paper: by default the first activation follows the pool, as in the published weights; in the
    paper's appendix it follows conv1. In a bottleneck the 3x3 strides by default, as in timm; with
    `numerics="pytorchcv"` the first 1x1 does, as in the authors' release. With `numerics="keras"` (keras.applications')
    or `"slim"` (TF-Slim's) the last block of a stage strides, not the first of the next, and a convolution that no
    batch norm follows has a bias; with "keras" the zeros around the map count as values in the first pool.

    A block's output is the sum, before any activation. The next stage's `conv3_block1_preact`, and `norm` at the end,
    are those outputs normalised and activated.
    """
    table: dict[str, LayerSpec] = {"conv1": Conv(64, 7, 2, bias=True), "pool1": SignedPool()}  # -> 56 x 56 x 64
    if first_activation != "block":
        table |= resnet.STEM
    table |= preactivated(stages(BLOCKS[depth], 64, 256, bottleneck, projection))  # -> 7 x 7 x 2048
    if first_activation == "stem":
        del table["conv2_block1_preact"]
    table["norm"] = Norm()
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


def cifar(
    x: Tensor,
    *,
    blocks: int,
    filters: int,
    path: Block,
    se_ratio: SERatio = None,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """The pre-activation ResNet for images of 32 x 32: three stages of blocks, 2 or 3 convolutions each.

    Where the shape changes, a projection reads the activated map; elsewhere the shortcut is the identity. In a
    bottleneck the 3x3 strides, as in pytorchcv; in the authors' release the first 1x1 does. The paper's network of
    1,001 layers is not here.
    """
    table: LayerTable = {
        "conv1": Conv(16, 3),  # 32 x 32 x 16
        **preactivated(stages((blocks,) * 3, 16, filters, path, projection)),  # 8 x 8 x 4 filters
        "norm": Norm(),
    }
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


# ------------------------------------------------------------------------------------------------------------ variants

LAST = replace(TORCH, stage_stride="last", unnormed_bias=True)
NUMERICS = {
    "torch": TORCH,
    "pytorchcv": replace(TORCH, bottleneck_stride="1x1"),
    "keras": replace(LAST, epsilon=1.001e-5, momentum=0.99, zeros_in_pools=("max",)),
    "slim": replace(LAST, padding="slim", momentum=0.997),
}

resnet_v2 = partial(imagenet, backbone=backbone, head=pooled_head, paper=PAPER, numerics=NUMERICS)
resnet_v2_cifar = partial(
    register,
    backbone=cifar,
    head=pooled_head,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=4,
    classes=10,
    numerics={"torch": TORCH},
)

ResNet50V2 = resnet_v2("ResNet50V2", "resnet50_v2", depth=50, parameters=25_549_352, macs=4_089_184_256)
ResNet101V2 = resnet_v2("ResNet101V2", "resnet101_v2", depth=101, parameters=44_541_480, macs=7_801_405_440)
ResNet152V2 = resnet_v2("ResNet152V2", "resnet152_v2", depth=152, parameters=60_185_128, macs=11_513_626_624)
ResNet200V2 = resnet_v2("ResNet200V2", "resnet200_v2", depth=200, parameters=64_666_152, macs=15_007_481_856)

# Section 4
ResNet110V2 = resnet_v2_cifar(
    "ResNet110V2", "resnet110_v2", blocks=18, filters=16, path=basic, parameters=1_730_522, macs=253_149_824
)
ResNet164V2 = resnet_v2_cifar(
    "ResNet164V2", "resnet164_v2", blocks=18, filters=64, path=bottleneck, parameters=1_703_258, macs=247_646_720
)
