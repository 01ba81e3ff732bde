"""The names of facenet-pytorch, for the one network that it has."""

from .frameworks import TORCH
from .layout import Layout
from .rules import Table


def residual(ours: str, theirs: str) -> Table:
    """A residual module's rows."""
    return {
        f"{ours}_residual": f"{theirs}.conv2d",
        f"{ours}_residual_mix_b0_0": f"{theirs}.branch0.[conv|bn]",
        f"{ours}_residual_mix_b{{b}}_{{i}}": f"{theirs}.branch{{b}}.{{i}}.[conv|bn]",
    }


INCEPTION_RESNET_V1: Table = {
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

FACENET = Layout(name="facenet", framework=TORCH, tables={"inception_resnet_v1": INCEPTION_RESNET_V1})
