"""Networks of two convolutions in the registry, of every kind that there is, and how each is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_inception import layers
from keras_inception.builder import register
from keras_inception.registry import ARCHITECTURES, Paper

CONFIGURED = "plain, by a configuration file"
NETWORK: dict[str, dict[str, Any]] = {  # each resize mode among them, and augmentation
    CONFIGURED: {"model": "crossed"},
    "auxiliary heads": {"model": "crossed_heads", "options": {"aux_heads": True}, "resize": "stretch",
                        "augmentation": ["light", "mixup=0.2"]},
    "early exits": {"model": "crossed_exits", "resize": "letterbox"},
    "one channel": {"model": "crossed_grey", "resize": "letterbox", "fill": 255},
    "torch numerics, cross-validated": {"model": "crossed", "options": {"numerics": "torch"}, "k_fold": 2},
    "fine-tuned from a run": {"resize": "letterbox", "fill": (0, 114, 255)},
    "fine-tuned from a file": {"model": "crossed", "resize": "stretch"},
    "mixed precision": {"model": "crossed", "precision": "mixed_bfloat16", "augmentation": "strong",
                        "batch_size": "auto"},
    "taught by a run": {"model": "crossed", "augmentation": ["light", "cutmix=1"], "balance": True},
    "exotic class names": {"model": "crossed", "resize": "stretch", "augmentation": ["rotation=10", "cutmix=1"]},
}  # fmt: skip


def _backbone(x):
    """Convolutions whose padding and batch norm depend on the numerics."""
    for name, filters in (("first", 8), ("second", 12)):
        x = layers.conv(x, filters, 3, 2, name=f"{name}_conv")
        x = layers.activate(layers.norm(x, name=f"{name}_bn"), "relu", name=name)
    return x


def _side(x, classes, *, name):
    return keras.layers.Dense(classes, name=f"{name}_logits")(
        keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    )


@contextmanager
def registered() -> Iterator[None]:
    """Within it the networks are in the registry."""
    paper = Paper(title="", authors="", year=2000, url="")
    kinds = {"": {}, "Heads": {"aux_heads": {"first": _side}}, "Exits": {"exits": {"first": _side}}, "Grey": {}}
    before = dict(ARCHITECTURES)
    for kind, sides in kinds.items():
        channels = 1 if kind == "Grey" else 3
        register(f"Crossed{kind}", "_".join(filter(None, ("crossed", kind.lower()))), _backbone, paper=paper,
                 input_shape=(16, 16, channels), smallest=8, parameters=None, macs=None,
                 numerics={"tf": layers.TF, "torch": layers.TORCH}, **sides)  # fmt: skip
    try:
        yield
    finally:
        ARCHITECTURES.clear()
        ARCHITECTURES.update(before)
