"""The names of Cadene's pretrained-models.pytorch, which timm keeps for the networks it calls legacy."""

from .frameworks import TORCH
from .layout import Layout
from .rules import Table
from .timm import INCEPTION_RESNET_V2, INCEPTION_V4, NASNET_ENDS, NASNET_LARGE, excited, nasnet_cells
from .torchvision import BOTTLENECK

SE_RESNET: Table = excited(BOTTLENECK, "se_module") | {"conv1": "layer0.[conv|bn]1", "logits": "last_linear"}
SENET154: Table = SE_RESNET | {"conv{i:2|3}": "layer0.[conv|bn]{i}"}


def separable(block: str, ours: str, place: int) -> Table:
    """A separable convolution and its batch norm in a block's sequence, behind a ReLU or not."""
    return {
        f"block{block}_residual{ours}_depthwise": f"block{{b-1}}.rep.{place}.conv1",
        f"block{block}_residual{ours}_pointwise": f"block{{b-1}}.rep.{place}.pointwise",
        f"block{block}_residual{ours}": f"block{{b-1}}.rep.{place + 1}",
    }


XCEPTION: Table = {
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
# Caffe's names: a module's convolutions say their size, and (3c) and (4e), which halve the map, are not counted apart.
BN_INCEPTION: Table = {
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

# Torch7's containers: a stage, a block, its two paths, and the sequence before the last convolution.
RESNEXT: Table = {
    "conv1": "features.[0|1]",
    "conv{s}_block{b}_residual_0": "features.{s+2}.{b-1}.0.0.0.[0|1]",
    "conv{s}_block{b}_residual_1": "features.{s+2}.{b-1}.0.0.0.[3|4]",
    "conv{s}_block{b}_residual": "features.{s+2}.{b-1}.0.0.[1|2]",
    "conv{s}_block{b}_shortcut": "features.{s+2}.{b-1}.0.1.[0|1]",
    "logits": "last_linear",
}

# The large network's numbers: a stage of four normal cells leaves two out.
NASNET_MOBILE: Table = {
    "{c:cell_stem_1|cell_0}_p": "{c}.final_path_bn",
    "cell_4_p": "cell_6.final_path_bn",
    "cell_8_p": "cell_12.final_path_bn",
    **nasnet_cells("{c:reduction_cell_[01]|cell_stem_[01]|cell_[0-3]}", "{c}"),
    **nasnet_cells("cell_{n:[4-7]}", "cell_{n+2}"),
    **nasnet_cells("cell_{n:[89]|1[01]}", "cell_{n+4}"),
    **NASNET_ENDS,
}

CADENE = Layout(
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
