"""VGG. Simonyan, Zisserman, 2014."""

from functools import partial
from typing import Annotated

from ..arguments import se_argument
from ..builder import register
from ..layers import TF, TORCH, Conv, LayerSpec, LayerTable, Pool, Tensor, chain, dense_head, with_squeeze_excite
from ..registry import Paper

PAPER = Paper(
    title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
    authors="Simonyan, Zisserman",
    year=2014,
    url="https://arxiv.org/abs/1409.1556",
)

WIDTHS = (64, 128, 256, 512, 512)  # Table 1: channels of the five blocks; each block halves the map, 224 to 7
A, B, D, E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)  # Table 1: convolutions of each


def network(convolutions: tuple[int, ...], batch_norm: bool) -> LayerTable:
    """A column of Table 1."""
    table: dict[str, LayerSpec] = {}
    for b, (width, count) in enumerate(zip(WIDTHS, convolutions, strict=True), 1):
        # A bias before batch norm has no effect, but the released weights have it.
        table |= {f"block{b}_conv{i}": Conv(width, 3, batch_norm=batch_norm, bias=True) for i in range(1, count + 1)}
        table |= {f"block{b}_pool": Pool("max", 2, 2, "valid")}
    return table


def backbone(
    x: Tensor,
    *,
    convolutions: tuple[int, ...],
    batch_norm: bool,
    se_ratio: Annotated[int | None, se_argument("after each convolution")] = None,
) -> Tensor:
    """VGG by its weight layers: 11, 13, 16, 19 are the paper's Table 1, columns A, B, D, E.

    The BN variants, with batch norm after each convolution, are not in the paper. They follow torchvision, which keeps
    the convolutions' biases. Hu et al. do not specify where their SE-VGG-16 has its squeeze-and-excitation modules;
    here they follow each convolution.
    """
    return chain(x, with_squeeze_excite(network(convolutions, batch_norm), se_ratio, Conv))


variant = partial(register, backbone=backbone, paper=PAPER, input_shape=(224, 224, 3), smallest=32, head=dense_head)
plain = partial(variant, numerics={"tf": TF, "torch": TORCH}, batch_norm=False)
with_bn = partial(variant, numerics={"torch": TORCH}, batch_norm=True)

VGG11 = plain("VGG11", "vgg11", convolutions=A, parameters=132_863_336, macs=7_609_090_048)
VGG13 = plain("VGG13", "vgg13", convolutions=B, parameters=133_047_848, macs=11_308_466_176)
VGG16 = plain("VGG16", "vgg16", convolutions=D, parameters=138_357_544, macs=15_470_264_320)
VGG19 = plain("VGG19", "vgg19", convolutions=E, parameters=143_667_240, macs=19_632_062_464)
VGG11BN = with_bn("VGG11BN", "vgg11_bn", convolutions=A, parameters=132_868_840, macs=7_609_090_048)
VGG13BN = with_bn("VGG13BN", "vgg13_bn", convolutions=B, parameters=133_053_736, macs=11_308_466_176)
VGG16BN = with_bn("VGG16BN", "vgg16_bn", convolutions=D, parameters=138_365_992, macs=15_470_264_320)
VGG19BN = with_bn("VGG19BN", "vgg19_bn", convolutions=E, parameters=143_678_248, macs=19_632_062_464)
