"""facenet-pytorch: David Sandberg's Inception-ResNet v1, trained to recognise faces, and its names.

The accuracy on Labeled Faces in the Wild, of the 512-dimensional embedding before the classifier, is 99.65 % with
VGGFace2 and 99.05 % with CASIA-WebFace.
"""

from __future__ import annotations

from ...preprocessing import Preprocessing
from ..frameworks import TORCH
from ..matching import Layout
from ..record import Checkpoint
from ..rules import NameTable

URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


def row(tag: str, file: str, classes: int) -> Checkpoint:
    """The record of one file."""
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


CHECKPOINTS = (
    row("vggface2", "20180402-114759-vggface2.pt", 8631),
    row("casia_webface", "20180408-102900-casia-webface.pt", 10575),
)


# --------------------------------------------------------------------------------------------------------------- layout


def residual(ours: str, theirs: str) -> NameTable:
    """Rows of a residual module."""
    return {
        f"{ours}_residual": f"{theirs}.conv2d",
        f"{ours}_residual_mix_b0_0": f"{theirs}.branch0.[conv|bn]",
        f"{ours}_residual_mix_b{{b}}_{{i}}": f"{theirs}.branch{{b}}.{{i}}.[conv|bn]",
    }


INCEPTION_RESNET_V1: NameTable = {
    "conv2d_{n}_{size}": "conv2d_{n}.[conv|bn]",
    "mixed_6a_b0_0": "mixed_6a.branch0.[conv|bn]",
    "mixed_{m}_b{b}_{i}": "mixed_{m}.branch{b}.{i}.[conv|bn]",
    **residual("block35_{n}", "repeat_1.{n-1}"),
    **residual("block17_{n}", "repeat_2.{n-1}"),
    **residual("block8_6", "block8"),
    **residual("block8_{n}", "repeat_3.{n-1}"),
    "bottleneck": "last_[linear|bn]",
    "logits": "logits",
}

LAYOUT = Layout(name="facenet", framework=TORCH, tables={"inception_resnet_v1": INCEPTION_RESNET_V1})
