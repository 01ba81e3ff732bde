"""DenseNet. Huang, Liu, van der Maaten, Weinberger, 2016."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from keras.layers import Concatenate

from ..arguments import Argument, se_argument
from ..builder import register
from ..layers import (
    TORCH,
    Conv,
    LayerSpec,
    Pool,
    Tensor,
    activate,
    chain,
    conv,
    drop,
    norm,
    pool,
    pooled_head,
    with_squeeze_excite,
)
from ..registry import Paper

PAPER = Paper(
    title="Densely Connected Convolutional Networks",
    authors="Huang, Liu, van der Maaten, Weinberger",
    year=2016,
    url="https://arxiv.org/abs/1608.06993",
)


def activated(x: Tensor, *, name: str) -> Tensor:
    """Batch norm and ReLU, which precede the convolutions here."""
    return activate(norm(x, name=f"{name}_bn"), "relu", name=name)


@dataclass(frozen=True)
class DenseBlock:
    """Equation 2: each layer reads the maps of all layers before it and adds `growth` of its own."""

    depth: int
    growth: int
    bottleneck: bool  # a 1x1 reduces all maps before a layer to 4 * growth for its 3x3
    dropout: float

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H x W x (C + depth growth)."""
        for i in range(1, self.depth + 1):
            layer = f"{name}_layer{i}"
            y = x
            if self.bottleneck:
                y = conv(activated(y, name=f"{layer}_relu1"), 4 * self.growth, bias=False, name=f"{layer}_conv1")
                y = drop(y, self.dropout, name=f"{layer}_drop1")
            y = conv(activated(y, name=f"{layer}_relu2"), self.growth, 3, bias=False, name=f"{layer}_conv2")
            y = drop(y, self.dropout, name=f"{layer}_drop2")
            x = Concatenate(name=layer if i < self.depth else name)([x, y])
        return x


@dataclass(frozen=True)
class Transition:
    """Keep a share of the maps and halve their height and width."""

    share: float
    dropout: float

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/2 x W/2 x share C."""
        x = conv(activated(x, name=f"{name}_relu"), int(x.shape[-1] * self.share), bias=False, name=f"{name}_conv")
        return pool(drop(x, self.dropout, name=f"{name}_drop"), "avg", 2, 2, "valid", name=name)


def backbone(
    x: Tensor,
    *,
    depths: tuple[int, ...],
    growth: int,
    bc: bool,
    small: bool,
    dropout: Annotated[
        float,
        Argument(
            "Dropout rate in training after each convolution but the first; the paper's is 0.2 for CIFAR without "
            "augmentation.",
            at_least=0,
            below=1,
        ),
    ] = 0.0,
    se_ratio: Annotated[int | None, se_argument("after each dense block")] = None,
) -> Tensor:
    """DenseNet: for ImageNet the paper's Table 1, for CIFAR its section 4.1, depth and growth rate in the name.

    No departures. DenseNet264 has Table 1's growth rate of 32. With `numerics="tf"` padding is PyTorch's too, as in
    keras.applications: only batch norm's epsilon and momentum differ.
    """
    width = 2 * growth if bc else 16
    table: dict[str, LayerSpec] = (
        {"conv0": Conv(width, 3, activation=None, batch_norm=False, bias=False)}
        if small
        else {"conv0": Conv(width, 7, 2), "pool0": Pool("max", 3, 2)}
    )
    for i, depth in enumerate(depths, 1):
        table |= {f"denseblock{i}": DenseBlock(depth, growth, bc, dropout)}
        if i < len(depths):
            table |= {f"transition{i}": Transition(0.5 if bc else 1.0, dropout)}
    x = chain(x, with_squeeze_excite(table, se_ratio, DenseBlock))
    return activated(x, name="norm5")


# Table 1: a stem that reduces the map from 224 to 56, and four dense blocks, the last on 7 x 7.
imagenet = partial(
    register,
    backbone=backbone,
    head=pooled_head,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=29,
    numerics={"tf": replace(TORCH, epsilon=1.001e-5, momentum=0.99), "torch": TORCH},
    bc=True,
    small=False,
)
# Section 4.1: three dense blocks on 32 x 32, 16 x 16 and 8 x 8. BC is with bottlenecks and compression.
cifar = partial(
    register,
    backbone=backbone,
    head=pooled_head,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=4,
    numerics={"torch": TORCH},
    classes=10,
    bc=False,
    small=True,
)
cifar_bc = partial(cifar, bc=True)

DenseNet121 = imagenet(
    "DenseNet121", "densenet121", depths=(6, 12, 24, 16), growth=32, parameters=7_978_856, macs=2_834_161_664
)
DenseNet161 = imagenet(
    "DenseNet161", "densenet161", depths=(6, 12, 36, 24), growth=48, parameters=28_681_000, macs=7_727_907_072
)
DenseNet169 = imagenet(
    "DenseNet169", "densenet169", depths=(6, 12, 32, 32), growth=32, parameters=14_149_480, macs=3_359_843_328
)
DenseNet201 = imagenet(
    "DenseNet201", "densenet201", depths=(6, 12, 48, 32), growth=32, parameters=20_013_928, macs=4_291_365_888
)
DenseNet264 = imagenet(
    "DenseNet264", "densenet264", depths=(6, 12, 64, 48), growth=32, parameters=33_337_704, macs=5_751_653_376
)
DenseNet40_12 = cifar(
    "DenseNet40_12", "densenet40_12", depths=(12,) * 3, growth=12, parameters=1_019_722, macs=264_812_928
)
DenseNet100_12 = cifar(
    "DenseNet100_12", "densenet100_12", depths=(32,) * 3, growth=12, parameters=6_979_642, macs=1_769_516_448
)
DenseNet100_24 = cifar(
    "DenseNet100_24", "densenet100_24", depths=(32,) * 3, growth=24, parameters=27_249_082, macs=6_889_347_744
)
DenseNetBC100_12 = cifar_bc(
    "DenseNetBC100_12", "densenet_bc100_12", depths=(16,) * 3, growth=12, parameters=769_162, macs=287_929_692
)
DenseNetBC190_40 = cifar_bc(
    "DenseNetBC190_40", "densenet_bc190_40", depths=(31,) * 3, growth=40, parameters=25_624_430, macs=9_301_945_740
)
DenseNetBC250_24 = cifar_bc(
    "DenseNetBC250_24", "densenet_bc250_24", depths=(41,) * 3, growth=24, parameters=15_324_406, macs=5_418_785_724
)
