"""timm: its checkpoints (`.safetensors` on the Hugging Face hub, `.pth` for its legacy networks), and their names.

The hub has a SHA-256 for each file, but no hash or revision is stated anywhere else, so none is pinned here. Where a
network was evaluated at several sizes, the accuracy is that at the training size.
"""

from __future__ import annotations

import re
from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import TORCH
from ..matching import Layout
from ..record import Checkpoint
from ..rules import NameTable
from .norms import HALF, IMAGENET
from .torchvision import BASIC, BOTTLENECK, DENSENET, INCEPTION_V3, VGG, vgg_features, with_current_names

RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download/"
CADENE = "http://data.lip6.fr/cadene/pretrainedmodels/"  # has the same files as v0.1-cadene
SOURCE = "timm 1.0.31 default_cfgs; huggingface/pytorch-image-models results/results-imagenet.csv"
APACHE, BSD, CC_BY_NC = "Apache-2.0", "BSD-3-Clause", "CC-BY-NC-4.0"
BILINEAR, BICUBIC = "bilinear", "bicubic"


def hub(
    model: str,
    name: str,
    norm: dict[str, Any],
    size: int,
    crop: float,
    interpolation: str,
    top1: float,
    top5: float,
    license: str,
    alpha: float | None = None,
) -> Checkpoint:
    """The record of one repository on the hub."""
    width = f"{round(100 * alpha):03}_" if alpha not in (None, 1.0) else ""
    return Checkpoint(
        model=model,
        tag=width + name.split(".")[1],
        layout="timm",
        hf_repo=f"timm/{name}",
        unhashed="no hash or revision of the hub's file is stated anywhere but on the hub",
        license=license,
        source=SOURCE,
        top1=top1,
        top5=top5,
        # SENet: torch padding, unlike the legacy files; NASNet: as in timm's port
        numerics="torch",
        kwargs={} if alpha is None else {"alpha": alpha},
        preprocessing=Preprocessing(size=(size, size), crop=crop, interpolation=interpolation, **norm),
    )


def legacy(
    model: str, file: str, norm: dict[str, Any], size: int, crop: float, interpolation: str, top1: float, top5: float
) -> Checkpoint:
    """The record of one release file; its name ends in digits of its SHA-256. Cadene's are on his server too."""
    urls = [RELEASES + file]
    if file.startswith("v0.1-cadene/"):
        urls.append(CADENE + file.removeprefix("v0.1-cadene/"))
    return Checkpoint(
        model=model,
        tag="legacy_tf_in1k" if model == "xception" else "legacy_in1k",
        layout="cadene",
        urls=tuple(urls),
        hash=f"sha256-prefix:{file.removesuffix('.pth').rsplit('-', 1)[1]}",
        license=APACHE,
        source=SOURCE,
        top1=top1,
        top5=top5,
        numerics="torch" if model == "xception" else "caffe",
        preprocessing=Preprocessing(size=(size, size), crop=crop, interpolation=interpolation, **norm),
    )


# fmt: off
HUB = (
    hub("vgg11", "vgg11.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 69.05, 88.63, BSD),
    hub("vgg11_bn", "vgg11_bn.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 70.374, 89.802, BSD),
    hub("vgg13", "vgg13.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 69.95, 89.262, BSD),
    hub("vgg13_bn", "vgg13_bn.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 71.56, 90.372, BSD),
    hub("vgg16", "vgg16.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 71.594, 90.398, BSD),
    hub("vgg16_bn", "vgg16_bn.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 73.354, 91.49, BSD),
    hub("vgg19", "vgg19.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 72.4, 90.878, BSD),
    hub("vgg19_bn", "vgg19_bn.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 74.23, 91.848, BSD),
    hub("inception_v3", "inception_v3.tf_in1k", HALF, 299, 0.875, BICUBIC, 77.866, 93.644, APACHE),
    hub("inception_v3", "inception_v3.tf_adv_in1k", HALF, 299, 0.875, BICUBIC, 77.598, 93.726, APACHE),
    hub("inception_v3", "inception_v3.gluon_in1k", IMAGENET, 299, 0.875, BICUBIC, 78.806, 94.372, APACHE),
    hub("inception_v3", "inception_v3.tv_in1k", HALF, 299, 0.875, BICUBIC, 77.472, 93.468, APACHE),
    hub("inception_v4", "inception_v4.tf_in1k", HALF, 299, 0.875, BICUBIC, 80.144, 94.982, APACHE),
    hub("inception_resnet_v2", "inception_resnet_v2.tf_in1k", HALF, 299, 0.8975, BICUBIC, 80.434, 95.312, APACHE),
    hub("inception_resnet_v2", "inception_resnet_v2.tf_ens_adv_in1k",
        HALF, 299, 0.8975, BICUBIC, 79.998, 94.94, APACHE),
    hub("resnet18", "resnet18.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 69.752, 89.082, BSD),
    hub("resnet18", "resnet18.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 71.504, 90.086, APACHE),
    hub("resnet18", "resnet18.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 70.844, 89.75, APACHE),
    hub("resnet34", "resnet34.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 73.298, 91.422, BSD),
    hub("resnet34", "resnet34.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 76.42, 92.896, APACHE),
    hub("resnet34", "resnet34.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 74.574, 91.988, APACHE),
    hub("resnet50", "resnet50.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 76.156, 92.866, BSD),
    hub("resnet50", "resnet50.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 80.382, 94.598, APACHE),
    hub("resnet50", "resnet50.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 77.58, 93.704, APACHE),
    hub("resnet101", "resnet101.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 77.404, 93.552, BSD),
    hub("resnet101", "resnet101.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 81.494, 95.164, APACHE),
    hub("resnet101", "resnet101.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 79.306, 94.538, APACHE),
    hub("resnet152", "resnet152.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 78.33, 94.046, BSD),
    hub("resnet152", "resnet152.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 81.998, 95.294, APACHE),
    hub("resnet152", "resnet152.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 79.712, 94.72, APACHE),
    hub("resnet50_v2", "resnetv2_50.a1h_in1k", HALF, 224, 0.95, BICUBIC, 80.41, 95.082, APACHE),
    hub("resnet101_v2", "resnetv2_101.a1h_in1k", HALF, 224, 0.95, BICUBIC, 82.042, 95.866, APACHE),
    hub("wide_resnet50_2", "wide_resnet50_2.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 78.486, 94.084, BSD),
    hub("wide_resnet50_2", "wide_resnet50_2.racm_in1k", IMAGENET, 224, 0.875, BICUBIC, 81.466, 95.544, APACHE),
    hub("wide_resnet101_2", "wide_resnet101_2.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 78.862, 94.312, BSD),
    hub("densenet121", "densenet121.tv_in1k", IMAGENET, 224, 0.875, BICUBIC, 74.75, 92.158, APACHE),
    hub("densenet169", "densenet169.tv_in1k", IMAGENET, 224, 0.875, BICUBIC, 75.922, 92.976, APACHE),
    hub("densenet201", "densenet201.tv_in1k", IMAGENET, 224, 0.875, BICUBIC, 77.284, 93.48, APACHE),
    hub("densenet161", "densenet161.tv_in1k", IMAGENET, 224, 0.875, BICUBIC, 77.384, 93.656, APACHE),
    hub("resnext50_32x4d", "resnext50_32x4d.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 77.632, 93.674, BSD),
    hub("resnext50_32x4d", "resnext50_32x4d.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 80.526, 94.458, APACHE),
    hub("resnext50_32x4d", "resnext50_32x4d.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 79.354, 94.424, APACHE),
    hub("resnext101_32x4d", "resnext101_32x4d.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 80.336, 94.908, APACHE),
    hub("resnext101_32x4d", "resnext101_32x4d.fb_swsl_ig1b_ft_in1k",
        IMAGENET, 224, 0.875, BILINEAR, 83.268, 96.76, CC_BY_NC),
    hub("resnext101_64x4d", "resnext101_64x4d.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 80.64, 95.0, APACHE),
    hub("resnext101_64x4d", "resnext101_64x4d.tv_in1k", IMAGENET, 224, 0.875, BILINEAR, 82.978, 96.252, BSD),
    hub("resnext101_64x4d", "resnext101_64x4d.c1_in1k", IMAGENET, 224, 0.95, BICUBIC, 82.446, 95.92, APACHE),
    hub("seresnet50", "seresnet50.a1_in1k", IMAGENET, 224, 0.95, BICUBIC, 80.012, 94.704, APACHE),
    hub("seresnet50", "seresnet50.ra2_in1k", IMAGENET, 224, 0.875, BICUBIC, 80.26, 95.068, APACHE),
    hub("seresnext50_32x4d", "seresnext50_32x4d.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 79.916, 94.816, APACHE),
    hub("seresnext50_32x4d", "seresnext50_32x4d.racm_in1k", IMAGENET, 224, 0.875, BICUBIC, 81.268, 95.624, APACHE),
    hub("seresnext101_32x4d", "seresnext101_32x4d.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 80.886, 95.268, APACHE),
    hub("senet154", "senet154.gluon_in1k", IMAGENET, 224, 0.875, BICUBIC, 81.258, 95.358, APACHE),
    hub("nasnet_large", "nasnetalarge.tf_in1k", HALF, 331, 0.911, BICUBIC, 82.638, 96.066, APACHE),
    hub("mobilenet_v1", "mobilenetv1_100.ra4_e3600_r224_in1k",
        HALF, 224, 0.875, BICUBIC, 75.388, 92.31, APACHE, alpha=1.0),
    hub("mobilenet_v2", "mobilenetv2_100.ra_in1k", IMAGENET, 224, 0.875, BICUBIC, 72.91, 91.0, APACHE, alpha=1.0),
    hub("mobilenet_v2", "mobilenetv2_050.lamb_in1k", IMAGENET, 224, 0.875, BICUBIC, 65.928, 86.114, APACHE, alpha=0.5),
    hub("mobilenet_v2", "mobilenetv2_140.ra_in1k", IMAGENET, 224, 0.875, BICUBIC, 76.528, 93.008, APACHE, alpha=1.4),
)
LEGACY = (
    legacy("xception", "v0.1-cadene/xception-43020ad28.pth", HALF, 299, 0.8975, BICUBIC, 79.058, 94.396),
    legacy("seresnet50", "v0.1-cadene/se_resnet50-ce0d4300.pth", IMAGENET, 224, 0.875, BILINEAR, 77.65, 93.732),
    legacy("seresnet101", "v0.1-cadene/se_resnet101-7e38fcc6.pth", IMAGENET, 224, 0.875, BILINEAR, 78.37, 94.264),
    legacy("seresnet152", "v0.1-cadene/se_resnet152-d17c99b7.pth", IMAGENET, 224, 0.875, BILINEAR, 78.662, 94.37),
    legacy("seresnext50_32x4d", "v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth",
        IMAGENET, 224, 0.875, BILINEAR, 79.08, 94.428),
    legacy("seresnext101_32x4d", "v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth",
        IMAGENET, 224, 0.875, BILINEAR, 80.274, 95.032),
    legacy("senet154", "v0.1-weights/legacy_senet154-e9eb9fe6.pth", IMAGENET, 224, 0.875, BILINEAR, 81.32, 95.502),
)
# fmt: on
CHECKPOINTS = (*HUB, *LEGACY)


# --------------------------------------------------------------------------------------------------------------- layout


def excited(bottleneck: NameTable, module: str) -> NameTable:
    """Add a squeeze-and-excitation module to each block; our layers of the path are then called `mix`."""
    return {ours.replace("_residual", "_residual_mix"): theirs for ours, theirs in bottleneck.items()} | {
        "conv{s}_block{b}_residual_reduce": f"layer{{s-1}}.{{b-1}}.{module}.fc1",
        "conv{s}_block{b}_residual_expand": f"layer{{s-1}}.{{b-1}}.{module}.fc2",
    }


def numbered(counts: tuple[int, ...]) -> list[str]:
    """Names "stage.block" for stages with these numbers of blocks: (1, 2) -> ["0.0", "1.0", "1.1"]."""
    return [f"{stage}.{block}" for stage, count in enumerate(counts) for block in range(count)]


VGG_HEAD: NameTable = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "logits": "head.fc"}

# Pre-activation: where the shortcut reads the first batch norm's output too, it is not part of our residual path.
RESNET_V2: NameTable = {
    "conv1": "stem.conv",
    "conv{s}_block{b}_preact": "stages.{s-2}.blocks.{b-1}.norm1",
    "conv{s}_block{b}_residual_0": "stages.{s-2}.blocks.{b-1}.[conv1|norm1]",
    "conv{s}_block{b}_residual_1": "stages.{s-2}.blocks.{b-1}.[conv1|norm2]",
    "conv{s}_block{b}_residual_2": "stages.{s-2}.blocks.{b-1}.[conv2|norm2]",
    "conv{s}_block{b}_residual_{i:3|4}": "stages.{s-2}.blocks.{b-1}.[conv2|norm3]",
    "conv{s}_block{b}_residual": "stages.{s-2}.blocks.{b-1}.conv3",
    "conv{s}_block{b}_shortcut": "stages.{s-2}.blocks.{b-1}.downsample.conv",
    "norm": "norm",
    "logits": "head.fc",
}

SENET154: NameTable = excited(BOTTLENECK, "se") | {
    "conv1": "conv1.[0|1]",
    "conv2": "conv1.[3|4]",
    "conv3": "[conv1.6|bn1]",
}

INCEPTION_V4: NameTable = {
    "conv2d_1a_3x3": "features.0.[conv|bn]",
    "conv2d_2a_3x3": "features.1.[conv|bn]",
    "conv2d_2b_3x3": "features.2.[conv|bn]",
    "mixed_3a_b1_0": "features.3.conv.[conv|bn]",
    "mixed_4a_b{b}_{i}": "features.4.branch{b}.{i}.[conv|bn]",
    "mixed_5a_b0_0": "features.5.conv.[conv|bn]",
    **{
        f"mixed_{module}_b{ours}": f"features.{place}.branch{theirs}.[conv|bn]"
        for place, module in enumerate(["5b", "5c", "5d", "5e", "6a", "6b", "6c", "6d", "6e", "6f", "6g", "6h"], 6)
        for ours, theirs in (("0_0", "0"), ("{b}_{i}", "{b}.{i}"))
    },
    "mixed_7a_b{b}_{i}": "features.18.branch{b}.{i}.[conv|bn]",
    **{
        f"mixed_{module}_b{ours}": f"features.{place}.branch{theirs}.[conv|bn]"
        for place, module in enumerate(("7b", "7c", "7d"), 19)
        for ours, theirs in (
            ("0_0", "0"),
            ("1_1_b0_0", "1_1a"),
            ("1_1_b1_0", "1_1b"),
            ("2_3_b0_0", "2_3a"),
            ("2_3_b1_0", "2_3b"),
            ("3_1", "3.1"),
            ("{b}_{i}", "{b}_{i}"),
        )
    },
    "logits": "last_linear",
}

INCEPTION_RESNET_V2: NameTable = {
    "conv2d_{n}_{size}": "conv2d_{n}.[conv|bn]",
    "mixed_{m:5b|6a}_b0_0": "mixed_{m}.branch0.[conv|bn]",
    "mixed_{m}_b{b}_{i}": "mixed_{m}.branch{b}.{i}.[conv|bn]",
    "block8_10_residual": "block8.conv2d",
    "block8_10_residual_mix_b0_0": "block8.branch0.[conv|bn]",
    "block8_10_residual_mix_b{b}_{i}": "block8.branch{b}.{i}.[conv|bn]",
    **{
        f"{ours}_{{n}}_residual{suffix}": f"{theirs}.{{n-1}}.{module}"
        for ours, theirs in (("block35", "repeat"), ("block17", "repeat_1"), ("block8", "repeat_2"))
        for suffix, module in (
            ("", "conv2d"),
            ("_mix_b0_0", "branch0.[conv|bn]"),
            ("_mix_b{b}_{i}", "branch{b}.{i}.[conv|bn]"),
        )
    },
    "logits": "classif",
}


def nasnet_cells(ours: str, theirs: str) -> NameTable:
    """Rows of the cells with these names."""
    return {
        f"{ours}_h": f"{theirs}.conv_1x1.[conv|bn]",
        f"{ours}_p_{{i:[01]}}": f"{theirs}.path_{{i+1}}.conv",
        f"{ours}_p": f"{theirs}.conv_prev_1x1.[conv|bn]",
        **{
            f"{ours}_{{i:[0-4]}}_{{side:left|right}}{suffix}{part}": f"{theirs}.comb_iter_{{i}}_{{side}}.{module}"
            for suffix, n in (("_0", 1), ("", 2))
            for part, module in (
                ("_depthwise", f"separable_{n}.depthwise_conv2d"),
                ("_pointwise", f"separable_{n}.pointwise_conv2d"),
                ("", f"bn_sep_{n}"),
            )
        },
    }


NASNET_ENDS: NameTable = {"conv0": "conv0.[conv|bn]", "logits": "last_linear"}
# The first cell after each reduction halves the map of its second input; the others apply a 1x1 convolution to it.
NASNET_LARGE: NameTable = {
    "{c:cell_stem_1|cell_0|cell_6|cell_12}_p": "{c}.final_path_bn",
    **nasnet_cells("{c:(?:reduction_)?cell_[0-9]+|cell_stem_[01]}", "{c}"),
    **NASNET_ENDS,
}

MOBILENET_V1: NameTable = {
    "conv2d_0": "[conv_stem|bn1]",
    **{
        f"conv2d_{i}_{ours}": f"blocks.{block}.[{theirs}]"
        for i, block in enumerate(numbered((1, 2, 2, 6, 2)), 1)
        for ours, theirs in (("depthwise", "conv_dw|bn1"), ("pointwise", "conv_pw|bn2"))
    },
    "logits": "classifier",
}
MOBILENET_V2: NameTable = {
    "stem": "[conv_stem|bn1]",
    "block_0_depthwise": "blocks.0.0.[conv_dw|bn1]",
    "block_0": "blocks.0.0.[conv_pw|bn2]",
    **{
        f"block_{i}{{r:_residual|}}{ours}": f"blocks.{block}.[{theirs}]"
        for i, block in enumerate(numbered((1, 2, 3, 4, 3, 3, 1)))
        for ours, theirs in (("_expand", "conv_pw|bn1"), ("_depthwise", "conv_dw|bn2"), ("", "conv_pwl|bn3"))
        if i
    },
    "features": "[conv_head|bn2]",
    "logits": "classifier",
}

LAYOUT = Layout(
    name="timm",
    framework=TORCH,
    prepare=with_current_names,
    convolutions=re.compile(r"vgg.*/pre_logits\.fc[12]|resnet.*_v2/head\.fc"),
    tables={
        **{
            f"vgg{depth}{suffix}": vgg_features(column, bool(suffix)) | VGG_HEAD
            for depth, column in VGG.items()
            for suffix in ("", "_bn")
        },
        "inception_v3": INCEPTION_V3,
        "inception_v4": INCEPTION_V4,
        "inception_resnet_v2": INCEPTION_RESNET_V2,
        **dict.fromkeys(("resnet18", "resnet34"), BASIC),
        **dict.fromkeys(("resnet50", "resnet101", "resnet152"), BOTTLENECK),
        **dict.fromkeys(("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d"), BOTTLENECK),
        **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2"), BOTTLENECK),
        **dict.fromkeys(("resnet50_v2", "resnet101_v2"), RESNET_V2),
        **dict.fromkeys(
            ("seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"),
            excited(BOTTLENECK, "se"),
        ),
        "senet154": SENET154,
        **dict.fromkeys(("densenet121", "densenet161", "densenet169", "densenet201"), DENSENET),
        "nasnet_large": NASNET_LARGE,
        "mobilenet_v1": MOBILENET_V1,
        "mobilenet_v2": MOBILENET_V2,
    },
)
