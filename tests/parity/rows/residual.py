"""The residual stream: ResNet, ResNet v2, Wide ResNet, ResNeXt, SENet."""

from ..row import Row

SMALL, CIFAR = (64, 64, 3), (32, 32, 3)
KERAS, CAFFE = {"numerics": "keras"}, {"numerics": "caffe"}
SHORTCUT_FIRST = {"Add": (1, 0)}  # in keras.applications', pytorchcv's and (v2) timm's ResNets


def torchvision(model: str, name: str, slow: bool = True) -> Row:
    return Row(model, f"torchvision:{name}", SMALL, slow=slow)


def keras(model: str, name: str) -> Row:
    return Row(model, f"keras:{name}", SMALL, KERAS, order=SHORTCUT_FIRST, slow=True)


def cifar(model: str, depth: int, slow: bool = False) -> Row:
    """With projections: pytorchcv has no other shortcut."""
    arguments = {"num_classes": 10, "blocks": depth, "bottleneck": False}
    reference = "pytorchcv:resnet_cifar.get_resnet_cifar"
    return Row(model, reference, CIFAR, {"shortcut": "projection"}, arguments, order=SHORTCUT_FIRST, slow=slow)


def wide(model: str, depth: int, width: int) -> Row:
    arguments = {"num_classes": 10, "blocks": depth, "width_factor": width}
    return Row(model, "pytorchcv:wrn_cifar.get_wrn_cifar", CIFAR, {}, arguments, slow=True)


def preresnet(model: str, name: str, numerics: str = "torch") -> Row:
    """pytorchcv's ResNet v2; its last pool is 7 x 7 whatever the map is."""
    kwargs = {"numerics": numerics, "first_activation": "both"}
    return Row(model, f"pytorchcv:{name}", (224, 224, 3), kwargs, case="1x1" * (numerics != "torch"), slow=True)


def preresnet_cifar(model: str, depth: int, bottleneck: bool) -> Row:
    arguments = {"num_classes": 10, "blocks": depth, "bottleneck": bottleneck}
    return Row(model, "pytorchcv:preresnet_cifar.get_preresnet_cifar", CIFAR, {}, arguments, slow=True)


def timm(model: str, name: str, slow: bool = True, case: str = "", **kwargs: object) -> Row:
    # The legacy networks run a block's projection before its squeeze-and-excitation module.
    return Row(model, f"timm:{name}", SMALL, kwargs, case=case, slow=slow, registered=name.startswith("legacy"))


ROWS = [
    torchvision("resnet18", "resnet18"),
    torchvision("resnet34", "resnet34"),
    torchvision("resnet50", "resnet50", slow=False),
    torchvision("resnet101", "resnet101"),
    torchvision("resnet152", "resnet152"),
    torchvision("resnet152_sd", "resnet152"),
    keras("resnet50", "ResNet50"),
    keras("resnet101", "ResNet101"),
    keras("resnet152", "ResNet152"),
    timm("resnet50", "seresnet50", case="se", se_ratio=16),
    Row("resnet101", "pretrainedmodels:cafferesnet101", (224, 224, 3), CAFFE, case="caffe", slow=True),
    cifar("resnet20", 20),
    cifar("resnet32", 32, slow=True),
    cifar("resnet44", 44, slow=True),
    cifar("resnet56", 56, slow=True),
    cifar("resnet110", 110, slow=True),
    cifar("resnet110_sd", 110, slow=True),
    cifar("resnet1202_sd", 1202, slow=True),
    *(
        Row(f"resnet{depth}_v2", f"timm:resnetv2_{depth}", SMALL, order=SHORTCUT_FIRST, slow=depth > 50)
        for depth in (50, 101, 152)
    ),
    keras("resnet50_v2", "ResNet50V2"),
    keras("resnet101_v2", "ResNet101V2"),
    keras("resnet152_v2", "ResNet152V2"),
    preresnet("resnet50_v2", "preresnet50b"),
    preresnet("resnet50_v2", "preresnet50", numerics="pytorchcv"),
    preresnet("resnet200_v2", "preresnet200b"),
    preresnet_cifar("resnet110_v2", 110, bottleneck=False),
    preresnet_cifar("resnet164_v2", 164, bottleneck=True),
    wide("wide_resnet16_8", 16, 8),
    wide("wide_resnet28_10", 28, 10),
    wide("wide_resnet40_4", 40, 4),
    torchvision("wide_resnet50_2", "wide_resnet50_2"),
    torchvision("wide_resnet101_2", "wide_resnet101_2"),
    torchvision("resnext50_32x4d", "resnext50_32x4d", slow=False),
    timm("resnext101_32x4d", "resnext101_32x4d"),
    torchvision("resnext101_64x4d", "resnext101_64x4d"),
    timm("seresnet50", "legacy_seresnet50"),
    timm("seresnet101", "legacy_seresnet101"),
    timm("seresnet152", "legacy_seresnet152"),
    timm("seresnet50", "seresnet50", case="torch", numerics="torch"),
    Row("seresnet50", "pretrainedmodels:se_resnet50", (224, 224, 3), registered=True, slow=True),
    timm("seresnext50_32x4d", "legacy_seresnext50_32x4d", slow=False),
    timm("seresnext101_32x4d", "legacy_seresnext101_32x4d"),
    timm("senet154", "legacy_senet154"),
    timm("senet154", "senet154", case="torch", numerics="torch"),
    Row("senet154", "pretrainedmodels:senet154", (224, 224, 3), registered=True, slow=True),
]
