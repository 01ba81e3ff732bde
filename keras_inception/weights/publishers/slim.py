"""TF-Slim: the checkpoints of tensorflow/models, research/slim, and their names.

The archives hold checkpoints of TensorFlow 1 (see `..tensorflow`). Their host serves them by https too. Those of VGG
and ResNet v1 were converted from the authors' Caffe weights and have 1,000 classes; the others have a background class.
Inception v3, v4 and Inception-ResNet v2 have their trained auxiliary heads. Not listed are MobileNet v3 and PNASNet,
which are no networks of ours, and the checkpoints for quantisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import SLIM
from ..matching import Layout, Tensors
from ..record import Checkpoint
from ..rules import NameTable
from .norms import HALF

URL = "https://storage.googleapis.com/"
MODELS = f"{URL}download.tensorflow.org/models/"
APACHE = "Apache-2.0 (tensorflow/models; it states none for the weights)"
MIT = "MIT (of the authors' Caffe weights; tensorflow/models states none)"
CC_BY_NC = "CC-BY-NC-4.0 (of the authors' Caffe weights; tensorflow/models states none)"
VGG_MEAN: dict[str, Any] = {"mean": (123.68, 116.78, 103.94), "std": (1.0, 1.0, 1.0)}


def row(
    model: str,
    url: str,
    top1: float,
    top5: float,
    size: int = 224,
    numerics: str = "tf",
    readme: str = "README.md",
    **kwargs: Any,
) -> Checkpoint:
    """The record of one archive."""
    converted = model.startswith(("vgg", "resnet")) and not model.endswith("_v2")
    width = f"_{round(100 * kwargs['alpha']):03}" if kwargs.get("alpha", 1.0) != 1.0 else ""
    resolution = f"_{size}" if "alpha" in kwargs and size != 224 else ""
    return Checkpoint(
        model=model,
        tag=f"slim{width}{resolution}_in1k",
        layout="slim",
        urls=(url,),
        unhashed="tensorflow/models states no hash",
        license=(CC_BY_NC if model.startswith("vgg") else MIT) if converted else APACHE,
        source=f"tensorflow/models research/slim/{readme}",
        top1=top1,
        top5=top5,
        classes=1000 if converted else 1001,
        numerics=numerics,
        kwargs=kwargs,
        preprocessing=Preprocessing(size=(size, size), crop=0.875, **(VGG_MEAN if converted else HALF)),
    )


def mobilenet_v1(alpha: float, accuracies: Iterable[tuple[int, float, float]]) -> list[Checkpoint]:
    """The records of one width; the accuracies are by the size of the images."""
    url = f"{MODELS}mobilenet_v1_2018_02_22/mobilenet_v1_{alpha}"
    readme = "nets/mobilenet_v1.md"
    return [row("mobilenet_v1", f"{url}_{s}.tgz", a, b, s, readme=readme, alpha=alpha) for s, a, b in accuracies]


def mobilenet_v2(alpha: float, accuracies: Iterable[tuple[int, float, float]]) -> list[Checkpoint]:
    """The records of one width; the accuracies are by the size of the images."""
    url = f"{URL}mobilenet_v2/checkpoints/mobilenet_v2_{alpha}"
    readme = "nets/mobilenet/README.md"
    return [row("mobilenet_v2", f"{url}_{s}.tgz", a, b, s, readme=readme, alpha=alpha) for s, a, b in accuracies]


NASNET = f"{MODELS}nasnet-a_"

# fmt: off
CHECKPOINTS = (
    row("inception_v1_bn", f"{MODELS}inception_v1_2016_08_28.tar.gz", 69.8, 89.6),
    row("inception_v2", f"{MODELS}inception_v2_2016_08_28.tar.gz", 73.9, 91.8, numerics="slim", variant="slim"),
    row("inception_v3", f"{MODELS}inception_v3_2016_08_28.tar.gz", 78.0, 93.9, 299, aux_heads=True),
    row("inception_v4", f"{MODELS}inception_v4_2016_09_09.tar.gz", 80.2, 95.2, 299, "slim", aux_heads=True),
    row("inception_resnet_v2", f"{MODELS}inception_resnet_v2_2016_08_30.tar.gz", 80.4, 95.3, 299, aux_heads=True),
    row("resnet50", f"{MODELS}resnet_v1_50_2016_08_28.tar.gz", 75.2, 92.2, numerics="slim"),
    row("resnet101", f"{MODELS}resnet_v1_101_2016_08_28.tar.gz", 76.4, 92.9, numerics="slim"),
    row("resnet152", f"{MODELS}resnet_v1_152_2016_08_28.tar.gz", 76.8, 93.2, numerics="slim"),
    row("resnet50_v2", f"{MODELS}resnet_v2_50_2017_04_14.tar.gz", 75.6, 92.8, 299, "slim"),
    row("resnet101_v2", f"{MODELS}resnet_v2_101_2017_04_14.tar.gz", 77.0, 93.7, 299, "slim"),
    row("resnet152_v2", f"{MODELS}resnet_v2_152_2017_04_14.tar.gz", 77.8, 94.1, 299, "slim"),
    row("vgg16", f"{MODELS}vgg_16_2016_08_28.tar.gz", 71.5, 89.8),
    row("vgg19", f"{MODELS}vgg_19_2016_08_28.tar.gz", 71.1, 89.8),
    *mobilenet_v1(1.0, [(224, 70.9, 89.9), (192, 70.0, 89.2), (160, 68.0, 87.7), (128, 65.2, 85.8)]),
    *mobilenet_v1(0.75, [(224, 68.4, 88.2), (192, 67.2, 87.3), (160, 65.3, 86.0), (128, 62.1, 83.9)]),
    *mobilenet_v1(0.5, [(224, 63.3, 84.9), (192, 61.7, 83.6), (160, 59.1, 81.9), (128, 56.3, 79.4)]),
    *mobilenet_v1(0.25, [(224, 49.8, 74.2), (192, 47.7, 72.3), (160, 45.5, 70.3), (128, 41.5, 66.3)]),
    *mobilenet_v2(1.0, [(224, 71.8, 91.0), (192, 70.7, 90.1), (160, 68.8, 89.0), (128, 65.3, 86.9), (96, 60.3, 83.2)]),
    *mobilenet_v2(1.4, [(224, 75.0, 92.5)]),
    *mobilenet_v2(1.3, [(224, 74.4, 92.1)]),
    *mobilenet_v2(0.75, [(224, 69.8, 89.6), (192, 68.7, 88.9), (160, 66.4, 87.3), (128, 63.2, 85.3), (96, 58.8, 81.6)]),
    *mobilenet_v2(0.5, [(224, 65.4, 86.4), (192, 63.9, 85.4), (160, 61.0, 83.2), (128, 57.7, 80.8), (96, 51.2, 75.8)]),
    *mobilenet_v2(0.35, [(224, 60.3, 82.9), (192, 58.2, 81.2), (160, 55.7, 79.1), (128, 50.8, 75.0), (96, 45.5, 70.4)]),
    row("nasnet_mobile", f"{NASNET}mobile_04_10_2017.tar.gz", 74.0, 91.6, readme="nets/nasnet/README.md"),
    row("nasnet_large", f"{NASNET}large_04_10_2017.tar.gz", 82.7, 96.2, 331, readme="nets/nasnet/README.md"),
)
# fmt: on


# --------------------------------------------------------------------------------------------------------------- layout


def prepare(tensors: Tensors) -> Tensors:
    """Make modules of the two kernels of a separable convolution, which share a name; a bias is the second's."""
    renamed = {}
    for name, array in tensors.items():
        module, _, variable = name.rpartition("/")
        if variable in ("depthwise_weights", "pointwise_weights"):
            module, variable = f"{module}/{variable.removesuffix('_weights')}", "weights"
        elif variable == "biases" and f"{module}/pointwise_weights" in tensors:
            module += "/pointwise"
        renamed[f"{module}/{variable}"] = array
    return renamed


NORM = "[|/BatchNorm]"  # after the name of a convolution


def module(ours: str, theirs: str, *paths: str) -> NameTable:
    """Rows of a module: of each path the ends of the convolutions' names; "-" is a pool, "a+b" are parallel."""
    table: NameTable = {}
    for b, path in enumerate(paths):
        for i, ends in enumerate(path.split()):
            for j, end in enumerate(ends.split("+")):
                place = f"{ours}_b{b}_{i}" + (f"_b{j}_0" if "+" in ends else "")
                table[place] = f"{theirs}/Branch_{b}/{end if end.startswith('Conv') else f'Conv2d_{end}'}{NORM}"
    return table


def mixed(scope: str, modules: str, *paths: str) -> NameTable:
    """Rows of Inception modules with the same names, "5b|5c"."""
    return module(f"mixed_{{m:{modules}}}", f"{scope}/Mixed_{{m}}", *paths)


def ends(scope: str, logits: str, aux: tuple[str, str, str] | None = None) -> NameTable:
    """Rows of what is not a module; of an auxiliary head the two convolutions and the classifier."""
    table = {"conv2d_{n}_{size}": f"{scope}/Conv2d_{{n}}_{{size}}{NORM}", "logits": f"{scope}/Logits/{logits}"}
    if aux:
        *convs, classifier = (f"{scope}/AuxLogits/{name}" for name in aux)
        table |= {f"aux_1_{i}": f"{name}{NORM}" for i, name in enumerate(convs, 1)} | {"aux_1_logits": classifier}
    return table


INCEPTION_V1: NameTable = {
    **mixed("InceptionV1", "5b", "0a_1x1", "0a_1x1 0b_3x3", "0a_1x1 0a_3x3", "- 0b_1x1"),
    **mixed("InceptionV1", "3[bc]|4[b-f]|5c", "0a_1x1", "0a_1x1 0b_3x3", "0a_1x1 0b_3x3", "- 0b_1x1"),
    **ends("InceptionV1", "Conv2d_0c_1x1"),
}
INCEPTION_V2: NameTable = {
    "conv2d_1a_7x7_{part:depthwise|pointwise}": "InceptionV2/Conv2d_1a_7x7/{part}",
    **mixed("InceptionV2", "4a|5a", "0a_1x1 1a_3x3", "0a_1x1 0b_3x3 1a_3x3"),
    **mixed("InceptionV2", "[345][bcde]", "0a_1x1", "0a_1x1 0b_3x3", "0a_1x1 0b_3x3 0c_3x3", "- 0b_1x1"),
    **ends("InceptionV2", "Conv2d_1c_1x1"),
}
DOUBLE_3x3 = "0a_1x1 0b_3x3 0c_3x3"
INCEPTION_V3: NameTable = {
    **mixed("InceptionV3", "5c", "0a_1x1", "0b_1x1 Conv_1_0c_5x5", DOUBLE_3x3, "- 0b_1x1"),
    **mixed("InceptionV3", "5[bd]", "0a_1x1", "0a_1x1 0b_5x5", DOUBLE_3x3, "- 0b_1x1"),
    **mixed("InceptionV3", "6a", "1a_1x1", "0a_1x1 0b_3x3 1a_1x1"),
    **mixed(
        "InceptionV3", "6[b-e]", "0a_1x1", "0a_1x1 0b_1x7 0c_7x1", "0a_1x1 0b_7x1 0c_1x7 0d_7x1 0e_1x7", "- 0b_1x1"
    ),
    **mixed("InceptionV3", "7a", "0a_1x1 1a_3x3", "0a_1x1 0b_1x7 0c_7x1 1a_3x3"),
    **mixed("InceptionV3", "7b", "0a_1x1", "0a_1x1 0b_1x3+0b_3x1", "0a_1x1 0b_3x3 0c_1x3+0d_3x1", "- 0b_1x1"),
    **mixed("InceptionV3", "7c", "0a_1x1", "0a_1x1 0b_1x3+0c_3x1", "0a_1x1 0b_3x3 0c_1x3+0d_3x1", "- 0b_1x1"),
    **ends("InceptionV3", "Conv2d_1c_1x1", ("Conv2d_1b_1x1", "Conv2d_2a_5x5", "Conv2d_2b_1x1")),
}
INCEPTION_V4: NameTable = {
    **mixed("InceptionV4", "3a", "-", "0a_3x3"),
    **mixed("InceptionV4", "4a", "0a_1x1 1a_3x3", "0a_1x1 0b_1x7 0c_7x1 1a_3x3"),
    **mixed("InceptionV4", "5a", "1a_3x3"),
    **mixed("InceptionV4", "5[b-e]", "0a_1x1", "0a_1x1 0b_3x3", DOUBLE_3x3, "- 0b_1x1"),
    **mixed("InceptionV4", "6a", "1a_3x3", "0a_1x1 0b_3x3 1a_3x3"),
    **mixed(
        "InceptionV4", "6[b-h]", "0a_1x1", "0a_1x1 0b_1x7 0c_7x1", "0a_1x1 0b_7x1 0c_1x7 0d_7x1 0e_1x7", "- 0b_1x1"
    ),
    **mixed("InceptionV4", "7a", "0a_1x1 1a_3x3", "0a_1x1 0b_1x7 0c_7x1 1a_3x3"),
    **mixed(
        "InceptionV4", "7[bcd]", "0a_1x1", "0a_1x1 0b_1x3+0c_3x1", "0a_1x1 0b_3x1 0c_1x3 0d_1x3+0e_3x1", "- 0b_1x1"
    ),
    **ends("InceptionV4", "Logits", ("Conv2d_1b_1x1", "Conv2d_2a", "Aux_logits")),
}


def residual(ours: str, theirs: str, *paths: str) -> NameTable:
    """Rows of a residual module, with the convolution after its branches."""
    theirs = f"InceptionResnetV2/{theirs}"
    return {f"{ours}_residual": f"{theirs}/Conv2d_1x1", **module(f"{ours}_residual_mix", theirs, *paths)}


INCEPTION_RESNET_V2: NameTable = {
    **mixed("InceptionResnetV2", "5b", "1x1", "0a_1x1 0b_5x5", DOUBLE_3x3, "- 0b_1x1"),
    **residual("block35_{n}", "Repeat/block35_{n}", "1x1", "0a_1x1 0b_3x3", DOUBLE_3x3),
    **mixed("InceptionResnetV2", "6a", "1a_3x3", "0a_1x1 0b_3x3 1a_3x3"),
    **residual("block17_{n}", "Repeat_1/block17_{n}", "1x1", "0a_1x1 0b_1x7 0c_7x1"),
    **mixed("InceptionResnetV2", "7a", "0a_1x1 1a_3x3", "0a_1x1 1a_3x3", "0a_1x1 0b_3x3 1a_3x3"),
    **residual("block8_10", "Block8", "1x1", "0a_1x1 0b_1x3 0c_3x1"),
    **residual("block8_{n}", "Repeat_2/block8_{n}", "1x1", "0a_1x1 0b_1x3 0c_3x1"),
    **ends("InceptionResnetV2", "Logits", ("Conv2d_1b_1x1", "Conv2d_2a_5x5", "Logits")),
}


def resnet_v1(depth: int) -> NameTable:
    """Rows of ResNet v1."""
    unit = f"resnet_v1_{depth}/block{{s-1}}/unit_{{b}}/bottleneck_v1"
    return {
        "conv1": f"resnet_v1_{depth}/conv1{NORM}",
        "conv{s}_block{b}_residual_{i}": f"{unit}/conv{{i+1}}{NORM}",
        "conv{s}_block{b}_residual": f"{unit}/conv3{NORM}",
        "conv{s}_block{b}_shortcut": f"{unit}/shortcut{NORM}",
        "logits": f"resnet_v1_{depth}/logits",
    }


def resnet_v2(depth: int) -> NameTable:
    """Rows of ResNet v2; where the shortcut reads the first batch norm's output too, our path begins after it."""
    unit = f"resnet_v2_{depth}/block{{s-1}}/unit_{{b}}/bottleneck_v2"
    return {
        "conv1": f"resnet_v2_{depth}/conv1",
        "conv{s}_block{b}_preact": f"{unit}/preact",
        "conv{s}_block{b}_residual_0": f"{unit}/[conv1|preact]",
        "conv{s}_block{b}_residual_1": f"{unit}/conv1{NORM}",
        "conv{s}_block{b}_residual_2": f"{unit}/[conv2|conv1/BatchNorm]",
        "conv{s}_block{b}_residual_{i:3|4}": f"{unit}/conv2{NORM}",
        "conv{s}_block{b}_residual": f"{unit}/conv3",
        "conv{s}_block{b}_shortcut": f"{unit}/shortcut",
        "norm": f"resnet_v2_{depth}/postnorm",
        "logits": f"resnet_v2_{depth}/logits",
    }


def vgg(depth: int) -> NameTable:
    """Rows of VGG, whose dense layers are convolutions."""
    return {
        "block{b}_conv{i}": f"vgg_{depth}/conv{{b}}/conv{{b}}_{{i}}",
        "fc{n:6|7}": f"vgg_{depth}/fc{{n}}",
        "logits": f"vgg_{depth}/fc8",
    }


MOBILENET_V1: NameTable = {
    "conv2d_0": f"MobilenetV1/Conv2d_0{NORM}",
    "conv2d_{i}_depthwise": "MobilenetV1/Conv2d_{i}_depthwise/[depthwise|BatchNorm]",
    "conv2d_{i}_pointwise": f"MobilenetV1/Conv2d_{{i}}_pointwise{NORM}",
    "logits": "MobilenetV1/Logits/Conv2d_1c_1x1",
}
MOBILENET_V2: NameTable = {
    "stem": f"MobilenetV2/Conv{NORM}",
    "block_0_depthwise": "MobilenetV2/expanded_conv/depthwise/[depthwise|BatchNorm]",
    "block_0": f"MobilenetV2/expanded_conv/project{NORM}",
    "block_{i}{r:_residual|}_expand": f"MobilenetV2/expanded_conv_{{i}}/expand{NORM}",
    "block_{i}{r:_residual|}_depthwise": "MobilenetV2/expanded_conv_{i}/depthwise/[depthwise|BatchNorm]",
    "block_{i}{r:_residual|}": f"MobilenetV2/expanded_conv_{{i}}/project{NORM}",
    "features": f"MobilenetV2/Conv_1{NORM}",
    "logits": "MobilenetV2/Logits/Conv2d_1c_1x1",
}


def separable(cell: str, *paths: str) -> NameTable:
    """Rows of the separable convolutions of cells: of each path its place and the size of its kernels, "0_left 5"."""
    table: NameTable = {}
    for path, size in (given.split() for given in paths):
        block, side = path.split("_")
        theirs = f"{{c}}/comb_iter_{block}/{side}"
        for n, suffix in ((1, "_0"), (2, "")):
            end = f"{size}x{size}_{n}"
            ours = f"{{c:{cell}}}_{path}{suffix}"
            table |= {f"{ours}_{part}": f"{theirs}/separable_{end}/{part}" for part in ("depthwise", "pointwise")}
            table[ours] = f"{theirs}/bn_sep_{end}"
    return table


def nasnet(blocks: int) -> NameTable:
    """Rows of a NASNet with `blocks` normal cells per stage; the auxiliary head follows the second stage."""
    halving = f"{{c:cell_stem_1|cell_0|cell_{blocks}|cell_{2 * blocks}}}"  # they halve the map of their second input
    aux = f"aux_{2 * blocks - 1}/aux_logits"
    return {
        "conv0": "[conv0|conv0_bn]",
        "{c:.*cell_.*}_h": "{c}/[1x1|beginning_bn]",
        f"{halving}_p_{{i:[01]}}": "{c}/path{i+1}_conv",
        f"{halving}_p": "{c}/final_path_bn",
        "{c:.*cell_.*}_p": "{c}/[prev_1x1|prev_bn]",
        **separable("cell_[0-9]+", "0_left 5", "0_right 3", "1_left 5", "1_right 3", "4_left 3"),
        **separable("reduction_cell_.|cell_stem_.", "0_left 5", "0_right 7", "1_right 7", "2_right 5", "4_left 3"),
        "logits": "final_layer/FC",
        "aux_1_1": f"{aux}/[proj|aux_bn0]",
        "aux_1_2": f"{aux}/[Conv|aux_bn1]",
        "aux_1_logits": f"{aux}/FC",
    }


LAYOUT = Layout(
    name="slim",
    framework=SLIM,
    prepare=prepare,
    tables={
        "inception_v1_bn": INCEPTION_V1,
        "inception_v2": INCEPTION_V2,
        "inception_v3": INCEPTION_V3,
        "inception_v4": INCEPTION_V4,
        "inception_resnet_v2": INCEPTION_RESNET_V2,
        **{f"resnet{depth}": resnet_v1(depth) for depth in (50, 101, 152)},
        **{f"resnet{depth}_v2": resnet_v2(depth) for depth in (50, 101, 152)},
        **{f"vgg{depth}": vgg(depth) for depth in (16, 19)},
        "mobilenet_v1": MOBILENET_V1,
        "mobilenet_v2": MOBILENET_V2,
        "nasnet_mobile": nasnet(4),
        "nasnet_large": nasnet(6),
    },
)
