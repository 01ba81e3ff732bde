"""Network in Network. Lin, Chen, Yan, 2013."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from keras.layers import GlobalAveragePooling2D

from .. import layers
from ..arguments import dropout_argument
from ..builder import register
from ..layers import TF, TORCH, LayerTable, Pool, Tensor, chain, drop
from ..registry import Paper

PAPER = Paper(
    title="Network In Network",
    authors="Lin, Chen, Yan",
    year=2013,
    url="https://arxiv.org/abs/1312.4400",
)

Conv = partial(layers.Conv, batch_norm=False)


@dataclass(frozen=True)
class Drop:
    """Dropout."""

    rate: float

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> the same."""
        return drop(x, self.rate, name=name)


# Figure 2: an mlpconv layer is a convolution and two 1x1, a perceptron that slides over its map. The names are those of
# the released prototxts; `cccp` is cascaded cross-channel parametric pooling.


def imagenet(dropout: float) -> LayerTable:
    """The released network for ImageNet, which the paper does not have."""
    return {
        "conv1": Conv(96, 11, 4, "valid"),  # 54 x 54 x 96
        "cccp1": Conv(96),
        "cccp2": Conv(96),
        "pool0": Pool("max", 3, 2, "ceil"),  # 27 x 27 x 96
        "conv2": Conv(256, 5),  # 27 x 27 x 256
        "cccp3": Conv(256),
        "cccp4": Conv(256),
        "pool2": Pool("max", 3, 2, "ceil"),  # 13 x 13 x 256
        "conv3": Conv(384, 3),  # 13 x 13 x 384
        "cccp5": Conv(384),
        "cccp6": Conv(384),
        "pool3": Pool("max", 3, 2, "ceil"),  # 6 x 6 x 384
        "drop": Drop(dropout),
        "conv4": Conv(1024, 3),  # 6 x 6 x 1024
        "cccp7": Conv(1024),
    }


def cifar(dropout: float) -> LayerTable:
    """The released network for CIFAR-10.

    Its pools extend past the edge, and its average ignores what is outside: on even maps that is TensorFlow's SAME.
    """
    return {
        "conv1": Conv(192, 5),  # 32 x 32 x 192
        "cccp1": Conv(160),
        "cccp2": Conv(96),
        "pool1": Pool("max", 3, 2),  # 16 x 16 x 96
        "drop3": Drop(dropout),
        "conv2": Conv(192, 5),  # 16 x 16 x 192
        "cccp3": Conv(192),
        "cccp4": Conv(192),
        "pool2": Pool("avg", 3, 2),  # 8 x 8 x 192
        "drop6": Drop(dropout),
        "conv3": Conv(192, 3),  # 8 x 8 x 192
        "cccp5": Conv(192),
    }


def backbone(
    x: Tensor, *, dropout: Annotated[float, dropout_argument("before the last mlpconv layer")] = 0.5
) -> Tensor:
    """Network in Network for ImageNet as the authors released it for Caffe, 7,595,176 parameters.

    The mlpconv layers, and the global average pool of class maps in place of dense layers, are the paper's. The numbers
    are the release's, since the paper's networks are for small images.
    """
    return chain(x, imagenet(dropout))


def cifar_backbone(
    x: Tensor, *, dropout: Annotated[float, dropout_argument("after each of the first two mlpconv layers")] = 0.5
) -> Tensor:
    """Network in Network for CIFAR as the authors released it for Caffe, 966,986 parameters.

    It has three mlpconv layers, as in the paper's Figure 2, and the release's channels. With `numerics="torch"` the
    pools are padded on all sides, as the weights converted for PyTorch expect.
    """
    return chain(x, cifar(dropout))


def head(x: Tensor, classes: int) -> Tensor:
    """Section 3.2: one map for each class, and its mean. A ReLU follows the maps, as every convolution."""
    return GlobalAveragePooling2D(name="logits")(Conv(classes)(x, name="class_maps"))


NiN = register(
    "NiN",
    "nin",
    backbone,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=39,
    parameters=7_595_176,
    macs=1_100_188_800,
    head=head,
)

NiNCIFAR = register(
    "NiNCIFAR",
    "nin_cifar",
    cifar_backbone,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=4,
    parameters=966_986,
    macs=222_486_528,
    head=head,
    numerics={"tf": TF, "torch": TORCH},
    classes=10,
)
