"""One file a paper family: its tables, its builders, nothing else."""

from .inception_v3 import InceptionV3
from .lenet import LeNet5
from .mobilenet_v2 import MobileNetV2

__all__ = ["InceptionV3", "LeNet5", "MobileNetV2"]
