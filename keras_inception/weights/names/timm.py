"""timm's names."""

from .frameworks import TORCH
from .layout import Layout
from .rules import Table
from .torchvision import BASIC, BOTTLENECK, DENSENET, INCEPTION_V3, VGG, joined, vgg_features


def excited(bottleneck: Table, module: str) -> Table:
    """A squeeze-and-excitation module in each block; ours then calls the path `mix`."""
    return {ours.replace("_residual", "_residual_mix"): theirs for ours, theirs in bottleneck.items()} | {
        "conv{s}_block{b}_residual_reduce": f"layer{{s-1}}.{{b-1}}.{module}.fc1",
        "conv{s}_block{b}_residual_expand": f"layer{{s-1}}.{{b-1}}.{module}.fc2",
    }


def numbered(counts: tuple[int, ...]) -> list[str]:
    """Blocks, counted through all stages, as stages of so many: ["0.0", "1.0", "1.1", ...]."""
    return [f"{stage}.{block}" for stage, count in enumerate(counts) for block in range(count)]


VGG_HEAD: Table = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "logits": "head.fc"}

SENET154: Table = excited(BOTTLENECK, "se") | {
    "conv1": "conv1.[0|1]",
    "conv2": "conv1.[3|4]",
    "conv3": "[conv1.6|bn1]",
}

INCEPTION_V4: Table = {
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

INCEPTION_RESNET_V2: Table = {
    "conv2d_{n}_{size}": "conv2d_{n}.[conv|bn]",
    "mixed_{m:5b|6a}_b0_0": "mixed_{m}.branch0.[conv|bn]",
    "mixed_{m}_b{b}_{i}": "mixed_{m}.branch{b}.{i}.[conv|bn]",
    "block8_10_residual": "block8.conv2d",
    "block8_10_residual_mix_b0_0": "block8.branch0.[conv|bn]",
    "block8_10_residual_mix_b{b}_{i}": "block8.branch{b}.{i}.[conv|bn]",
    **{
        f"{ours}_{{n}}_residual{word}": f"{theirs}.{{n-1}}.{module}"
        for ours, theirs in (("block35", "repeat"), ("block17", "repeat_1"), ("block8", "repeat_2"))
        for word, module in (
            ("", "conv2d"),
            ("_mix_b0_0", "branch0.[conv|bn]"),
            ("_mix_b{b}_{i}", "branch{b}.{i}.[conv|bn]"),
        )
    },
    "logits": "classif",
}


def nasnet_cells(ours: str, theirs: str) -> Table:
    """The rows of cells of these names."""
    return {
        f"{ours}_h": f"{theirs}.conv_1x1.[conv|bn]",
        f"{ours}_p_{{i:[01]}}": f"{theirs}.path_{{i+1}}.conv",
        f"{ours}_p": f"{theirs}.conv_prev_1x1.[conv|bn]",
        **{
            f"{ours}_{{i:[0-4]}}_{{side:left|right}}{word}{part}": f"{theirs}.comb_iter_{{i}}_{{side}}.{module}"
            for word, n in (("_0", 1), ("", 2))
            for part, module in (
                ("_depthwise", f"separable_{n}.depthwise_conv2d"),
                ("_pointwise", f"separable_{n}.pointwise_conv2d"),
                ("", f"bn_sep_{n}"),
            )
        },
    }


NASNET_ENDS: Table = {"conv0": "conv0.[conv|bn]", "logits": "last_linear"}
# The first cell behind each reduction halves what it gets from before it; the others have a 1x1 convolution.
NASNET_LARGE: Table = {
    "{c:cell_stem_1|cell_0|cell_6|cell_12}_p": "{c}.final_path_bn",
    **nasnet_cells("{c:(?:reduction_)?cell_[0-9]+|cell_stem_[01]}", "{c}"),
    **NASNET_ENDS,
}

MOBILENET_V1: Table = {
    "conv2d_0": "[conv_stem|bn1]",
    **{
        f"conv2d_{i}_{ours}": f"blocks.{block}.[{theirs}]"
        for i, block in enumerate(numbered((1, 2, 2, 6, 2)), 1)
        for ours, theirs in (("depthwise", "conv_dw|bn1"), ("pointwise", "conv_pw|bn2"))
    },
    "logits": "classifier",
}
MOBILENET_V2: Table = {
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

TIMM = Layout(
    name="timm",
    framework=TORCH,
    prepare=joined,
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
