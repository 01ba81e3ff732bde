"""torchvision: its checkpoints (version 1, and version 2 of the newer recipe), and their names.

The name of a file ends in the first digits of its SHA-256. torchvision states the size in 2^20 bytes with three
decimals. The number after it is what images are resized to before the center crop.
"""

from __future__ import annotations

import re
from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import TORCH
from ..matching import Layout, Tensors
from ..record import Checkpoint
from ..rules import NameTable
from .norms import HALF, IMAGENET

URL = "https://download.pytorch.org/models/"


def row(
    model: str, version: int, file: str, mebibytes: float, resize: int, top1: float, top5: float, **kwargs: Any
) -> Checkpoint:
    """The record of one file."""
    size = 299 if model == "inception_v3" else 224
    scale = f"_x{kwargs['scale']}".replace(".", "_") if kwargs.get("scale", 1.0) != 1.0 else ""
    # torchvision's Inceptions convert their input to TensorFlow's normalisation; here the preprocessing does it.
    norm = HALF if "aux_heads" in kwargs else IMAGENET
    return Checkpoint(
        model=model,
        tag=f"torchvision{version}{scale}_in1k",
        layout="torchvision",
        urls=(URL + file,),
        hash=f"sha256-prefix:{file.removesuffix('.pth').rsplit('-', 1)[1]}",
        bytes=round(mebibytes * 2**20 / 1000) * 1000,
        license="BSD-3-Clause (torchvision; it states none for the weights)",
        source="torchvision 0.29 models, Weights enums",
        top1=top1,
        top5=top5,
        numerics="torch",
        kwargs=kwargs,
        preprocessing=Preprocessing(size=(size, size), crop=size / resize, **norm),
    )


# fmt: off
CHECKPOINTS = (
    row("alexnet_owt", 1, "alexnet-owt-7be5be79.pth", 233.087, 256, 56.522, 79.066),
    row("vgg11", 1, "vgg11-8a719046.pth", 506.84, 256, 69.02, 88.628),
    row("vgg11_bn", 1, "vgg11_bn-6002323d.pth", 506.881, 256, 70.37, 89.81),
    row("vgg13", 1, "vgg13-19584684.pth", 507.545, 256, 69.928, 89.246),
    row("vgg13_bn", 1, "vgg13_bn-abd245e5.pth", 507.59, 256, 71.586, 90.374),
    row("vgg16", 1, "vgg16-397923af.pth", 527.796, 256, 71.592, 90.382),
    row("vgg16_bn", 1, "vgg16_bn-6c64b313.pth", 527.866, 256, 73.36, 91.516),
    row("vgg19", 1, "vgg19-dcbb9e9d.pth", 548.051, 256, 72.376, 90.876),
    row("vgg19_bn", 1, "vgg19_bn-c79401a0.pth", 548.143, 256, 74.218, 91.842),
    row("inception_v1_bn", 1, "googlenet-1378be20.pth", 49.731, 256, 69.778, 89.53, aux_heads=True),
    row("inception_v3", 1, "inception_v3_google-0cc3c7bd.pth", 103.903, 342, 77.294, 93.45, aux_heads=True),
    row("resnet18", 1, "resnet18-f37072fd.pth", 44.661, 256, 69.758, 89.078),
    row("resnet34", 1, "resnet34-b627a593.pth", 83.275, 256, 73.314, 91.42),
    row("resnet50", 1, "resnet50-0676ba61.pth", 97.781, 256, 76.13, 92.862),
    row("resnet50", 2, "resnet50-11ad3fa6.pth", 97.79, 232, 80.858, 95.434),
    row("resnet101", 1, "resnet101-63fe2227.pth", 170.511, 256, 77.374, 93.546),
    row("resnet101", 2, "resnet101-cd907fc2.pth", 170.53, 232, 81.886, 95.78),
    row("resnet152", 1, "resnet152-394f9c45.pth", 230.434, 256, 78.312, 94.046),
    row("resnet152", 2, "resnet152-f82ba261.pth", 230.474, 232, 82.284, 96.002),
    row("wide_resnet50_2", 1, "wide_resnet50_2-95faca4d.pth", 131.82, 256, 78.468, 94.086),
    row("wide_resnet50_2", 2, "wide_resnet50_2-9ba9bcbe.pth", 263.124, 232, 81.602, 95.758),
    row("wide_resnet101_2", 1, "wide_resnet101_2-32ee1156.pth", 242.896, 256, 78.848, 94.284),
    row("wide_resnet101_2", 2, "wide_resnet101_2-d733dc28.pth", 484.747, 232, 82.51, 96.02),
    row("densenet121", 1, "densenet121-a639ec97.pth", 30.845, 256, 74.434, 91.972),
    row("densenet169", 1, "densenet169-b2777c0a.pth", 54.708, 256, 75.6, 92.806),
    row("densenet201", 1, "densenet201-c1103571.pth", 77.373, 256, 76.896, 93.37),
    row("densenet161", 1, "densenet161-8d451a50.pth", 110.369, 256, 77.138, 93.56),
    row("resnext50_32x4d", 1, "resnext50_32x4d-7cdf4587.pth", 95.789, 256, 77.618, 93.698),
    row("resnext50_32x4d", 2, "resnext50_32x4d-1a0047aa.pth", 95.833, 232, 81.198, 95.34),
    row("resnext101_64x4d", 1, "resnext101_64x4d-173b62eb.pth", 319.318, 232, 83.246, 96.454),
    row("squeezenet1_0", 1, "squeezenet1_0-b66bff10.pth", 4.778, 256, 58.092, 80.42),
    row("squeezenet1_1", 1, "squeezenet1_1-b8a52dc0.pth", 4.729, 256, 58.178, 80.624),
    row("mobilenet_v2", 1, "mobilenet_v2-b0353104.pth", 13.555, 256, 71.878, 90.286, alpha=1.0),
    row("mobilenet_v2", 2, "mobilenet_v2-7ebf99e0.pth", 13.598, 232, 72.154, 90.822, alpha=1.0),
    row("shufflenet_v2", 1, "shufflenetv2_x1-5666bf0f80.pth", 8.791, 256, 69.362, 88.316, scale=1.0),
    row("shufflenet_v2", 1, "shufflenetv2_x0.5-f707e7126e.pth", 5.282, 256, 60.552, 81.746, scale=0.5),
    row("shufflenet_v2", 1, "shufflenetv2_x1_5-3c479a10.pth", 13.557, 232, 72.996, 91.086, scale=1.5),
    row("shufflenet_v2", 1, "shufflenetv2_x2_0-8be3c8ee.pth", 28.433, 232, 76.23, 93.006, scale=2.0),
)
# fmt: on


# --------------------------------------------------------------------------------------------------------------- layout


VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions per block
DENSE_HEAD: NameTable = {"fc6": "classifier.0", "fc7": "classifier.3", "logits": "classifier.6"}


def vgg_features(convolutions: tuple[int, ...], normed: bool) -> NameTable:
    """Rows of VGG: convolutions, batch norms, ReLUs, and the pool that ends a block are numbered in sequence."""
    table, i = {}, 0
    for block, count in enumerate(convolutions, 1):
        for conv in range(1, count + 1):
            table[f"block{block}_conv{conv}"] = f"features.[{i}|{i + 1}]"
            i += 3 if normed else 2
        i += 1
    return table


def fires(places: tuple[int, ...]) -> NameTable:
    """Rows of SqueezeNet: the index of each fire module among the features, from fire2 on."""
    table = {"conv1": "features.0"}
    for fire, i in enumerate(places, 2):
        table |= {
            f"fire{fire}_squeeze": f"features.{i}.squeeze",
            f"fire{fire}_b0_0": f"features.{i}.expand1x1",
            f"fire{fire}_b1_0": f"features.{i}.expand3x3",
        }
    return table | {"conv10": "classifier.1"}


RESNET: NameTable = {
    "conv1": "[conv|bn]1",
    "conv{s}_block{b}_residual_{i}": "layer{s-1}.{b-1}.[conv|bn]{i+1}",
    "conv{s}_block{b}_shortcut": "layer{s-1}.{b-1}.downsample.[0|1]",
    "logits": "fc",
}
BASIC = RESNET | {"conv{s}_block{b}_residual": "layer{s-1}.{b-1}.[conv|bn]2"}
BOTTLENECK = RESNET | {"conv{s}_block{b}_residual": "layer{s-1}.{b-1}.[conv|bn]3"}

DENSENET: NameTable = {
    "conv0": "features.[conv|norm]0",
    "denseblock{b}_layer{i}_{n:conv1|conv2}": "features.denseblock{b}.denselayer{i}.{n}",
    "denseblock{b}_layer{i}_relu{n}": "features.denseblock{b}.denselayer{i}.norm{n}",
    "transition{t}": "features.transition{t}.conv",
    "transition{t}_relu": "features.transition{t}.norm",
    "norm5": "features.norm5",
    "logits": "classifier",
}

GOOGLENET: NameTable = {
    "conv2d_1a_7x7": "conv1.[conv|bn]",
    "conv2d_2b_1x1": "conv2.[conv|bn]",
    "conv2d_2c_3x3": "conv3.[conv|bn]",
    # TF-slim's names, which we use, count the pool before a group of modules as the first of the group.
    **{
        f"mixed_{group}{ours}_b{ours_path}": f"inception{group}{theirs}.branch{path}.[conv|bn]"
        for group, modules in ((3, "bc"), (4, "bcdef"), (5, "bc"))
        for ours, theirs in zip(modules, "abcde", strict=False)
        for ours_path, path in (("0_0", "1"), ("1_{i}", "2.{i}"), ("2_{i}", "3.{i}"), ("3_1", "4.1"))
    },
    "logits": "fc",
    "aux_{a}_conv": "aux{a}.conv.[conv|bn]",
    "aux_{a}_fc": "aux{a}.fc1",
    "aux_{a}_logits": "aux{a}.fc2",
}

INCEPTION_V3: NameTable = {
    "conv2d_{n}_{size}": "Conv2d_{n}_{size}.[conv|bn]",
    # Figure 5
    "mixed_{m:5b|5c|5d}_b0_0": "Mixed_{m}.branch1x1.[conv|bn]",
    "mixed_{m:5b|5c|5d}_b1_{i}": "Mixed_{m}.branch5x5_{i+1}.[conv|bn]",
    "mixed_{m:5b|5c|5d|6a}_b{b:1|2}_{i}": "Mixed_{m}.branch3x3dbl_{i+1}.[conv|bn]",
    # Figure 6
    "mixed_{m:6b|6c|6d|6e}_b0_0": "Mixed_{m}.branch1x1.[conv|bn]",
    "mixed_{m:6b|6c|6d|6e}_b1_{i}": "Mixed_{m}.branch7x7_{i+1}.[conv|bn]",
    "mixed_{m:6b|6c|6d|6e}_b2_{i}": "Mixed_{m}.branch7x7dbl_{i+1}.[conv|bn]",
    # Figure 7
    "mixed_{m:7b|7c}_b0_0": "Mixed_{m}.branch1x1.[conv|bn]",
    "mixed_{m:7b|7c}_b1_0": "Mixed_{m}.branch3x3_1.[conv|bn]",
    "mixed_{m:7b|7c}_b1_1_b0_0": "Mixed_{m}.branch3x3_2a.[conv|bn]",
    "mixed_{m:7b|7c}_b1_1_b1_0": "Mixed_{m}.branch3x3_2b.[conv|bn]",
    "mixed_{m:7b|7c}_b2_{i:0|1}": "Mixed_{m}.branch3x3dbl_{i+1}.[conv|bn]",
    "mixed_{m:7b|7c}_b2_2_b0_0": "Mixed_{m}.branch3x3dbl_3a.[conv|bn]",
    "mixed_{m:7b|7c}_b2_2_b1_0": "Mixed_{m}.branch3x3dbl_3b.[conv|bn]",
    "mixed_{m}_b3_1": "Mixed_{m}.branch_pool.[conv|bn]",
    # The reductions
    "mixed_6a_b0_0": "Mixed_6a.branch3x3.[conv|bn]",
    "mixed_7a_b0_{i}": "Mixed_7a.branch3x3_{i+1}.[conv|bn]",
    "mixed_7a_b1_{i}": "Mixed_7a.branch7x7x3_{i+1}.[conv|bn]",
    "aux_1_1": "AuxLogits.conv0.[conv|bn]",
    "aux_1_2": "AuxLogits.conv1.[conv|bn]",
    "aux_1_logits": "AuxLogits.fc",
    "logits": "fc",
}

MOBILENET_V2: NameTable = {
    "stem": "features.0.[0|1]",
    "block_0_depthwise": "features.1.conv.0.[0|1]",
    "block_0": "features.1.conv.[1|2]",
    "block_{i}{r:_residual|}_expand": "features.{i+1}.conv.0.[0|1]",
    "block_{i}{r:_residual|}_depthwise": "features.{i+1}.conv.1.[0|1]",
    "block_{i}{r:_residual|}": "features.{i+1}.conv.[2|3]",
    "features": "features.18.[0|1]",
    "logits": "classifier.1",
}

SHUFFLENET_V2: NameTable = {
    "conv1": "conv1.[0|1]",
    "stage{s}_{i}_left_0": "stage{s}.{i-1}.branch1.[0|1]",
    "stage{s}_{i}_left": "stage{s}.{i-1}.branch1.[2|3]",
    "stage{s}_{i}_right_0": "stage{s}.{i-1}.branch2.[0|1]",
    "stage{s}_{i}_right_1": "stage{s}.{i-1}.branch2.[3|4]",
    "stage{s}_{i}_right": "stage{s}.{i-1}.branch2.[5|6]",
    "conv5": "conv5.[0|1]",
    "logits": "fc",
}


def with_current_names(tensors: Tensors) -> Tensors:
    """Rename norm.1 and conv.2 to norm1 and conv2: DenseNet's files are older than its code."""
    return {re.sub(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", k): v for k, v in tensors.items()}


LAYOUT = Layout(
    name="torchvision",
    framework=TORCH,
    prepare=with_current_names,
    tables={
        "alexnet_owt": {
            **{f"conv{i}": f"features.{place}" for i, place in enumerate((0, 3, 6, 8, 10), 1)},
            "fc6": "classifier.1",
            "fc7": "classifier.4",
            "logits": "classifier.6",
        },
        **{
            f"vgg{depth}{suffix}": vgg_features(column, bool(suffix)) | DENSE_HEAD
            for depth, column in VGG.items()
            for suffix in ("", "_bn")
        },
        "squeezenet1_0": fires((3, 4, 5, 7, 8, 9, 10, 12)),
        "squeezenet1_1": fires((3, 4, 6, 7, 9, 10, 11, 12)),
        **dict.fromkeys(("resnet18", "resnet34"), BASIC),
        **dict.fromkeys(("resnet50", "resnet101", "resnet152"), BOTTLENECK),
        **dict.fromkeys(("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d"), BOTTLENECK),
        **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2"), BOTTLENECK),
        **dict.fromkeys(("densenet121", "densenet161", "densenet169", "densenet201"), DENSENET),
        "inception_v1_bn": GOOGLENET,
        "inception_v3": INCEPTION_V3,
        "mobilenet_v2": MOBILENET_V2,
        "shufflenet_v2": SHUFFLENET_V2,
    },
)
