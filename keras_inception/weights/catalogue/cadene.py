"""The weights of Cadene's pretrained-models.pytorch: conversions of others' releases, in files of 2017 and 2018.

The server speaks plain http only: what came is the published file because its SHA-256 begins with the digits in its
name. Four more files of that server are in `timm`, which serves them too. Images are resized to 8/7 of what the
network sees, as the package's TransformImage does by default.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..record import Checkpoint
from .norms import HALF, IMAGENET

URL = "http://data.lip6.fr/cadene/pretrainedmodels/"

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
    """One file, whose name ends in the first digits of its SHA-256."""
    return Checkpoint(
        model=model,
        tag="cadene_in1k",
        layout="cadene",
        urls=(URL + file,),
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
CADENE = (
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
