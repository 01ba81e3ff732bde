"""What every network in this package is built from: functions that add a layer, and layer specs for tables.

A *function* adds one thing to the functional graph, tensor first and `name` last: `conv`, `norm`, `pool`. A *layer
spec* is a frozen dataclass in a network's table that is later called on a tensor: `Conv`, `Pool`,
`Branches`. All tensors are NHWC.

Names: a spec called with `name="mixed_5b"` names its last layer `mixed_5b` and every layer before it `mixed_5b_...`.
So a table's keys are the network's endpoints, and a layer's name gives the row that it belongs to.

Numerics: TensorFlow and PyTorch differ in where SAME padding goes, in batch norm's epsilon, and in whether an average
pool counts its padding. A table has only "same"; the current `Numerics` define what that means.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import keras
from keras import ops
from keras.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
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

from .arguments import DropPer, dropout_argument
from .errors import InputError

Tensor: TypeAlias = keras.KerasTensor
Size: TypeAlias = int | tuple[int, int]
# "same", "valid", "ceil" (Caffe's pooling: the last window may extend past the edge), or the zeros on each side.
Padding: TypeAlias = Literal["same", "valid", "ceil"] | Size


class LayerSpec(Protocol):
    """What can stand in a network's table."""

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """Add this spec's layers after `x`; the last one is called `name`."""


LayerTable: TypeAlias = Mapping[str, LayerSpec]  # endpoint name -> spec, in the paper's order


# ---------------------------------------------------------------------------------------------------------- numerics


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Where frameworks compute the same network differently. A checkpoint is exact only with its own numerics."""

    # Where SAME padding puts its zeros at stride 2: "tf" mostly at the bottom right, "torch" evenly on all sides,
    # "caffe" as "torch", and in pools as "ceil"; "slim" (TF-Slim's ResNet) as "torch", and in pools as "tf".
    padding: Literal["tf", "torch", "caffe", "slim"] = "tf"
    epsilon: float = 1e-3  # of batch norm
    momentum: float = 0.99  # of batch norm's moving statistics, in Keras' convention (1 - PyTorch's)
    gamma: bool = True  # batch norm has a scale
    pool_counts_padding: bool = False  # average pools divide by the full window at the border too
    # Pool kinds whose strided SAME padding counts as real zeros in the max or mean (keras.applications' NASNet and
    # ResNet v2), instead of being ignored.
    zeros_in_pools: tuple[str, ...] = ()
    # Where a "ceil" pool puts the zeros that its last window needs: after the edge, or the same number before it too.
    overhang: Literal["after", "around"] = "after"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"  # which convolution of a residual bottleneck strides
    # Which block of a residual stage strides: the first, or, for the next stage, the last (TF-Slim's ResNet).
    stage_stride: Literal["first", "last"] = "first"
    unnormed_bias: bool = False  # in ResNet v2 a convolution that no batch norm follows has a bias


TF = Numerics()
TORCH = Numerics(padding="torch", epsilon=1e-5, momentum=0.9, pool_counts_padding=True)

_numerics: ContextVar[Numerics] = ContextVar("numerics", default=TF)


def current_numerics() -> Numerics:
    """The numerics that networks are built with here."""
    return _numerics.get()


@contextmanager
def numerics(record: Numerics) -> Iterator[None]:
    """Build what is inside the `with` block with these numerics."""
    token = _numerics.set(record)
    try:
        yield
    finally:
        _numerics.reset(token)


@contextmanager
def deep_graph() -> Iterator[None]:
    """Allow Keras to wire a very deep functional model inside the `with` block; new layers in it are channels_last.

    Whenever a functional model is made (built, loaded, cloned), Keras walks its graph by recursion, a Python frame a
    layer. ResNet1202 has 4,800 layers in a row and DenseNet264 934, and Python's default limit is 1,000 frames.
    Calling, training and saving a model need no such block.

    All tensors here are NHWC, so the user's default (`image_data_format` in keras.json) does not count. A layer keeps
    the data format that it is made with.
    """
    limit, data_format = sys.getrecursionlimit(), keras.config.image_data_format()
    sys.setrecursionlimit(max(limit, 20_000))
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(data_format)
        sys.setrecursionlimit(limit)


# --------------------------------------------------------------------------------------------------------- functions


def pair(size: Size) -> tuple[int, int]:
    """A size that is given once for both sides, or for each side."""
    return (size, size) if isinstance(size, int) else size


def _pad(x: Tensor, kernel: Size, strides: Size, padding: Padding, name: str) -> tuple[Tensor, Padding]:
    """Convert any padding to Keras' "same" or "valid", with a ZeroPadding2D only where it is needed."""
    (kh, kw), (sh, sw) = pair(kernel), pair(strides)
    if padding == "same" and _numerics.get().padding != "tf" and (sh, sw) != (1, 1):
        padding = (kh // 2, kw // 2)
    if padding == "ceil":
        below, right = _overhang(x.shape[1], kh, sh), _overhang(x.shape[2], kw, sw)
        above = left = 0
        if _numerics.get().overhang == "around":
            if None in x.shape[1:3]:
                raise InputError(f"with these numerics {name!r} is padded by its map's size: give input_shape")
            above, left = below, right
        padding_sides = ((above, below), (left, right))
    elif isinstance(padding, str):
        if padding == "valid" and any(
            side is not None and side < k for side, k in zip(x.shape[1:3], (kh, kw), strict=True)
        ):
            raise InputError(
                f"the image is too small: {name!r} needs a map of at least {kh} x {kw}; got {x.shape[1]} x "
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
    """Zeros that the last window needs after the edge; for an unknown size the most that it could need.

    A window that would contain only zeros is left out, as in Caffe.
    """
    if size is None:
        return min(stride, kernel) - 1
    overhang = -(size - kernel) % stride
    return overhang if overhang < kernel else 0


def _same(size: int | None, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side under TensorFlow's SAME; evenly on both where the size is unknown, as in Keras."""
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
    """Convolution without activation. A grouped convolution stays one native operation."""
    x, padding = _pad(x, kernel, strides, padding, name)
    return Conv2D(filters, kernel, strides, padding, groups=groups, use_bias=bias, name=name)(x)


def depthwise(
    x: Tensor, kernel: Size, strides: Size = 1, padding: Padding = "same", *, multiplier: int = 1, name: str
) -> Tensor:
    """Depthwise convolution without bias or activation, with `multiplier` filters for each channel."""
    x, padding = _pad(x, kernel, strides, padding, name)
    return DepthwiseConv2D(kernel, strides, padding, multiplier, use_bias=False, name=name)(x)


def norm(x: Tensor, *, name: str) -> Tensor:
    """Batch normalisation."""
    n = _numerics.get()
    return BatchNormalization(epsilon=n.epsilon, momentum=n.momentum, scale=n.gamma, name=name)(x)


def activate(x: Tensor, kind: str | None, *, name: str) -> Tensor:
    """An activation by its name ("relu", "relu6", "tanh", ...); `None` adds nothing."""
    if kind is None:
        return x
    if kind in ("relu", "relu6"):
        return ReLU(6.0 if kind == "relu6" else None, name=name)(x)
    return Activation(kind, name=name)(x)


def pool(x: Tensor, kind: str, size: Size = 3, strides: Size = 1, padding: Padding = "same", *, name: str) -> Tensor:
    """Max or average pooling.

    Where numerics put a ZeroPadding2D before a max pool, the map must not be negative; after a ReLU it is not.
    """
    if padding == "same" and _numerics.get().padding == "caffe" and pair(strides) != (1, 1):
        padding = "ceil"
    if padding == "same" and kind in _numerics.get().zeros_in_pools and pair(strides) != (1, 1):
        sides = tuple(map(_same, x.shape[1:3], pair(size), pair(strides)))
        x, padding = ZeroPadding2D(sides, name=f"{name}_pad")(x), "valid"
    elif kind == "avg" and padding == "same" and _numerics.get().pool_counts_padding:
        kh, kw = pair(size)
        x, padding = ZeroPadding2D((kh // 2, kw // 2), name=f"{name}_pad")(x), "valid"
    elif padding != "same" or _numerics.get().padding != "slim":
        x, padding = _pad(x, size, strides, padding, name)
    return {"max": MaxPooling2D, "avg": AveragePooling2D}[kind](size, strides, padding, name=name)(x)


def drop(x: Tensor, rate: float, *, name: str) -> Tensor:
    """Dropout with that rate in training; a rate of 0 adds nothing."""
    return Dropout(rate, name=name)(x) if rate else x


def flatten(x: Tensor, *, name: str) -> Tensor:
    """N x H x W x C -> N x HWC, for a dense layer, so H and W must be known."""
    if None in x.shape[1:]:
        raise InputError(
            "the dense layers of this top need a fixed image size; got an unknown height or width: "
            "give both in input_shape, or include_top=False"
        )
    return Flatten(name=name)(x)


def make_divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of `by`, at least `by`, and at least nine tenths of `channels`."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def squeeze_excite(x: Tensor, ratio: int, *, name: str) -> Tensor:
    """Squeeze-and-excitation: rescale channels by the map's mean. Hu et al., 2018, Figure 3: N x H x W x C -> the same.

    The two dense layers are 1x1 convolutions, as in the authors' release. They compute the same without a reshape.
    """
    channels = x.shape[-1]
    s = GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    s = conv(s, max(1, channels // ratio), name=f"{name}_reduce")
    s = ReLU(name=f"{name}_relu")(s)
    s = conv(s, channels, name=f"{name}_expand")
    s = Activation("sigmoid", name=f"{name}_gate")(s)
    return Multiply(name=name)([x, s])


def shuffle(x: Tensor, groups: int, *, name: str) -> Tensor:
    """Channel shuffle: interleave the channels of `groups` groups. Zhang et al., 2018, Figure 1.

    No tensor here has a rank above 4, the limit of phone GPUs.
    """
    y = Reshape((-1, groups, x.shape[-1] // groups), name=f"{name}_split")(x)
    y = Permute((1, 3, 2), name=f"{name}_permute")(y)
    return as_map(y, x, name=name)


def as_map(pixels: Tensor, like: Tensor, *, name: str) -> Tensor:
    """Reshape a list of pixels to the map of `like`: N x HW x A x B -> N x H x W x AB.

    A plain Reshape, which phones support, where the size is known; otherwise a layer that reads it from `like`.
    """
    _, height, width, _ = like.shape
    if height is None or width is None:
        return MapLike(name=name)([pixels, like])
    return Reshape((height, width, pixels.shape[2] * pixels.shape[3]), name=name)(pixels)


def chain(x: Tensor, specs: LayerTable | Sequence[LayerSpec], *, name: str = "") -> Tensor:
    """Apply layer specs in order: a table's under its keys, a plain sequence's as `{name}_0`, `{name}_1`, ..."""
    if not isinstance(specs, Mapping):
        specs = {f"{name}_{i}": spec for i, spec in enumerate(specs)}
    for key, spec in specs.items():
        x = spec(x, name=key)
    return x


# ------------------------------------------------------------------------------------------------------- layer specs


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm, activation. With `batch_norm=False`, for networks older than it, a bias instead."""

    filters: int
    kernel: Size = 1
    strides: Size = 1
    padding: Padding = "same"
    activation: str | None = "relu"
    groups: int = field(default=1, kw_only=True)
    batch_norm: bool = field(default=True, kw_only=True)
    bias: bool | None = field(default=None, kw_only=True)  # None: only without batch norm

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x filters."""
        bias = not self.batch_norm if self.bias is None else self.bias
        last = name if not (self.batch_norm or self.activation) else f"{name}_conv"
        x = conv(x, self.filters, self.kernel, self.strides, self.padding, groups=self.groups, bias=bias, name=last)
        return _finish(x, self.activation, name=name) if self.batch_norm else activate(x, self.activation, name=name)


@dataclass(frozen=True)
class Depthwise:
    """Depthwise convolution, batch norm, activation."""

    kernel: Size = 3
    strides: Size = 1
    padding: Padding = "same"
    activation: str | None = "relu"

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x C."""
        x = depthwise(x, self.kernel, self.strides, self.padding, name=f"{name}_conv")
        return _finish(x, self.activation, name=name)


def _finish(x: Tensor, activation: str | None, *, name: str) -> Tensor:
    """Batch norm and activation; the last layer takes the spec's own name."""
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
class SignedPool:
    """A 3x3 max pool of stride 2 on a map that may be negative.

    PyTorch's padding ignores what is outside the map, and a ZeroPadding2D would not: zeros are larger than negative
    values. So with PyTorch's numerics this pools at every pixel, where Keras' own padding is ignored too, and keeps
    every second pixel. With numerics that say so the zeros count.
    """

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H/2 x W/2 x C, rounded up."""
        if "max" in _numerics.get().zeros_in_pools:
            return pool(x, "max", 3, 2, 1, name=name)
        if _numerics.get().padding != "torch":
            return pool(x, "max", 3, 2, name=name)
        return pool(pool(x, "max", 3, name=f"{name}_each"), "max", 1, 2, name=name)


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


def normalised_pool(i: int, norm: LRN, pool_first: bool) -> LayerTable:
    """Two rows: local response normalisation and a max pool that halves the map, in one order or the other."""
    rows: list[tuple[str, LayerSpec]] = [(f"norm{i}", norm), (f"pool{i}", Pool("max", 3, 2, "ceil"))]
    return dict(reversed(rows) if pool_first else rows)


@dataclass(frozen=True)
class Norm:
    """Batch norm, activation: what precedes a convolution in pre-activation networks."""

    activation: str | None = "relu"

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> the same."""
        return _finish(x, self.activation, name=name)


@dataclass(frozen=True, init=False)
class Chain:
    """Several specs in order as one spec; a chain within a chain is flattened."""

    specs: tuple[LayerSpec, ...]

    def __init__(self, *specs: LayerSpec) -> None:
        flat = (spec.specs if isinstance(spec, Chain) else (spec,) for spec in specs)
        object.__setattr__(self, "specs", tuple(itertools.chain.from_iterable(flat)))

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """The output of the last spec, under this spec's name."""
        *before, last = self.specs
        return last(chain(x, before, name=name), name=name)


@dataclass(frozen=True, init=False)
class Branches:
    """Parallel paths over one input, concatenated along the channels; an empty path is the identity."""

    paths: tuple[tuple[LayerSpec, ...], ...]

    def __init__(self, *paths: Sequence[LayerSpec]) -> None:
        object.__setattr__(self, "paths", tuple(map(tuple, paths)))

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x the sum of the paths' channels."""
        outs = [chain(x, path, name=f"{name}_b{i}") for i, path in enumerate(self.paths)]
        return Concatenate(name=name)(outs)


@dataclass(frozen=True)
class Residual:
    """A residual block: `scale` times the path's output, plus the shortcut, then an activation.

    The shortcut is the identity by default. In training the path is dropped with probability `drop`, for a whole batch
    or for each sample.
    """

    path: LayerSpec
    scale: float = 1.0
    activation: str | None = "relu"
    shortcut: LayerSpec | None = field(default=None, kw_only=True)
    drop: float = field(default=0.0, kw_only=True)
    drop_per: DropPer = field(default="batch", kw_only=True)

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """N x H x W x C -> N x H' x W' x C', the path's."""
        y = self.path(x, name=f"{name}_residual")
        if self.scale != 1.0:
            y = Rescaling(self.scale, name=f"{name}_scale")(y)
        if self.drop:
            y = DropPath(self.drop, self.drop_per, name=f"{name}_drop")(y)
        if self.shortcut:
            x = self.shortcut(x, name=f"{name}_shortcut")
        x = Add(name=f"{name}_add" if self.activation else name)([y, x])
        return activate(x, self.activation, name=name)


def with_stochastic_depth(table: LayerTable, rate: float, per: DropPer) -> LayerTable:
    """The table with stochastic depth in its residual blocks. Huang et al., 2016, equation 4.

    Block l of L is dropped with probability rate l / L.
    """
    names = [name for name, spec in table.items() if isinstance(spec, Residual)]
    drops = {name: rate * i / len(names) for i, name in enumerate(names, 1)}
    return {
        name: replace(spec, drop=drops[name], drop_per=per) if isinstance(spec, Residual) else spec
        for name, spec in table.items()
    }


@dataclass(frozen=True)
class SqueezeExcite:
    """A spec followed by a squeeze-and-excitation module."""

    spec: LayerSpec
    ratio: int = 16

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """The output of the spec, its channels rescaled."""
        return squeeze_excite(self.spec(x, name=f"{name}_mix"), self.ratio, name=name)


def with_squeeze_excite(table: LayerTable, ratio: int | None, kind: type = Branches) -> LayerTable:
    """The table with a squeeze-and-excitation module after each spec of that kind; unchanged without a ratio.

    In a Residual the module ends the path, before the addition. Hu et al., 2018, Figure 3.
    """
    if ratio is None:
        return table

    def add(spec: LayerSpec) -> LayerSpec:
        if isinstance(spec, Residual):
            return replace(spec, path=SqueezeExcite(spec.path, ratio))
        return SqueezeExcite(spec, ratio)

    return {name: add(spec) if isinstance(spec, kind) else spec for name, spec in table.items()}


# ------------------------------------------------------------------------------------------------------------- heads


def average_head(
    x: Tensor, classes: int, *, dropout: Annotated[float, dropout_argument("before the classifier")] = 0.0
) -> Tensor:
    """Global average pool, dropout, dense: N x H x W x C -> N x classes, logits."""
    x = GlobalAveragePooling2D(name="avg_pool")(x)
    x = drop(x, dropout, name="dropout")
    return Dense(classes, name="logits")(x)


def pooled_head(x: Tensor, classes: int) -> Tensor:
    """`average_head` without dropout, for a backbone that has an argument `dropout` itself."""
    return average_head(x, classes)


def dense_head(
    x: Tensor, classes: int, *, dropout: Annotated[float, dropout_argument("after each hidden dense layer")] = 0.5
) -> Tensor:
    """Two hidden layers of 4,096, dropout after each, then dense: N x H x W x C -> N x classes, logits."""
    x = flatten(x, name="flatten")
    for name in ("fc6", "fc7"):
        x = activate(Dense(4096, name=f"{name}_dense")(x), "relu", name=name)
        x = drop(x, dropout, name=f"{name}_drop")
    return Dense(classes, name="logits")(x)


# ------------------------------------------------------------------------------------- layers that Keras does not have


@keras.saving.register_keras_serializable("keras_inception")
class LocalResponseNormalization(keras.layers.Layer):
    """Local response normalisation across channels. Krizhevsky et al., 2012, section 3.3.

    The paper's formula: `x / (bias + alpha * sum of squares over `size` channels) ** beta`. Caffe and PyTorch divide
    their alpha by `size`; give `alpha / size` to match them.
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
        """The layer's configuration, for `from_config`."""
        config = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return super().get_config() | config


@keras.saving.register_keras_serializable("keras_inception")
class AdaptiveAveragePool(keras.layers.Layer):
    """Average pool to `size` x `size` positions for a map of any size, as PyTorch's AdaptiveAvgPool2d.

    Window i of n covers the positions from floor(i H / n) to ceil((i + 1) H / n); windows overlap where n does not
    divide H. Keras 3.10 has no such layer.
    """

    def __init__(self, size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x: Tensor) -> Tensor:
        """N x H x W x C -> N x size x size x C."""
        for axis in (1, 2):
            length = ops.shape(x)[axis]
            windows = [(i * length // self.size, -(-(i + 1) * length // self.size)) for i in range(self.size)]
            parts = [x[:, a:b] if axis == 1 else x[:, :, a:b] for a, b in windows]
            x = ops.concatenate([ops.mean(part, axis=axis, keepdims=True) for part in parts], axis=axis)
        return x

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable("keras_inception")
class MapLike(keras.layers.Layer):
    """Reshape a list of pixels to the map of another tensor whose size is known only at run time."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """N x HW x A x B, and N x H x W x C -> N x H x W x AB."""
        pixels, like = inputs
        return ops.reshape(pixels, (-1, *ops.shape(like)[1:3], pixels.shape[2] * pixels.shape[3]))

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """The map's size with the pixels' channels."""
        (batch, _, rows, columns), like = input_shape
        return (batch, *like[1:3], rows * columns)  # type: ignore[operator]


@keras.saving.register_keras_serializable("keras_inception")
class DropPath(keras.layers.Layer):
    """Drop a whole residual path in training with probability `rate`. Huang et al., 2016 ("stochastic depth").

    The paper makes one random decision a batch (`per="batch"`), later work one a sample (`per="sample"`). A surviving
    path is divided by its survival probability in training, where the paper multiplies at test time: the expectation
    is the same, and the inference graph is the plain network.
    """

    def __init__(self, rate: float, per: DropPer = "sample", seed: int | None = None, **kwargs: Any):
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
        """Set `x` to zero with that probability: N x ... -> the same."""
        decisions = ops.shape(x)[0] if self.per == "sample" else 1
        keep = 1 - rate
        uniform = keras.random.uniform((decisions, *(1,) * (len(x.shape) - 1)), seed=self.seed_generator)
        return x * ops.cast(uniform < keep, x.dtype) / ops.cast(keep, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"rate": self.rate, "per": self.per, "seed": self.seed}


@keras.saving.register_keras_serializable("keras_inception")
class ChannelPadding(keras.layers.Layer):
    """Append channels of zeros, up to `channels`: He et al., 2016, shortcut option A."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x: Tensor) -> Tensor:
        """N x H x W x C -> N x H x W x channels."""
        return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.channels - x.shape[-1])])

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration, for `from_config`."""
        return super().get_config() | {"channels": self.channels}
