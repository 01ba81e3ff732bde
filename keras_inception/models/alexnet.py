"""AlexNet, of two GPUs and of one. Krizhevsky, Sutskever, Hinton, 2012; Krizhevsky, 2014."""

from functools import partial
from typing import Annotated, Literal

from keras.layers import Dense

from .. import layers
from ..arguments import Argument, dropout_argument
from ..builder import register
from ..layers import LRN, TORCH, LayerTable, Pool, Tensor, activate, chain, dense_head, drop, flatten, normalised_pool
from ..registry import Paper

PAPER = Paper(
    title="ImageNet Classification with Deep Convolutional Neural Networks",
    authors="Krizhevsky, Sutskever, Hinton",
    year=2012,
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
)
ONE_WEIRD_TRICK = Paper(
    title="One weird trick for parallelizing convolutional neural networks",
    authors="Krizhevsky",
    year=2014,
    url="https://arxiv.org/abs/1404.5997",
)

Conv = partial(layers.Conv, batch_norm=False)
NORMS = {  # section 3.3; Caffe divides alpha by the window's size and sets k to 1
    "caffe": LRN(5, alpha=1e-4 / 5, beta=0.75, bias=1.0),
    "paper": LRN(5, alpha=1e-4, beta=0.75, bias=2.0),
}


def two_towers(norm: LRN, pool_first: bool) -> LayerTable:
    """Figure 2. The two groups are the two GPUs, which see each other's maps in conv3 only."""
    return {
        "conv1": Conv(96, 11, 4, "valid"),  # 55 x 55 x 96
        **normalised_pool(1, norm, pool_first),  # 27 x 27 x 96
        "conv2": Conv(256, 5, groups=2),  # 27 x 27 x 256
        **normalised_pool(2, norm, pool_first),  # 13 x 13 x 256
        "conv3": Conv(384, 3),  # 13 x 13 x 384
        "conv4": Conv(384, 3, groups=2),  # 13 x 13 x 384
        "conv5": Conv(256, 3, groups=2),  # 13 x 13 x 256
        "pool5": Pool("max", 3, 2, "ceil"),  # 6 x 6 x 256
    }


ONE_TOWER: LayerTable = {
    "conv1": Conv(64, 11, 4, padding=2),  # 55 x 55 x 64
    "pool1": Pool("max", 3, 2, "valid"),  # 27 x 27 x 64
    "conv2": Conv(192, 5),  # 27 x 27 x 192
    "pool2": Pool("max", 3, 2, "valid"),  # 13 x 13 x 192
    "conv3": Conv(384, 3),  # 13 x 13 x 384
    "conv4": Conv(256, 3),  # 13 x 13 x 256
    "conv5": Conv(256, 3),  # 13 x 13 x 256
    "pool5": Pool("max", 3, 2, "valid"),  # 6 x 6 x 256
}


def backbone(
    x: Tensor,
    *,
    lrn: Annotated[
        Literal["caffe", "paper"],
        Argument(
            "Constants of local response normalisation: 'caffe' has those that the released weights were trained with, "
            "'paper' those of the paper, k = 2 and an alpha of 1e-4 for the sum over five channels, not their mean."
        ),
    ] = "caffe",
    pool_first: Annotated[
        bool,
        Argument("Whether normalisation follows the pool, as in CaffeNet; in the paper it precedes the pool."),
    ] = False,
) -> Tensor:
    """AlexNet of 2012 as Caffe released it (bvlc_alexnet), 60,965,224 parameters.

    Channels, kernels, groups and dense layers are the paper's. Departures: images are 227 x 227, since the paper's 224
    do not give its 55 x 55; and local response normalisation has Caffe's constants, with which the weights were
    trained.
    """
    return chain(x, two_towers(NORMS[lrn], pool_first))


def owt_backbone(x: Tensor) -> Tensor:
    """AlexNet for one GPU, without groups and normalisation, as in torchvision: 61,100,840 parameters.

    The channels are the 2014 paper's. Dropout precedes each hidden dense layer, as in torchvision; in the 2012 paper it
    follows them. torchvision resamples the last map to 6 x 6 for any image; here the first dense layer fits the map,
    which is the same at 224 x 224.
    """
    return chain(x, ONE_TOWER)


def owt_head(
    x: Tensor, classes: int, *, dropout: Annotated[float, dropout_argument("before each hidden dense layer")] = 0.5
) -> Tensor:
    """Two hidden dense layers of 4,096 with dropout before each, then dense: logits."""
    x = flatten(x, name="flatten")
    for name in ("fc6", "fc7"):
        x = drop(x, dropout, name=f"{name}_drop")
        x = activate(Dense(4096, name=f"{name}_dense")(x), "relu", name=name)
    return Dense(classes, name="logits")(x)


AlexNet = register(
    "AlexNet",
    "alexnet",
    backbone,
    paper=PAPER,
    input_shape=(227, 227, 3),
    smallest=39,
    parameters=60_965_224,
    macs=724_406_816,
    head=dense_head,
)

AlexNetOWT = register(
    "AlexNetOWT",
    "alexnet_owt",
    owt_backbone,
    paper=ONE_WEIRD_TRICK,
    input_shape=(224, 224, 3),
    smallest=63,
    parameters=61_100_840,
    macs=714_188_480,
    head=owt_head,
    numerics={"torch": TORCH},
)
