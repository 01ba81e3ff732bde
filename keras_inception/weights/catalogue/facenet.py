"""facenet-pytorch's weights, which are David Sandberg's: Inception-ResNet v1 that tells faces apart, not ImageNet.

Its accuracy is that of its 512-dimensional embedding, before the classifier, on Labeled Faces in the Wild: 99.65 % with
VGGFace2, 99.05 % with CASIA-WebFace.
"""

from __future__ import annotations

from ...preprocessing import Preprocessing
from ..record import Checkpoint

URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


def row(tag: str, file: str, classes: int) -> Checkpoint:
    """One file."""
    return Checkpoint(
        model="inception_resnet_v1",
        tag=tag,
        layout="facenet",
        urls=(URL + file,),
        unhashed="facenet-pytorch states no hash",
        license="MIT (facenet-pytorch; it states none for the weights)",
        source="facenet-pytorch 2.6.0 models/inception_resnet_v1.py, README",
        dataset=tag,
        classes=classes,
        numerics="torch",
        kwargs={"released": True},
        preprocessing=Preprocessing(size=(160, 160), std=(128.0,) * 3),
    )


FACENET = (
    row("vggface2", "20180402-114759-vggface2.pt", 8631),
    row("casia_webface", "20180408-102900-casia-webface.pt", 10575),
)
