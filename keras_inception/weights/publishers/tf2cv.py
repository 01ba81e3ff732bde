"""tf2cv, which is pytorchcv for TensorFlow 2: its checkpoints, and how their names become pytorchcv's.

Keras writes the whole scope of a weight: "res_net/features/features/stage1/stage1/unit1/body/conv1/conv/conv/kernel:0".
Removed from it are the class of the network (which TensorFlow 2.3 did not write yet), the doubled names of containers,
and the Keras layer that each convolution of tf2cv wraps (a grouped convolution wraps one per group).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras.layers import Dense

from ...layers import TORCH as NUMERICS
from ...model_graph import grid
from ..frameworks import KERAS
from ..matching import Layout, Tensors
from ..record import Checkpoint
from . import pytorchcv as osmr

# Networks whose pools tf2cv pads in its own way, and SE-ResNet-152, whose stride is in the first 1x1 convolution there.
OWN = (
    *("zfnet", "squeezenet", "inception_v2", "inception_v4", "inception_resnet_v2", "xception", "nasnet"),
    "seresnet152",
)


def tf2cv(model: str, *file: Any, numerics: str = "torch", **kwargs: Any) -> Checkpoint:
    """The record of a Keras 2 file in a .zip."""
    return osmr.row("tf2cv", "tf2cv" if model.startswith(OWN) else numerics, ".tf2.h5", model, *file, **kwargs)


# fmt: off
CHECKPOINTS = (
    tf2cv("alexnet_owt", "485/alexnetb-1706", "df9cb6fd363e35b987a652a7ba706b6118eefff3", 39.28),
    tf2cv("zfnet", "422/zfnet-1717", "9500db3008e9ca8bc8f8de8101ec760e5ac8c05a", 39.50, lrn="tf2cv"),
    tf2cv("vgg11", "422/vgg11-1017", "c20556f4179e9311f28baa310702b6ea9265fee8", 29.59),
    tf2cv("vgg11_bn", "422/bn_vgg11b-0975", "aeaccfdc4a655d895e280165cf5be856472ca91f", 29.31),
    tf2cv("vgg13", "422/vgg13-0951", "9fa609fcb5cb44caf2737d13c0accc07cdea0c9d", 28.41),
    tf2cv("vgg13_bn", "488/bn_vgg13b-0916", "64ddd3e799df62223424441e0acd22d8f6a1bef8", 28.23),
    tf2cv("vgg16", "422/vgg16-0834", "ce78831f5d0640bd2fd619ba7d8d5027e62eb4f2", 26.59),
    tf2cv("vgg16_bn", "489/bn_vgg16b-0776", "4e07f81c0a59865ca3546898aa02a445a0a00cf2", 25.80),
    tf2cv("vgg19", "422/vgg19-0768", "ec5ac0baa5d49c041af48e67d34d1a89f1a72e7f", 25.57),
    tf2cv("vgg19_bn", "490/bn_vgg19b-0733", "7a0920e8b4219585cee8cbbf7dcae5ae8a5e3f1f", 24.86),
    tf2cv("inception_v2", "423/bninception-0865", "4cab3cce0eb1b79b872b189f5b0d9e4bb20f5ff4", 26.62),
    tf2cv("inception_v3", "552/inceptionv3-0536", "7a70b62fef648deadbca8a10974b4ff3faa06092", 20.44),
    tf2cv("inception_v4", "543/inceptionv4-0506", "62135f80437e8d069ec6656545ccd1df2490d81c", 19.94),
    tf2cv("inception_resnet_v1", "552/inceptionresnetv1-0480", "e2968df03fbb249e8dc32c48667c92b26ded27fb", 19.57),
    tf2cv("inception_resnet_v2", "547/inceptionresnetv2-0470", "7f761d8133fc70ec7194966e1fff4553eaad9f96", 19.43),
    tf2cv("resnet18", "478/resnet18-0870", "e1d3f22e0387c8df1a5ad09b0efd6fc03916e4b0", 26.80),
    tf2cv("resnet34", "422/resnet34-0744", "7f7d70e7780e24b4cb60cefc895198cdb2b94665", 24.50),
    tf2cv("resnet50", "422/resnet50b-0614", "b2a49da61dce6309c75e77226bb047b43247da24", 22.09),
    tf2cv("resnet101", "422/resnet101b-0511", "e3076227a06b394aebcce6260c4afc665224c987", 20.25),
    tf2cv("resnet152", "517/resnet152b-0431", "b41ec90e12d4ceea1fdd2dec2c265969a65354e3", 18.85),
    tf2cv("wide_resnet50_2", "520/wrn50_2-0608", "646ef77ea91cc2105cfd55e9587f2a2d29f10e98", 22.03),
    tf2cv("resnet110", "438/resnet110_cifar10-0369", "c625643a3c10909cdfc6c955418f0fca174b8d01"),
    tf2cv("resnet1202_sd", "438/resnet1202_cifar10-0353", "3559a9431d3ddd3ef1ee24bf2baa1b7184a21108"),
    tf2cv("resnet50_v2", "422/preresnet50b-0634", "711227b1a93dd721dd3e37709456acfde969ba18", 22.37),
    tf2cv("resnet50_v2", "422/preresnet50-0625",
          "208605629d347a64b9a354f5ad7f441f736eb418", 22.22, numerics="pytorchcv"),
    tf2cv("resnet101_v2", "422/preresnet101b-0539", "54d23aff956752be614c2ba66d8bff5477cf0367", 20.86),
    tf2cv("resnet101_v2", "504/preresnet101-0536",
          "2a62fe0a86c8a6a6ef0613dbd7aacfeee8300393", 20.59, numerics="pytorchcv"),
    tf2cv("resnet152_v2", "523/preresnet152b-0439", "224a0baeb02d642716395f937316e071bd7ec25c", 19.00),
    tf2cv("resnet152_v2", "510/preresnet152-0446",
          "60b1d0972b2c70ede4111a48641ebdb9a6bb22aa", 19.17, numerics="pytorchcv"),
    tf2cv("resnet200_v2", "529/preresnet200b-0448", "94152aa3e45bb3c923d3d09199dcde475058bbfe", 18.96),
    tf2cv("resnet110_v2", "439/preresnet110_cifar10-0386", "287a4b0cdd424fdf29d862b411f556f3d8f57f98"),
    tf2cv("resnet110_v2", "439/preresnet110_cifar100-2267", "ab677c09518f0b7aae855153fc820811bd530c28"),
    tf2cv("resnet164_v2", "439/preresnet164bn_cifar10-0364", "29a459fad0f60028b48f1908970d3947728d76b0"),
    tf2cv("resnet164_v2", "439/preresnet164bn_cifar100-2018", "c764970119e627e5c88fe3c7cb6a7d36cd7f29d0"),
    tf2cv("densenet121", "422/densenet121-0684", "e9196a9c93534ca7b71ef136e5cc27f240370481", 23.23),
    tf2cv("densenet169", "422/densenet169-0606", "f708dc3310008e59814745ffc22ddf829fb2d25a", 22.13),
    tf2cv("densenet201", "426/densenet201-0591", "450c656858d693932253b486069690fe727f6f89", 21.57),
    tf2cv("densenet161", "432/densenet161-0591", "78224027b390f943b30130a7921ded2887776a77", 21.84),
    tf2cv("densenet_bc100_12", "445/densenet100_k12_bc_cifar10-0416", "66beb8fc89f7e40d2b529e0f3270549324b5b784"),
    tf2cv("densenet_bc250_24", "445/densenet250_k24_bc_cifar10-0267", "3217a1b3c61afc9d08bc4b43bff4aac103da0012"),
    tf2cv("densenet_bc190_40", "445/densenet190_k40_bc_cifar10-0252", "9cc5cfcbef9425227370ac8c6404cfc1e3edbf55"),
    tf2cv("resnext50_32x4d", "498/resnext50_32x4d-0547", "7f89b9f7e795af30763596e201971da5b3a3c4e2", 20.82),
    tf2cv("resnext101_32x4d", "530/resnext101_32x4d-0418", "65226e18c3e2d54f8d82a891ffac1e29dea7ba9f", 18.50),
    tf2cv("resnext101_64x4d", "422/resnext101_64x4d-0484",
          "f8cf1580943cf3c6d6019f2fcc44f8adb857cb20"),  # the README has a newer file
    tf2cv("xception", "544/xception-0520", "9b570c498e25b7d92fbbe30e7c0abea6b3c203f6", 20.41),
    tf2cv("seresnet50", "422/seresnet50b-0533", "256002c3b489d5b685ee1ab6b62303d7768c5816", 20.58),
    tf2cv("seresnet101", "460/seresnet101b-0464", "a10be1d25d3112825e7b77277d6c56eb276dc799", 19.49),
    tf2cv("seresnet152", "538/seresnet152-0429", "3fedbd3340f8610a4b4ae8e41a578a5c8588da8c", 18.62),
    tf2cv("seresnext50_32x4d", "505/seresnext50_32x4d-0434", "c265c58c0c48103c1714bbb84b84987060991ec1", 18.73),
    tf2cv("seresnext101_32x4d", "529/seresnext101_32x4d-0446", "e2f5ca884c866a7833b8bce2b1240a280e2caf4e", 19.07),
    tf2cv("senet154", "522/senet154-0440", "69802af4dcb9036514c8ca80aad01fda7b66f7ee", 18.85),
    tf2cv("squeezenet1_0", "422/squeezenet_v1_0-1760", "d13ba73265325f21eb34e782989a7269cad406c6", 39.23),
    tf2cv("squeezenet1_1", "422/squeezenet_v1_1-1742", "95b614487f1f0572bd0dba18e0fc6d63df3a6bfc", 39.12),
    tf2cv("nasnet_mobile", "495/nasnet_4a1056-0815", "5b38d08a6d911dfa2d9aef9d835ea1787c60c54e", 25.67),
    tf2cv("nasnet_large", "428/nasnet_6a4032-0427", "1f0d2198bffb71386290b9b4e2058af2610574d8", 18.24),
    tf2cv("mobilenet_v1", "422/mobilenet_wd4-2213", "ad04596aa730e5bb4429115df70504c5a7dd5969", 45.84, alpha=0.25),
    tf2cv("mobilenet_v1", "422/mobilenet_wd2-1333", "01395e1b9e2a54065aafcc8b4c419644e7f6a655", 33.86, alpha=0.5),
    tf2cv("mobilenet_v1", "422/mobilenet_w3d4-1051", "7832561b956f0d763b002fbd9f2f880bbb712885", 29.88, alpha=0.75),
    tf2cv("mobilenet_v1", "422/mobilenet_w1-0866", "6939232b46fb98c8a9209d66368d630bb50941ed", 26.45, alpha=1.0),
    tf2cv("shufflenet_v1", "422/shufflenet_g3_w1-1326",
          "daaec8b84572023c1352e11830d296724123408e", 33.93, 13.32, groups=3, scale=1.0),
    tf2cv("shufflenet_v1", "422/shufflenet_g1_wd4-3681",
          "04a9e2d4ada22b3d317e2fc8b7d4ec11865c414f", 62.05, groups=1, scale=0.25),
    tf2cv("shufflenet_v1", "422/shufflenet_g1_wd2-2236",
          "082db702c422d8bce12d4d79228de56f088a420d", 46.25, groups=1, scale=0.5),
    tf2cv("shufflenet_v1", "422/shufflenet_g1_w1-1348",
          "52ddb20fd7ff288ae30a17757efda4653c09d5ca", 34.48, groups=1, scale=1.0),
    tf2cv("shufflenet_v1", "422/shufflenet_g2_w1-1333",
          "2a8ba6928e6fac05a5fe8911a9a175268eb18382", 33.95, groups=2, scale=1.0),
    tf2cv("shufflenet_v1", "422/shufflenet_g3_wd4-3618",
          "c9aad0f08d129726bbc19219c9773b38cf38825e", 61.31, groups=3, scale=0.25),
    tf2cv("shufflenet_v1", "422/shufflenet_g3_wd2-2059",
          "e3aefeeb36c20e325d0c7fe46afc60484167609d", 43.84, groups=3, scale=0.5),
    tf2cv("shufflenet_v1", "422/shufflenet_g4_w1-1313",
          "35dbd6b9fb8bc3e97367ea210abbd61da407f226", 33.88, groups=4, scale=1.0),
    tf2cv("shufflenet_v1", "422/shufflenet_g8_w1-1322",
          "449fb27659101a2cf0a87c90e33f4632d1c5e9f2", 33.71, groups=8, scale=1.0),
    tf2cv("shufflenet_v2", "422/shufflenetv2_wd2-1843", "d492d721d3167cd64ab1c2a1f33f3ca5f6dec7c3", 40.75, scale=0.5),
    tf2cv("shufflenet_v2", "422/shufflenetv2_w1-1135", "dae13ee9f24c89cd1ea12a58fb90b967223c8e2e", 31.00, scale=1.0),
)
# fmt: on

# --------------------------------------------------------------------------------------------------------------- layout

CONTAINER = re.compile(r"features|stage\d+|output1")
WRAPPED = re.compile(r"(?:dw_)?conv|convgroup(\d+)")
# Layers without a name of their own, which Keras numbers.
UNNAMED = {"se_block": "se", "conv2d": ""}


def prepare(tensors: Tensors) -> Tensors:
    """Rename "layer|scope/variable:0" to pytorchcv's "module.variable", and join the groups of a convolution.

    Other names, and names that occur twice, stay as they are.
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
    """The groups of a convolution as one kernel, if they have the same shape."""
    arrays = [groups[g] for g in sorted(groups)]
    if len(arrays) == 1 or arrays[0].ndim != 4 or len({array.shape for array in arrays}) > 1:
        return [(f"{name}{g or ''}", groups[g]) for g in groups]
    return [(name, np.concatenate(arrays, axis=-1))]


def _named(layer: str, weight: str) -> tuple[str, str, int]:
    """The module, the variable, and the index of the convolution's group."""
    *scopes, variable = weight.partition(":")[0].split("/")
    if layer in scopes:
        scopes = scopes[scopes.index(layer) :]
    group = 0
    if scopes and variable.endswith(("kernel", "bias")) and (wrapped := WRAPPED.fullmatch(scopes[-1])):
        group = int(wrapped[1] or 0)
        del scopes[-1]
    module: list[str] = []
    for scope in scopes:
        part = UNNAMED.get(re.sub(r"_\d+$", "", scope), scope)
        if part and not (module[-1:] == [part] and CONTAINER.fullmatch(part)):
            module.append(part)
    return ".".join(module).replace("output1", "output", 1), variable.removeprefix("depthwise_"), group


def _unfolded(tensors: Tensors) -> Tensors:
    """Add batch norms that only add the bias, where theirs are folded into the convolutions: wrn50_2."""
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
    """Our order of axes, except that maps are flattened channels first."""
    if isinstance(layer, Dense) and array.ndim == 2:
        height, width, channels = grid(layer.input)
        if len(array) == height * width * channels:
            array = array.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(array.shape)
    return array


LAYOUT = Layout(
    name="tf2cv",
    framework=replace(KERAS, separator=".", kernel=kernel, stored=None),
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
            (("resnet50_v2", "resnet101_v2", "resnet152_v2", "resnet200_v2"), osmr.PRERESNET),
            (("resnet110_v2",), osmr.PRERESNET_CIFAR),
            (("resnet164_v2",), osmr.PRERESNET_CIFAR_BN),
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
