"""FractalNet, its drop-path, and its columns as networks of their own. Larsson, Maire, Shakhnarovich, 2016."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import keras
from keras import ops

from ..arguments import Argument
from ..builder import register
from ..errors import InputError
from ..layers import TORCH, Conv, Pool, Tensor, activate, conv, drop, norm, pool, pooled_head
from ..registry import Paper

PAPER = Paper(
    title="FractalNet: Ultra-Deep Neural Networks without Residuals",
    authors="Larsson, Maire, Shakhnarovich",
    year=2016,
    url="https://arxiv.org/abs/1605.07648",
)


@keras.saving.register_keras_serializable("keras_inception")
class ColumnChoice(keras.layers.Layer):
    """Global drop-path, section 3: chooses the one column that a mini-batch uses, for every join of the network.

    In training, with probability `share`, a one-hot vector over the `columns`, deepest first; otherwise zeros, which
    choose none.
    """

    def __init__(self, columns: int, share: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.columns, self.share, self.seed = columns, share, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Any tensor -> (columns,)."""
        if not training:
            return ops.zeros(self.columns, self.compute_dtype)
        column = keras.random.randint((), 0, self.columns, seed=self.seed_generator)
        is_global = keras.random.uniform((), seed=self.seed_generator) < self.share
        return ops.one_hot(column, self.columns, dtype=self.compute_dtype) * ops.cast(is_global, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"columns": self.columns, "share": self.share, "seed": self.seed}


@keras.saving.register_keras_serializable("keras_inception")
class FractalJoin(keras.layers.Layer):
    """The mean of the columns that end here, section 3. In training drop-path leaves some of them out.

    Local drop-path drops each column with probability `rate`, but never all. With global drop-path the join keeps only
    the chosen column. Joins that the column does not reach use local drop-path, so that batch norms on unused paths
    still see normal statistics.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[Tensor], training: bool = False) -> Tensor:
        """[choice, N x H x W x C of each column, deepest first] -> N x H x W x C."""
        choice, *columns = inputs
        if not training:
            return sum(columns[1:], columns[0]) * (1 / len(columns))
        uniform = keras.random.uniform((len(columns),), seed=self.seed_generator)
        # The column with the largest draw always stays: where no draw reaches the rate, that is a random one.
        local = (uniform >= self.rate) | (uniform == ops.max(uniform))
        chosen = choice[: len(columns)] > 0
        live = ops.cast(ops.where(ops.any(chosen), chosen, local), self.compute_dtype)
        kept = [column * live[i] for i, column in enumerate(columns)]
        return sum(kept[1:], kept[0]) / ops.sum(live)

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}


def unit(x: Tensor, filters: int, dropout: float, *, name: str) -> Tensor:
    """Convolution, dropout, batch norm, ReLU: section 4."""
    x = conv(x, filters, 3, bias=False, name=f"{name}_conv")
    return activate(norm(drop(x, dropout, name=f"{name}_drop"), name=f"{name}_bn"), "relu", name=name)


def fractal(
    x: Tensor, choice: Tensor, filters: int, columns: int, drop_path: float, dropout: float, *, name: str
) -> Tensor:
    """Figure 1: column k of `columns` has 2^(k - 1) convolutions; where several end, all continue from their join."""
    at = [x] * columns  # the current output of each column, deepest first
    rows = 2 ** (columns - 1)
    for row in range(1, rows + 1):
        ending = [i for i in range(columns) if row % 2**i == 0]
        ends = [unit(at[i], filters, dropout, name=f"{name}_column{columns - i}_row{row}") for i in ending]
        if len(ends) > 1:
            join = FractalJoin(drop_path, name=name if row == rows else f"{name}_join{row}")
            ends = [join([choice, *ends])] * len(ends)
        at[: len(ends)] = ends
    return at[0]


def backbone(
    x: Tensor,
    *,
    filters: tuple[int, ...],
    columns: int,
    small: bool,
    drop_path: Annotated[
        float,
        Argument(
            "Local drop-path: the probability in training that a join drops one of its columns; never all of them.",
            at_least=0,
            below=1,
        ),
    ] = 0.15,
    global_drop_path: Annotated[
        float,
        Argument(
            "Share of the mini-batches with global drop-path: one column is kept, the same one in all blocks.",
            at_least=0,
            at_most=1,
        ),
    ] = 0.5,
    dropout: Annotated[
        float,
        Argument(
            "Dropout rate in training in the last block's convolutions; it grows linearly from 0 in the first block. "
            "On CIFAR up to 0.4 in the paper.",
            at_least=0,
            below=1,
        ),
    ] = 0.0,
) -> Tensor:
    """FractalNet, whose blocks are columns of 1, 2, 4, ... convolutions that join in means.

    Columns, blocks, the join and drop-path are the paper's. It does not print its channels: these are those of the
    authors' generator for FractalNet20 (33.7 million parameters, where the paper has 38.6), half of them for
    FractalNet40 (19.0; 22.9), and those of readers of the authors' weights for FractalNet34. Batch norm is affine and
    convolutions have no bias, as in the ports; the authors' Caffe network is the other way round. Pools follow the
    blocks, as in Figure 1.

    In training every mini-batch uses a new random subnetwork: with global drop-path one column alone, otherwise what
    local drop-path leaves. `extract_column` makes a plain network of one column.
    """
    choice = ColumnChoice(columns, global_drop_path, name="column_choice")(x)
    if not small:
        x = Pool("max", 3, 2)(Conv(64, 7, 2)(x, name="stem"), name="stem_pool")
    for i, width in enumerate(filters):
        rate = dropout * i / (len(filters) - 1)
        x = fractal(x, choice, width, columns, drop_path, rate, name=f"block{i + 1}")
        if small or i + 1 < len(filters):  # on ImageNet the head's average follows the last block
            x = pool(x, "max", 2, 2, "valid", name=f"pool{i + 1}")
    return x


def extract_column(model: keras.Model, column: int | None = None) -> keras.Model:
    """One column of a FractalNet as a plain network, section 3; the paper uses the deepest one after training.

    Args:
        model: a FractalNet; it is not changed.
        column: 1 is the shallowest, with one convolution a block; None is the deepest.

    Returns:
        A functional model with copies of that column's weights. It computes what the FractalNet computes when global
        drop-path chooses the column.

    Raises:
        InputError: the model is not a FractalNet, or has no such column.
    """
    choices = [layer for layer in model.layers if isinstance(layer, ColumnChoice)]
    if not choices:
        raise InputError(f"extract_column takes a FractalNet; got {model.name!r}, which has no columns")
    columns = choices[0].columns
    column = columns if column is None else column
    if column not in range(1, columns + 1):
        raise InputError(f"{model.name} has columns 1 (one convolution a block) to {columns}; got {column!r}")

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, ColumnChoice):
            return args[0]
        if isinstance(layer, FractalJoin):
            ends = args[0][1:]  # deepest first; joins that the column does not reach are not used
            return ends[min(columns - column, len(ends) - 1)]
        return layer(*args, **kwargs)

    clone = keras.models.clone_model(model, call_function=call)
    plain = keras.Model(clone.input, clone.output, name=f"{model.name}_column{column}")
    for layer in plain.layers:
        if layer.weights:  # a copy's input may have another name
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return plain


cifar = partial(
    register,
    backbone=backbone,
    head=pooled_head,
    paper=PAPER,
    input_shape=(32, 32, 3),
    smallest=32,
    numerics={"torch": TORCH},
    classes=10,
    dropout=0.4,
    small=True,
)

FractalNet20 = cifar(
    "FractalNet20",
    "fractalnet20",
    filters=(64, 128, 256, 512, 512),
    columns=3,
    parameters=33_724_618,
    macs=845_222_912,
)
FractalNet40 = cifar(
    "FractalNet40",
    "fractalnet40",
    filters=(32, 64, 128, 256, 256),
    columns=4,
    parameters=19_040_714,
    macs=510_790_144,
)
FractalNet34 = register(
    "FractalNet34",
    "fractalnet34",
    backbone,
    head=pooled_head,
    paper=PAPER,
    input_shape=(224, 224, 3),
    smallest=29,
    parameters=164_031_016,
    macs=24_164_982_784,
    numerics={"torch": TORCH},
    filters=(128, 256, 512, 1024),
    columns=4,
    small=False,
)
