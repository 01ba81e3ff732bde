"""Inception v1: GoogLeNet as published, and the batch-normalised network that was released under the same name.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, 2014.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, TypeAlias

from keras.layers import Dense

from ..arguments import se_argument
from ..builder import register
from ..layers import (
    LRN,
    TF,
    TORCH,
    AdaptiveAveragePool,
    Branches,
    Conv,
    LayerTable,
    Pool,
    Tensor,
    activate,
    chain,
    drop,
    flatten,
    with_squeeze_excite,
)
from ..registry import Paper

PAPER = Paper(
    title="Going Deeper with Convolutions",
    authors="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
    year=2014,
    url="https://arxiv.org/abs/1409.4842",
)

CAFFE = replace(TORCH, padding="caffe")
Biased = partial(Conv, batch_norm=False)  # from before batch norm


def table(conv: Callable[..., Conv], large: int, last_pool: int) -> LayerTable:
    """Table 1, by its convolution, the size of its "5x5" kernels and of its last max pool."""

    def module(n1x1: int, r3x3: int, n3x3: int, r5x5: int, n5x5: int, proj: int) -> Branches:
        """Figure 2(b). The arguments are the columns of Table 1, in its order."""
        return Branches(
            [conv(n1x1)],
            [conv(r3x3), conv(n3x3, 3)],
            [conv(r5x5), conv(n5x5, large)],
            [Pool("max"), conv(proj)],
        )

    lrn = LRN(alpha=1e-4 / 5, bias=1.0)  # Caffe's alpha of 1e-4 is divided by the window's size
    pool_5a = f"maxpool_5a_{last_pool}x{last_pool}"
    # fmt: off
    return {
        #                        1x1 3x3r  3x3 5x5r  5x5 proj        output
        "conv2d_1a_7x7":    conv( 64, 7, 2),                     # 112 x 112 x   64
        "maxpool_2a_3x3": Pool("max", 3, 2),                     #  56 x  56 x   64
        "lrn_2a":         lrn,                                   #  56 x  56 x   64
        "conv2d_2b_1x1":    conv( 64),                           #  56 x  56 x   64
        "conv2d_2c_3x3":    conv(192, 3),                        #  56 x  56 x  192
        "lrn_2c":         lrn,                                   #  56 x  56 x  192
        "maxpool_3a_3x3": Pool("max", 3, 2),                     #  28 x  28 x  192
        "mixed_3b":       module( 64,  96, 128,  16,  32,  32),  #  28 x  28 x  256
        "mixed_3c":       module(128, 128, 192,  32,  96,  64),  #  28 x  28 x  480
        "maxpool_4a_3x3": Pool("max", 3, 2),                     #  14 x  14 x  480
        "mixed_4b":       module(192,  96, 208,  16,  48,  64),  #  14 x  14 x  512
        "mixed_4c":       module(160, 112, 224,  24,  64,  64),  #  14 x  14 x  512
        "mixed_4d":       module(128, 128, 256,  24,  64,  64),  #  14 x  14 x  512
        "mixed_4e":       module(112, 144, 288,  32,  64,  64),  #  14 x  14 x  528
        "mixed_4f":       module(256, 160, 320,  32, 128, 128),  #  14 x  14 x  832
        pool_5a:          Pool("max", last_pool, 2),             #   7 x   7 x  832
        "mixed_5b":       module(256, 160, 320,  32, 128, 128),  #   7 x   7 x  832
        "mixed_5c":       module(384, 192, 384,  48, 128, 128),  #   7 x   7 x 1024
    }
    # fmt: on


SERatio: TypeAlias = Annotated[int | None, se_argument("after each Inception module")]

PUBLISHED = table(Biased, large=5, last_pool=3)
RELEASED = {k: spec for k, spec in table(Conv, large=3, last_pool=2).items() if not isinstance(spec, LRN)}


def published(x: Tensor, *, se_ratio: SERatio = None) -> Tensor:
    """GoogLeNet, 6,998,552 parameters: 5x5 branches, local response normalisation, no batch norm.

    The paper does not give the constants and places of the local response normalisation, nor which pools extend past
    the edge: these are those of the published weights (bvlc_googlenet). Endpoints are named as in TF-slim, so the
    paper's (3a) is `mixed_3b` and its (4e) `mixed_4f`. The auxiliary heads are the paper's, after (4a) and (4d).
    """
    return chain(x, with_squeeze_excite(PUBLISHED, se_ratio))


def released(x: Tensor, *, se_ratio: SERatio = None) -> Tensor:
    """GoogLeNet as TF-slim and torchvision released it, 6,624,904 parameters.

    Departures from the paper, all of them the released network's: batch norm after every convolution and no local
    response normalisation, 3x3 kernels where the paper has 5x5, and a 2x2 `maxpool_5a`. With `numerics="tf"` batch norm
    has no scale, as in TF-slim. The auxiliary heads are torchvision's, after (4a) and (4d).
    """
    return chain(x, with_squeeze_excite(RELEASED, se_ratio))


def auxiliary(x: Tensor, classes: int, *, name: str, conv: Callable[..., Conv] = Conv, dropout: float = 0.7) -> Tensor:
    """Section 5: an average pool of 5 x 5 with stride 3, which gives 4 x 4 in the paper, 128 filters, 1,024 units."""
    x = Pool("avg", 5, 3, "valid")(x, name=f"{name}_pool")
    return _classify(x, classes, name=name, conv=conv, dropout=dropout)


def auxiliary_4x4(x: Tensor, classes: int, *, name: str) -> Tensor:
    """As in torchvision: the average pool gives 4 x 4 for any map."""
    x = AdaptiveAveragePool(4, name=f"{name}_pool")(x)
    return _classify(x, classes, name=name, conv=Conv, dropout=0.7)


def _classify(x: Tensor, classes: int, *, name: str, conv: Callable[..., Conv], dropout: float) -> Tensor:
    x = flatten(conv(128)(x, name=f"{name}_conv"), name=f"{name}_flatten")
    x = activate(Dense(1024, name=f"{name}_fc_dense")(x), "relu", name=f"{name}_fc")
    return Dense(classes, name=f"{name}_logits")(drop(x, dropout, name=f"{name}_drop"))


GoogLeNet = InceptionV1 = register(
    "InceptionV1",
    "inception_v1",
    published,
    alias="GoogLeNet",
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=6_998_552,
    macs=1_582_671_872,
    aux_heads={"mixed_4b": partial(auxiliary, conv=Biased), "mixed_4e": partial(auxiliary, conv=Biased)},
    numerics={"caffe": CAFFE},
    dropout=0.4,
)
InceptionV1BN = register(
    "InceptionV1BN",
    "inception_v1_bn",
    released,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=32,
    parameters=6_624_904,
    macs=1_498_376_192,
    aux_heads={"mixed_4b": auxiliary_4x4, "mixed_4e": auxiliary_4x4},
    numerics={"torch": replace(CAFFE, epsilon=1e-3), "tf": replace(TF, gamma=False)},
    dropout=0.2,
)
