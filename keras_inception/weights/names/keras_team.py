"""The names of keras.applications' files.

Keras itself goes by a file's order of layers. Here it is their names, under which the order is checked too: layers that
Keras numbered are counted anew from 0, whatever number a session began with, and names that only older files have are
given today's.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .frameworks import KERAS
from .layout import Layout, Tensors
from .rules import Table

NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
OLDER = (
    (re.compile(r"probs|fc1000|Logits|conv_preds"), "predictions"),
    (re.compile(r"expanded_conv_(\w+)"), r"block_0_\1"),
    (re.compile(r"mobl(\d+)_conv_\d+_(expand|depthwise|project)"), r"block_\1_\2"),
    (re.compile(r"bn(\d+)_conv_\d+_bn_(expand|depthwise|project)"), r"block_\1_\2_BN"),
)


def prepare(tensors: Tensors) -> Tensors:
    """ "layer|weight" -> "layer/variable", by their order in the layer: a weight's name changed with Keras."""
    layers: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, array in tensors.items():
        layers[name.partition("|")[0]].append(array)
    names = _today(list(layers))
    return {
        f"{names[layer]}{variable}": array
        for layer, arrays in layers.items()
        for variable, array in zip(_variables(arrays), arrays, strict=True)
    }


def _today(layers: Sequence[str]) -> dict[str, str]:
    """A file's name of each layer -> the one that the tables know it by."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for found in filter(None, map(NUMBERED.fullmatch, layers)):
        numbers[found[1]].append(int(found[2] or 0))

    def today(layer: str) -> str:
        if found := NUMBERED.fullmatch(layer):
            return f"{found[1]}_{sorted(numbers[found[1]]).index(int(found[2] or 0))}"
        return next((found.expand(name) for pattern, name in OLDER if (found := pattern.fullmatch(layer))), layer)

    return {layer: today(layer) for layer in layers}


def _variables(arrays: Sequence[np.ndarray]) -> list[str]:
    """What a layer's weights are, by their ranks; a separable convolution is two modules."""
    ranks = [array.ndim for array in arrays]
    if ranks[0] == 1:  # batch norm, with a scale or without
        names = ["/gamma", "/beta", "/moving_mean", "/moving_variance"][-len(ranks) :]
    elif ranks.count(4) == 2:
        names = [".depthwise/kernel", ".pointwise/kernel", ".pointwise/bias"]
    else:
        names = ["/kernel", "/bias"]
    return [*names, *(f"/{i}" for i in range(len(names), len(ranks)))][: len(ranks)]


COUNTED = "[conv2d|batch_normalization]_{#}"  # Keras numbers them as they are made, which is our order too


def separable(ours: str, theirs: str) -> Table:
    """A separable convolution and its batch norm."""
    return {
        f"{ours}_depthwise": f"{theirs}.depthwise",
        f"{ours}_pointwise": f"{theirs}.pointwise",
        ours: f"{theirs}_bn",
    }


VGG: Table = {"block{b}_conv{i}": "block{b}_conv{i}", "fc6": "fc1", "fc7": "fc2"}

INCEPTION_V3: Table = {"{w:(?:conv2d|mixed)_.*}": COUNTED}

INCEPTION_RESNET_V2: Table = {
    "conv2d_7b_1x1": "conv_7b[|_bn]",
    "{block}_{n}_residual": "{block}_{n}_conv",
    "{w:(?:conv2d|mixed|block[0-9]+)_.*}": COUNTED,
}

XCEPTION: Table = {
    "block1_conv{i}": "block1_conv{i}[|_bn]",
    **separable("block{b}_residual", "block{b}_sepconv3"),
    **separable("block{b}_residual_{i}", "block{b}_sepconv{i+1}"),
    **separable("block14_sepconv{i}", "block14_sepconv{i}"),
    "block{b}_shortcut": COUNTED,
}

RESNET: Table = {
    "conv1": "conv1_[conv|bn]",
    "conv{s}_block{b}_residual_{i}": "conv{s}_block{b}_{i+1}_[conv|bn]",
    "conv{s}_block{b}_residual": "conv{s}_block{b}_3_[conv|bn]",
    "conv{s}_block{b}_shortcut": "conv{s}_block{b}_0_[conv|bn]",
}

DENSENET: Table = {
    "conv0": "conv1/[conv|bn]",
    "denseblock{b}_layer{i}_conv{n}": "conv{b+1}_block{i}_{n}_conv",
    "denseblock{b}_layer{i}_relu{n}": "conv{b+1}_block{i}_{n-1}_bn",
    "transition{t}": "pool{t+1}_conv",
    "transition{t}_relu": "pool{t+1}_bn",
    "norm5": "bn",
}

MOBILENET_V1: Table = {
    "conv2d_0": "conv1[|_bn]",
    "conv2d_{i}_depthwise": "conv_dw_{i}[|_bn]",
    "conv2d_{i}_pointwise": "conv_pw_{i}[|_bn]",
}
MOBILENET_V2: Table = {
    "stem": "[|bn_]Conv1",
    "block_{i}{r:_residual|}_{part:expand|depthwise}": "block_{i}_{part}[|_BN]",
    "block_{i}{r:_residual|}": "block_{i}_project[|_BN]",
    "features": "Conv_1[|_bn]",
}


def nasnet(blocks: int) -> Table:
    """`blocks` normal cells a stage; the first reduction counts as a cell, the second does not."""
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
                for n, word in ((1, "_0"), (2, "")):
                    path, end = f"{ours}_{block}_{side}{word}", f"{kind}_{side}{number}_{theirs}"
                    table |= separable(path, f"separable_conv_{n}_{end}") | {path: f"separable_conv_{n}_bn_{end}"}
    return table


KERAS_TEAM = Layout(
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
            (("densenet121", "densenet169", "densenet201"), DENSENET),
            (("nasnet_mobile",), nasnet(4)),
            (("nasnet_large",), nasnet(6)),
            (("mobilenet_v1",), MOBILENET_V1),
            (("mobilenet_v2",), MOBILENET_V2),
        )
        for network in networks
    },
)
