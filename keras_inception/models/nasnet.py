"""NASNet-A: cells that a search found on CIFAR-10. Zoph, Vasudevan, Shlens, Le, 2017.

The cells are Figure 4's. Their number, widths and names, and the stem, are those of the authors' release (TF-Slim).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeAlias

import keras
from keras import ops
from keras.layers import Add, Concatenate, Cropping2D, ZeroPadding2D

from ..arguments import Argument
from ..builder import register
from ..layers import TF, Chain, Conv, DropPath, LayerSpec, Pool, Tensor, activate, conv, norm, pool
from ..registry import Paper
from . import inception_v3
from .xception import SeparableConv

PAPER = Paper(
    title="Learning Transferable Architectures for Scalable Image Recognition",
    authors="Zoph, Vasudevan, Shlens, Le",
    year=2017,
    url="https://arxiv.org/abs/1707.07012",
)

# ---------------------------------------------------------------------------------------------------------- operations

Operation: TypeAlias = Callable[[int], LayerSpec]  # output channels -> layer spec


def sep(kernel: int, strides: int = 1) -> Operation:
    """A separable convolution, applied twice; ReLU precedes each."""
    return lambda filters: Chain(
        SeparableConv(filters, "before", kernel, strides), SeparableConv(filters, "before", kernel)
    )


def keep(spec: LayerSpec) -> Operation:
    """An operation that keeps the number of channels."""
    return lambda filters: spec


AVG, AVG_2, MAX_2 = keep(Pool("avg")), keep(Pool("avg", 3, 2)), keep(Pool("max", 3, 2))
SAME = None


def squeeze(x: Tensor, filters: int, *, name: str) -> Tensor:
    """ReLU and a 1x1 convolution: N x H x W x C -> N x H x W x filters."""
    return Conv(filters, activation=None)(activate(x, "relu", name=f"{name}_relu"), name=name)


def factorized_reduction(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Half of the channels from every second pixel, half from the next: N x H x W x C -> N x H/2 x W/2 x filters."""
    x = activate(x, "relu", name=f"{name}_relu")
    shifted = ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    shifted = Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(shifted)
    halves = []
    for i, half in enumerate((x, shifted)):
        half = pool(half, "avg", 1, 2, "valid", name=f"{name}_{i}_pool")
        halves.append(conv(half, filters // 2, bias=False, name=f"{name}_{i}"))
    return norm(Concatenate(name=f"{name}_concat")(halves), name=name)


@keras.saving.register_keras_serializable("keras_inception")
class ScheduledDropPath(DropPath):
    """DropPath whose probability grows linearly from 0 to `rate` over `steps` training steps, then stays constant.

    Its only weight counts the steps.
    """

    def __init__(self, rate: float, steps: int, **kwargs: Any):
        super().__init__(rate, **kwargs)
        self.steps = steps

    def build(self, input_shape: Any) -> None:
        """Create the counter."""
        self.step = self.add_weight((), "zeros", "float32", trainable=False, autocast=False, name="step")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """N x ... -> the same."""
        if not training:
            return x
        rate = self.rate * ops.minimum(self.step / self.steps, 1.0)
        self.step.assign(self.step + 1)
        return self.drop(x, rate)

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"steps": self.steps}


# --------------------------------------------------------------------------------------------------------------- cells


class Block(NamedTuple):
    """The sum of two operations, each on its input."""

    left: Operation | None
    left_input: str
    right: Operation | None
    right_input: str


@dataclass(frozen=True)
class Cell:
    """Figure 4: `h` is the last cell's output, `p` an earlier cell's, both adjusted to the cell's width."""

    blocks: Mapping[str, Block]
    outputs: tuple[str, ...]  # of the cell, concatenated
    strides: int = 1

    def __call__(self, h: Tensor, p: Tensor, filters: int, drop: Callable[..., Tensor], *, name: str) -> Tensor:
        """N x H x W x C, and the adjusted N x H x W x C' -> N x H/s x W/s x filters times the outputs."""
        made = {"h": squeeze(h, filters, name=f"{name}_h"), "p": p}
        for key, block in self.blocks.items():
            sides = []
            for side, operation, source in (("left", *block[:2]), ("right", *block[2:])):
                x = made[source]
                if operation is not SAME:
                    x = operation(filters)(x, name=f"{name}_{key}_{side}")
                    x = drop(x, name=f"{name}_{key}_{side}_drop")
                sides.append(x)
            made[key] = Add(name=f"{name}_{key}")(sides)
        return Concatenate(name=name)([made[key] for key in self.outputs])


NORMAL = Cell(
    {
        "0": Block(sep(5), "h", sep(3), "p"),
        "1": Block(sep(5), "p", sep(3), "p"),
        "2": Block(AVG, "h", SAME, "p"),
        "3": Block(AVG, "p", AVG, "p"),
        "4": Block(sep(3), "h", SAME, "h"),
    },
    outputs=("p", "0", "1", "2", "3", "4"),
)
REDUCTION = Cell(
    {
        "0": Block(sep(5, 2), "h", sep(7, 2), "p"),
        "1": Block(MAX_2, "h", sep(7, 2), "p"),
        "2": Block(AVG_2, "h", sep(5, 2), "p"),
        "3": Block(SAME, "1", AVG, "0"),
        "4": Block(sep(3), "0", MAX_2, "h"),
    },
    outputs=("1", "2", "3", "4"),
    strides=2,
)


# ------------------------------------------------------------------------------------------------------------ networks


def cells(blocks: int, filters: int) -> dict[str, tuple[Cell, int]]:
    """The network: two reduction cells as the stem, then three stages of normal cells with a reduction between."""
    table = {"cell_stem_0": (REDUCTION, filters // 4), "cell_stem_1": (REDUCTION, filters // 2)}
    for stage in range(3):
        width = filters * 2**stage
        if stage:
            table[f"reduction_cell_{stage - 1}"] = (REDUCTION, width)
        table |= {f"cell_{stage * blocks + i}": (NORMAL, width) for i in range(blocks)}
    return table


def backbone(
    x: Tensor,
    *,
    blocks: int,
    filters: int,
    stem: int,
    skip_reduction_input: bool,
    drop_path: Annotated[
        float,
        Argument(
            "Probability that training drops an operation of the last cell, for each sample; it grows linearly from "
            "the first cell. The authors trained the large network with 0.3 and the mobile one with 0.",
            at_least=0,
            below=1,
        ),
    ] = 0.0,
    drop_path_steps: Annotated[
        int | None,
        Argument(
            "Training steps over which the probability grows from 0 (ScheduledDropPath), the whole training in the "
            "paper; None keeps it constant.",
            at_least=1,
        ),
    ] = None,
) -> Tensor:
    """NASNet-A, N @ F: N normal cells a stage, F channels at the end.

    By default pools pad as in the released network (TF-Slim). With `numerics="keras"` they pad as in
    keras.applications, where the zeros around a map count as values in strided pools; with "torch" as in timm, where
    they count in strided average pools only; and with "tf2cv" as in that package, where they count in all strided pools
    and in average pools of stride 1. The authors' dropout before the classifier is 0.5.
    """
    h = p = Conv(stem, 3, 2, "valid", activation=None)(x, name="conv0")
    h_strides = p_strides = 1
    table = cells(blocks, filters)
    for i, (name, (cell, width)) in enumerate(table.items(), 1):
        drop = partial(_drop, rate=drop_path * i / len(table), steps=drop_path_steps)
        adjusted = p
        if p_strides < h_strides:
            adjusted = factorized_reduction(p, width, name=f"{name}_p")
        elif i > 1 and p.shape[-1] != width:
            adjusted = squeeze(p, width, name=f"{name}_p")
        out = cell(h, adjusted, width, drop, name=name)
        if not (skip_reduction_input and name.startswith("reduction")):
            p, p_strides = h, h_strides
        h, h_strides = out, h_strides * cell.strides
    return activate(h, "relu", name="features")


def _drop(x: Tensor, rate: float, steps: int | None, *, name: str) -> Tensor:
    if not rate:
        return x
    return (ScheduledDropPath(rate, steps, name=name) if steps else DropPath(rate, name=name))(x)


def auxiliary(x: Tensor, classes: int, *, name: str, largest: int) -> Tensor:
    """Inception's auxiliary head after a ReLU, on the last map before the second reduction."""
    return inception_v3.auxiliary(activate(x, "relu", name=f"{name}_relu"), classes, name=name, largest=largest)


SLIM = replace(TF, momentum=0.9997)

nasnet = partial(
    register,
    backbone=backbone,
    paper=PAPER,
    smallest=32,
    dropout=0.5,
    numerics={
        "tf": SLIM,
        "keras": replace(SLIM, zeros_in_pools=("avg", "max")),
        "torch": replace(SLIM, zeros_in_pools=("avg",), momentum=0.9),
        "tf2cv": replace(SLIM, zeros_in_pools=("avg", "max"), pool_counts_padding=True),
    },
)

NASNetMobile = nasnet(
    "NASNetMobile",
    "nasnet_mobile",
    input_shape=(224, 224, 3),
    blocks=4,
    filters=1056 // 24,
    stem=32,
    skip_reduction_input=False,
    aux_heads={"cell_7": partial(auxiliary, largest=4)},
    parameters=5_289_978,
    macs=563_638_816,
)
NASNetLarge = nasnet(
    "NASNetLarge",
    "nasnet_large",
    input_shape=(331, 331, 3),
    blocks=6,
    filters=4032 // 24,
    stem=96,
    skip_reduction_input=True,
    aux_heads={"cell_11": partial(auxiliary, largest=6)},
    parameters=88_753_150,
    macs=23_783_414_658,
)
