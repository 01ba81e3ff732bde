"""The Inception line."""

from ..row import Row

PLAIN = {"init_weights": False}  # torchvision's own initialisation takes minutes

ROWS = [
    Row("inception_v3", "keras:InceptionV3", (107, 107, 3)),
    Row(
        "inception_v3", "torchvision:inception_v3", (107, 107, 3), {"numerics": "torch"}, PLAIN | {"aux_logits": False}
    ),
    Row(
        "inception_v3",
        "torchvision:inception_v3",
        (299, 299, 3),
        {"numerics": "torch", "aux_heads": True},
        PLAIN | {"aux_logits": True},
        outputs=("predictions", "aux_1"),
        case="aux",
    ),
]
