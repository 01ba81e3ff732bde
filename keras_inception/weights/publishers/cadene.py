"""Cadene's pretrained-models.pytorch: its checkpoints (conversions of other releases, 2017-2018), and their names.

The server offers plain http only. A download is verified by its SHA-256, whose first digits are in the file name. Four
more files of that server are listed in `timm`, which serves them too, with these names. Images are resized to 8/7 of
the network's input, the default of the package's TransformImage.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import TORCH
from ..matching import Layout
from ..record import Checkpoint
from ..rules import NameTable
from .norms import HALF, IMAGENET
from .timm import CADENE, INCEPTION_RESNET_V2, INCEPTION_V4, NASNET_ENDS, NASNET_LARGE, excited, nasnet_cells
from .torchvision import BOTTLENECK

BGR: dict[str, Any] = {"channels": "BGR", "mean": (104.0, 117.0, 128.0), "std": (1.0, 1.0, 1.0)}


def row(
    model: str,
    file: str,
    norm: dict[str, Any],
    size: int,
    top1: float,
    top5: float,
    numerics: str = "torch",
    classes: int = 1000,
) -> Checkpoint:
    """The record of one file; its name ends in the first digits of its SHA-256."""
    return Checkpoint(
        model=model,
        tag="cadene_in1k",
        layout="cadene",
        urls=(CADENE + file,),
        hash=f"sha256-prefix:{file.removesuffix('.pth').rsplit('-', 1)[1]}",
        license="BSD-3-Clause (pretrained-models.pytorch; it states none for the weights)",
        source="pretrainedmodels 0.7.4 pretrained_settings and README; served by plain http",
        top1=top1,
        top5=top5,
        classes=classes,
        numerics=numerics,
        preprocessing=Preprocessing(size=(size, size), crop=0.875, **norm),
    )


# fmt: off
CHECKPOINTS = (
    row("inception_v2", "bn_inception-52deb4733.pth", BGR, 224, 73.524, 91.562),
    row("inception_v4", "inceptionv4-8e4777a0.pth", HALF, 299, 80.062, 94.926, classes=1001),
    row("inception_resnet_v2", "inceptionresnetv2-520b38e4.pth", HALF, 299, 80.17, 95.234, classes=1001),
    row("nasnet_large", "nasnetalarge-a1897284.pth", HALF, 331, 82.566, 96.086, "tf", classes=1001),
    row("nasnet_mobile", "nasnetamobile-7e03cead.pth", HALF, 224, 74.08, 91.74, "tf"),
    row("resnext101_32x4d", "resnext101_32x4d-29e315fa.pth", IMAGENET, 224, 78.188, 93.886),
    row("resnext101_64x4d", "resnext101_64x4d-e77a0586.pth", IMAGENET, 224, 78.956, 94.252),
    row("seresnext50_32x4d", "se_resnext50_32x4d-a260b3a4.pth", IMAGENET, 224, 79.076, 94.434, "caffe"),
    row("seresnext101_32x4d", "se_resnext101_32x4d-3b2fe3d8.pth", IMAGENET, 224, 80.236, 95.028, "caffe"),
    row("senet154", "senet154-c7b49a05.pth", IMAGENET, 224, 81.304, 95.498, "caffe"),
)
# fmt: on


# --------------------------------------------------------------------------------------------------------------- layout


SE_RESNET: NameTable = excited(BOTTLENECK, "se_module") | {"conv1": "layer0.[conv|bn]1", "logits": "last_linear"}
SENET154: NameTable = SE_RESNET | {"conv{i:2|3}": "layer0.[conv|bn]{i}"}


def separable(block: str, ours: str, place: int) -> NameTable:
    """Rows of a separable convolution and its batch norm at a place in a block's sequence."""
    return {
        f"block{block}_residual{ours}_depthwise": f"block{{b-1}}.rep.{place}.conv1",
        f"block{block}_residual{ours}_pointwise": f"block{{b-1}}.rep.{place}.pointwise",
        f"block{block}_residual{ours}": f"block{{b-1}}.rep.{place + 1}",
    }


XCEPTION: NameTable = {
    "block1_conv{i}": "[conv|bn]{i}",
    **separable("{b:2}", "_0", 0),
    **separable("{b:2}", "_1", 3),
    **separable("{b}", "_0", 1),
    **separable("{b}", "_1", 4),
    **separable("{b}", "", 7),
    "block{b}_shortcut": "block{b-1}.[skip|skipbn]",
    "block14_sepconv{i}_depthwise": "conv{i+2}.conv1",
    "block14_sepconv{i}_pointwise": "conv{i+2}.pointwise",
    "block14_sepconv{i}": "bn{i+2}",
    "logits": "fc",
}
# Caffe's names: they contain the kernel size, and (3c) and (4e), which halve the map, are part of their group.
BN_INCEPTION: NameTable = {
    ours: f"[{theirs}|{theirs}_bn]"
    for ours, theirs in {
        "conv2d_1a_7x7": "conv1_7x7_s2",
        "conv2d_2b_1x1": "conv2_3x3_reduce",
        "conv2d_2c_3x3": "conv2_3x3",
        **{
            f"mixed_{group}{ours}_b{path}": f"inception_{group}{theirs}_{name}"
            for group, modules in ((3, "bc"), (4, "bcde"), (5, "bc"))
            for ours, theirs in zip(modules, "abcd", strict=False)
            for path, name in (
                ("0_0", "1x1"),
                ("1_0", "3x3_reduce"),
                ("1_1", "3x3"),
                ("2_0", "double_3x3_reduce"),
                ("2_{i}", "double_3x3_{i}"),
                ("3_1", "pool_proj"),
            )
        },
        **{
            f"mixed_{ours}_b{path}": f"inception_{theirs}_{name}"
            for ours, theirs in (("4a", "3c"), ("5a", "4e"))
            for path, name in (
                ("0_0", "3x3_reduce"),
                ("0_1", "3x3"),
                ("1_0", "double_3x3_reduce"),
                ("1_{i}", "double_3x3_{i}"),
            )
        },
    }.items()
} | {"logits": "last_linear"}

# The nesting of Torch7's containers: stage, block, one of its two paths, the sequence before the last convolution.
RESNEXT: NameTable = {
    "conv1": "features.[0|1]",
    "conv{s}_block{b}_residual_0": "features.{s+2}.{b-1}.0.0.0.[0|1]",
    "conv{s}_block{b}_residual_1": "features.{s+2}.{b-1}.0.0.0.[3|4]",
    "conv{s}_block{b}_residual": "features.{s+2}.{b-1}.0.0.[1|2]",
    "conv{s}_block{b}_shortcut": "features.{s+2}.{b-1}.0.1.[0|1]",
    "logits": "last_linear",
}

# The numbering of the large network, which has six normal cells per stage: with four, two numbers are skipped.
NASNET_MOBILE: NameTable = {
    "{c:cell_stem_1|cell_0}_p": "{c}.final_path_bn",
    "cell_4_p": "cell_6.final_path_bn",
    "cell_8_p": "cell_12.final_path_bn",
    **nasnet_cells("{c:reduction_cell_[01]|cell_stem_[01]|cell_[0-3]}", "{c}"),
    **nasnet_cells("cell_{n:[4-7]}", "cell_{n+2}"),
    **nasnet_cells("cell_{n:[89]|1[01]}", "cell_{n+4}"),
    **NASNET_ENDS,
}

LAYOUT = Layout(
    name="cadene",
    framework=TORCH,
    tables={
        "inception_v2": BN_INCEPTION,
        "inception_v4": INCEPTION_V4,
        "inception_resnet_v2": INCEPTION_RESNET_V2 | {"logits": "last_linear"},
        "xception": XCEPTION,
        **dict.fromkeys(("resnext101_32x4d", "resnext101_64x4d"), RESNEXT),
        **dict.fromkeys(
            ("seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"), SE_RESNET
        ),
        "senet154": SENET154,
        "nasnet_mobile": NASNET_MOBILE,
        "nasnet_large": NASNET_LARGE,
    },
)
