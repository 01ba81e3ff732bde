"""LeNet-5. LeCun, Bottou, Bengio, Haffner, 1998."""

from functools import partial

from keras.layers import Dense

from .. import layers
from ..builder import register
from ..layers import LayerTable, Pool, Tensor, activate, chain, flatten
from ..registry import Paper

PAPER = Paper(
    title="Gradient-Based Learning Applied to Document Recognition",
    authors="LeCun, Bottou, Bengio, Haffner",
    year=1998,
    url="https://doi.org/10.1109/5.726791",
)

Conv = partial(layers.Conv, kernel=5, padding="valid", activation="tanh", batch_norm=False)

LAYERS: LayerTable = {  # Figure 2
    "c1": Conv(6),  # 28 x 28 x 6
    "s2": Pool("avg", 2, 2, "valid"),  # 14 x 14 x 6
    "c3": Conv(16),  # 10 x 10 x 16
    "s4": Pool("avg", 2, 2, "valid"),  # 5 x 5 x 16
}


def backbone(x: Tensor) -> Tensor:
    """LeNet-5 as it is built today, 61,706 parameters.

    The paper's network, with 60,000, differs: its C3 reads only some of the maps before it (Table I), its subsampling
    has a trained coefficient and bias for each map, its activation is 1.7159 tanh(2x/3), and its output is ten radial
    basis functions.
    """
    return chain(x, LAYERS)


def head(x: Tensor, classes: int) -> Tensor:
    """C5, F6 and the output. C5 is dense over the whole map: at 32 x 32 it equals the paper's 5x5 convolution."""
    x = flatten(x, name="flatten")
    for name, units in (("c5", 120), ("f6", 84)):
        x = activate(Dense(units, name=f"{name}_dense")(x), "tanh", name=name)
    return Dense(classes, name="logits")(x)


LeNet5 = register(
    "LeNet5",
    "lenet5",
    backbone,
    paper=PAPER,
    input_shape=(32, 32, 1),
    smallest=16,
    parameters=61_706,
    macs=416_520,
    head=head,
    classes=10,
)
