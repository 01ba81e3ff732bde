"""One file a paper family: its tables, its builders, nothing else."""

from .alexnet import AlexNet, AlexNetOWT
from .densenet import (
    DenseNet40_12,
    DenseNet100_12,
    DenseNet100_24,
    DenseNet121,
    DenseNet161,
    DenseNet169,
    DenseNet201,
    DenseNet264,
    DenseNetBC100_12,
    DenseNetBC190_40,
    DenseNetBC250_24,
)
from .fractalnet import FractalNet20, FractalNet34, FractalNet40
from .inception_resnet import InceptionResNetV1, InceptionResNetV2, SEInceptionResNetV2
from .inception_v1 import GoogLeNet, InceptionV1, InceptionV1BN
from .inception_v2 import BNInception, InceptionV2, SEInceptionV2
from .inception_v3 import InceptionV2Rethinking, InceptionV3
from .inception_v4 import InceptionV4
from .lenet import LeNet5
from .mobilenet_v1 import MobileNet, MobileNetV1
from .mobilenet_v2 import MobileNetV2
from .msdnet import MSDNet, MSDNetCIFAR, MSDNetCIFARBudget
from .nasnet import NASNetLarge, NASNetMobile
from .nin import NiN, NiNCIFAR
from .resnet import (
    ResNet18,
    ResNet20,
    ResNet32,
    ResNet34,
    ResNet44,
    ResNet50,
    ResNet56,
    ResNet101,
    ResNet110,
    ResNet110SD,
    ResNet152,
    ResNet152SD,
    ResNet1202SD,
)
from .resnet_v2 import ResNet50V2, ResNet101V2, ResNet110V2, ResNet152V2, ResNet164V2, ResNet200V2
from .resnext import ResNeXt50_32x4d, ResNeXt101_32x4d, ResNeXt101_64x4d
from .senet import SENet154, SEResNet50, SEResNet101, SEResNet152, SEResNeXt50_32x4d, SEResNeXt101_32x4d
from .shufflenet_v1 import ShuffleNetV1
from .shufflenet_v2 import ShuffleNetV2
from .squeezenet import SqueezeNet1_0, SqueezeNet1_1
from .vgg import VGG11, VGG11BN, VGG13, VGG13BN, VGG16, VGG16BN, VGG19, VGG19BN
from .wide_resnet import WideResNet16_8, WideResNet28_10, WideResNet40_4, WideResNet50_2, WideResNet101_2
from .xception import Xception
from .zfnet import ZFNet

__all__ = [
    "VGG11",
    "VGG11BN",
    "VGG13",
    "VGG13BN",
    "VGG16",
    "VGG16BN",
    "VGG19",
    "VGG19BN",
    "AlexNet",
    "AlexNetOWT",
    "BNInception",
    "DenseNet40_12",
    "DenseNet100_12",
    "DenseNet100_24",
    "DenseNet121",
    "DenseNet161",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
    "DenseNetBC100_12",
    "DenseNetBC190_40",
    "DenseNetBC250_24",
    "FractalNet20",
    "FractalNet34",
    "FractalNet40",
    "GoogLeNet",
    "InceptionResNetV1",
    "InceptionResNetV2",
    "InceptionV1",
    "InceptionV1BN",
    "InceptionV2",
    "InceptionV2Rethinking",
    "InceptionV3",
    "InceptionV4",
    "LeNet5",
    "MSDNet",
    "MSDNetCIFAR",
    "MSDNetCIFARBudget",
    "MobileNet",
    "MobileNetV1",
    "MobileNetV2",
    "NASNetLarge",
    "NASNetMobile",
    "NiN",
    "NiNCIFAR",
    "ResNeXt50_32x4d",
    "ResNeXt101_32x4d",
    "ResNeXt101_64x4d",
    "ResNet18",
    "ResNet20",
    "ResNet32",
    "ResNet34",
    "ResNet44",
    "ResNet50",
    "ResNet50V2",
    "ResNet56",
    "ResNet101",
    "ResNet101V2",
    "ResNet110",
    "ResNet110SD",
    "ResNet110V2",
    "ResNet152",
    "ResNet152SD",
    "ResNet152V2",
    "ResNet164V2",
    "ResNet200V2",
    "ResNet1202SD",
    "SEInceptionResNetV2",
    "SEInceptionV2",
    "SENet154",
    "SEResNeXt50_32x4d",
    "SEResNeXt101_32x4d",
    "SEResNet50",
    "SEResNet101",
    "SEResNet152",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SqueezeNet1_0",
    "SqueezeNet1_1",
    "WideResNet16_8",
    "WideResNet28_10",
    "WideResNet40_4",
    "WideResNet50_2",
    "WideResNet101_2",
    "Xception",
    "ZFNet",
]
