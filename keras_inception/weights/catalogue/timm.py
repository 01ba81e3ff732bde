"""timm's weights: .safetensors on the Hugging Face hub, and .pth of the networks that it calls legacy.

The hub has a SHA-256 for each file, but nobody states it offline, and no revision: so none is pinned here. Where a
network was measured at several sizes, the accuracy is that of the size it was trained at.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..record import Checkpoint
from . import cadene
from .norms import HALF, IMAGENET

RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download/"
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
    """One repository on the hub."""
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
        # timm's SENet is of today's padding; its NASNet pads as its port does
        numerics="torch",
        kwargs={} if alpha is None else {"alpha": alpha},
        preprocessing=Preprocessing(size=(size, size), crop=crop, interpolation=interpolation, **norm),
    )


def legacy(
    model: str, file: str, norm: dict[str, Any], size: int, crop: float, interpolation: str, top1: float, top5: float
) -> Checkpoint:
    """One file of a release, whose name ends in the first digits of its SHA-256; Cadene's own is at his place too."""
    urls = [RELEASES + file]
    if file.startswith("v0.1-cadene/"):
        urls.append(cadene.URL + file.removeprefix("v0.1-cadene/"))
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
TIMM = (
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
