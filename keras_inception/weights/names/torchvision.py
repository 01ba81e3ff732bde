"""torchvision's names."""

import re

from .frameworks import TORCH
from .layout import Layout, Tensors
from .rules import Table

VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions of a block
DENSE_HEAD: Table = {"fc6": "classifier.0", "fc7": "classifier.3", "logits": "classifier.6"}


def vgg_features(convolutions: tuple[int, ...], normed: bool) -> Table:
    """A convolution, with batch norm or without, and a ReLU are numbered on; a pool ends each block."""
    table, i = {}, 0
    for block, count in enumerate(convolutions, 1):
        for conv in range(1, count + 1):
            table[f"block{block}_conv{conv}"] = f"features.[{i}|{i + 1}]"
            i += 3 if normed else 2
        i += 1
    return table


def fires(places: tuple[int, ...]) -> Table:
    """Where the fires stand among the features, from fire2 on."""
    table = {"conv1": "features.0"}
    for fire, i in enumerate(places, 2):
        table |= {
            f"fire{fire}_squeeze": f"features.{i}.squeeze",
            f"fire{fire}_b0_0": f"features.{i}.expand1x1",
            f"fire{fire}_b1_0": f"features.{i}.expand3x3",
        }
    return table | {"conv10": "classifier.1"}


RESNET: Table = {
    "conv1": "[conv|bn]1",
    "conv{s}_block{b}_residual_{i}": "layer{s-1}.{b-1}.[conv|bn]{i+1}",
    "conv{s}_block{b}_shortcut": "layer{s-1}.{b-1}.downsample.[0|1]",
    "logits": "fc",
}
BASIC = RESNET | {"conv{s}_block{b}_residual": "layer{s-1}.{b-1}.[conv|bn]2"}
BOTTLENECK = RESNET | {"conv{s}_block{b}_residual": "layer{s-1}.{b-1}.[conv|bn]3"}

DENSENET: Table = {
    "conv0": "features.[conv|norm]0",
    "denseblock{b}_layer{i}_{n:conv1|conv2}": "features.denseblock{b}.denselayer{i}.{n}",
    "denseblock{b}_layer{i}_relu{n}": "features.denseblock{b}.denselayer{i}.norm{n}",
    "transition{t}": "features.transition{t}.conv",
    "transition{t}_relu": "features.transition{t}.norm",
    "norm5": "features.norm5",
    "logits": "classifier",
}

GOOGLENET: Table = {
    "conv2d_1a_7x7": "conv1.[conv|bn]",
    "conv2d_2b_1x1": "conv2.[conv|bn]",
    "conv2d_2c_3x3": "conv3.[conv|bn]",
    # TF-slim's names, which are ours, count the pool before a group of modules as its first.
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

INCEPTION_V3: Table = {
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

MOBILENET_V2: Table = {
    "stem": "features.0.[0|1]",
    "block_0_depthwise": "features.1.conv.0.[0|1]",
    "block_0": "features.1.conv.[1|2]",
    "block_{i}{r:_residual|}_expand": "features.{i+1}.conv.0.[0|1]",
    "block_{i}{r:_residual|}_depthwise": "features.{i+1}.conv.1.[0|1]",
    "block_{i}{r:_residual|}": "features.{i+1}.conv.[2|3]",
    "features": "features.18.[0|1]",
    "logits": "classifier.1",
}

SHUFFLENET_V2: Table = {
    "conv1": "conv1.[0|1]",
    "stage{s}_{i}_left_0": "stage{s}.{i-1}.branch1.[0|1]",
    "stage{s}_{i}_left": "stage{s}.{i-1}.branch1.[2|3]",
    "stage{s}_{i}_right_0": "stage{s}.{i-1}.branch2.[0|1]",
    "stage{s}_{i}_right_1": "stage{s}.{i-1}.branch2.[3|4]",
    "stage{s}_{i}_right": "stage{s}.{i-1}.branch2.[5|6]",
    "conv5": "conv5.[0|1]",
    "logits": "fc",
}


def joined(tensors: Tensors) -> Tensors:
    """DenseNet's files are older than its code: they say norm.1 and conv.2 where it says norm1 and conv2."""
    return {re.sub(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", k): v for k, v in tensors.items()}


TORCHVISION = Layout(
    name="torchvision",
    framework=TORCH,
    prepare=joined,
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
