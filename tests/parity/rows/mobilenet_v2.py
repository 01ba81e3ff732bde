"""MobileNet v2."""

from ..row import Row

ROWS = [
    Row("mobilenet_v2", "keras:MobileNetV2", (64, 64, 3)),
    Row("mobilenet_v2", "torchvision:mobilenet_v2", (64, 64, 3), {"numerics": "torch"}),
]
