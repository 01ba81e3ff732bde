"""Inception v4. Szegedy, Ioffe, Vanhoucke, Alemi, 2016. The same paper's residual networks: inception_resnet.py."""

from dataclasses import replace
from typing import Annotated

from ..arguments import se_argument
from ..builder import register
from ..layers import TF, TORCH, Branches, Conv, LayerTable, Pool, Tensor, chain, with_squeeze_excite
from ..registry import Paper
from .inception_v3 import auxiliary

PAPER = Paper(
    title="Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    authors="Szegedy, Ioffe, Vanhoucke, Alemi",
    year=2016,
    url="https://arxiv.org/abs/1602.07261",
)

AVG = Pool("avg")
HALVE = Pool("max", 3, 2, "valid")

A = Branches(  # Figure 4
    [Conv(96)],
    [Conv(64), Conv(96, 3)],
    [Conv(64), Conv(96, 3), Conv(96, 3)],
    [AVG, Conv(96)],
)
B = Branches(  # Figure 5
    [Conv(384)],
    [Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))],
    [Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))],
    [AVG, Conv(128)],
)
FAN = Branches([Conv(256, (1, 3))], [Conv(256, (3, 1))])
C = Branches(  # Figure 6
    [Conv(256)],
    [Conv(384), FAN],
    [Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), FAN],
    [AVG, Conv(256)],
)
REDUCE_A = Branches(  # Figure 7, with Table 1's k, l, m, n = 192, 224, 256, 384
    [Conv(384, 3, 2, "valid")],
    [Conv(192), Conv(224, 3), Conv(256, 3, 2, "valid")],
    [HALVE],
)
REDUCE_B = Branches(  # Figure 8
    [Conv(192), Conv(192, 3, 2, "valid")],
    [Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, "valid")],
    [HALVE],
)
STEM: LayerTable = {  # Figure 3
    "conv2d_1a_3x3": Conv(32, 3, 2, "valid"),  # 149 x 149 x 32
    "conv2d_2a_3x3": Conv(32, 3, 1, "valid"),  # 147 x 147 x 32
    "conv2d_2b_3x3": Conv(64, 3),  # 147 x 147 x 64
    "mixed_3a": Branches([HALVE], [Conv(96, 3, 2, "valid")]),  # 73 x 73 x 160
    "mixed_4a": Branches(
        [Conv(64), Conv(96, 3, 1, "valid")],
        [Conv(64), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, 1, "valid")],
    ),  # 71 x 71 x 192
    "mixed_5a": Branches([Conv(192, 3, 2, "valid")], [HALVE]),  # 35 x 35 x 384
}
MODULES: LayerTable = {  # Figure 9
    **{f"mixed_5{i}": A for i in "bcde"},  # 35 x 35 x 384
    "mixed_6a": REDUCE_A,  # 17 x 17 x 1024
    **{f"mixed_6{i}": B for i in "bcdefgh"},  # 17 x 17 x 1024
    "mixed_7a": REDUCE_B,  # 8 x 8 x 1536
    **{f"mixed_7{i}": C for i in "bcd"},  # 8 x 8 x 1536
}


def backbone(
    x: Tensor,
    *,
    se_ratio: Annotated[int | None, se_argument("after each Inception module and each reduction")] = None,
) -> Tensor:
    """Inception v4, 42,679,816 parameters.

    Batch norm has a scale, as in the ports to other frameworks; with `numerics="slim"` it has none, as in TF-slim. The
    orders of 1x7 and 7x1, and of 1x3 and 3x1, are those of TF-slim's weights. The auxiliary head is TF-slim's, which
    the paper does not show, after the last 17 x 17 map.
    """
    return chain(x, {**STEM, **with_squeeze_excite(MODULES, se_ratio)})


InceptionV4 = register(
    "InceptionV4",
    "inception_v4",
    backbone,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=42_679_816,
    macs=12_253_974_624,
    aux_heads={"mixed_6h": auxiliary},
    numerics={
        "tf": TF,
        "slim": replace(TF, gamma=False),
        "torch": replace(TORCH, epsilon=1e-3, pool_counts_padding=False),
        "tf2cv": replace(TORCH, epsilon=1e-3),
    },
    dropout=0.2,
)
