"""ZFNet. Zeiler, Fergus, 2013."""

from dataclasses import replace
from functools import partial
from typing import Literal

from .. import layers
from ..errors import InputError
from ..layers import LRN, TORCH, Pool, Table, Tensor, Word, chain
from ..registry import Paper, dense_head, register

PAPER = Paper(
    title="Visualizing and Understanding Convolutional Networks",
    authors="Zeiler, Fergus",
    year=2013,
    url="https://arxiv.org/abs/1311.2901",
)

Conv = partial(layers.Conv, normed=False)
NORMS = {  # AlexNet's, over five channels; and tf2cv's, over TensorFlow's default of eleven, with an undivided alpha
    "caffe": LRN(5, alpha=1e-4 / 5, beta=0.75, bias=2.0),
    "tf2cv": LRN(11, alpha=1e-4, beta=0.75, bias=2.0),
}


def reduce(i: int, norm: LRN, pool_first: bool) -> Table:
    """Contrast normalisation and pooling, in one order or the other."""
    words: list[tuple[str, Word]] = [
        (f"norm{i}", norm),
        (f"pool{i}", Pool("max", 3, 2, "ceil")),
    ]
    return dict(reversed(words) if pool_first else words)


def network(norm: LRN, pool_first: bool) -> Table:
    """Figure 3."""
    return {
        "conv1": Conv(96, 7, 2, padding=1),  # 110 x 110 x 96
        **reduce(1, norm, pool_first),  # 55 x 55 x 96
        "conv2": Conv(256, 5, 2, "valid"),  # 26 x 26 x 256
        **reduce(2, norm, pool_first),  # 13 x 13 x 256
        "conv3": Conv(384, 3),  # 13 x 13 x 384
        "conv4": Conv(384, 3),  # 13 x 13 x 384
        "conv5": Conv(256, 3),  # 13 x 13 x 256
        "pool5": Pool("max", 3, 2, "ceil"),  # 6 x 6 x 256
    }


def backbone(x: Tensor, *, pool_first: bool = False, lrn: Literal["caffe", "tf2cv"] = "caffe") -> Tensor:
    """ZFNet, the paper's Figure 3, 62,357,608 parameters.

    Channels, kernels, strides and the dense layers are the paper's. It gives no padding, and no constants for its
    contrast normalisation: conv1 is padded by 1 and pools may hang over the edge, which makes its 110, 55, 26, 13 and
    6; the normalisation is AlexNet's, and stands before each pool, as in the released weights. `pool_first=True`
    normalises behind the pool, as the paper does; `lrn="tf2cv"` normalises over eleven channels, as that package does
    with its weights. `dropout` is the rate behind each hidden dense layer in training.
    """
    if not isinstance(pool_first, bool):
        raise InputError(f"pool_first must be True or False; got {pool_first!r}")
    if lrn not in NORMS:
        raise InputError(f"lrn must be {' or '.join(map(repr, NORMS))}; got {lrn!r}")
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
