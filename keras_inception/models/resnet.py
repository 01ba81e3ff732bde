"""ResNet, for ImageNet and CIFAR, and deep networks with stochastic depth.

He, Zhang, Ren, Sun, 2015; Huang, Sun, Liu, Sedra, Weinberger, 2016. Blocks and widths are Table 1's, and for CIFAR
those of section 4.2. The stem, its pool and the final average are the paper's too.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal, Protocol, TypeAlias

from ..arguments import Argument, DropPer, StochasticDepth, StochasticDepthPer, se_argument
from ..builder import register
from ..layers import (
    TORCH,
    Chain,
    ChannelPadding,
    Conv,
    LayerSpec,
    LayerTable,
    Pool,
    Residual,
    Tensor,
    chain,
    current_numerics,
    pool,
    with_squeeze_excite,
    with_stochastic_depth,
)
from ..registry import Paper

PAPER = Paper(
    title="Deep Residual Learning for Image Recognition",
    authors="He, Zhang, Ren, Sun",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
)
STOCHASTIC_DEPTH = Paper(
    title="Deep Networks with Stochastic Depth",
    authors="Huang, Sun, Liu, Sedra, Weinberger",
    year=2016,
    url="https://arxiv.org/abs/1603.09382",
)


# ------------------------------------------------------------------------------------------------------------- blocks


class Block(Protocol):
    """A residual path, or a shortcut, by its output channels and its stride."""

    def __call__(self, filters: int, strides: int) -> LayerSpec:
        """The layer spec."""


def basic(filters: int, strides: int) -> Chain:
    """Figure 5, left."""
    return Chain(Conv(filters, 3, strides), Conv(filters, 3, activation=None))


def bottleneck(filters: int, strides: int, *, groups: int = 1, width: int = 1) -> Chain:
    """Figure 5, right; its 3x3 is `width` times as wide and in `groups`."""
    inner = width * filters // 4
    first, second = (strides, 1) if current_numerics().bottleneck_stride == "1x1" else (1, strides)
    return Chain(Conv(inner, 1, first), Conv(inner, 3, second, groups=groups), Conv(filters, activation=None))


def projection(filters: int, strides: int) -> Conv:
    """Option B: a 1x1 convolution where the shape changes."""
    return Conv(filters, 1, strides, activation=None)


@dataclass(frozen=True)
class Padded:
    """Option A, without parameters: a pool of `window` reduces the map, and its new channels are zeros."""

    filters: int
    strides: int
    window: int = 1

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x filters."""
        x = pool(x, "avg", self.window, self.strides, "ceil", name=f"{name}_pool")
        return ChannelPadding(self.filters, name=name)(x)


SHORTCUTS: dict[str, Block] = {
    "subsampling": Padded,  # He et al.: every second pixel
    "averaging": partial(Padded, window=2),  # Huang et al.
    "projection": projection,
}


# ------------------------------------------------------------------------------------------------------------ networks

SERatio: TypeAlias = Annotated[int | None, se_argument("in each residual path")]

BLOCKS = {  # Table 1: blocks of conv2_x, conv3_x, conv4_x, conv5_x
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

STEM: LayerTable = {
    "conv1": Conv(64, 7, 2),  # 112 x 112 x 64
    "pool1": Pool("max", 3, 2),  # 56 x 56 x 64
}


def stages(
    blocks: tuple[int, ...], channels: int, filters: int, path: Block, shortcut: Block = projection
) -> dict[str, Residual]:
    """The number of `blocks` of each stage. From stage to stage `filters` doubles and the map is halved."""
    table: dict[str, Residual] = {}
    early, last = current_numerics().stage_stride == "last", len(blocks) - 1
    for stage, count in enumerate(blocks):
        for block in range(count):
            halves = (block == count - 1 and stage < last) if early else (stage and not block)
            shape = filters * 2**stage, 2 if halves else 1
            changed = not block and (stage or channels != filters)
            same = Pool("max", 1, 2, "valid") if halves else None
            name = f"conv{stage + 2}_block{block + 1}"
            table[name] = Residual(path(*shape), shortcut=shortcut(*shape) if changed else same)
    return table


def residual_chain(
    x: Tensor, table: LayerTable, se_ratio: int | None, stochastic_depth: float, stochastic_depth_per: DropPer
) -> Tensor:
    """Apply a table of residual blocks, with squeeze-and-excitation and stochastic depth in each."""
    table = with_squeeze_excite(table, se_ratio, Residual)
    return chain(x, with_stochastic_depth(table, stochastic_depth, stochastic_depth_per))


def backbone(
    x: Tensor,
    *,
    depth: int,
    groups: int = 1,
    width: int = 1,
    se_ratio: SERatio = None,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """The residual network of He et al.'s Table 1, and those of later papers that keep its layout.

    Departures from the paper: where the shape changes the shortcut is a projection at every depth (option B). In a
    bottleneck the 3x3 strides by default, as in torchvision's weights and in later papers. With `numerics="caffe"` (He
    et al.'s) or `"keras"` (keras.applications') the first 1x1 strides, which costs 6 % less in ResNet-50 and ignores
    three quarters of its input. With `"slim"` (TF-Slim's) the last block of a stage strides, not the first of the next.
    No convolution has a bias: where a checkpoint has one, batch norm's moving mean absorbs it exactly.
    """
    path: Block = basic if depth < 50 else partial(bottleneck, groups=groups, width=width)
    filters = 64 if depth < 50 else 256
    table = {**STEM, **stages(BLOCKS[depth], 64, filters, path)}  # -> 7 x 7 x 512 or 2048
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


def cifar(
    x: Tensor,
    *,
    depth: int,
    shortcut: Annotated[
        Literal["subsampling", "averaging", "projection"],
        Argument(
            "Shortcut where the shape changes. 'subsampling' keeps every second pixel and appends channels of zeros "
            "(He et al.), 'averaging' takes the mean of 2 x 2 pixels and appends zeros (Huang et al.), 'projection' is "
            "a 1x1 convolution."
        ),
    ] = "subsampling",
    se_ratio: SERatio = None,
    stochastic_depth: StochasticDepth = 0.0,
    stochastic_depth_per: StochasticDepthPer = "batch",
) -> Tensor:
    """The residual network of He et al.'s section 4.2, for images of 32 x 32: 6n + 2 layers, 16 to 64 channels.

    ResNet1202SD has 4,800 layers in a row: load or clone it inside `with keras_inception.layers.deep_graph():`, since
    Keras needs a Python frame for each.
    """
    blocks = (depth - 2) // 6
    table: LayerTable = {
        "conv1": Conv(16, 3),  # 32 x 32 x 16
        **stages((blocks,) * 3, 16, 16, basic, SHORTCUTS[shortcut]),  # 8 x 8 x 64
    }
    return residual_chain(x, table, se_ratio, stochastic_depth, stochastic_depth_per)


# ------------------------------------------------------------------------------------------------------------ variants

NUMERICS = {
    "torch": TORCH,
    "keras": replace(TORCH, epsilon=1.001e-5, momentum=0.99, bottleneck_stride="1x1"),
    "caffe": replace(TORCH, padding="caffe", bottleneck_stride="1x1"),
    "slim": replace(TORCH, padding="slim", momentum=0.997, stage_stride="last"),
}

imagenet = partial(register, backbone=backbone, input_shape=(224, 224, 3), smallest=32)
resnet = partial(imagenet, paper=PAPER, numerics=NUMERICS)
resnet_cifar = partial(
    register, backbone=cifar, paper=PAPER, input_shape=(32, 32, 3), smallest=4, classes=10, numerics={"torch": TORCH}
)

ResNet18 = resnet("ResNet18", "resnet18", depth=18, parameters=11_689_512, macs=1_814_073_344)
ResNet34 = resnet("ResNet34", "resnet34", depth=34, parameters=21_797_672, macs=3_663_761_408)
ResNet50 = resnet("ResNet50", "resnet50", depth=50, parameters=25_557_032, macs=4_089_184_256)
ResNet101 = resnet("ResNet101", "resnet101", depth=101, parameters=44_549_160, macs=7_801_405_440)
ResNet152 = resnet("ResNet152", "resnet152", depth=152, parameters=60_192_808, macs=11_513_626_624)

ResNet20 = resnet_cifar("ResNet20", "resnet20", depth=20, parameters=269_722, macs=40_551_040)
ResNet32 = resnet_cifar("ResNet32", "resnet32", depth=32, parameters=464_154, macs=68_862_592)
ResNet44 = resnet_cifar("ResNet44", "resnet44", depth=44, parameters=658_586, macs=97_174_144)
ResNet56 = resnet_cifar("ResNet56", "resnet56", depth=56, parameters=853_018, macs=125_485_696)
ResNet110 = resnet_cifar("ResNet110", "resnet110", depth=110, parameters=1_727_962, macs=252_887_680)

# Huang et al., section 4: the last block survives half of the time.
deep = partial(resnet_cifar, paper=STOCHASTIC_DEPTH, stochastic_depth=0.5, shortcut="averaging")

ResNet110SD = deep("ResNet110SD", "resnet110_sd", depth=110, parameters=1_727_962, macs=252_887_680)
ResNet1202SD = deep("ResNet1202SD", "resnet1202_sd", depth=1202, parameters=19_421_274, macs=2_829_238_912)
ResNet152SD = resnet(
    "ResNet152SD",
    "resnet152_sd",
    depth=152,
    paper=STOCHASTIC_DEPTH,
    stochastic_depth=0.5,
    parameters=60_192_808,
    macs=11_513_626_624,
)
