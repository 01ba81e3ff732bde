"""torchvision's weights: version 1, and version 2 from its newer recipe.

A file's name ends in the first digits of its SHA-256; its size is stated in 2^20 bytes, with three decimals. Images
are resized to the number behind it, of which the network sees the middle.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..record import Checkpoint
from .norms import HALF, IMAGENET

URL = "https://download.pytorch.org/models/"


def row(
    model: str, version: int, file: str, mebibytes: float, resize: int, top1: float, top5: float, **kwargs: Any
) -> Checkpoint:
    """One file."""
    size = 299 if model == "inception_v3" else 224
    scale = f"_x{kwargs['scale']}".replace(".", "_") if kwargs.get("scale", 1.0) != 1.0 else ""
    # torchvision turns what its Inceptions are given into what TensorFlow's were trained on; here they get it at once.
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
TORCHVISION = (
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
