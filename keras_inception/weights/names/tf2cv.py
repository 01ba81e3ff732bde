"""The names of tf2cv, which is pytorchcv for TensorFlow 2: brought to pytorchcv's.

Keras writes a weight's whole scope, "res_net/features/features/stage1/stage1/unit1/body/conv1/conv/conv/kernel:0". Of
it go the network's class, which TensorFlow 2.3 did not write yet, what a container doubles, and the Keras layer that
each of their convolutions wraps: a grouped convolution wraps one for each group.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import keras
import numpy as np
from keras.layers import Dense

from ...layers import TORCH as NUMERICS
from . import pytorchcv as osmr
from .frameworks import KERAS, grid
from .layout import Layout, Tensors

CONTAINER = re.compile(r"features|stage\d+|output1")
WRAPPED = re.compile(r"(?:dw_)?conv|convgroup(\d+)")
# Layers that have no name of their own, which Keras counts through a session.
UNNAMED = {"se_block": "se", "conv2d": ""}


def prepare(tensors: Tensors) -> Tensors:
    """ "layer|scope/variable:0" -> "module.variable", in pytorchcv's words; the groups of a convolution joined.

    What is not named so, or is there twice, stays what it is.
    """
    parts: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for name, array in tensors.items():
        layer, bar, weight = name.partition("|")
        module, variable, group = _named(layer, weight)
        key = f"{module}.{variable}"
        if bar and group not in parts[key]:
            parts[key][group] = array
        else:
            parts[name][0] = array
    joined = {name: array for key, groups in parts.items() for name, array in _joined(key, groups)}
    folded = any(".body." in name for name in joined) and not any(name.endswith(".gamma") for name in joined)
    return _unfolded(joined) if folded else joined


def _joined(name: str, groups: Mapping[int, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """A convolution's groups as one, if they are of one shape."""
    arrays = [groups[g] for g in sorted(groups)]
    if len(arrays) == 1 or arrays[0].ndim != 4 or len({array.shape for array in arrays}) > 1:
        return [(f"{name}{g or ''}", groups[g]) for g in groups]
    return [(name, np.concatenate(arrays, axis=-1))]


def _named(layer: str, weight: str) -> tuple[str, str, int]:
    """Module, variable, and which group of a convolution it is."""
    *scopes, variable = weight.partition(":")[0].split("/")
    if layer in scopes:
        scopes = scopes[scopes.index(layer) :]
    group = 0
    if scopes and variable.endswith(("kernel", "bias")) and (wrapped := WRAPPED.fullmatch(scopes[-1])):
        group = int(wrapped[1] or 0)
        del scopes[-1]
    words: list[str] = []
    for scope in scopes:
        word = UNNAMED.get(re.sub(r"_\d+$", "", scope), scope)
        if word and not (words[-1:] == [word] and CONTAINER.fullmatch(word)):
            words.append(word)
    return ".".join(words).replace("output1", "output", 1), variable.removeprefix("depthwise_"), group


def _unfolded(tensors: Tensors) -> Tensors:
    """Batch norm that does nothing but to add the bias, where theirs is in the convolution: in wrn50_2."""
    unfolded: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        if name.endswith(".conv.bias"):
            norm = name.removesuffix(".conv.bias") + ".bn"
            unfolded |= {f"{norm}.beta": array, f"{norm}.gamma": np.ones_like(array)}
            unfolded |= {f"{norm}.moving_mean": np.zeros_like(array)}
            unfolded |= {f"{norm}.moving_variance": np.full_like(array, 1 - NUMERICS.epsilon)}
        else:
            unfolded[name] = array
    return unfolded


def kernel(array: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """As ours is, but that maps are flattened channels first."""
    if isinstance(layer, Dense) and array.ndim == 2:
        height, width, channels = grid(layer.input)
        if len(array) == height * width * channels:
            array = array.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(array.shape)
    return array


TF2CV = Layout(
    name="tf2cv",
    framework=replace(KERAS, separator=".", kernel=kernel),
    prepare=prepare,
    tables={
        network: table
        for networks, table in (
            (("alexnet_owt", "zfnet"), osmr.ALEXNET),
            ((f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")), osmr.VGG),
            (("inception_v2",), osmr.BN_INCEPTION),
            (("inception_v3",), osmr.INCEPTION_V3),
            (("inception_v4",), osmr.INCEPTION_V4),
            (("inception_resnet_v1",), osmr.INCEPTION_RESNET_V1),
            (("inception_resnet_v2",), osmr.INCEPTION_RESNET_V2),
            (("resnet18", "resnet34"), osmr.BASIC),
            (("resnet50", "resnet101", "resnet152", "wide_resnet50_2"), osmr.BOTTLENECK),
            (("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d"), osmr.BOTTLENECK),
            (("resnet110", "resnet1202_sd"), osmr.RESNET_CIFAR),
            (("densenet121", "densenet161", "densenet169", "densenet201"), osmr.DENSENET),
            (("densenet_bc100_12", "densenet_bc190_40", "densenet_bc250_24"), osmr.DENSENET_CIFAR),
            (("xception",), osmr.XCEPTION),
            (("seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"), osmr.SE_RESNET),
            (("senet154",), osmr.SENET154),
            (("squeezenet1_0",), osmr.fires((3, 4, 1))),
            (("squeezenet1_1",), osmr.fires((2, 2, 4))),
            (("nasnet_mobile",), osmr.nasnet(4)),
            (("nasnet_large",), osmr.nasnet(6)),
            (("mobilenet_v1",), osmr.MOBILENET_V1),
            (("shufflenet_v1",), osmr.SHUFFLENET_V1),
            (("shufflenet_v2",), osmr.SHUFFLENET_V2),
        )
        for network in networks
    },
)
