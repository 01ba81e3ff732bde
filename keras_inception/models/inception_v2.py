"""Inception v2, also called BN-Inception: v1 with batch norm and two 3x3 for each 5x5. Ioffe, Szegedy, 2015."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

from keras.layers import MaxPooling2D

from .. import layers
from ..arguments import Argument
from ..builder import register
from ..layers import (
    TF,
    Branches,
    LayerTable,
    Pool,
    Tensor,
    activate,
    chain,
    current_numerics,
    depthwise,
    pool,
    with_squeeze_excite,
)
from ..registry import Paper
from .inception_v1 import CAFFE, SERatio, auxiliary
from .senet import PAPER as SE_PAPER

PAPER = Paper(
    title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    authors="Ioffe, Szegedy",
    year=2015,
    url="https://arxiv.org/abs/1502.03167",
)


@dataclass(frozen=True)
class Halve:
    """A 3x3 max pool of stride 2 whose map has the size of a strided convolution's, so that they can be concatenated.

    That is TensorFlow's SAME: on an even map the last window extends past the edge, as in Caffe; on an odd map zeros
    are on all sides, where Caffe's pool would be a pixel smaller than its convolution. tf2cv pads every map on all
    sides.
    """

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/2 x W/2 x C, rounded up."""
        if current_numerics().overhang == "around":
            return pool(x, "max", 3, 2, 1, name=name)
        return MaxPooling2D(3, 2, "same", name=name)(x)


@dataclass(frozen=True)
class SeparableStem:
    """Section 4.2's first convolution, separable with 8 filters for each channel; TF-Slim's has no batch norm."""

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/2 x W/2 x 64."""
        x = depthwise(x, 7, 2, multiplier=8, name=f"{name}_depthwise")
        return activate(layers.conv(x, 64, name=f"{name}_pointwise"), "relu", name=name)


def table(bias: bool, slim: bool) -> LayerTable:
    """Figure 5, with or without a bias in the convolutions, which precede batch norm; `slim` is TF-Slim's variant."""
    conv = partial(layers.Conv, bias=bias)
    stem = SeparableStem() if slim else conv(64, 7, 2)
    proj = 96 if slim else 128  # of (4c) and (4d)

    def module(
        n1x1: int, r3x3: int, n3x3: int, rd3x3: int, nd3x3: int, kind: Literal["avg", "max"], proj: int
    ) -> Branches:
        """The arguments are the columns of Figure 5, in its order."""
        return Branches(
            [conv(n1x1)],
            [conv(r3x3), conv(n3x3, 3)],
            [conv(rd3x3), conv(nd3x3, 3), conv(nd3x3, 3)],
            [Pool(kind), conv(proj)],
        )

    def reduction(r3x3: int, n3x3: int, rd3x3: int, nd3x3: int) -> Branches:
        """Figure 5's modules of stride 2: no 1x1 branch, and a pool without a convolution."""
        return Branches(
            [conv(r3x3), conv(n3x3, 3, 2)],
            [conv(rd3x3), conv(nd3x3, 3), conv(nd3x3, 3, 2)],
            [Halve()],
        )

    # fmt: off
    return {
        #                            1x1 3x3r  3x3  d3r   d3   pool proj      output
        "conv2d_1a_7x7":       stem,                                        # 112 x 112 x   64
        "maxpool_2a_3x3": Pool("max", 3, 2),                                #  56 x  56 x   64
        "conv2d_2b_1x1":       conv( 64),                                   #  56 x  56 x   64
        "conv2d_2c_3x3":       conv(192, 3),                                #  56 x  56 x  192
        "maxpool_3a_3x3": Pool("max", 3, 2),                                #  28 x  28 x  192
        "mixed_3b":          module(  64,  64,  64,  64,  96, "avg",  32),  #  28 x  28 x  256
        "mixed_3c":          module(  64,  64,  96,  64,  96, "avg",  64),  #  28 x  28 x  320
        "mixed_4a":       reduction(     128, 160,  64,  96),               #  14 x  14 x  576
        "mixed_4b":          module( 224,  64,  96,  96, 128, "avg", 128),  #  14 x  14 x  576
        "mixed_4c":          module( 192,  96, 128,  96, 128, "avg", 128),  #  14 x  14 x  576
        "mixed_4d":          module( 160, 128, 160, 128, 160, "avg", proj), #  14 x  14 x  608
        "mixed_4e":          module(  96, 128, 192, 160, 192, "avg", proj), #  14 x  14 x  608
        "mixed_5a":       reduction(     128, 192, 192, 256),               #   7 x   7 x 1056
        "mixed_5b":          module( 352, 192, 320, 160, 224, "avg", 128),  #   7 x   7 x 1024
        "mixed_5c":          module( 352, 192, 320, 192, 224, "max", 128),  #   7 x   7 x 1024
    }
    # fmt: on


def backbone(
    x: Tensor,
    *,
    bias: bool,
    variant: Annotated[
        Literal["caffe", "slim"],
        Argument(
            "Whose release. 'caffe', and the ports of its weights: (4c) and (4d) have 608 channels, and the first "
            "convolution is a plain 7x7. 'slim' (TF-Slim): they have 576, and the first convolution is separable."
        ),
    ] = "caffe",
    se_ratio: SERatio = None,
) -> Tensor:
    """BN-Inception, 11,295,240 parameters; with squeeze-and-excitation, and without biases, 11,931,622.

    Figure 5 contradicts itself in (4c) and (4d): its branches add up to 608 channels, its output column has 576. By
    default this is the 608-channel network, as released for Caffe and ported from there. Its first convolution is a
    plain 7x7, as released, where the paper's is separable. `variant="slim"` has 576 channels, as in TF-slim's weights
    and ONNX's, and the separable convolution, as in TF-slim's alone. The convolutions have a bias before batch norm, as
    in the weights released for Caffe; the authors of SEInceptionV2 left it out. Endpoints are named as in TF-slim: the
    paper's (3a) is `mixed_3b`, its (3c) `mixed_4a`.

    The paper does not describe its auxiliary classifiers. Here they follow (4a) and (4d), as in v1. Their convolutions
    have batch norm and they have no dropout, like the rest of the network.
    """
    return chain(x, with_squeeze_excite(table(bias and variant != "slim", variant == "slim"), se_ratio))


bn_inception = partial(
    register,
    input_shape=(224, 224, 3),
    smallest=32,
    aux_heads={"mixed_4b": partial(auxiliary, dropout=0.0), "mixed_4e": partial(auxiliary, dropout=0.0)},
    numerics={
        "torch": CAFFE,
        "tf": TF,
        "slim": replace(TF, gamma=False),
        "tf2cv": replace(CAFFE, overhang="around"),
    },
)
BNInception = InceptionV2 = bn_inception(
    "InceptionV2",
    "inception_v2",
    backbone,
    alias="BNInception",
    paper=PAPER,
    parameters=11_295_240,
    macs=2_032_600_064,
    bias=True,
)
SEInceptionV2 = bn_inception(
    "SEInceptionV2",
    "se_inception_v2",
    backbone,
    paper=SE_PAPER,
    parameters=11_931_622,
    macs=2_033_239_424,
    se_ratio=16,
    bias=False,
)
