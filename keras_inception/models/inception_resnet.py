"""Inception-ResNet v1 and v2, and v2 with squeeze-and-excitation. Szegedy, Ioffe, Vanhoucke, Alemi, 2016."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

from keras.layers import Dense, GlobalAveragePooling2D

from ..arguments import Argument, dropout_argument, se_argument
from ..builder import register
from ..layers import (
    TF,
    TORCH,
    Branches,
    Conv,
    LayerSpec,
    LayerTable,
    Residual,
    Tensor,
    chain,
    conv,
    drop,
    norm,
    with_squeeze_excite,
)
from .inception_v3 import auxiliary
from .inception_v4 import AVG, HALVE, PAPER
from .senet import PAPER as SE_PAPER

SCALES = (0.17, 0.10, 0.20)  # of block35, block17 and block8


@dataclass(frozen=True)
class Up:
    """Branches, then a linear 1x1 convolution, with a bias and without batch norm, to the input's channels."""

    branches: Branches

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> the same."""
        return conv(self.branches(x, name=f"{name}_mix"), x.shape[-1], name=name)


def repeated(name: str, count: int, branches: Branches, scale: float) -> dict[str, LayerSpec]:
    """`name_1` to `name_count`."""
    return {f"{name}_{i}": Residual(Up(branches), scale) for i in range(1, count + 1)}


def linear(name: str, branches: Branches) -> dict[str, LayerSpec]:
    """The last block as released: unscaled and without an activation.

    It takes the next number, as in keras.applications' checkpoint: with TF-slim's name, block8, the layers of block8_1
    and the others would look like its inner layers.
    """
    return {name: Residual(Up(branches), activation=None)}


ResidualScale: TypeAlias = Annotated[
    tuple[float, float, float],
    Argument(
        'Factors of the residual paths of block35, block17 and block8. The paper has "between 0.1 and 0.3"; the '
        "defaults are the released networks'.",
        above=0,
        at_most=1,
        states="three numbers in (0, 1]",
    ),
]
SERatio: TypeAlias = Annotated[int | None, se_argument("in each residual path, before the scale")]
Released: TypeAlias = Annotated[
    bool,
    Argument(
        "Whether to build the network of the published weights (FaceNet's), 23,995,624 parameters: a sixth block8, "
        "unscaled and without an activation, and before the classifier a linear bottleneck of 512 with batch norm."
    ),
]


# ------------------------------------------------------------------------------------------------------------------ v1

BLOCK35_V1 = Branches([Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(32, 3), Conv(32, 3)])  # Figure 10
BLOCK17_V1 = Branches([Conv(128)], [Conv(128), Conv(128, (1, 7)), Conv(128, (7, 1))])  # Figure 11
BLOCK8_V1 = Branches([Conv(192)], [Conv(192), Conv(192, (1, 3)), Conv(192, (3, 1))])  # Figure 13
STEM_V1: LayerTable = {  # Figure 14
    "conv2d_1a_3x3": Conv(32, 3, 2, "valid"),  # 149 x 149 x 32
    "conv2d_2a_3x3": Conv(32, 3, 1, "valid"),  # 147 x 147 x 32
    "conv2d_2b_3x3": Conv(64, 3),  # 147 x 147 x 64
    "maxpool_3a_3x3": HALVE,  # 73 x 73 x 64
    "conv2d_3b_1x1": Conv(80),  # 73 x 73 x 80
    "conv2d_4a_3x3": Conv(192, 3, 1, "valid"),  # 71 x 71 x 192
    "conv2d_4b_3x3": Conv(256, 3, 2, "valid"),  # 35 x 35 x 256
}
REDUCE_A_V1 = Branches(  # Figure 7, with Table 1's k, l, m, n = 192, 192, 256, 384
    [Conv(384, 3, 2, "valid")],
    [Conv(192), Conv(192, 3), Conv(256, 3, 2, "valid")],
    [HALVE],
)
REDUCE_B_V1 = Branches(  # Figure 12
    [Conv(256), Conv(384, 3, 2, "valid")],
    [Conv(256), Conv(256, 3, 2, "valid")],
    [Conv(256), Conv(256, 3), Conv(256, 3, 2, "valid")],
    [HALVE],
)


def backbone_v1(
    x: Tensor, *, se_ratio: SERatio = None, residual_scale: ResidualScale = SCALES, released: Released = False
) -> Tensor:
    """Inception-ResNet v1 as in the paper, 22,756,328 parameters; `released=True` is the published weights' network.

    The auxiliary head is TF-slim's, after the last 17 x 17 map.
    """
    a, b, c = residual_scale
    table: Mapping[str, LayerSpec] = {  # Figure 15
        **STEM_V1,
        **repeated("block35", 5, BLOCK35_V1, a),  # 35 x 35 x 256
        "mixed_6a": REDUCE_A_V1,  # 17 x 17 x 896
        **repeated("block17", 10, BLOCK17_V1, b),  # 17 x 17 x 896
        "mixed_7a": REDUCE_B_V1,  # 8 x 8 x 1792
        **repeated("block8", 5, BLOCK8_V1, c),  # 8 x 8 x 1792
        **(linear("block8_6", BLOCK8_V1) if released else {}),  # 8 x 8 x 1792
    }
    return chain(x, with_squeeze_excite(table, se_ratio, Residual))


def head_v1(
    x: Tensor,
    classes: int,
    *,
    dropout: Annotated[float, dropout_argument("before the classifier")] = 0.2,
    released: Released = False,
) -> Tensor:
    """Average pool, dropout, dense; if `released`, with the bottleneck before the dense layer."""
    x = drop(GlobalAveragePooling2D(name="avg_pool")(x), dropout, name="dropout")
    if released:
        x = norm(Dense(512, use_bias=False, name="bottleneck_dense")(x), name="bottleneck")
    return Dense(classes, name="logits")(x)


# ------------------------------------------------------------------------------------------------------------------ v2

BLOCK35 = Branches([Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(48, 3), Conv(64, 3)])  # Figure 16
BLOCK17 = Branches([Conv(192)], [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))])  # Figure 17
BLOCK8 = Branches([Conv(192)], [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))])  # Figure 19
STEM: LayerTable = {
    **{name: spec for name, spec in STEM_V1.items() if name != "conv2d_4b_3x3"},  # 71 x 71 x 192
    "maxpool_5a_3x3": HALVE,  # 35 x 35 x 192
    "mixed_5b": Branches(
        [Conv(96)],
        [Conv(48), Conv(64, 5)],
        [Conv(64), Conv(96, 3), Conv(96, 3)],
        [AVG, Conv(64)],
    ),  # 35 x 35 x 320
}
REDUCE_A = Branches(  # Figure 7, with Table 1's k, l, m, n = 256, 256, 384, 384
    [Conv(384, 3, 2, "valid")],
    [Conv(256), Conv(256, 3), Conv(384, 3, 2, "valid")],
    [HALVE],
)
REDUCE_B = Branches(  # Figure 18
    [Conv(256), Conv(384, 3, 2, "valid")],
    [Conv(256), Conv(288, 3, 2, "valid")],
    [Conv(256), Conv(288, 3), Conv(320, 3, 2, "valid")],
    [HALVE],
)


def backbone_v2(x: Tensor, *, se_ratio: SERatio = None, residual_scale: ResidualScale = SCALES) -> Tensor:
    """Inception-ResNet v2 as released, 55,843,464 parameters where batch norm has a scale.

    Departures from the paper, all of them the released network's: v1's stem with a pool and a `mixed_5b` of 320
    channels in place of v4's stem; 10, 20 and 10 blocks where Figure 15 has 5, 10 and 5, the last of them unscaled and
    without an activation; and a 1x1 convolution to 1,536 channels before the pool. By default the batch norm of
    InceptionResNetV2 is TensorFlow's, which has no scale (55,813,192 trainable, as in keras.applications); with
    `numerics="torch"` it has a scale.

    SEInceptionResNetV2 (64,387,444 parameters) has its squeeze-and-excitation modules before the scale. That is one
    reading of Hu et al.'s Figure 3: they released neither the network nor a table. The auxiliary head is TF-slim's,
    after the last 17 x 17 map.
    """
    a, b, c = residual_scale
    table: Mapping[str, LayerSpec] = {
        **STEM,
        **repeated("block35", 10, BLOCK35, a),  # 35 x 35 x 320
        "mixed_6a": REDUCE_A,  # 17 x 17 x 1088
        **repeated("block17", 20, BLOCK17, b),  # 17 x 17 x 1088
        "mixed_7a": REDUCE_B,  # 8 x 8 x 2080
        **repeated("block8", 9, BLOCK8, c),  # 8 x 8 x 2080
        **linear("block8_10", BLOCK8),  # 8 x 8 x 2080
        "conv2d_7b_1x1": Conv(1536),  # 8 x 8 x 1536
    }
    return chain(x, with_squeeze_excite(table, se_ratio, Residual))


PORTED = replace(TORCH, epsilon=1e-3, pool_counts_padding=False)

InceptionResNetV1 = register(
    "InceptionResNetV1",
    "inception_resnet_v1",
    backbone_v1,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=22_756_328,
    macs=6_206_361_696,
    head=head_v1,
    aux_heads={"block17_10": auxiliary},
    numerics={"tf": TF, "torch": PORTED},
)
InceptionResNetV2 = register(
    "InceptionResNetV2",
    "inception_resnet_v2",
    backbone_v2,
    paper=PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=55_813_192,
    macs=13_155_794_016,
    aux_heads={"block17_20": auxiliary},
    numerics={"tf": replace(TF, gamma=False), "torch": PORTED, "tf2cv": replace(TORCH, epsilon=1e-3)},
    dropout=0.2,
)
SEInceptionResNetV2 = register(
    "SEInceptionResNetV2",
    "se_inception_resnet_v2",
    backbone_v2,
    paper=SE_PAPER,
    input_shape=(299, 299, 3),
    smallest=75,
    parameters=64_387_444,
    macs=13_164_289_376,
    aux_heads={"block17_20": auxiliary},
    numerics={"tf": TF, "torch": PORTED},
    dropout=0.2,
    se_ratio=16,
)
