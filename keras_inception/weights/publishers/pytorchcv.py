"""pytorchcv: its checkpoints, and its names, which the same author's tf2cv shares.

Both packages publish in the releases of osmr/imgclsmob. A file name contains the error in hundredths of a percent
(top-5 on ImageNet, top-1 on CIFAR) and the first digits of the SHA-1 of the file inside the .zip; the packages' model
stores have the whole SHA-1. Top-1 errors on ImageNet are from the READMEs, where tf2cv's ZFNet has 395.0 for 39.50.
All networks use the same normalisation.

For ResNet v2 the files whose names have no "b" are of networks that stride in the first 1x1 of a bottleneck, as the
authors' release does: `numerics="pytorchcv"`.

Not listed are networks that differ from the paper's and from ours: AlexNet without groups ("alexnet"), ZFNet with 512,
1024 and 512 channels ("zfnetb"), and ShuffleNet v2 with other widths at 1.5 and 2.

In the names a network is a stem (`init_block`), stages and units, all counted from 1, and an `output`. The tables here
cover every network for which either package has a published file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import TORCH
from ..matching import Layout
from ..record import Checkpoint
from ..rules import NameTable
from .norms import IMAGENET
from .timm import numbered

URL = "https://github.com/osmr/imgclsmob/releases/download/v0.0."
LICENSE = "MIT (osmr/imgclsmob; it states none for the weights)"
SIZES = {"inception_v3": 299, "inception_v4": 299, "inception_resnet_v1": 299, "inception_resnet_v2": 299}
SIZES |= {"xception": 299, "nasnet_large": 331}
CIFAR: dict[str, Any] = {"mean": (125.307, 122.961, 113.8575), "std": (51.5865, 50.847, 51.255)}

TRAINED: dict[str, dict[str, Any]] = {  # the arguments that all checkpoints of a network have
    "inception_resnet_v1": {"released": True},
    "resnet110": {"shortcut": "projection"},
    "resnet1202_sd": {"shortcut": "projection"},
    "mobilenet_v1": {"activation": "relu"},
    **{f"resnet{depth}_v2": {"first_activation": "both"} for depth in (50, 101, 152, 200)},
}


def row(
    layout: str,
    numerics: str,
    suffix: str,
    model: str,
    file: str,
    sha1: str,
    top1: float | None = None,
    top5: float | None = None,
    **kwargs: Any,
) -> Checkpoint:
    """The record of one file, "release/name-error"; `top1` and `top5` are errors in percent."""
    error = int(file.rpartition("-")[2]) / 100
    dataset = next((data for data in ("cifar100", "cifar10") if f"_{data}-" in file), "imagenet")
    cifar, size = dataset != "imagenet", SIZES.get(model, 224)
    if cifar:
        top1 = error
    else:
        top5 = error if top5 is None else top5
    return Checkpoint(
        model=model,
        tag=f"{layout}{'_1x1' if numerics == 'pytorchcv' else ''}{_variant(**kwargs)}_{dataset if cifar else 'in1k'}",
        layout=layout,
        urls=(f"{URL}{file}-{sha1[:8]}{suffix}.zip",),
        hash=f"sha1:{sha1}",
        license=LICENSE,
        source=f"{layout}: list of its model store, table of its README",
        top1=None if top1 is None else round(100 - top1, 2),
        top5=None if top5 is None else round(100 - top5, 2),
        dataset=dataset,
        classes={"cifar10": 10, "cifar100": 100}.get(dataset, 1000),
        numerics=numerics,
        kwargs=TRAINED.get(model, {}) | kwargs,
        preprocessing=Preprocessing(size=(32, 32), **CIFAR)
        if cifar
        else Preprocessing(size=(size, size), crop=0.875, **IMAGENET),
    )


def _variant(*, alpha: float = 1.0, groups: int | None = None, scale: float = 1.0, **_: Any) -> str:
    width = f"_{round(100 * alpha):03}" if alpha != 1.0 else f"_x{scale}".replace(".", "_") if scale != 1.0 else ""
    return (f"_g{groups}" if groups else "") + width


def pytorchcv(model: str, *file: Any, numerics: str = "torch", **kwargs: Any) -> Checkpoint:
    """The record of a PyTorch file in a .zip."""
    return row("pytorchcv", numerics, ".pth", model, *file, **kwargs)


# fmt: off
CHECKPOINTS = (
    pytorchcv("alexnet_owt", "485/alexnetb-1747", "ac887bf7eada4179857d243584ac30b4d74a6493", 39.74),
    pytorchcv("zfnet", "395/zfnet-1727", "d010ddca1eb32a50a8cceb475c792f53e769b631", 39.79),
    pytorchcv("nin_cifar", "175/nin_cifar10-0743", "795b082470b58c1aa94e2f861514b7914f6e2f58"),
    pytorchcv("nin_cifar", "183/nin_cifar100-2839", "627a11c064eb44c6451fe53e0becfc21a6d57d7f"),
    pytorchcv("inception_v2", "405/bninception-0774", "d79ba5f573ba2da5fea5e4c9a7f67ddd526e234b", 25.37),
    pytorchcv("inception_resnet_v1", "552/inceptionresnetv1-0480", "f8b3e9e369ff38e28b4ae4def273ef78741e2e28", 19.63),
    pytorchcv("resnet50_v2", "307/preresnet50b-0655", "8b60378ee3aed878d27a2b4a9ddc596a812c7649", 22.51),
    pytorchcv("resnet50_v2", "330/preresnet50-0647",
              "222ca73b021f893b925c15e24ea2a6bc0fdf2546", 22.40, numerics="pytorchcv"),
    pytorchcv("resnet101_v2", "351/preresnet101b-0556", "76bfe6d020b55f163e77de6b1c27be6b0bed8b7b", 21.04),
    pytorchcv("resnet101_v2", "504/preresnet101-0563",
              "8ec82f7d697b7329aea2c95b399093e9cb2b1114", 20.81, numerics="pytorchcv"),
    pytorchcv("resnet152_v2", "523/preresnet152b-0459", "42c9fbcfe4e92463497fa4c2d0b007a191c6c043", 19.23),
    pytorchcv("resnet152_v2", "510/preresnet152-0464",
              "baeb6c5208310ab7c919fc0da3c20267471a8fa1", 19.36, numerics="pytorchcv"),
    pytorchcv("resnet200_v2", "529/preresnet200b-0468", "f82215f3a5616098e8172a85bb42071f1823a27d", 19.07),
    pytorchcv("resnet110_v2", "164/preresnet110_cifar10-0386", "cc08946a2126a1224d1d2560a47cf766a763c52c"),
    pytorchcv("resnet110_v2", "191/preresnet110_cifar100-2267", "3954e91581b7f3e5f689385d15f618fe16e995af"),
    pytorchcv("resnet164_v2", "196/preresnet164bn_cifar10-0364", "429012d412e82df7961fa071f97c938530e1b005"),
    pytorchcv("resnet164_v2", "192/preresnet164bn_cifar100-2018", "a8e67ca6e14f88b009d618b0e9b554312d862174"),
    pytorchcv("wide_resnet28_10", "166/wrn28_10_cifar10-0239", "fe97dcd6d0dd8dda8e9e38e6cfa320cffb9955ce"),
    pytorchcv("wide_resnet28_10", "320/wrn28_10_cifar100-1788", "8c3fe8185d3af9cc3813fe376cab895f6780ac18"),
)
# fmt: on

# --------------------------------------------------------------------------------------------------------------- layout


def counted(counts: tuple[int, ...]) -> list[str]:
    """Names of units in stages with these numbers of units: (1, 2) -> ["features.stage1.unit1", ...]."""
    places = (place.split(".") for place in numbered(counts))
    return [f"features.stage{int(stage) + 1}.unit{int(unit) + 1}" for stage, unit in places]


# ------------------------------------------------------------------------------------------------- without shortcuts

DENSE_HEAD: NameTable = {"fc6": "output.fc1.fc", "fc7": "output.fc2.fc", "logits": "output.fc3"}
ALEXNET: NameTable = {
    **{f"conv{i}": f"{unit}.conv" for i, unit in enumerate(counted((1, 1, 3)), 1)},
    **DENSE_HEAD,
}
VGG: NameTable = {"block{b}_conv{i}": "features.stage{b}.unit{i}.[conv|bn]", **DENSE_HEAD}

NIN: NameTable = {
    **{
        name: f"{unit}.conv"
        for name, unit in zip(
            ("conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4", "conv3", "cccp5"), counted((3, 3, 2)), strict=True
        )
    },
    "class_maps": "output.final_conv.conv",
}

DENSENET: NameTable = {
    "conv0": "features.init_block.[conv|bn]",
    "denseblock{b}_layer{i}_conv{n}": "features.stage{b}.unit{i}.conv{n}.conv",
    "denseblock{b}_layer{i}_relu{n}": "features.stage{b}.unit{i}.conv{n}.bn",
    "transition{t}": "features.stage{t+1}.trans{t+1}.conv.conv",
    "transition{t}_relu": "features.stage{t+1}.trans{t+1}.conv.bn",
    "norm5": "features.post_activ.bn",
    "logits": "output",
}
DENSENET_CIFAR = DENSENET | {"conv0": "features.init_block"}


def fires(stages: tuple[int, ...]) -> NameTable:
    """Rows of SqueezeNet, from fire2 on, with these numbers of fire modules after each pool."""
    table = {"conv1": "features.init_block.conv"}
    for fire, unit in enumerate(counted(stages), 2):
        table |= {
            f"fire{fire}_squeeze": f"{unit}.squeeze.conv",
            f"fire{fire}_b0_0": f"{unit}.expand1x1.conv",
            f"fire{fire}_b1_0": f"{unit}.expand3x3.conv",
        }
    return table | {"conv10": "output.final_conv"}


# --------------------------------------------------------------------------------------------------------- residual

RESNET: NameTable = {
    "conv1": "features.init_block.conv.[conv|bn]",
    "conv{s}_block{b}_residual_{i:[0-9]}": "features.stage{s-1}.unit{b}.body.conv{i+1}.[conv|bn]",
    "conv{s}_block{b}_shortcut": "features.stage{s-1}.unit{b}.identity_conv.[conv|bn]",
    "logits": "output",
}
BASIC = RESNET | {"conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv2.[conv|bn]"}
BOTTLENECK = RESNET | {"conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv3.[conv|bn]"}
RESNET_CIFAR = BASIC | {"conv1": "features.init_block.[conv|bn]"}
# With a squeeze-and-excitation module in each unit our layers of the path are called `mix`.
SE_RESNET: NameTable = {
    **{ours.replace("_residual", "_residual_mix"): theirs for ours, theirs in BOTTLENECK.items()},
    "conv{s}_block{b}_residual_reduce": "features.stage{s-1}.unit{b}.se.conv1",
    "conv{s}_block{b}_residual_expand": "features.stage{s-1}.unit{b}.se.conv2",
}
SENET154: NameTable = {
    "conv{i:[123]}": "features.init_block.conv{i}.[conv|bn]",
    **{ours: theirs for ours, theirs in SE_RESNET.items() if ours != "conv1"},
    "logits": "output.fc",
}

# Pre-activation: where the shortcut reads the first batch norm's output too, it is not part of our residual path.
WRN_CIFAR: NameTable = {
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

PRERESNET_CIFAR = WRN_CIFAR  # of two 3x3 convolutions
PRERESNET_CIFAR_BN: NameTable = {
    **WRN_CIFAR,
    "conv{s}_block{b}_residual_2": "features.stage{s-1}.unit{b}.body.[conv2.conv|conv2.bn]",
    "conv{s}_block{b}_residual_{i:3|4}": "features.stage{s-1}.unit{b}.body.[conv2.conv|conv3.bn]",
    "conv{s}_block{b}_residual": "features.stage{s-1}.unit{b}.body.conv3.conv",
}
PRERESNET = PRERESNET_CIFAR_BN | {"conv1": "features.init_block.[conv|bn]"}

# -------------------------------------------------------------------------------------------------------- Inception

Paths = Mapping[str, str]  # our name of a path in a module -> theirs

SEQUENCES: Paths = {"b{b}_{i}": "branch{b+1}.conv_list.conv{i+1}"}
BRANCHES: Paths = {
    "b0_0": "branch1.conv",
    "b3_1": "branch4.conv",
    "b{b}_{i}_b0_0": "branch{b+1}.conv1x3",
    "b{b}_{i}_b1_0": "branch{b+1}.conv3x1",
    **SEQUENCES,
}


def module(ours: str, place: str, paths: Paths) -> NameTable:
    """Rows of one module."""
    return {f"{ours}_{path}": f"features.{place}.branches.{theirs}.[conv|bn]" for path, theirs in paths.items()}


def grids(*stages: str, branches: Paths = BRANCHES, reductions: Paths = SEQUENCES) -> NameTable:
    """Rows of the modules of each grid, given by our names, "6a 6b"; the module "a" reduces the previous grid."""
    table: dict[str, str] = {}
    for stage, names in enumerate(stages, 1):
        for unit, name in enumerate(names.split(), 1):
            table |= module(f"mixed_{name}", f"stage{stage}.unit{unit}", reductions if name[1] == "a" else branches)
    return table


def residual(ours: str, place: str) -> NameTable:
    """Rows of a residual Inception module."""
    return module(f"{ours}_residual_mix", place, BRANCHES) | {f"{ours}_residual": f"features.{place}.conv"}


STEM: NameTable = {
    f"conv2d_{name}": f"features.init_block.conv{i}.[conv|bn]"
    for i, name in enumerate(("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3", "4b_3x3"), 1)
}
BN_INCEPTION: NameTable = {
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
INCEPTION_V3: NameTable = {**STEM, **grids("5b 5c 5d", "6a 6b 6c 6d 6e", "7a 7b 7c"), "logits": "output.fc"}
INCEPTION_V4: NameTable = {
    **STEM,
    **module("mixed_3a", "init_block.block1", {"b1_0": "branch2.conv"}),
    **module("mixed_4a", "init_block.block2", SEQUENCES),
    **module("mixed_5a", "init_block.block3", {"b0_0": "branch1.conv"}),
    **grids("5b 5c 5d 5e", "6a 6b 6c 6d 6e 6f 6g 6h", "7a 7b 7c 7d"),
    "logits": "output.fc",
}
INCEPTION_RESNET: NameTable = {
    **STEM,
    **module("mixed_6a", "stage2.unit1", SEQUENCES),
    **module("mixed_7a", "stage3.unit1", SEQUENCES),
    **residual("block35_{n}", "stage1.unit{n}"),
    **residual("block17_{n}", "stage2.unit{n+1}"),
    **residual("block8_{n}", "stage3.unit{n+1}"),
}
INCEPTION_RESNET_V1 = INCEPTION_RESNET | {"bottleneck": "output.[fc1|bn]", "logits": "output.fc2"}
INCEPTION_RESNET_V2: NameTable = {
    **INCEPTION_RESNET,
    **module("mixed_5b", "init_block.block", BRANCHES),
    "conv2d_7b_1x1": "features.final_block.[conv|bn]",
    "logits": "output.fc",
}


def separable(ours: str, theirs: str) -> NameTable:
    """Rows of a separable convolution and its batch norm."""
    return {
        f"{ours}_depthwise": f"{theirs}.conv.dw_conv",
        f"{ours}_pointwise": f"{theirs}.conv.pw_conv",
        ours: f"{theirs}.bn",
    }


XCEPTION: NameTable = {
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

MOBILENET_V1: NameTable = {
    "conv2d_0": "features.init_block.[conv|bn]",
    **{
        f"conv2d_{i}_{ours}": f"{unit}.{theirs}.[conv|bn]"
        for i, unit in enumerate(counted((1, 2, 2, 6, 2)), 1)
        for ours, theirs in (("depthwise", "dw_conv"), ("pointwise", "pw_conv"))
    },
    "logits": "output",
}
SHUFFLENET_V1: NameTable = {
    "conv1": "features.init_block.[conv|bn]",
    "stage{s}_{i}_{p:residual|concat_b0_0}_compress": "features.stage{s-1}.unit{i}.compress_[conv|bn]1",
    "stage{s}_{i}_{p:residual|concat_b0_0}_depthwise": "features.stage{s-1}.unit{i}.dw_[conv|bn]2",
    "stage{s}_{i}_{p:residual|concat_b0_0}": "features.stage{s-1}.unit{i}.expand_[conv|bn]3",
    "logits": "output",
}
SHUFFLENET_V2: NameTable = {
    "conv1": "features.init_block.conv.[conv|bn]",
    "stage{s}_{i}_right_0": "features.stage{s-1}.unit{i}.compress_[conv|bn]1",
    "stage{s}_{i}_right_1": "features.stage{s-1}.unit{i}.dw_[conv|bn]2",
    "stage{s}_{i}_right": "features.stage{s-1}.unit{i}.expand_[conv|bn]3",
    "stage{s}_{i}_left_0": "features.stage{s-1}.unit{i}.dw_[conv|bn]4",
    "stage{s}_{i}_left": "features.stage{s-1}.unit{i}.expand_[conv|bn]5",
    "conv5": "features.final_block.[conv|bn]",
    "logits": "output",
}


def nasnet(blocks: int) -> NameTable:
    """Rows of a NASNet with `blocks` normal cells per stage; a reduction is the first unit of the stage after it."""
    cells = {"cell_stem_0": "stem1_unit", "cell_stem_1": "stem2_unit"}
    for stage in range(3):
        reduced = min(1, stage)
        cells |= {f"reduction_cell_{stage - 1}": f"stage{stage + 1}.unit1"} if reduced else {}
        cells |= {f"cell_{stage * blocks + i}": f"stage{stage + 1}.unit{i + 1 + reduced}" for i in range(blocks)}
    # The first cell after each reduction halves the map of its second input; the others apply a 1x1 convolution to it.
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


LAYOUT = Layout(
    name="pytorchcv",
    framework=TORCH,
    tables={
        "alexnet_owt": ALEXNET,
        "zfnet": ALEXNET,
        "nin_cifar": NIN,
        "inception_v2": BN_INCEPTION,
        "inception_resnet_v1": INCEPTION_RESNET_V1,
        **{f"resnet{depth}_v2": PRERESNET for depth in (50, 101, 152, 200)},
        "resnet110_v2": PRERESNET_CIFAR,
        "resnet164_v2": PRERESNET_CIFAR_BN,
        "wide_resnet28_10": WRN_CIFAR,
    },
)
