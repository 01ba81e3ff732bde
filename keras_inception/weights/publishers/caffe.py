"""The authors' and others' Caffe models: checkpoints, and their names.

They are files of Caffe (see `..caffe`). Some can be downloaded; the others are on pages for browsers (`page`), and the
record is for a file that a person downloaded there. Where a network was trained on images less a mean image, the mean
pixel is subtracted here, which changes an accuracy a little; AlexNet's, CaffeNet's and GoogLeNet's images were
stretched to 256 x 256 before the crop.

Not listed are Network in Network for CIFAR-10, which was trained on whitened images that its release has only as a
database; ZFNet, which was released for detection only, with another normalisation; MobileNet v2, whose Caffe version
has an expansion in its first block and ReLU without a limit; and ShuffleNet, of which no trained file is published.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..frameworks import CAFFE
from ..matching import Layout
from ..record import Checkpoint
from ..rules import NameTable

BVLC = "http://dl.caffe.berkeleyvision.org/"
VGG = "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/"
GIT = "https://raw.githubusercontent.com/"
LENET = f"{GIT}ethereon/caffe-tensorflow/d870c51e8fa3452cb210b378c78be7ba4dcc8cf0/examples/mnist/"
SQUEEZENET = f"{GIT}forresti/SqueezeNet/51147dc0681638c28aad593b9e923f3500117125/"
MOBILENET = f"{GIT}shicai/MobileNet-Caffe/a0b0c46152e658559956158d7c2bf42bb029c09e/"
HE = "https://onedrive.live.com/?authkey=%21AAFW2-FVoxeVRck&id=4006CBB8476FF777%2117887&cid=4006CBB8476FF777"
DRIVE = "https://drive.google.com/"
UNRESTRICTED = "unrestricted use"
MIT = "MIT (KaimingHe/deep-residual-networks)"
APACHE = "Apache-2.0 (hujie-frank/SENet)"
NO_HASH = "the page states no hash"


def bgr(blue: float, green: float, red: float, *std: float) -> dict[str, Any]:
    """The means, and the deviations if they are not 1."""
    return {"channels": "BGR", "mean": (blue, green, red), "std": std or (1.0, 1.0, 1.0)}


PIXEL = bgr(104.0, 117.0, 123.0)
VGGS = bgr(103.939, 116.779, 123.68)
SHICAI = bgr(103.94, 116.78, 123.68, *(1 / 0.017,) * 3)
TORCHS = bgr(103.52, 116.28, 123.675, 57.375, 57.12, 58.395)
TFS = bgr(128.0, 128.0, 128.0, 128.0, 128.0, 128.0)


def row(
    model: str,
    license: str,
    source: str,
    norm: dict[str, Any],
    accuracy: tuple[float, float] | None = None,
    *,
    tag: str = "caffe_in1k",
    size: int = 224,
    base: int = 256,
    numerics: str = "torch",
    kwargs: dict[str, Any] | None = None,
    **file: Any,
) -> Checkpoint:
    """The record of a file; images are resized so that a side has `base` pixels, of which `size` are the input."""
    top1, top5 = accuracy or (None, None)
    return Checkpoint(
        model=model,
        tag=tag,
        layout="caffe",
        unhashed="" if "hash" in file else file.pop("unhashed", NO_HASH),
        license=license,
        source=source,
        top1=top1,
        top5=top5,
        numerics=numerics,
        kwargs=kwargs or {},
        preprocessing=Preprocessing(size=(size, size), crop=size / base, **norm),
        **file,
    )


def bvlc(model: str, file: str, sha1: str, accuracy: tuple[float, float], **kwargs: Any) -> Checkpoint:
    """The record of a reference model of Caffe."""
    source = f"BVLC/caffe models/{file}/readme.md; served by plain http"
    url = f"{BVLC}{file}.caffemodel"
    return row(model, UNRESTRICTED, source, PIXEL, accuracy, urls=(url,), hash=f"sha1:{sha1}", **kwargs)


def vgg(depth: int) -> Checkpoint:
    """The record of the authors' VGG; they state the accuracy of a dense evaluation only."""
    licence = "CC-BY-NC-4.0"
    url = f"{VGG}VGG_ILSVRC_{depth}_layers.caffemodel"
    source = f"readme of VGG_ILSVRC_{depth}_layers in Caffe's model zoo: top-5 91.9, dense, at 384 pixels"
    return row(f"vgg{depth}", licence, source, VGGS, numerics="tf", urls=(url,), unhashed="the readme states no hash")


def he(depth: int, top1: float, top5: float) -> Checkpoint:
    """The record of a ResNet of its authors."""
    source = "KaimingHe/deep-residual-networks README.md"
    file = f"ResNet-{depth}-model.caffemodel"
    return row(f"resnet{depth}", MIT, source, VGGS, (top1, top5), numerics="caffe", page=HE, page_file=file)


def senet(model: str, file: str, top1: float, top5: float, drive: str, numerics: str = "caffe") -> Checkpoint:
    """The record of a network of SENet's authors, who number the classes as the devkit does."""
    return row(
        model,
        APACHE,
        "hujie-frank/SENet README.md; soeaver/caffe-model cls/README.md has the order of the classes",
        PIXEL,
        (top1, top5),
        numerics=numerics,
        class_order="ilsvrc",
        page=f"{DRIVE}file/d/{drive}/view",
        page_file=f"{file}.caffemodel",
    )


def densenet(depth: int, top1: float, top5: float, drive: str) -> Checkpoint:
    """The record of a conversion of the authors' Torch weights."""
    licence, source = "BSD-3-Clause (liuzhuang13/DenseNet)", "shicai/DenseNet-Caffe README.md"
    file = f"DenseNet_{depth}.caffemodel"
    page = f"{DRIVE}open?id={drive}"
    return row(f"densenet{depth}", licence, source, SHICAI, (top1, top5), page=page, page_file=file)


def soeaver(
    model: str, file: str, license: str, norm: dict[str, Any], top1: float, top5: float, drive: str, **kwargs: Any
) -> Checkpoint:
    """The record of a conversion of another framework's weights."""
    page = f"{DRIVE}open?id={drive}" if drive.startswith("0B") else drive
    source = "soeaver/caffe-model cls/README.md"
    return row(model, license, source, norm, (top1, top5), page=page, page_file=f"{file}.caffemodel", **kwargs)


AT_299: dict[str, Any] = {"size": 299, "base": 320}
RESNEXT = "BSD-3-Clause (facebookresearch/ResNeXt)"
SLIM = "Apache-2.0 (tensorflow/models; it states none for the weights)"
# fmt: off
CHECKPOINTS = (
    row("lenet5", "BSD-2-Clause (BVLC/caffe, whose example it is)", "BVLC/caffe examples/mnist/readme.md",
        {"channels": "L", "mean": (0.0,), "std": (256.0,)}, tag="caffe_mnist", size=28, base=28, numerics="tf",
        kwargs={"variant": "caffe"}, classes=10, dataset="mnist", urls=(f"{LENET}lenet_iter_10000.caffemodel",),
        hash="git-sha1:25cce01c7a39f7df925c033e7afda19013b7b8c4"),
    bvlc("alexnet", "bvlc_alexnet", "9116a64c0fbe4459d18f4bb6b56d647b63920377", (57.1, 80.2), size=227,
         numerics="tf"),
    bvlc("alexnet", "bvlc_reference_caffenet", "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46", (57.4, 80.4), size=227,
         numerics="tf", tag="caffenet_in1k", kwargs={"pool_first": True}),
    bvlc("inception_v1", "bvlc_googlenet", "405fc5acd08a3bb12de8ee5e23a96bec22f08204", (68.7, 88.9),
         numerics="caffe", kwargs={"aux_heads": True}),
    vgg(16),
    vgg(19),
    row("nin", "non-commercial use only", "readme of nin_imagenet in Caffe's model zoo: top-1 59.36", PIXEL,
        numerics="tf", urls=("https://www.dropbox.com/s/0cidxafrb2wuwxw/nin_imagenet.caffemodel?dl=1",),
        unhashed="the readme has the hash of another network's file"),
    row("squeezenet1_0", "BSD-2-Clause", "forresti/SqueezeNet README.md: top-5 at least 80.3", PIXEL, size=227,
        kwargs={"conv10_padding": 1}, urls=(f"{SQUEEZENET}SqueezeNet_v1.0/squeezenet_v1.0.caffemodel",),
        hash="git-sha1:a381d848b43d7048c3b362238ece2386c21d6ff0"),
    row("squeezenet1_1", "BSD-2-Clause", "forresti/SqueezeNet README.md: top-5 at least 80.3", PIXEL, size=227,
        urls=(f"{SQUEEZENET}SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",),
        hash="git-sha1:9d2fc33abf653a6e8b2ee6cc63ede0e72ec67f44"),
    row("mobilenet_v1", "BSD-3-Clause", "shicai/MobileNet-Caffe README.md", SHICAI, (70.81, 89.85),
        kwargs={"alpha": 1.0, "activation": "relu"}, urls=(f"{MOBILENET}mobilenet.caffemodel",),
        hash="git-sha1:132e56b5f14874090622a8287f208e5eac3d8440"),
    he(50, 75.3, 92.2),
    he(101, 76.4, 92.9),
    he(152, 77.0, 93.3),
    densenet(121, 74.91, 92.19, "0B7ubpZO7HnlCcHlfNmJkU2VPelE"),
    densenet(169, 76.09, 93.14, "0B7ubpZO7HnlCRWVVdUJjVVAyQXc"),
    densenet(201, 77.31, 93.64, "0B7ubpZO7HnlCV3pud2oyR3lNMWs"),
    densenet(161, 77.64, 93.79, "0B7ubpZO7HnlCa0phRGJIRERoTXM"),
    senet("se_inception_v2", "SE-BN-Inception", 76.38, 92.96, "0BwHV3BlNKkWlTWRRbDZYbVB2WWc", "torch"),
    senet("seresnet50", "SE-ResNet-50", 77.63, 93.64, "0BwHV3BlNKkWlS2QwZHFzM3RjNzg"),
    senet("seresnet101", "SE-ResNet-101", 78.25, 94.28, "0BwHV3BlNKkWlTEg4YmcwQ0FoZFU"),
    senet("seresnet152", "SE-ResNet-152", 78.66, 94.46, "0BwHV3BlNKkWlcFE0Q2NTcWl3WUE"),
    senet("seresnext50_32x4d", "SE-ResNeXt-50", 79.03, 94.46, "0BwHV3BlNKkWlQ2Z0Q204V1RITjA"),
    senet("seresnext101_32x4d", "SE-ResNeXt-101", 80.19, 95.04, "0BwHV3BlNKkWleklsNzBiZlprblk"),
    senet("senet154", "SENet-154", 81.32, 95.53, "0BwHV3BlNKkWlbTFZbzFTSXBUTUE"),
    soeaver("resnext50_32x4d", "resnext50-32x4d", RESNEXT, TORCHS, 77.63, 93.69, "0B9mkjlmP0d7zYVgwanhVWnhrYlE"),
    soeaver("resnext101_32x4d", "resnext101-32x4d", RESNEXT, TORCHS, 78.7, 94.21, "0B9mkjlmP0d7zTzYyelgyYlpOU3c"),
    soeaver("resnext101_64x4d", "resnext101-64x4d", RESNEXT, TORCHS, 79.4, 94.59, "0B9mkjlmP0d7zQ0ZZOENnSFdQWnc"),
    soeaver("wide_resnet50_2", "wrn50-2", "BSD-2-Clause (szagoruyko/wide-residual-networks)", TORCHS, 77.87, 93.87,
            "0B9mkjlmP0d7zYW40dUMxS3VPclU"),
    soeaver("inception_v3", "inception-v3", "MIT (soeaver/caffe-model)", TFS, 78.33, 94.25,
            "0B9mkjlmP0d7zTEJmNEh6c0RfYzg", class_order="ilsvrc",
            kwargs={"last_pool": "max"}, **AT_299),
    soeaver("inception_v4", "inception-v4", SLIM, TFS, 79.97, 94.91, "0B9mkjlmP0d7zUEJ3aEJ2b3J0RFU",
            numerics="tf2cv", **AT_299),
    soeaver("inception_resnet_v2", "inception-resnet-v2", SLIM, TFS, 80.14, 95.17, "0B9mkjlmP0d7zc3A4NWlQQzdoM28",
            numerics="tf2cv", **AT_299),
    soeaver("xception", "xception", "MIT (fchollet/deep-learning-models)", TFS, 79.1, 94.51,
            "https://pan.baidu.com/s/1gfiTShd", numerics="tf", **AT_299),
)
# fmt: on


# --------------------------------------------------------------------------------------------------------------- layout


GOOGLENET: NameTable = {
    "conv2d_1a_7x7": "conv1/7x7_s2",
    "conv2d_2b_1x1": "conv2/3x3_reduce",
    "conv2d_2c_3x3": "conv2/3x3",
    **{
        f"mixed_{group}{ours}_b{path}": f"inception_{group}{theirs}/{name}"
        for group, modules in ((3, "bc"), (4, "bcdef"), (5, "bc"))
        for ours, theirs in zip(modules, "abcde", strict=False)
        for path, name in (
            *(("0_0", "1x1"), ("1_0", "3x3_reduce"), ("1_1", "3x3")),
            *(("2_0", "5x5_reduce"), ("2_1", "5x5"), ("3_1", "pool_proj")),
        )
    },
    "aux_{n}_conv": "loss{n}/conv",
    "aux_{n}_fc": "loss{n}/fc",
    "aux_{n}_logits": "loss{n}/classifier",
    "logits": "loss3/classifier",
}
VGG_NAMES: NameTable = {"block{b}_conv{i}": "conv{b}_{i}", "fc{n:6|7}": "fc{n}", "logits": "fc8"}
SQUEEZENETS: NameTable = {
    "conv{n:1|10}": "conv{n}",
    "fire{n}_squeeze": "fire{n}/squeeze1x1",
    "fire{n}_b0_0": "fire{n}/expand1x1",
    "fire{n}_b1_0": "fire{n}/expand3x3",
}
MOBILENET_V1: NameTable = {
    "conv2d_0": "conv1[|/bn]",
    "logits": "fc7",
    **{
        f"conv2d_{i}_{ours}": f"conv{block}/{theirs}[|/bn]"
        for i, block in enumerate(("2_1", "2_2", "3_1", "3_2", "4_1", "4_2", *(f"5_{n}" for n in range(1, 7)), "6"), 1)
        for ours, theirs in (("depthwise", "dw"), ("pointwise", "sep"))
    },
}


def densenet_names(depth: int) -> NameTable:
    """Rows of a DenseNet; in the file of 201 what follows a block is named after the block's last layer."""
    lasts = {t: f"conv{t + 1}_{layers}/blk" if depth == 201 else f"conv{t + 1}_blk" for t, layers in LAYERS_201.items()}
    table: NameTable = {
        "conv0": "conv1[|/bn]",
        "denseblock{b}_layer{i}_conv{n}": "conv{b+1}_{i}/x{n}",
        "denseblock{b}_layer{i}_relu{n}": "conv{b+1}_{i}/x{n}/bn",
        "norm5": f"{lasts.pop(4)}/bn",
        "logits": "fc6",
    }
    for t, last in lasts.items():
        table |= {f"transition{t}": last, f"transition{t}_relu": f"{last}/bn"}
    return table


LAYERS_201 = {1: 6, 2: 12, 3: 48, 4: 32}
STAGES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # blocks, as in He et al.'s Table 1


def resnet(depth: int) -> NameTable:
    """Rows of a ResNet of its authors: blocks have letters, and where there are many a number after "b"."""
    table: NameTable = {"conv1": "[conv1|bn_conv1]", "logits": "fc1000"}
    for stage, count in enumerate(STAGES[depth], 2):
        many = depth > 50 and count > 3
        for block in range(count):
            theirs = f"{stage}{'a' if not block else f'b{block}' if many else 'abcdef'[block]}"
            ours = f"conv{stage}_block{block + 1}"
            table |= {
                f"{ours}_{path}": f"[res{theirs}_branch{branch}|bn{theirs}_branch{branch}]"
                for path, branch in (("residual_0", "2a"), ("residual_1", "2b"), ("residual", "2c"), ("shortcut", "1"))
            }
    return table


def counted(prefix: str, depth: int) -> NameTable:
    """Rows of a ResNet whose blocks are numbered through all stages."""
    table: NameTable = {"conv1": "conv1[|_bn]", "logits": "classifier"}
    blocks = [(stage, block) for stage, count in enumerate(STAGES[depth], 2) for block in range(1, count + 1)]
    for number, (stage, block) in enumerate(blocks, 1):
        ours, theirs = f"conv{stage}_block{block}", f"{prefix}{number}"
        table |= {
            f"{ours}_residual_0": f"{theirs}_conv1[|_bn]",
            f"{ours}_residual_1": f"{theirs}_conv2[|_bn]",
            f"{ours}_residual": f"{theirs}_conv3[|_bn]",
            f"{ours}_shortcut": f"{theirs}_match_conv[|_bn]",
        }
    return table


SE_RESNET: NameTable = {
    "conv1": "conv1/7x7_s2[|/bn]",
    "conv{s}_block{b}_residual_mix_0": "conv{s}_{b}_1x1_reduce[|/bn]",
    "conv{s}_block{b}_residual_mix_1": "conv{s}_{b}_3x3[|/bn]",
    "conv{s}_block{b}_residual_mix": "conv{s}_{b}_1x1_increase[|/bn]",
    "conv{s}_block{b}_residual_reduce": "conv{s}_{b}_1x1_down",
    "conv{s}_block{b}_residual_expand": "conv{s}_{b}_1x1_up",
    "conv{s}_block{b}_shortcut": "conv{s}_{b}_1x1_proj[|/bn]",
    "logits": "classifier",
}
SENET154: NameTable = SE_RESNET | {
    "conv1": "conv1_1/3x3_s2[|/bn]",
    "conv{i:2|3}": "conv1_{i}/3x3[|/bn]",
}


def se_bn_inception() -> NameTable:
    """Rows of SE-BN-Inception; (3c) and (4e), which halve the map, are part of their group."""
    table: NameTable = {
        "conv2d_1a_7x7": "conv1/7x7_s2[|/bn]",
        "conv2d_2b_1x1": "conv2/3x3_reduce[|/bn]",
        "conv2d_2c_3x3": "conv2/3x3[|/bn]",
        "logits": "classifier",
    }
    double = "double3x3_reduce double3x3a double3x3b"
    halving, others = ("3x3_reduce 3x3", double), ("1x1", "3x3_reduce 3x3", double, "- pool_proj")
    ours = ("3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "5c")
    theirs = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    for place, name in zip(ours, theirs, strict=True):
        for b, path in enumerate(halving if place in ("4a", "5a") else others):
            for i, end in enumerate(path.split()):
                table[f"mixed_{place}_mix_b{b}_{i}"] = f"inception_{name}/{end}[|/bn]"
        table[f"mixed_{place}_reduce"] = f"inception_{name}_1x1_down"
        table[f"mixed_{place}_expand"] = f"inception_{name}_1x1_up"
    return table


def modules(places: str, theirs: str, *paths: str) -> NameTable:
    """Rows of modules that are numbered from 1; of each path the ends of the names, "-" a pool, "a+b" parallel."""
    table: NameTable = {}
    for number, place in enumerate(places.split(), 1):
        for b, path in enumerate(paths):
            for i, end in enumerate(path.split()):
                for j, name in enumerate(end.split("+")):
                    ours = f"{place}_b{b}_{i}" + (f"_b{j}_0" if "+" in end else "")
                    table[ours] = f"{theirs.replace('#', str(number))}_{name}[|_bn]"
    return table


def mixed(group: int, letters: str) -> str:
    """The names of our modules: (5, "bc") -> "mixed_5b mixed_5c"."""
    return " ".join(f"mixed_{group}{letter}" for letter in letters)


STEM: NameTable = {
    "conv2d_1a_3x3": "conv1_3x3_s2[|_bn]",
    "conv2d_2a_3x3": "conv2_3x3_s1[|_bn]",
    "conv2d_2b_3x3": "conv3_3x3_s1[|_bn]",
    "logits": "classifier",
}
STEM_V3: NameTable = STEM | {"conv2d_3b_1x1": "conv4_3x3_reduce[|_bn]", "conv2d_4a_3x3": "conv4_3x3[|_bn]"}
REDUCTION_A = modules("mixed_6a", "reduction_a", "3x3", "3x3_2_reduce 3x3_2 3x3_3")
REDUCTION_B = modules("mixed_7a", "reduction_b", "3x3_reduce 3x3", "1x7_reduce 1x7 7x1 3x3_2")
A_V3 = ("1x1", "5x5_reduce 5x5", "3x3_reduce 3x3_1 3x3_2", "- pool_proj")
INCEPTION_V3: NameTable = {
    **STEM_V3,
    **modules(mixed(5, "bcd"), "inception_a#", *A_V3),
    **REDUCTION_A,
    **modules(
        mixed(6, "bcde"),
        "inception_b#",
        *("1x1_2", "1x7_reduce 1x7 7x1", "7x1_reduce 7x1_2 1x7_2 7x1_3 1x7_3", "- 1x1"),
    ),
    **REDUCTION_B,
    **modules(
        mixed(7, "bc"),
        "inception_c#",
        *("1x1_2", "1x3_reduce 1x3+3x1", "3x3_reduce 3x3 1x3_2+3x1_2", "- 1x1"),
    ),
}
INCEPTION_V4: NameTable = {
    **STEM,
    "mixed_3a_b1_0": "inception_stem1_3x3_s2[|_bn]",
    "mixed_5a_b0_0": "inception_stem3_3x3_s2[|_bn]",
    **modules("mixed_4a", "inception_stem2", "3x3_reduce 3x3", "1x7_reduce 1x7 7x1 3x3_2"),
    **modules(
        mixed(5, "bcde"),
        "inception_a#",
        *("1x1_2", "3x3_reduce 3x3", "3x3_2_reduce 3x3_2 3x3_3", "- 1x1"),
    ),
    **REDUCTION_A,
    **modules(
        mixed(6, "bcdefgh"),
        "inception_b#",
        *("1x1_2", "1x7_reduce 1x7 7x1", "7x1_2_reduce 7x1_2 1x7_2 7x1_3 1x7_3", "- 1x1"),
    ),
    **REDUCTION_B,
    **modules(
        mixed(7, "bcd"),
        "inception_c#",
        *("1x1_2", "1x1_3 1x3+3x1", "1x1_4 3x1_2 1x3_2 1x3_3+3x1_3", "- 1x1"),
    ),
}


def residual(block: str, count: int, theirs: str, *paths: str) -> NameTable:
    """Rows of residual modules, with the convolution after their branches."""
    places = " ".join(f"{block}_{n}_residual_mix" for n in range(1, count + 1))
    return {
        f"{block}_{{n}}_residual": f"inception_resnet_v2_{theirs}{{n}}_up",
        **modules(places, f"inception_resnet_v2_{theirs}#", *paths),
    }


INCEPTION_RESNET_V2: NameTable = {
    **STEM_V3,
    **modules("mixed_5b", "conv5", "1x1", "5x5_reduce 5x5", "3x3_reduce 3x3 3x3_2", "- 1x1_ave"),
    **residual("block35", 10, "a", "1x1", "3x3_reduce 3x3", "3x3_2_reduce 3x3_2 3x3_3"),
    **REDUCTION_A,
    **residual("block17", 20, "b", "1x1", "1x7_reduce 1x7 7x1"),
    **modules("mixed_7a", "reduction_b", "3x3_reduce 3x3", "3x3_2_reduce 3x3_2", "3x3_3_reduce 3x3_3 3x3_4"),
    **residual("block8", 10, "c", "1x1", "1x3_reduce 1x3 3x1"),
    "conv2d_7b_1x1": "conv6_1x1[|_bn]",
}


def separable(ours: str, theirs: str) -> NameTable:
    """Rows of a separable convolution and its batch norm."""
    return {f"{ours}_depthwise": f"{theirs}_1", f"{ours}_pointwise": f"{theirs}_2", ours: f"{theirs}_bn"}


XCEPTION: NameTable = {
    "block1_conv{i}": "conv{i}[|_bn]",
    **separable("block{b:2|3|4|13}_residual", "xception{b-1}_conv2"),
    **separable("block{b}_residual", "xception{b-1}_conv3"),
    **separable("block{b}_residual_{i}", "xception{b-1}_conv{i+1}"),
    "block{b}_shortcut": "xception{b-1}_match_conv[|_bn]",
    **separable("block14_sepconv{i}", "conv{i+2}"),
    "logits": "classifier",
}
LAYOUT = Layout(
    name="caffe",
    framework=CAFFE,
    tables={
        "lenet5": {"c1": "conv1", "c3": "conv2", "c5": "ip1", "logits": "ip2"},
        "alexnet": {"conv{n}": "conv{n}", "fc{n:6|7}": "fc{n}", "logits": "fc8"},
        "inception_v1": GOOGLENET,
        "vgg16": VGG_NAMES,
        "vgg19": VGG_NAMES,
        "nin": {
            "conv{n:1|2|3}": "conv{n}",
            "conv4": "conv4-1024",
            "cccp7": "cccp7-1024",
            "cccp{n}": "cccp{n}",
            "class_maps": "cccp8-1024",
        },
        "squeezenet1_0": SQUEEZENETS,
        "squeezenet1_1": SQUEEZENETS,
        "mobilenet_v1": MOBILENET_V1,
        **{f"densenet{depth}": densenet_names(depth) for depth in (121, 161, 169, 201)},
        **{f"resnet{depth}": resnet(depth) for depth in (50, 101, 152)},
        "resnext50_32x4d": counted("resx", 50),
        "resnext101_32x4d": counted("resx", 101),
        "resnext101_64x4d": counted("resx", 101),
        "wide_resnet50_2": counted("res", 50),
        **dict.fromkeys(
            ("seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"), SE_RESNET
        ),
        "senet154": SENET154,
        "se_inception_v2": se_bn_inception(),
        "inception_v3": INCEPTION_V3,
        "inception_v4": INCEPTION_V4,
        "inception_resnet_v2": INCEPTION_RESNET_V2,
        "xception": XCEPTION,
    },
)
