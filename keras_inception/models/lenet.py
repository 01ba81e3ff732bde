"""LeNet-5. LeCun, Bottou, Bengio, Haffner, 1998."""

from functools import partial
from typing import Annotated, Literal, TypeAlias

from keras.layers import Dense

from .. import layers
from ..arguments import Argument
from ..builder import register
from ..layers import LayerTable, Pool, Tensor, activate, chain, flatten
from ..registry import Paper

PAPER = Paper(
    title="Gradient-Based Learning Applied to Document Recognition",
    authors="LeCun, Bottou, Bengio, Haffner",
    year=1998,
    url="https://doi.org/10.1109/5.726791",
)

Variant: TypeAlias = Annotated[
    Literal["paper", "caffe"],
    Argument(
        "'paper' is LeNet-5. 'caffe' is the network that Caffe calls LeNet, of 20 and 50 channels and 500 units, with "
        "max pools and one ReLU, for 28 x 28 pixels."
    ),
]

Conv = partial(layers.Conv, kernel=5, padding="valid", batch_norm=False)

PAPERS: LayerTable = {  # Figure 2
    "c1": Conv(6, activation="tanh"),  # 28 x 28 x 6
    "s2": Pool("avg", 2, 2, "valid"),  # 14 x 14 x 6
    "c3": Conv(16, activation="tanh"),  # 10 x 10 x 16
    "s4": Pool("avg", 2, 2, "valid"),  # 5 x 5 x 16
}
CAFFES: LayerTable = {  # of 28 x 28
    "c1": Conv(20, activation=None),  # 24 x 24 x 20
    "s2": Pool("max", 2, 2, "valid"),  # 12 x 12 x 20
    "c3": Conv(50, activation=None),  # 8 x 8 x 50
    "s4": Pool("max", 2, 2, "valid"),  # 4 x 4 x 50
}
TABLES = {"paper": PAPERS, "caffe": CAFFES}
HIDDEN = {"paper": ("tanh", {"c5": 120, "f6": 84}), "caffe": ("relu", {"c5": 500})}  # activation, units


def backbone(x: Tensor, *, variant: Variant = "paper") -> Tensor:
    """LeNet-5 as it is built today, 61,706 parameters; `variant="caffe"` has 431,080 with 28 x 28 pixels.

    The paper's network, with 60,000, differs: its C3 reads only some of the maps before it (Table I), its subsampling
    has a trained coefficient and bias for each map, its activation is 1.7159 tanh(2x/3), and its output is ten radial
    basis functions.
    """
    return chain(x, TABLES[variant])


def head(x: Tensor, classes: int, *, variant: Variant = "paper") -> Tensor:
    """C5, F6 and the output. C5 is dense over the whole map: at 32 x 32 it equals the paper's 5x5 convolution."""
    x = flatten(x, name="flatten")
    activation, widths = HIDDEN[variant]
    for name, units in widths.items():
        x = activate(Dense(units, name=f"{name}_dense")(x), activation, name=name)
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
