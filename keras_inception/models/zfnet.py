"""ZFNet. Zeiler, Fergus, 2013."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from .. import layers
from ..arguments import Argument
from ..builder import register
from ..layers import LRN, TORCH, LayerTable, Pool, Tensor, chain, dense_head, normalised_pool
from ..registry import Paper

PAPER = Paper(
    title="Visualizing and Understanding Convolutional Networks",
    authors="Zeiler, Fergus",
    year=2013,
    url="https://arxiv.org/abs/1311.2901",
)

Conv = partial(layers.Conv, batch_norm=False)
NORMS = {  # AlexNet's, over five channels; tf2cv's, over TensorFlow's default of eleven, with an undivided alpha
    "caffe": LRN(5, alpha=1e-4 / 5, beta=0.75, bias=2.0),
    "tf2cv": LRN(11, alpha=1e-4, beta=0.75, bias=2.0),
}


def network(norm: LRN, pool_first: bool) -> LayerTable:
    """Figure 3."""
    return {
        "conv1": Conv(96, 7, 2, padding=1),  # 110 x 110 x 96
        **normalised_pool(1, norm, pool_first),  # 55 x 55 x 96
        "conv2": Conv(256, 5, 2, "valid"),  # 26 x 26 x 256
        **normalised_pool(2, norm, pool_first),  # 13 x 13 x 256
        "conv3": Conv(384, 3),  # 13 x 13 x 384
        "conv4": Conv(384, 3),  # 13 x 13 x 384
        "conv5": Conv(256, 3),  # 13 x 13 x 256
        "pool5": Pool("max", 3, 2, "ceil"),  # 6 x 6 x 256
    }


def backbone(
    x: Tensor,
    *,
    pool_first: Annotated[
        bool,
        Argument(
            "Whether normalisation follows the pool, as in the paper; it precedes the pool in the released weights."
        ),
    ] = False,
    lrn: Annotated[
        Literal["caffe", "tf2cv"],
        Argument(
            "Constants of local response normalisation: AlexNet's, or those that tf2cv has with its weights, over "
            "eleven channels."
        ),
    ] = "caffe",
) -> Tensor:
    """ZFNet, the paper's Figure 3, 62,357,608 parameters.

    Channels, kernels, strides and the dense layers are the paper's. It gives no padding and no constants for its
    contrast normalisation: conv1 is padded by 1 and the last window of a pool may extend past the edge, which gives its
    110, 55, 26, 13 and 6. The normalisation is AlexNet's, and precedes each pool, as in the released weights.
    """
    return chain(x, network(NORMS[lrn], pool_first))


ZFNet = register(
    "ZFNet",
    "zfnet",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=47,
    parameters=62_357_608,
    macs=1_168_032_896,
    head=dense_head,
    numerics={"torch": TORCH, "tf2cv": replace(TORCH, overhang="around")},
)
