"""Xception: Inception taken to its extreme, one filter a channel. Chollet, 2016."""

from dataclasses import dataclass, replace

from ..layers import (
    TF,
    TORCH,
    Conv,
    Path,
    Residual,
    Table,
    Tensor,
    activate,
    chain,
    conv,
    depthwise,
    excited,
    norm,
    numerics_in_force,
    pool,
)
from ..registry import Paper, register

PAPER = Paper(
    title="Xception: Deep Learning with Depthwise Separable Convolutions",
    authors="Chollet",
    year=2016,
    url="https://arxiv.org/abs/1610.02357",
)


@dataclass(frozen=True)
class SeparableConv:
    """A filter a channel, a 1x1 convolution, batch norm; ReLU "before" them, "after" them or at neither end."""

    filters: int
    relu: str = "before"
    kernel: int = 3
    strides: int = 1

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/s x W/s x filters."""
        if self.relu == "before":
            x = activate(x, "relu", name=f"{name}_relu")
        x = depthwise(x, self.kernel, self.strides, name=f"{name}_depthwise")
        x = conv(x, self.filters, bias=False, name=f"{name}_pointwise")
        if self.relu == "after":
            return activate(norm(x, name=f"{name}_bn"), "relu", name=name)
        return norm(x, name=name)


@dataclass(frozen=True)
class Halve:
    """A 3x3 max pool of stride 2, of a map that may be negative: zeros around it, PyTorch's way, would show.

    So there it pools at every pixel, where padding is free, and keeps every second. In tf2cv they do show.
    """

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/2 x W/2 x C, rounded up."""
        if "max" in numerics_in_force().zeros_in_pools:
            return pool(x, "max", 3, 2, 1, name=name)
        if numerics_in_force().padding == "tf":
            return pool(x, "max", 3, 2, name=name)
        return pool(pool(x, "max", 3, name=f"{name}_each"), "max", 1, 2, name=name)


def down(first: int, second: int, relu: str = "before") -> Residual:
    """Figure 5's modules that halve the map: two separable convolutions and a pool beside a 1x1 of stride 2."""
    path = Path(SeparableConv(first, relu), SeparableConv(second), Halve())
    return Residual(path, activation=None, shortcut=Conv(second, 1, 2, activation=None))


MIDDLE = Residual(Path(SeparableConv(728), SeparableConv(728), SeparableConv(728)), activation=None)

LAYERS: Table = {  # Figure 5
    "block1_conv1": Conv(32, 3, 2, "valid"),  # 149 x 149 x 32
    "block1_conv2": Conv(64, 3, 1, "valid"),  # 147 x 147 x 64
    "block2": down(128, 128, relu="none"),  # 74 x 74 x 128
    "block3": down(256, 256),  # 37 x 37 x 256
    "block4": down(728, 728),  # 19 x 19 x 728
    **{f"block{i}": MIDDLE for i in range(5, 13)},  # 19 x 19 x 728
    "block13": down(728, 1024),  # 10 x 10 x 1024
    "block14_sepconv1": SeparableConv(1536, "after"),  # 10 x 10 x 1536
    "block14_sepconv2": SeparableConv(2048, "after"),  # 10 x 10 x 2048
}


def backbone(x: Tensor, *, se_ratio: int | None = None) -> Tensor:
    """Xception, 22,855,952 parameters, as in the paper and in keras.applications.

    `numerics="torch"` is the network of its ports (timm's legacy_xception): their zeros all around in the pools, their
    epsilon in batch norm.

    `se_ratio` adds a squeeze-and-excitation module of that reduction to each residual path, before the addition;
    `dropout`, 0 to less than 1, is the share dropped before the classifier. The paper's is 0.5.
    """
    return chain(x, excited(LAYERS, se_ratio, Residual))


Xception = register(
    "Xception",
    "xception",
    backbone,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=71,
    parameters=22_855_952,
    macs=8_357_403_496,
    numerics={"tf": TF, "torch": TORCH, "tf2cv": replace(TORCH, zeros_in_pools=("max",))},
    defaults={"dropout": 0.5},
)
