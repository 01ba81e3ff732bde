"""MobileNet v1 and v2 at other widths, ShuffleNet v1 and v2. At 64 x 64 the last map is 2 x 2: every layer counts."""

from ..row import Row

IMAGE = (64, 64, 3)
TORCH = {"numerics": "torch"}
# groups -> the other widths that divide. At (0.5, 8), (1.5, 3) and (1.5, 8) the authors have another stem (STEMS).
UNNAMED = {1: (1.5, 2.0), 2: (2.0,), 3: (2.0,), 4: (2.0,), 8: (2.0,)}


def keras_mobilenet(version: int, alpha: float, slow: bool = True) -> Row:
    reference = {1: "keras:MobileNet", 2: "keras:MobileNetV2"}[version]
    model = f"mobilenet_v{version}"
    return Row(model, reference, IMAGE, {"alpha": alpha}, {"alpha": alpha}, case=str(alpha), slow=slow)


def torch_mobilenet(version: int, alpha: float, reference: str, **reference_kwargs: float) -> Row:
    model, kwargs = f"mobilenet_v{version}", TORCH | {"alpha": alpha}
    return Row(model, reference, IMAGE, kwargs, reference_kwargs, case=str(alpha), slow=True)


def shufflenet_v1(groups: int, scale: float, width: str, slow: bool = True) -> Row:
    reference, kwargs = f"pytorchcv:shufflenet_g{groups}_{width}", {"groups": groups, "scale": scale}
    # Its last pool is 7 x 7 whatever the map is.
    return Row("shufflenet_v1", reference, (224, 224, 3), kwargs, case=f"g{groups}_{width}", gain=0.9, slow=slow)


def shufflenet_v1_unnamed(groups: int, scale: float) -> Row:
    """A width that pytorchcv builds, but publishes under no name."""
    theirs = {"groups": groups, "width_scale": scale}
    kwargs = {"groups": groups, "scale": scale}
    reference, case = "pytorchcv:shufflenet.get_shufflenet", f"g{groups}_{scale}"
    return Row("shufflenet_v1", reference, (224, 224, 3), kwargs, theirs, case=case, gain=0.9, slow=True)


def shufflenet_v2(scale: float, reference: str, slow: bool = True) -> Row:
    return Row("shufflenet_v2", reference, IMAGE, {"scale": scale}, case=str(scale), gain=0.9, slow=slow)


ROWS = [
    Row("mobilenet_v2", "keras:MobileNetV2", IMAGE, slow=True),
    Row("mobilenet_v2", "torchvision:mobilenet_v2", IMAGE, TORCH),
    keras_mobilenet(1, 0.25, slow=False),
    keras_mobilenet(1, 0.5),
    keras_mobilenet(1, 0.75),
    keras_mobilenet(1, 1.0),
    keras_mobilenet(2, 0.35),
    keras_mobilenet(2, 0.5),
    keras_mobilenet(2, 0.75),
    keras_mobilenet(2, 1.3),
    keras_mobilenet(2, 1.4),
    Row("mobilenet_v1", "timm:mobilenetv1_100", IMAGE, TORCH, slow=True),
    torch_mobilenet(1, 1.25, "timm:mobilenetv1_125"),
    torch_mobilenet(2, 0.35, "torchvision:mobilenet_v2", width_mult=0.35),
    torch_mobilenet(2, 0.75, "torchvision:mobilenet_v2", width_mult=0.75),
    torch_mobilenet(2, 1.4, "torchvision:mobilenet_v2", width_mult=1.4),
    torch_mobilenet(2, 0.5, "timm:mobilenetv2_050"),
    torch_mobilenet(2, 1.4, "timm:mobilenetv2_140"),
    shufflenet_v1(1, 1.0, "w1"),
    shufflenet_v1(1, 0.75, "w3d4"),
    shufflenet_v1(1, 0.5, "wd2"),
    shufflenet_v1(1, 0.25, "wd4"),
    shufflenet_v1(2, 1.0, "w1"),
    shufflenet_v1(3, 1.0, "w1"),
    shufflenet_v1(3, 0.75, "w3d4"),
    shufflenet_v1(3, 0.5, "wd2"),
    shufflenet_v1(3, 0.25, "wd4", slow=False),
    shufflenet_v1(4, 1.0, "w1"),
    shufflenet_v1(8, 1.0, "w1"),
    *(shufflenet_v1_unnamed(groups, scale) for groups, scales in UNNAMED.items() for scale in scales),
    shufflenet_v2(0.5, "torchvision:shufflenet_v2_x0_5", slow=False),
    shufflenet_v2(1.0, "torchvision:shufflenet_v2_x1_0"),
    shufflenet_v2(1.5, "torchvision:shufflenet_v2_x1_5"),
    shufflenet_v2(2.0, "torchvision:shufflenet_v2_x2_0"),
]
