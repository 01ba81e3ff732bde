"""keras.applications' weights.

Hashes are those in the source of Keras 3.15, which states none for MobileNets. Accuracies are the README's of
keras-applications, at the sizes here; it does not state the crop, which is taken to be the usual 7/8.
"""

from __future__ import annotations

from typing import Any

from ...preprocessing import Preprocessing
from ..record import Checkpoint
from .norms import HALF, IMAGENET

URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERNELS = "weights_tf_dim_ordering_tf_kernels"
APACHE = "Apache-2.0 (Keras; it states none for the weights)"
CC_BY_NC = "CC-BY-NC-4.0 (of the authors' Caffe weights; Keras states none)"

# keras.applications.imagenet_utils' modes: HALF is its "tf", IMAGENET its "torch", and this its "caffe".
CAFFE: dict[str, Any] = {"channels": "BGR", "mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0)}


def row(
    model: str,
    file: str,
    md5: str,
    top1: float,
    top5: float,
    mode: dict[str, Any],
    size: int = 224,
    alpha: float | None = None,
) -> Checkpoint:
    """One file, "*" in its name standing for the usual middle."""
    width = f"_{round(100 * alpha):03}" if alpha not in (None, 1.0) else ""
    return Checkpoint(
        model=model,
        tag=f"keras{width}_in1k",
        layout="keras",
        urls=(URL + file.replace("*", KERNELS),),
        hash=f"md5:{md5}" if md5 else "",
        unhashed="" if md5 else "Keras states no hash for its MobileNets",
        license=CC_BY_NC if model.startswith("vgg") else APACHE,
        source="keras 3.15 src/applications; keras-team/keras-applications README",
        top1=top1,
        top5=top5,
        numerics="keras" if model.startswith(("resne", "nasnet")) else "tf",
        kwargs={} if alpha is None else {"alpha": alpha},
        preprocessing=Preprocessing(size=(size, size), crop=0.875, **mode),
    )


# fmt: off
KERAS_TEAM = (
    row("vgg16", "vgg16/vgg16_*.h5", "64373286793e3c8b2b4e3219cbf3544b", 71.268, 90.05, CAFFE),
    row("vgg19", "vgg19/vgg19_*.h5", "cbe5617147190e668d6c5d5026f83318", 71.256, 89.988, CAFFE),
    row("inception_v3", "inception_v3/inception_v3_*.h5", "9a0d58056eeedaa3f26cb7ebd46da564", 77.898, 93.72, HALF, 299),
    row("inception_resnet_v2", "inception_resnet_v2/inception_resnet_v2_*.h5",
        "e693bd0210a403b3192acc6073ad2e96", 80.256, 95.252, HALF, 299),
    row("resnet50", "resnet/resnet50_*.h5", "2cb95161c43110f7111970584f804107", 74.928, 92.06, CAFFE),
    row("resnet101", "resnet/resnet101_*.h5", "f1aeb4b969a6efcfb50fad2f0c20cfc5", 76.42, 92.786, CAFFE),
    row("resnet152", "resnet/resnet152_*.h5", "100835be76be38e30d865e96f2aaae62", 76.604, 93.118, CAFFE),
    row("densenet121", "densenet/densenet121_*.h5", "9d60b8095a5708f2dcce2bca79d332c7", 74.972, 92.258, IMAGENET),
    row("densenet169", "densenet/densenet169_*.h5", "d699b8f76981ab1b30698df4c175e90b", 76.176, 93.176, IMAGENET),
    row("densenet201", "densenet/densenet201_*.h5", "1ceb130c1ea1b78c3bf6114dbdfd8807", 77.32, 93.62, IMAGENET),
    row("resnext50_32x4d", "resnet/resnext50_*.h5", "67a5b30d522ed92f75a1f16eef299d1a", 77.74, 93.81, IMAGENET),
    row("resnext101_32x4d", "resnet/resnext101_*.h5", "34fb605428fcc7aa4d62f44404c11509", 78.73, 94.294, IMAGENET),
    row("xception", "xception/xception_*.h5", "0a58e3b7378bc2990ea3b43d5981f1f6", 79.006, 94.452, HALF, 299),
    row("nasnet_mobile", "nasnet/NASNet-mobile.h5", "020fb642bf7360b370c678b08e0adf61", 74.366, 91.854, HALF),
    row("nasnet_large", "nasnet/NASNet-large.h5", "11577c9a518f0070763c2b964a382f17", 82.498, 96.004, HALF, 331),
    row("mobilenet_v1", "mobilenet/mobilenet_1_0_224_tf.h5", "", 70.424, 89.504, HALF, alpha=1.0),
    row("mobilenet_v1", "mobilenet/mobilenet_2_5_224_tf.h5", "", 51.582, 75.792, HALF, alpha=0.25),
    row("mobilenet_v1", "mobilenet/mobilenet_5_0_224_tf.h5", "", 64.292, 85.624, HALF, alpha=0.5),
    row("mobilenet_v1", "mobilenet/mobilenet_7_5_224_tf.h5", "", 68.412, 88.242, HALF, alpha=0.75),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.0_224.h5", "", 71.336, 90.142, HALF, alpha=1.0),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.35_224.h5", "", 60.086, 82.432, HALF, alpha=0.35),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.5_224.h5", "", 65.194, 86.062, HALF, alpha=0.5),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_0.75_224.h5", "", 69.532, 89.176, HALF, alpha=0.75),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.3_224.h5", "", 74.68, 92.122, HALF, alpha=1.3),
    row("mobilenet_v2", "mobilenet_v2/mobilenet_v2_*_1.4_224.h5", "", 75.23, 92.422, HALF, alpha=1.4),
)
# fmt: on
