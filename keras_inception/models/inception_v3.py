"""Inception v3. Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, 2015."""

from dataclasses import replace
from typing import Annotated, Literal

from keras.layers import Dense, GlobalAveragePooling2D

from ..arguments import Argument
from ..builder import register
from ..layers import TF, TORCH, Branches, Conv, LayerTable, Pool, Tensor, chain, with_squeeze_excite
from ..registry import Paper
from .inception_v1 import SERatio

PAPER = Paper(
    title="Rethinking the Inception Architecture for Computer Vision",
    authors="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
    year=2015,
    url="https://arxiv.org/abs/1512.00567",
)

AVG = Pool("avg")


def a(proj: int) -> Branches:
    """Figure 5 with one 5x5: the released network factorises only one of the two branches."""
    return Branches([Conv(64)], [Conv(48), Conv(64, 5)], [Conv(64), Conv(96, 3), Conv(96, 3)], [AVG, Conv(proj)])


def b(n7: int) -> Branches:
    """Figure 6, n = 7: the 7x7 as 1x7 and 7x1."""
    return Branches(
        [Conv(192)],
        [Conv(n7), Conv(n7, (1, 7)), Conv(192, (7, 1))],
        [Conv(n7), Conv(n7, (7, 1)), Conv(n7, (1, 7)), Conv(n7, (7, 1)), Conv(192, (1, 7))],
        [AVG, Conv(192)],
    )


def c(pool: Pool = AVG) -> Branches:
    """Figure 7: the last 3x3 split into a parallel 1x3 and 3x1."""
    fan = Branches([Conv(384, (1, 3))], [Conv(384, (3, 1))])
    return Branches([Conv(320)], [Conv(384), fan], [Conv(448), Conv(384, 3), fan], [pool, Conv(192)])


REDUCE_A = Branches(  # Figure 10
    [Conv(384, 3, 2, "valid")],
    [Conv(64), Conv(96, 3), Conv(96, 3, 2, "valid")],
    [Pool("max", 3, 2, "valid")],
)
REDUCE_B = Branches(
    [Conv(192), Conv(320, 3, 2, "valid")],
    [Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")],
    [Pool("max", 3, 2, "valid")],
)

# Table 1, as released, with the checkpoint's names.
LAYERS: LayerTable = {
    "conv2d_1a_3x3": Conv(32, 3, 2, "valid"),  # 149 x 149 x 32
    "conv2d_2a_3x3": Conv(32, 3, 1, "valid"),  # 147 x 147 x 32
    "conv2d_2b_3x3": Conv(64, 3),  # 147 x 147 x 64
    "maxpool_3a_3x3": Pool("max", 3, 2, "valid"),  # 73 x 73 x 64
    "conv2d_3b_1x1": Conv(80),  # 73 x 73 x 80
    "conv2d_4a_3x3": Conv(192, 3, 1, "valid"),  # 71 x 71 x 192
    "maxpool_5a_3x3": Pool("max", 3, 2, "valid"),  # 35 x 35 x 192
    "mixed_5b": a(proj=32),  # 35 x 35 x 256
    "mixed_5c": a(proj=64),  # 35 x 35 x 288
    "mixed_5d": a(proj=64),  # 35 x 35 x 288
    "mixed_6a": REDUCE_A,  # 17 x 17 x 768
    "mixed_6b": b(n7=128),  # 17 x 17 x 768
    "mixed_6c": b(n7=160),  # 17 x 17 x 768
    "mixed_6d": b(n7=160),  # 17 x 17 x 768
    "mixed_6e": b(n7=192),  # 17 x 17 x 768
    "mixed_7a": REDUCE_B,  # 8 x 8 x 1280
    "mixed_7b": c(),  # 8 x 8 x 2048
    "mixed_7c": c(),  # 8 x 8 x 2048
}


def factorised(proj: int) -> Branches:
    """Figure 5: two 3x3 for the 5x5."""
    return Branches([Conv(64)], [Conv(48), Conv(64, 3)], [Conv(64), Conv(96, 3), Conv(96, 3)], [AVG, Conv(proj)])


# Table 1, as printed. Its "3 x Inception" and "5 x Inception" end in the module that reduces the grid (Figure 10).
PAPER_LAYERS: LayerTable = {
    "conv2d_1a_3x3": Conv(32, 3, 2, "valid"),  # 149 x 149 x 32
    "conv2d_2a_3x3": Conv(32, 3, 1, "valid"),  # 147 x 147 x 32
    "conv2d_2b_3x3": Conv(64, 3),  # 147 x 147 x 64
    "maxpool_3a_3x3": Pool("max", 3, 2, "valid"),  # 73 x 73 x 64
    "conv2d_3b_3x3": Conv(80, 3, 1, "valid"),  # 71 x 71 x 80
    "conv2d_4a_3x3": Conv(192, 3, 2, "valid"),  # 35 x 35 x 192
    "conv2d_4b_3x3": Conv(288, 3),  # 35 x 35 x 288
    "mixed_5b": factorised(proj=64),  # 35 x 35 x 288
    "mixed_5c": factorised(proj=64),  # 35 x 35 x 288
    **{name: LAYERS[name] for name in ("mixed_6a", "mixed_6b", "mixed_6c", "mixed_6d", "mixed_6e")},  # 17 x 17 x 768
    **{name: LAYERS[name] for name in ("mixed_7a", "mixed_7b", "mixed_7c")},  # 8 x 8 x 1280, then 2048
}


def rethinking(x: Tensor, *, se_ratio: SERatio = None) -> Tensor:
    """The network that the paper tabulates and calls Inception-v2. It was never released: this is a reconstruction.

    Table 1 gives every map's size, and they all hold. Where the paper is silent: the last of the "3 x Inception" and of
    the "5 x Inception" is the module that reduces the grid, as in Figure 10; the branches' widths, which it does not
    print, are the released v3's, with a 3x3 in the second branch of Figure 5. That makes 24,027,240 parameters and 98 %
    of v3's multiply-adds, where the paper's Table 3 has 79 %; with separate reductions it would be 111 %. The auxiliary
    head follows the last 17 x 17 map.
    """
    return chain(x, with_squeeze_excite(PAPER_LAYERS, se_ratio))


def backbone(
    x: Tensor,
    *,
    last_pool: Annotated[
        Literal["avg", "max"],
        Argument("Pool of the last module: 'max' in the first released graph (2015) and its ports, 'avg' since."),
    ] = "avg",
    se_ratio: SERatio = None,
) -> Tensor:
    """Inception v3 as released, 23,834,568 parameters with torchvision's batch norm.

    Departures from the paper, all of them the released network's: Figure 5's modules keep one 5x5, the grids are
    35 x 35 x 288 from three of them, and the last module's pool is an average. By default batch norm is TensorFlow's,
    which has no scale (23,817,352 trainable, as in keras.applications); `numerics="torch"` follows torchvision. The
    auxiliary head follows the last 17 x 17 map.
    """
    return chain(x, with_squeeze_excite({**LAYERS, "mixed_7c": c(Pool(last_pool))}, se_ratio))


def auxiliary(x: Tensor, classes: int, *, name: str, largest: int = 5) -> Tensor:
    """Figure 8, as released: on the last 17 x 17 map, with batch norm.

    The second convolution covers the 5 x 5 map that the pool leaves (`largest`), or all of a smaller map; on a larger
    map its outputs are averaged.
    """
    x = chain(x, [Pool("avg", 5, 3, "valid"), Conv(128)], name=name)
    height, width = (largest if side is None else min(largest, side) for side in x.shape[1:3])
    x = Conv(768, (height, width), 1, "valid")(x, name=f"{name}_2")
    return Dense(classes, name=f"{name}_logits")(GlobalAveragePooling2D(name=f"{name}_avg_pool")(x))


InceptionV3 = register(
    "InceptionV3",
    "inception_v3",
    backbone,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=23_817_352,
    macs=5_713_216_096,
    aux_heads={"mixed_6e": auxiliary},
    numerics={"tf": replace(TF, gamma=False), "torch": replace(TORCH, epsilon=1e-3)},
)
InceptionV2Rethinking = register(
    "InceptionV2Rethinking",
    "inception_v2_rethinking",
    rethinking,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=24_027_240,
    macs=5_576_975_456,
    aux_heads={"mixed_6e": auxiliary},
    numerics={"tf": TF, "torch": replace(TORCH, epsilon=1e-3)},
)
