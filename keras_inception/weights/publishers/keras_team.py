"""keras.applications: its checkpoints, and the names in its `.h5` files.

The hashes are those in the source of Keras 3.15, which has none for the MobileNets. Accuracies are from the README of
keras-applications, at the sizes given here. It does not state the crop; the usual 7/8 is assumed.

Keras loads these files by the order of their layers. Here they are matched by layer name, which checks the order too.
Layers that Keras numbered are renumbered from 0, because their numbers depend on what the session built before. Names
that occur only in older files are translated to the current ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from ...preprocessing import Preprocessing
from ..frameworks import KERAS
from ..matching import Layout, Tensors
from ..record import Checkpoint
from ..rules import NameTable
from .norms import HALF, IMAGENET

URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERNELS = "weights_tf_dim_ordering_tf_kernels"
APACHE = "Apache-2.0 (Keras; it states none for the weights)"
CC_BY_NC = "CC-BY-NC-4.0 (of the authors' Caffe weights; Keras states none)"

# The modes of keras.applications.imagenet_utils: HALF is "tf", IMAGENET is "torch", and this is "caffe".
CAFFE: dict[str, Any] = {"channels": "BGR", "mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0)}


def row(
    model: str,
    file: str,
    md5: str,
    top1: float,
    top5: float,
    mode: dict[str, Any],
    size: int = 224,
    alpha: float | None = None,
) -> Checkpoint:
    """The record of one file; "*" in `file` stands for the usual middle part of the name."""
    width = f"_{round(100 * alpha):03}" if alpha not in (None, 1.0) else ""
    return Checkpoint(
        model=model,
        tag=f"keras{width}_in1k",
        layout="keras",
        urls=(URL + file.replace("*", KERNELS),),
        hash=f"md5:{md5}" if md5 else "",
        unhashed="" if md5 else "Keras states no hash for its MobileNets",
        license=CC_BY_NC if model.startswith("vgg") else APACHE,
        source="keras 3.15 src/applications; keras-team/keras-applications README",
        top1=top1,
        top5=top5,
        numerics="keras" if model.startswith(("resne", "nasnet")) else "tf",
        kwargs={} if alpha is None else {"alpha": alpha},
        preprocessing=Preprocessing(size=(size, size), crop=0.875, **mode),
    )


# fmt: off
CHECKPOINTS = (
    row("vgg16", "vgg16/vgg16_*.h5", "64373286793e3c8b2b4e3219cbf3544b", 71.268, 90.05, CAFFE),
    row("vgg19", "vgg19/vgg19_*.h5", "cbe5617147190e668d6c5d5026f83318", 71.256, 89.988, CAFFE),
    row("inception_v3", "inception_v3/inception_v3_*.h5", "9a0d58056eeedaa3f26cb7ebd46da564", 77.898, 93.72, HALF, 299),
    row("inception_resnet_v2", "inception_resnet_v2/inception_resnet_v2_*.h5",
        "e693bd0210a403b3192acc6073ad2e96", 80.256, 95.252, HALF, 299),
    row("resnet50", "resnet/resnet50_*.h5", "2cb95161c43110f7111970584f804107", 74.928, 92.06, CAFFE),
    row("resnet101", "resnet/resnet101_*.h5", "f1aeb4b969a6efcfb50fad2f0c20cfc5", 76.42, 92.786, CAFFE),
    row("resnet152", "resnet/resnet152_*.h5", "100835be76be38e30d865e96f2aaae62", 76.604, 93.118, CAFFE),
    row("resnet50_v2", "resnet/resnet50v2_*.h5", "3ef43a0b657b3be2300d5770ece849e0", 75.96, 93.034, HALF, 299),
    row("resnet101_v2", "resnet/resnet101v2_*.h5", "6343647c601c52e1368623803854d971", 77.234, 93.816, HALF, 299),
    row("resnet152_v2", "resnet/resnet152v2_*.h5", "a49b44d1979771252814e80f8ec446f9", 78.032, 94.162, HALF, 299),
    row("densenet121", "densenet/densenet121_*.h5", "9d60b8095a5708f2dcce2bca79d332c7", 74.972, 92.258, IMAGENET),
    row("densenet169", "densenet/densenet169_*.h5", "d699b8f76981ab1b30698df4c175e90b", 76.176, 93.176, IMAGENET),
    row("densenet201", "densenet/densenet201_*.h5", "1ceb130c1ea1b78c3bf6114dbdfd8807", 77.32, 93.62, IMAGENET),
    row("resnext50_32x4d", "resnet/resnext50_*.h5", "67a5b30d522ed92f75a1f16eef299d1a", 77.74, 93.81, IMAGENET),
    row("resnext101_32x4d", "resnet/resnext101_*.h5", "34fb605428fcc7aa4d62f44404c11509", 78.73, 94.294, IMAGENET),
    row("xception", "xception/xception_*.h5", "0a58e3b7378bc2990ea3b43d5981f1f6", 79.006, 94.452, HALF, 299),
    row("nasnet_mobile", "nasnet/NASNet-mobile.h5", "020fb642bf7360b370c678b08e0adf61", 74.366, 91.854, HALF),
    row("nasnet_large", "nasnet/NASNet-large.h5", "11577c9a518f0070763c2b964a382f17", 82.498, 96.004, HALF, 331),
    row("mobilenet_v1", "mobilenet/mobilenet_1_0_224_tf.h5", "", 70.424, 89.504, HALF, alpha=1.0),
    row("mobilenet_v1", "mobilenet/mobilenet_2_5_224_tf.h5", "", 51.582, 75.792, HALF, alpha=0.25),
    row("mobilenet_v1", "mobilenet/mobilenet_5_0_224_tf.h5", "", 64.292, 85.624, HALF, alpha=0.5),
    row("mobilenet_v1", "mobilenet/mobilenet_7_5_224_tf.h5", "", 68.412, 88.242, HALF, alpha=0.75),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.0_224.h5", "", 71.336, 90.142, HALF, alpha=1.0),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.35_224.h5", "", 60.086, 82.432, HALF, alpha=0.35),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.5_224.h5", "", 65.194, 86.062, HALF, alpha=0.5),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.75_224.h5", "", 69.532, 89.176, HALF, alpha=0.75),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.3_224.h5", "", 74.68, 92.122, HALF, alpha=1.3),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.4_224.h5", "", 75.23, 92.422, HALF, alpha=1.4),
)
# fmt: on


# --------------------------------------------------------------------------------------------------------------- layout


NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
OLDER = (
    (re.compile(r"probs|fc1000|Logits|conv_preds"), "predictions"),
    (re.compile(r"expanded_conv_(\w+)"), r"block_0_\1"),
    (re.compile(r"mobl(\d+)_conv_\d+_(expand|depthwise|project)"), r"block_\1_\2"),
    (re.compile(r"bn(\d+)_conv_\d+_bn_(expand|depthwise|project)"), r"block_\1_\2_BN"),
)


def prepare(tensors: Tensors) -> Tensors:
    """Rename "layer|weight" to "layer/variable" by position in the layer: weight names differ by version."""
    layers: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, array in tensors.items():
        layers[name.partition("|")[0]].append(array)
    names = _today(list(layers))
    return {
        f"{names[layer]}{variable}": array
        for layer, arrays in layers.items()
        for variable, array in zip(_variables(arrays), arrays, strict=True)
    }


def layers_of(tensors: Tensors, network: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of the tables' names as a file has them, {layer: {weight: array}}: the reverse of `prepare`.

    `network` are the layers of Keras' own network in its order, each with the shapes of its weights, if they are known.
    Where its classifier is a convolution and ours a dense layer, the kernel gets two more axes; where its convolutions
    have a bias before batch norm and ours have none, the bias is 0.

    Raises:
        InputError: it has other layers.
    """
    layers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, array in tensors.items():
        module, _, variable = name.rpartition("/")
        layer, _, part = module.partition(".")  # of a separable convolution
        layers[layer][f"{part}_{variable}" if part else variable] = array
    places = {
        name.replace("/", "_"): shapes
        for name, shapes in zip(_today([*network]).values(), network.values(), strict=True)
    }
    ours = {layer.replace("/", "_"): layer for layer in layers}
    if ours.keys() != places.keys():
        raise InputError(
            f"the network of this Keras has other layers: {', '.join(sorted(ours.keys() ^ places.keys())[:5])}"
        )
    found: dict[str, dict[str, np.ndarray]] = {}
    for place, shapes in places.items():
        layer = ours[place]
        written = layer.removesuffix("_0") if NUMBERED.fullmatch(layer) else layer
        weights = layers[layer]
        if [len(shape) for shape in shapes] == [4, 1] and len(weights) == 1:
            weights["bias"] = np.zeros(shapes[1], np.float32)
        if shapes and len(shapes[0]) == 4 and "kernel" in weights and weights["kernel"].ndim == 2:
            weights["kernel"] = weights["kernel"][None, None]
        found[written] = {f"{written}/{weight}:0": array for weight, array in weights.items()}
    return found


def _today(layers: Sequence[str]) -> dict[str, str]:
    """Map the name of each layer in a file to the name that the tables use."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for found in filter(None, map(NUMBERED.fullmatch, layers)):
        numbers[found[1]].append(int(found[2] or 0))

    def today(layer: str) -> str:
        if found := NUMBERED.fullmatch(layer):
            return f"{found[1]}_{sorted(numbers[found[1]]).index(int(found[2] or 0))}"
        return next((found.expand(name) for pattern, name in OLDER if (found := pattern.fullmatch(layer))), layer)

    return {layer: today(layer) for layer in layers}


def _variables(arrays: Sequence[np.ndarray]) -> list[str]:
    """Name the variables of a layer by their ranks; a separable convolution counts as two modules."""
    ranks = [array.ndim for array in arrays]
    if ranks[0] == 1:  # batch norm, with a scale or without
        names = ["/gamma", "/beta", "/moving_mean", "/moving_variance"][-len(ranks) :]
    elif ranks.count(4) == 2:
        names = [".depthwise/kernel", ".pointwise/kernel", ".pointwise/bias"]
    else:
        names = ["/kernel", "/bias"]
    return [*names, *(f"/{i}" for i in range(len(names), len(ranks)))][: len(ranks)]


COUNTED = "[conv2d|batch_normalization]_{#}"  # Keras numbers them in the order of creation, which is our order too


def separable(ours: str, theirs: str) -> NameTable:
    """Rows of a separable convolution and its batch norm."""
    return {
        f"{ours}_depthwise": f"{theirs}.depthwise",
        f"{ours}_pointwise": f"{theirs}.pointwise",
        ours: f"{theirs}_bn",
    }


VGG: NameTable = {"block{b}_conv{i}": "block{b}_conv{i}", "fc6": "fc1", "fc7": "fc2"}

INCEPTION_V3: NameTable = {"{w:(?:conv2d|mixed)_.*}": COUNTED}

INCEPTION_RESNET_V2: NameTable = {
    "conv2d_7b_1x1": "conv_7b[|_bn]",
    "{block}_{n}_residual": "{block}_{n}_conv",
    "{w:(?:conv2d|mixed|block[0-9]+)_.*}": COUNTED,
}

XCEPTION: NameTable = {
    "block1_conv{i}": "block1_conv{i}[|_bn]",
    **separable("block{b}_residual", "block{b}_sepconv3"),
    **separable("block{b}_residual_{i}", "block{b}_sepconv{i+1}"),
    **separable("block14_sepconv{i}", "block14_sepconv{i}"),
    "block{b}_shortcut": COUNTED,
}

RESNET: NameTable = {
    "conv1": "conv1_[conv|bn]",
    "conv{s}_block{b}_residual_{i}": "conv{s}_block{b}_{i+1}_[conv|bn]",
    "conv{s}_block{b}_residual": "conv{s}_block{b}_3_[conv|bn]",
    "conv{s}_block{b}_shortcut": "conv{s}_block{b}_0_[conv|bn]",
}

# Pre-activation: where the shortcut reads the first batch norm's output too, it is not part of our residual path.
RESNET_V2: NameTable = {
    "conv1": "conv1_conv",
    "conv{s}_block{b}_preact": "conv{s}_block{b}_preact_bn",
    "conv{s}_block{b}_residual_0": "conv{s}_block{b}_[1_conv|preact_bn]",
    "conv{s}_block{b}_residual_1": "conv{s}_block{b}_1_[conv|bn]",
    "conv{s}_block{b}_residual_2": "conv{s}_block{b}_[2_conv|1_bn]",
    "conv{s}_block{b}_residual_{i:3|4}": "conv{s}_block{b}_2_[conv|bn]",
    "conv{s}_block{b}_residual": "conv{s}_block{b}_3_conv",
    "conv{s}_block{b}_shortcut": "conv{s}_block{b}_0_conv",
    "norm": "post_bn",
}

DENSENET: NameTable = {
    "conv0": "conv1/[conv|bn]",
    "denseblock{b}_layer{i}_conv{n}": "conv{b+1}_block{i}_{n}_conv",
    "denseblock{b}_layer{i}_relu{n}": "conv{b+1}_block{i}_{n-1}_bn",
    "transition{t}": "pool{t+1}_conv",
    "transition{t}_relu": "pool{t+1}_bn",
    "norm5": "bn",
}

MOBILENET_V1: NameTable = {
    "conv2d_0": "conv1[|_bn]",
    "conv2d_{i}_depthwise": "conv_dw_{i}[|_bn]",
    "conv2d_{i}_pointwise": "conv_pw_{i}[|_bn]",
}
MOBILENET_V2: NameTable = {
    "stem": "[|bn_]Conv1",
    "block_{i}{r:_residual|}_{part:expand|depthwise}": "block_{i}_{part}[|_BN]",
    "block_{i}{r:_residual|}": "block_{i}_project[|_BN]",
    "features": "Conv_1[|_bn]",
}


def nasnet(blocks: int) -> NameTable:
    """Rows of a NASNet with `blocks` normal cells per stage; only the first reduction is numbered as a cell."""
    table = {"conv0": "stem_[conv|bn]1"}
    cells = {"cell_stem_0": "stem_1", "cell_stem_1": "stem_2"}
    cells |= {f"reduction_cell_{i}": f"reduce_{(i + 1) * blocks}" for i in range(2)}
    cells |= {f"cell_{i}": str(i + min(1, i // blocks)) for i in range(3 * blocks)}
    for ours, theirs in cells.items():
        normal = theirs.isdigit()
        kind, fourth = ("normal", 5) if normal else ("reduction", 4)
        table |= {
            f"{ours}_h": f"{kind}_[conv|bn]_1_{theirs}",
            f"{ours}_p_0": f"adjust_conv_1_{theirs}",
            f"{ours}_p_1": f"adjust_conv_2_{theirs}",
            f"{ours}_p": f"adjust_[conv_projection|bn]_{theirs}",
        }
        for block in range(5):
            number = fourth if block == 4 else block + 1
            for side in ("left", "right"):
                for n, suffix in ((1, "_0"), (2, "")):
                    path, end = f"{ours}_{block}_{side}{suffix}", f"{kind}_{side}{number}_{theirs}"
                    table |= separable(path, f"separable_conv_{n}_{end}") | {path: f"separable_conv_{n}_bn_{end}"}
    return table


LAYOUT = Layout(
    name="keras",
    framework=KERAS,
    prepare=prepare,
    tables={
        network: {"logits": "predictions", **table}
        for networks, table in (
            (("vgg16", "vgg19"), VGG),
            (("inception_v3",), INCEPTION_V3),
            (("inception_resnet_v2",), INCEPTION_RESNET_V2),
            (("xception",), XCEPTION),
            (("resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x4d"), RESNET),
            (("resnet50_v2", "resnet101_v2", "resnet152_v2"), RESNET_V2),
            (("densenet121", "densenet169", "densenet201"), DENSENET),
            (("nasnet_mobile",), nasnet(4)),
            (("nasnet_large",), nasnet(6)),
            (("mobilenet_v1",), MOBILENET_V1),
            (("mobilenet_v2",), MOBILENET_V2),
        )
        for network in networks
    },
)
