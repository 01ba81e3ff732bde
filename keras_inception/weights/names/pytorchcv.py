"""pytorchcv's names, which its author's other packages have too.

A network is a stem (`init_block`), stages and units, all counted from 1, and an `output`. The tables are here for all
networks that any of his packages has a published file for; `tf2cv` brings TensorFlow's names to these.
"""

from collections.abc import Mapping

from .frameworks import TORCH
from .layout import Layout
from .rules import Table
from .timm import numbered


def counted(counts: tuple[int, ...]) -> list[str]:
    """Units, counted through all stages, as stages of so many: ["stage1.unit1", "stage2.unit1", ...]."""
    places = (place.split(".") for place in numbered(counts))
    return [f"features.stage{int(stage) + 1}.unit{int(unit) + 1}" for stage, unit in places]


# ------------------------------------------------------------------------------------------------- without shortcuts

DENSE_HEAD: Table = {"fc6": "output.fc1.fc", "fc7": "output.fc2.fc", "logits": "output.fc3"}
ALEXNET: Table = {
    **{f"conv{i}": f"{unit}.conv" for i, unit in enumerate(counted((1, 1, 3)), 1)},
    **DENSE_HEAD,
}
VGG: Table = {"block{b}_conv{i}": "features.stage{b}.unit{i}.[conv|bn]", **DENSE_HEAD}

NIN: Table = {
    **{
        name: f"{unit}.conv"
        for name, unit in zip(
            ("conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4", "conv3", "cccp5"), counted((3, 3, 2)), strict=True
        )
    },
    "class_maps": "output.final_conv.conv",
}

DENSENET: Table = {
    "conv0": "features.init_block.[conv|bn]",
    "denseblock{b}_layer{i}_conv{n}": "features.stage{b}.unit{i}.conv{n}.conv",
    "denseblock{b}_layer{i}_relu{n}": "features.stage{b}.unit{i}.conv{n}.bn",
    "transition{t}": "features.stage{t+1}.trans{t+1}.conv.conv",
    "transition{t}_relu": "features.stage{t+1}.trans{t+1}.conv.bn",
    "norm5": "features.post_activ.bn",
    "logits": "output",
}
DENSENET_CIFAR = DENSENET | {"conv0": "features.init_block"}


def fires(stages: tuple[int, ...]) -> Table:
    """Fires, from fire2 on, so many behind each pool."""
    table = {"conv1": "features.init_block.conv"}
    for fire, unit in enumerate(counted(stages), 2):
        table |= {
            f"fire{fire}_squeeze": f"{unit}.squeeze.conv",
            f"fire{fire}_b0_0": f"{unit}.expand1x1.conv",
            f"fire{fire}_b1_0": f"{unit}.expand3x3.conv",
        }
    return table | {"conv10": "output.final_conv"}


# --------------------------------------------------------------------------------------------------------- residual

RESNET: Table = {
    "conv1": "features.init_block.conv.[conv|bn]",
    "conv{s}_block{b}_residual_{i:[0-9]}": "features.stage{s-1}.unit{b}.body.conv{i+1}.[conv|bn]",
    "conv{s}_block{b}_shortcut": "features.stage{s-1}.unit{b}.identity_conv.[conv|bn]",
    "logits": "output",
}
BASIC = RESNET | {"conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv2.[conv|bn]"}
BOTTLENECK = RESNET | {"conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv3.[conv|bn]"}
RESNET_CIFAR = BASIC | {"conv1": "features.init_block.[conv|bn]"}
# A squeeze-and-excitation module in each unit; ours then calls the path `mix`.
SE_RESNET: Table = {
    **{ours.replace("_residual", "_residual_mix"): theirs for ours, theirs in BOTTLENECK.items()},
    "conv{s}_block{b}_residual_reduce": "features.stage{s-1}.unit{b}.se.conv1",
    "conv{s}_block{b}_residual_expand": "features.stage{s-1}.unit{b}.se.conv2",
}
SENET154: Table = {
    "conv{i:[123]}": "features.init_block.conv{i}.[conv|bn]",
    **{ours: theirs for ours, theirs in SE_RESNET.items() if ours != "conv1"},
    "logits": "output.fc",
}

# Batch norm comes first: where there is a shortcut that takes what it makes too, ours does not count it to the path.
WRN_CIFAR: Table = {
    "conv1": "features.init_block",
    "conv{s}_block{b}_preact": "features.stage{s-1}.unit{b}.body.conv1.bn",
    "conv{s}_block{b}_residual_0": "features.stage{s-1}.unit{b}.body.conv1.[conv|bn]",
    "conv{s}_block{b}_residual_1": "features.stage{s-1}.unit{b}.body.[conv1.conv|conv2.bn]",
    "conv{s}_block{b}_residual_2": "features.stage{s-1}.unit{b}.body.conv2.bn",
    "conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv2.conv",
    "conv{s}_block{b}_shortcut": "features.stage{s-1}.unit{b}.identity_conv",
    "norm": "features.post_activ.bn",
    "logits": "output",
}

# -------------------------------------------------------------------------------------------------------- Inception

Paths = Mapping[str, str]  # a path of our module -> of theirs

SEQUENCES: Paths = {"b{b}_{i}": "branch{b+1}.conv_list.conv{i+1}"}
BRANCHES: Paths = {
    "b0_0": "branch1.conv",
    "b3_1": "branch4.conv",
    "b{b}_{i}_b0_0": "branch{b+1}.conv1x3",
    "b{b}_{i}_b1_0": "branch{b+1}.conv3x1",
    **SEQUENCES,
}


def module(ours: str, place: str, paths: Paths) -> Table:
    """One module's rows."""
    return {f"{ours}_{path}": f"features.{place}.branches.{theirs}.[conv|bn]" for path, theirs in paths.items()}


def grids(*stages: str, branches: Paths = BRANCHES, reductions: Paths = SEQUENCES) -> Table:
    """The modules of our names on each grid, "6a 6b"; an "a" makes its grid of the one before."""
    table: dict[str, str] = {}
    for stage, names in enumerate(stages, 1):
        for unit, name in enumerate(names.split(), 1):
            table |= module(f"mixed_{name}", f"stage{stage}.unit{unit}", reductions if name[1] == "a" else branches)
    return table


def residual(ours: str, place: str) -> Table:
    """A residual Inception module's rows."""
    return module(f"{ours}_residual_mix", place, BRANCHES) | {f"{ours}_residual": f"features.{place}.conv"}


STEM: Table = {
    f"conv2d_{name}": f"features.init_block.conv{i}.[conv|bn]"
    for i, name in enumerate(("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3", "4b_3x3"), 1)
}
BN_INCEPTION: Table = {
    "conv2d_1a_7x7": "features.init_block.conv1.[conv|bn]",
    "conv2d_2b_1x1": "features.init_block.conv2.conv1.[conv|bn]",
    "conv2d_2c_3x3": "features.init_block.conv2.conv2.[conv|bn]",
    **grids(
        "3b 3c",
        "4a 4b 4c 4d 4e",
        "5a 5b 5c",
        branches={"b0_0": "branch1", "b3_1": "branch4.conv", "b{b}_{i}": "branch{b+1}.conv{i+1}"},
        reductions={"b{b}_{i}": "branch{b+1}.conv{i+1}"},
    ),
    "logits": "output",
}
INCEPTION_V3: Table = {**STEM, **grids("5b 5c 5d", "6a 6b 6c 6d 6e", "7a 7b 7c"), "logits": "output.fc"}
INCEPTION_V4: Table = {
    **STEM,
    **module("mixed_3a", "init_block.block1", {"b1_0": "branch2.conv"}),
    **module("mixed_4a", "init_block.block2", SEQUENCES),
    **module("mixed_5a", "init_block.block3", {"b0_0": "branch1.conv"}),
    **grids("5b 5c 5d 5e", "6a 6b 6c 6d 6e 6f 6g 6h", "7a 7b 7c 7d"),
    "logits": "output.fc",
}
INCEPTION_RESNET: Table = {
    **STEM,
    **module("mixed_6a", "stage2.unit1", SEQUENCES),
    **module("mixed_7a", "stage3.unit1", SEQUENCES),
    **residual("block35_{n}", "stage1.unit{n}"),
    **residual("block17_{n}", "stage2.unit{n+1}"),
    **residual("block8_{n}", "stage3.unit{n+1}"),
}
INCEPTION_RESNET_V1 = INCEPTION_RESNET | {"bottleneck": "output.[fc1|bn]", "logits": "output.fc2"}
INCEPTION_RESNET_V2: Table = {
    **INCEPTION_RESNET,
    **module("mixed_5b", "init_block.block", BRANCHES),
    "conv2d_7b_1x1": "features.final_block.[conv|bn]",
    "logits": "output.fc",
}


def separable(ours: str, theirs: str) -> Table:
    """A separable convolution and its batch norm."""
    return {
        f"{ours}_depthwise": f"{theirs}.conv.dw_conv",
        f"{ours}_pointwise": f"{theirs}.conv.pw_conv",
        ours: f"{theirs}.bn",
    }


XCEPTION: Table = {
    "block1_conv{i}": "features.init_block.conv{i}.[conv|bn]",
    **{
        ours: theirs
        for block, unit in enumerate(counted((1, 1, 9, 1)), 2)
        for ours, theirs in {
            **separable(f"block{block}_residual_{{i:[01]}}", f"{unit}.body.block{{i+1}}"),
            **separable(f"block{block}_residual", f"{unit}.body.block3"),
            f"block{block}_shortcut": f"{unit}.identity_conv.[conv|bn]",
        }.items()
    },
    **separable("block14_sepconv{i:[12]}", "features.final_block.conv{i}"),
    "logits": "output",
}

# ----------------------------------------------------------------------------------------------------------- mobile

MOBILENET_V1: Table = {
    "conv2d_0": "features.init_block.[conv|bn]",
    **{
        f"conv2d_{i}_{ours}": f"{unit}.{theirs}.[conv|bn]"
        for i, unit in enumerate(counted((1, 2, 2, 6, 2)), 1)
        for ours, theirs in (("depthwise", "dw_conv"), ("pointwise", "pw_conv"))
    },
    "logits": "output",
}
SHUFFLENET_V1: Table = {
    "conv1": "features.init_block.[conv|bn]",
    "stage{s}_{i}_{p:residual|concat_b0_0}_compress": "features.stage{s-1}.unit{i}.compress_[conv|bn]1",
    "stage{s}_{i}_{p:residual|concat_b0_0}_depthwise": "features.stage{s-1}.unit{i}.dw_[conv|bn]2",
    "stage{s}_{i}_{p:residual|concat_b0_0}": "features.stage{s-1}.unit{i}.expand_[conv|bn]3",
    "logits": "output",
}
SHUFFLENET_V2: Table = {
    "conv1": "features.init_block.conv.[conv|bn]",
    "stage{s}_{i}_right_0": "features.stage{s-1}.unit{i}.compress_[conv|bn]1",
    "stage{s}_{i}_right_1": "features.stage{s-1}.unit{i}.dw_[conv|bn]2",
    "stage{s}_{i}_right": "features.stage{s-1}.unit{i}.expand_[conv|bn]3",
    "stage{s}_{i}_left_0": "features.stage{s-1}.unit{i}.dw_[conv|bn]4",
    "stage{s}_{i}_left": "features.stage{s-1}.unit{i}.expand_[conv|bn]5",
    "conv5": "features.final_block.[conv|bn]",
    "logits": "output",
}


def nasnet(blocks: int) -> Table:
    """`blocks` normal cells a stage; a reduction is the first unit of the stage that it makes the map for."""
    cells = {"cell_stem_0": "stem1_unit", "cell_stem_1": "stem2_unit"}
    for stage in range(3):
        reduced = min(1, stage)
        cells |= {f"reduction_cell_{stage - 1}": f"stage{stage + 1}.unit1"} if reduced else {}
        cells |= {f"cell_{stage * blocks + i}": f"stage{stage + 1}.unit{i + 1 + reduced}" for i in range(blocks)}
    # The first cell behind each reduction halves what it gets from before it; the others have a 1x1 convolution.
    halving = ("cell_stem_1", *(f"cell_{stage * blocks}" for stage in range(3)))
    table = {"conv0": "features.init_block.[conv|bn]", "logits": "output.fc"}
    for ours, theirs in cells.items():
        unit = f"features.{theirs}"
        table |= {
            f"{ours}_h": f"{unit}.conv1x1.[conv|bn]",
            f"{ours}_p_{{i:[01]}}": f"{unit}.path.path{{i+1}}",
            f"{ours}_p": f"{unit}.path.bn" if ours in halving else f"{unit}.conv1x1_prev.[conv|bn]",
            **separable(f"{ours}_{{i}}_{{side:left|right}}_0", f"{unit}.comb{{i}}_{{side}}.conv1"),
            **separable(f"{ours}_{{i}}_{{side:left|right}}", f"{unit}.comb{{i}}_{{side}}.conv2"),
        }
    return table


PYTORCHCV = Layout(
    name="pytorchcv",
    framework=TORCH,
    tables={
        "alexnet_owt": ALEXNET,
        "zfnet": ALEXNET,
        "nin_cifar": NIN,
        "inception_v2": BN_INCEPTION,
        "inception_resnet_v1": INCEPTION_RESNET_V1,
        "wide_resnet28_10": WRN_CIFAR,
    },
)
