"""The names of Cadene's pretrained-models.pytorch, which timm keeps for the networks it calls legacy."""

from .frameworks import TORCH
from .layout import Layout
from .rules import Table
from .timm import excited
from .torchvision import BOTTLENECK

SE_RESNET: Table = excited(BOTTLENECK, "se_module") | {"conv1": "layer0.[conv|bn]1", "logits": "last_linear"}
SENET154: Table = SE_RESNET | {"conv{i:2|3}": "layer0.[conv|bn]{i}"}


def separable(block: str, ours: str, place: int) -> Table:
    """A separable convolution and its batch norm in a block's sequence, behind a ReLU or not."""
    return {
        f"block{block}_residual{ours}_depthwise": f"block{{b-1}}.rep.{place}.conv1",
        f"block{block}_residual{ours}_pointwise": f"block{{b-1}}.rep.{place}.pointwise",
        f"block{block}_residual{ours}": f"block{{b-1}}.rep.{place + 1}",
    }


XCEPTION: Table = {
    "block1_conv{i}": "[conv|bn]{i}",
    **separable("{b:2}", "_0", 0),
    **separable("{b:2}", "_1", 3),
    **separable("{b}", "_0", 1),
    **separable("{b}", "_1", 4),
    **separable("{b}", "", 7),
    "block{b}_shortcut": "block{b-1}.[skip|skipbn]",
    "block14_sepconv{i}_depthwise": "conv{i+2}.conv1",
    "block14_sepconv{i}_pointwise": "conv{i+2}.pointwise",
    "block14_sepconv{i}": "bn{i+2}",
    "logits": "fc",
}

CADENE = Layout(
    name="cadene",
    framework=TORCH,
    tables={
        "xception": XCEPTION,
        **dict.fromkeys(
            ("seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"), SE_RESNET
        ),
        "senet154": SENET154,
    },
)
