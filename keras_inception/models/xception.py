"""Xception: Inception at its extreme, one filter a channel. Chollet, 2016."""

from dataclasses import dataclass, replace
from typing import Annotated

from ..arguments import se_argument
from ..builder import register
from ..layers import (
    TF,
    TORCH,
    Chain,
    Conv,
    LayerTable,
    Residual,
    SignedPool,
    Tensor,
    activate,
    chain,
    conv,
    depthwise,
    norm,
    with_squeeze_excite,
)
from ..registry import Paper

PAPER = Paper(
    title="Xception: Deep Learning with Depthwise Separable Convolutions",
    authors="Chollet",
    year=2016,
    url="https://arxiv.org/abs/1610.02357",
)


@dataclass(frozen=True)
class SeparableConv:
    """Depthwise convolution, 1x1 convolution, batch norm, with ReLU "before", "after" or "none"."""

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


def down(first: int, second: int, relu: str = "before") -> Residual:
    """Figure 5's modules that halve the map: two separable convolutions and a pool, with a strided 1x1 as shortcut."""
    path = Chain(SeparableConv(first, relu), SeparableConv(second), SignedPool())
    return Residual(path, activation=None, shortcut=Conv(second, 1, 2, activation=None))


MIDDLE = Residual(Chain(SeparableConv(728), SeparableConv(728), SeparableConv(728)), activation=None)

LAYERS: LayerTable = {  # Figure 5
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


def backbone(
    x: Tensor, *, se_ratio: Annotated[int | None, se_argument("in each residual path, before the addition")] = None
) -> Tensor:
    """Xception, 22,855,952 parameters, as in the paper and in keras.applications.

    `numerics="torch"` is the network of its ports (timm's legacy_xception), with PyTorch's padding of pools and epsilon
    of batch norm. The paper's dropout before the classifier is 0.5.
    """
    return chain(x, with_squeeze_excite(LAYERS, se_ratio, Residual))


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
    dropout=0.5,
)
