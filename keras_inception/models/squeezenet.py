"""SqueezeNet. Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, 2016."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

from keras.layers import GlobalAveragePooling2D

from .. import layers
from ..arguments import Argument, dropout_argument, se_argument
from ..builder import register
from ..layers import TORCH, Branches, LayerTable, Pool, Tensor, chain, drop, with_squeeze_excite
from ..registry import Paper

PAPER = Paper(
    title="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    authors="Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer",
    year=2016,
    url="https://arxiv.org/abs/1602.07360",
)

Conv = partial(layers.Conv, batch_norm=False)
POOL = Pool("max", 3, 2, "ceil")


@dataclass(frozen=True)
class Fire:
    """Figure 1: squeeze with 1x1, expand with 1x1 and 3x3 side by side."""

    squeeze: int
    expand1x1: int
    expand3x3: int

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H x W x (expand1x1 + expand3x3)."""
        x = Conv(self.squeeze)(x, name=f"{name}_squeeze")
        return Branches([Conv(self.expand1x1)], [Conv(self.expand3x3, 3)])(x, name=name)


V1_0: LayerTable = {  # Table 1
    "conv1": Conv(96, 7, 2, "valid"),  # 109 x 109 x 96
    "pool1": POOL,  # 54 x 54 x 96
    "fire2": Fire(16, 64, 64),  # 54 x 54 x 128
    "fire3": Fire(16, 64, 64),  # 54 x 54 x 128
    "fire4": Fire(32, 128, 128),  # 54 x 54 x 256
    "pool4": POOL,  # 27 x 27 x 256
    "fire5": Fire(32, 128, 128),  # 27 x 27 x 256
    "fire6": Fire(48, 192, 192),  # 27 x 27 x 384
    "fire7": Fire(48, 192, 192),  # 27 x 27 x 384
    "fire8": Fire(64, 256, 256),  # 27 x 27 x 512
    "pool8": POOL,  # 13 x 13 x 512
    "fire9": Fire(64, 256, 256),  # 13 x 13 x 512
}

V1_1: LayerTable = {  # the authors' later release: a smaller stem, and pools before the fire modules that widen
    "conv1": Conv(64, 3, 2, "valid"),  # 111 x 111 x 64
    "pool1": POOL,  # 55 x 55 x 64
    "fire2": Fire(16, 64, 64),  # 55 x 55 x 128
    "fire3": Fire(16, 64, 64),  # 55 x 55 x 128
    "pool3": POOL,  # 27 x 27 x 128
    "fire4": Fire(32, 128, 128),  # 27 x 27 x 256
    "fire5": Fire(32, 128, 128),  # 27 x 27 x 256
    "pool5": POOL,  # 13 x 13 x 256
    "fire6": Fire(48, 192, 192),  # 13 x 13 x 384
    "fire7": Fire(48, 192, 192),  # 13 x 13 x 384
    "fire8": Fire(64, 256, 256),  # 13 x 13 x 512
    "fire9": Fire(64, 256, 256),  # 13 x 13 x 512
}


def backbone(
    x: Tensor,
    *,
    table: LayerTable,
    se_ratio: Annotated[int | None, se_argument("after each fire module")] = None,
) -> Tensor:
    """SqueezeNet without bypass: version 1.0 is the paper's Table 1, version 1.1 the authors' later release.

    The departures are torchvision's: images of 224 x 224, which give 109 x 109 after conv1 where the table has 111 x
    111, and by default no padding of the 1x1 conv10, which the authors' file for 1.0 has.
    """
    return chain(x, with_squeeze_excite(table, se_ratio, Fire))


def head(
    x: Tensor,
    classes: int,
    *,
    dropout: Annotated[float, dropout_argument("before conv10")] = 0.5,
    conv10_padding: Annotated[
        Literal[0, 1],
        Argument("Zeros around the map before conv10: 1 as in the authors' file of version 1.0, 0 as in the others."),
    ] = 0,
) -> Tensor:
    """Conv10 and a ReLU make one map for each class; its mean is the logit."""
    x = drop(x, dropout, name="drop9")
    return GlobalAveragePooling2D(name="logits")(Conv(classes, padding=conv10_padding)(x, name="conv10"))


NUMERICS = {"torch": TORCH, "tf2cv": replace(TORCH, overhang="around")}
variant = partial(register, backbone=backbone, head=head, paper=PAPER, input_shape=(224, 224, 3), numerics=NUMERICS)
SqueezeNet1_0 = variant(
    "SqueezeNet1_0", "squeezenet1_0", table=V1_0, smallest=21, parameters=1_248_424, macs=818_924_576
)
SqueezeNet1_1 = variant(
    "SqueezeNet1_1", "squeezenet1_1", table=V1_1, smallest=17, parameters=1_235_496, macs=349_151_936
)
