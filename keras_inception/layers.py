"""The vocabulary: every network in this package is a sentence in these words.

A *verb* is a function that adds one thing to the functional graph, tensor first and `name` last: `conv`, `norm`,
`pool`. A *word* is a frozen dataclass that stands in a network's table and is then called on a tensor: `Conv`, `Pool`,
`Branches`. All tensors are NHWC.

Names: a word called with `name="mixed_5b"` names its last layer `mixed_5b` and every layer before it `mixed_5b_...`.
So a table's keys are the network's endpoints, and a layer's name tells the row it came from.

Numerics: TensorFlow and PyTorch differ in where SAME padding goes, in batch norm's epsilon, and in whether an average
pool counts its padding. A table says only "same"; the `Numerics` in force around it say what that means.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

import keras
from keras import ops
from keras.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Multiply,
    Permute,
    ReLU,
    Rescaling,
    Reshape,
    ZeroPadding2D,
)

from .errors import InputError

Tensor: TypeAlias = keras.KerasTensor
Size: TypeAlias = int | tuple[int, int]
# "same", "valid", "ceil" (Caffe's pooling: the last window may hang over the edge), or zeros on each side.
Padding: TypeAlias = Literal["same", "valid", "ceil"] | Size
# What stochastic depth draws one gate for.
Gate: TypeAlias = Literal["batch", "sample"]


class Word(Protocol):
    """What can stand in a table."""

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """Add this word's layers behind `x`; the last one is called `name`."""


Table: TypeAlias = Mapping[str, Word]  # endpoint name -> word, in the paper's order


# ---------------------------------------------------------------------------------------------------------- numerics


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """What two frameworks mean differently by the same network. A checkpoint is exact only under its own."""

    # Where SAME puts its zeros at stride 2: bottom right, all around, or all around and in pools as "ceil".
    padding: Literal["tf", "torch", "caffe"] = "tf"
    epsilon: float = 1e-3  # of batch norm
    momentum: float = 0.99  # of batch norm's moving statistics, as Keras counts it (1 - PyTorch's)
    gamma: bool = True  # batch norm has a scale
    pool_counts_padding: bool = False  # average pools divide by the full window, also at the border
    zeros_in_pools: tuple[str, ...] = ()  # of these kinds strided pools take SAME's zeros for values of the map
    # Where a "ceil" pool has the zeros that its last window needs: behind the edge, or as many before it too.
    overhang: Literal["behind", "around"] = "behind"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"  # which convolution of a residual bottleneck strides


TF = Numerics()
TORCH = Numerics(padding="torch", epsilon=1e-5, momentum=0.9, pool_counts_padding=True)

_numerics: ContextVar[Numerics] = ContextVar("numerics", default=TF)


def numerics_in_force() -> Numerics:
    """The numerics that the network being built is to follow."""
    return _numerics.get()


@contextmanager
def numerics(record: Numerics) -> Iterator[None]:
    """Build what is inside the `with` block under these numerics."""
    token = _numerics.set(record)
    try:
        yield
    finally:
        _numerics.reset(token)


# ------------------------------------------------------------------------------------------------------------- verbs


def pair(size: Size) -> tuple[int, int]:
    """A size given once for both sides, or for each."""
    return (size, size) if isinstance(size, int) else size


def _pad(x: Tensor, kernel: Size, strides: Size, padding: Padding, name: str) -> tuple[Tensor, Padding]:
    """Turn any padding into what Keras knows, "same" or "valid", with a ZeroPadding2D before it only if it must."""
    (kh, kw), (sh, sw) = pair(kernel), pair(strides)
    if padding == "same" and _numerics.get().padding != "tf" and (sh, sw) != (1, 1):
        padding = (kh // 2, kw // 2)
    if padding == "ceil":
        below, right = _overhang(x.shape[1], kh, sh), _overhang(x.shape[2], kw, sw)
        above = left = 0
        if _numerics.get().overhang == "around":
            if None in x.shape[1:3]:
                raise InputError(f"with these numerics {name!r} pads as the map's size asks for: give input_shape")
            above, left = below, right
        padding_sides = ((above, below), (left, right))
    elif isinstance(padding, str):
        if padding == "valid" and any(
            side is not None and side < k for side, k in zip(x.shape[1:3], (kh, kw), strict=True)
        ):
            raise InputError(
                f"the image is too small: {name!r} needs a map of {kh} x {kw}, and here it is {x.shape[1]} x "
                f"{x.shape[2]}; give a larger input_shape"
            )
        return x, padding
    else:
        ph, pw = pair(padding)
        if (sh, sw) == (1, 1) and (2 * ph, 2 * pw) == (kh - 1, kw - 1):
            return x, "same"
        padding_sides = ((ph, ph), (pw, pw))
    if not any(map(any, padding_sides)):
        return x, "valid"
    return ZeroPadding2D(padding_sides, name=f"{name}_pad")(x), "valid"


def _overhang(size: int | None, kernel: int, stride: int) -> int:
    """Zeros that the last window needs behind the edge; for an unknown size as many as it could ever need.

    A window that would hold nothing but zeros is left out, as Caffe does.
    """
    if size is None:
        return min(stride, kernel) - 1
    overhang = -(size - kernel) % stride
    return overhang if overhang < kernel else 0


def _same(size: int | None, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind a side under TensorFlow's SAME; all around where the size is unknown, as Keras does."""
    if size is None:
        return kernel // 2, kernel // 2
    total = max(0, kernel - 1 - (size - 1) % stride)
    return total // 2, total - total // 2


def conv(
    x: Tensor,
    filters: int,
    kernel: Size = 1,
    strides: Size = 1,
    padding: Padding = "same",
    *,
    groups: int = 1,
    bias: bool = True,
    name: str,
) -> Tensor:
    """Convolution, linear. Grouped convolution stays one native operation."""
    x, padding = _pad(x, kernel, strides, padding, name)
    return Conv2D(filters, kernel, strides, padding, groups=groups, use_bias=bias, name=name)(x)


def depthwise(x: Tensor, kernel: Size, strides: Size = 1, padding: Padding = "same", *, name: str) -> Tensor:
    """One filter a channel, linear, without bias."""
    x, padding = _pad(x, kernel, strides, padding, name)
    return DepthwiseConv2D(kernel, strides, padding, use_bias=False, name=name)(x)


def norm(x: Tensor, *, name: str) -> Tensor:
    """Batch normalisation."""
    n = _numerics.get()
    return BatchNormalization(epsilon=n.epsilon, momentum=n.momentum, scale=n.gamma, name=name)(x)


def activate(x: Tensor, kind: str | None, *, name: str) -> Tensor:
    """A nonlinearity by its name ("relu", "relu6", "tanh", ...); `None` adds nothing."""
    if kind is None:
        return x
    if kind in ("relu", "relu6"):
        return ReLU(6.0 if kind == "relu6" else None, name=name)(x)
    return Activation(kind, name=name)(x)


def pool(x: Tensor, kind: str, size: Size = 3, strides: Size = 1, padding: Padding = "same", *, name: str) -> Tensor:
    """Max or average pooling.

    Where a ZeroPadding2D stands before a max pool the map must not be negative, as none is after a ReLU.
    """
    if padding == "same" and _numerics.get().padding == "caffe" and pair(strides) != (1, 1):
        padding = "ceil"
    if padding == "same" and kind in _numerics.get().zeros_in_pools and pair(strides) != (1, 1):
        sides = tuple(map(_same, x.shape[1:3], pair(size), pair(strides)))
        x, padding = ZeroPadding2D(sides, name=f"{name}_pad")(x), "valid"
    elif kind == "avg" and padding == "same" and _numerics.get().pool_counts_padding:
        kh, kw = pair(size)
        x, padding = ZeroPadding2D((kh // 2, kw // 2), name=f"{name}_pad")(x), "valid"
    else:
        x, padding = _pad(x, size, strides, padding, name)
    return {"max": MaxPooling2D, "avg": AveragePooling2D}[kind](size, strides, padding, name=name)(x)


def drop(x: Tensor, rate: float, *, name: str) -> Tensor:
    """Dropout of that share of the values in training; a rate of 0 adds nothing."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise InputError(f"a dropout rate is a number in [0, 1), the share that is dropped; got {rate!r}")
    return Dropout(rate, name=name)(x) if rate else x


def flatten(x: Tensor, *, name: str) -> Tensor:
    """N x H x W x C -> N x HWC, for a dense layer: so H and W must be known."""
    if None in x.shape[1:]:
        raise InputError(
            "the dense layers of this top need a fixed image size, and height or width is None: "
            "give both in input_shape, or include_top=False"
        )
    return Flatten(name=name)(x)


def divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of `by`, at least `by`, and never less than nine tenths of what was asked."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def check_multiplier(value: float, lowest: float, highest: float, *, argument: str) -> None:
    """Refuse a width multiplier outside its range, before it asks for a network of no or of too many channels."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise InputError(f"{argument} is a width multiplier, a number from {lowest} to {highest}; got {value!r}")


def squeeze_excite(x: Tensor, ratio: int, *, name: str) -> Tensor:
    """Rescale the channels by what the whole map says. Hu et al., 2018, Figure 3: N x H x W x C -> the same.

    The two dense layers are 1x1 convolutions, as in the authors' release: the same numbers, and no reshape.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 1:
        raise InputError(f"se_ratio is a whole number of at least 1 (the paper's is 16), or None; got {ratio!r}")
    channels = x.shape[-1]
    s = GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    s = conv(s, max(1, channels // ratio), name=f"{name}_reduce")
    s = ReLU(name=f"{name}_relu")(s)
    s = conv(s, channels, name=f"{name}_expand")
    s = Activation("sigmoid", name=f"{name}_gate")(s)
    return Multiply(name=name)([x, s])


def shuffle(x: Tensor, groups: int, *, name: str) -> Tensor:
    """Deal the channels of `groups` groups out anew. Zhang et al., 2018, Figure 1.

    Nothing here is above rank 4, which is what phone GPUs take.
    """
    y = Reshape((-1, groups, x.shape[-1] // groups), name=f"{name}_split")(x)
    y = Permute((1, 3, 2), name=f"{name}_permute")(y)
    return as_map(y, x, name=name)


def as_map(pixels: Tensor, like: Tensor, *, name: str) -> Tensor:
    """Back from a list of pixels to the map of `like`: N x HW x A x B -> N x H x W x AB.

    A plain Reshape, as phones know it, where the size is known; a layer that asks `like` for it where it is not.
    """
    _, height, width, _ = like.shape
    if height is None or width is None:
        return MapLike(name=name)([pixels, like])
    return Reshape((height, width, pixels.shape[2] * pixels.shape[3]), name=name)(pixels)


def chain(x: Tensor, words: Table | Sequence[Word], *, name: str = "") -> Tensor:
    """Apply words one after another: a table by its keys, a plain sequence as `{name}_0`, `{name}_1`, ..."""
    if not isinstance(words, Mapping):
        words = {f"{name}_{i}": word for i, word in enumerate(words)}
    for key, word in words.items():
        x = word(x, name=key)
    return x


# ------------------------------------------------------------------------------------------------------------- words


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm, nonlinearity. `normed=False` is the time before batch norm: a bias instead."""

    filters: int
    kernel: Size = 1
    strides: Size = 1
    padding: Padding = "same"
    activation: str | None = "relu"
    groups: int = field(default=1, kw_only=True)
    normed: bool = field(default=True, kw_only=True)
    bias: bool | None = field(default=None, kw_only=True)  # None: where there is no norm to take its place

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x filters."""
        bias = not self.normed if self.bias is None else self.bias
        last = name if not (self.normed or self.activation) else f"{name}_conv"
        x = conv(x, self.filters, self.kernel, self.strides, self.padding, groups=self.groups, bias=bias, name=last)
        return _finish(x, self.activation, name=name) if self.normed else activate(x, self.activation, name=name)


@dataclass(frozen=True)
class Depthwise:
    """Depthwise convolution, batch norm, nonlinearity."""

    kernel: Size = 3
    strides: Size = 1
    padding: Padding = "same"
    activation: str | None = "relu"

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x C."""
        x = depthwise(x, self.kernel, self.strides, self.padding, name=f"{name}_conv")
        return _finish(x, self.activation, name=name)


def _finish(x: Tensor, activation: str | None, *, name: str) -> Tensor:
    """Batch norm and nonlinearity, the last of them under the word's own name."""
    x = norm(x, name=f"{name}_bn" if activation else name)
    return activate(x, activation, name=name)


@dataclass(frozen=True)
class Pool:
    """Max or average pooling."""

    kind: Literal["max", "avg"]
    size: Size = 3
    strides: Size = 1
    padding: Padding = "same"

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x C."""
        return pool(x, self.kind, self.size, self.strides, self.padding, name=name)


@dataclass(frozen=True)
class LRN:
    """Local response normalisation; see `LocalResponseNormalization`."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 2.0

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> the same."""
        return LocalResponseNormalization(self.size, self.alpha, self.beta, self.bias, name=name)(x)


@dataclass(frozen=True)
class Norm:
    """Batch norm, nonlinearity: what stands before the convolution where activation comes first."""

    activation: str | None = "relu"

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> the same."""
        return _finish(x, self.activation, name=name)


@dataclass(frozen=True, init=False)
class Path:
    """Words one after another, as one word; a path within a path is one path."""

    words: tuple[Word, ...]

    def __init__(self, *words: Word) -> None:
        flat = (word.words if isinstance(word, Path) else (word,) for word in words)
        object.__setattr__(self, "words", tuple(itertools.chain.from_iterable(flat)))

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """Whatever the last word makes, under this word's name."""
        *before, last = self.words
        return last(chain(x, before, name=name), name=name)


@dataclass(frozen=True, init=False)
class Branches:
    """Parallel paths over one input, concatenated on the channels; an empty path passes the input on."""

    paths: tuple[tuple[Word, ...], ...]

    def __init__(self, *paths: Sequence[Word]) -> None:
        object.__setattr__(self, "paths", tuple(map(tuple, paths)))

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x the sum of the paths' channels."""
        outs = [chain(x, path, name=f"{name}_b{i}") for i, path in enumerate(self.paths)]
        return Concatenate(name=name)(outs)


@dataclass(frozen=True)
class Residual:
    """`scale` times what `word` makes of the input, plus the input or what `shortcut` makes of it, a nonlinearity.

    In training the word's path is left out with probability `drop`, for a mini-batch or a sample at a time.
    """

    word: Word
    scale: float = 1.0
    activation: str | None = "relu"
    shortcut: Word | None = field(default=None, kw_only=True)
    drop: float = field(default=0.0, kw_only=True)
    drop_per: Gate = field(default="batch", kw_only=True)

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x C', the word's."""
        y = self.word(x, name=f"{name}_residual")
        if self.scale != 1.0:
            y = Rescaling(self.scale, name=f"{name}_scale")(y)
        if self.drop:
            y = DropPath(self.drop, self.drop_per, name=f"{name}_drop")(y)
        if self.shortcut:
            x = self.shortcut(x, name=f"{name}_shortcut")
        x = Add(name=f"{name}_add" if self.activation else name)([y, x])
        return activate(x, self.activation, name=name)


def stochastic(table: Table, rate: float, per: Gate) -> Table:
    """The table with stochastic depth in its Residual words. Huang et al., 2016, equation 4.

    The l-th of L is dropped with probability rate l / L.
    """
    if not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise InputError(f"stochastic_depth is the last block's drop probability, 0 <= p < 1; got {rate!r}")
    if per not in ("batch", "sample"):
        raise InputError(f"stochastic_depth_per must be 'batch' or 'sample'; got {per!r}")
    names = [name for name, word in table.items() if isinstance(word, Residual)]
    drops = {name: rate * i / len(names) for i, name in enumerate(names, 1)}
    return {
        name: replace(word, drop=drops[name], drop_per=per) if isinstance(word, Residual) else word
        for name, word in table.items()
    }


@dataclass(frozen=True)
class Excited:
    """A word with a squeeze-and-excitation module behind it."""

    word: Word
    ratio: int = 16

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """Whatever the word makes, its channels rescaled."""
        return squeeze_excite(self.word(x, name=f"{name}_mix"), self.ratio, name=name)


def excited(table: Table, ratio: int | None, kind: type = Branches) -> Table:
    """The table with a squeeze-and-excitation module behind each word of that kind; without a ratio, the table.

    In a Residual it stands on the path, before the addition. Hu et al., 2018, Figure 3.
    """
    if ratio is None:
        return table

    def excite(word: Word) -> Word:
        return replace(word, word=Excited(word.word, ratio)) if isinstance(word, Residual) else Excited(word, ratio)

    return {name: excite(word) if isinstance(word, kind) else word for name, word in table.items()}


# ------------------------------------------------------------------------------------- layers that Keras does not have


@keras.saving.register_keras_serializable("keras_inception")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each activation by its neighbours' across channels. Krizhevsky et al., 2012, section 3.3.

    `x / (bias + alpha * sum of squares over `size` channels) ** beta`: the paper's formula. Caffe and PyTorch divide
    their alpha by `size`; give `alpha / size` for theirs.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, x: Tensor) -> Tensor:
        """N x H x W x C -> the same."""
        channels, before = x.shape[-1], self.size // 2
        squares = ops.pad(ops.square(x), [(0, 0), (0, 0), (0, 0), (before, self.size - 1 - before)])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x / ops.power(self.bias + self.alpha * total, self.beta)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        config = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return super().get_config() | config


@keras.saving.register_keras_serializable("keras_inception")
class MapLike(keras.layers.Layer):
    """Arrange a list of pixels as the map of another tensor, whose size is known only when it runs."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """N x HW x A x B, and N x H x W x C -> N x H x W x AB."""
        pixels, like = inputs
        return ops.reshape(pixels, (-1, *ops.shape(like)[1:3], pixels.shape[2] * pixels.shape[3]))

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """The map's size, the pixels' channels."""
        (batch, _, rows, columns), like = input_shape
        return (batch, *like[1:3], rows * columns)  # type: ignore[operator]


@keras.saving.register_keras_serializable("keras_inception")
class DropPath(keras.layers.Layer):
    """Drop a whole residual path in training, with probability `rate`. Huang et al., 2016 ("stochastic depth").

    The paper draws one gate a mini-batch (`per="batch"`), later work one a sample (`per="sample"`). A surviving path is
    divided by its survival probability in training, where the paper multiplies at test time: the same expectation, and
    the inference graph is the plain network.
    """

    def __init__(self, rate: float, per: Gate = "sample", seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1); got {rate}")
        if per not in ("batch", "sample"):
            raise ValueError(f"per must be 'batch' or 'sample'; got {per!r}")
        self.rate, self.per, self.seed = rate, per, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """N x ... -> the same."""
        return self.drop(x, self.rate) if training and self.rate else x

    def drop(self, x: Tensor, rate: float | Tensor) -> Tensor:
        """Leave `x` out with that probability: N x ... -> the same."""
        gates = ops.shape(x)[0] if self.per == "sample" else 1
        keep = 1 - rate
        uniform = keras.random.uniform((gates, *(1,) * (len(x.shape) - 1)), seed=self.seed_generator)
        return x * ops.cast(uniform < keep, x.dtype) / ops.cast(keep, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return super().get_config() | {"rate": self.rate, "per": self.per, "seed": self.seed}


@keras.saving.register_keras_serializable("keras_inception")
class ChannelPadding(keras.layers.Layer):
    """Zeros as new channels behind the old ones, up to `channels`: He et al., 2016, shortcut option A."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x: Tensor) -> Tensor:
        """N x H x W x C -> N x H x W x channels."""
        return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.channels - x.shape[-1])])

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return super().get_config() | {"channels": self.channels}
