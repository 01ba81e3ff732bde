"""The Inception line. No implementation of Inception v1 as published, v2 "Rethinking" or SE-Inception-ResNet runs."""

from ..row import Row

PLAIN = {"init_weights": False}  # torchvision's own initialisation takes minutes
MAIN = PLAIN | {"aux_logits": False}
AUX = PLAIN | {"aux_logits": True}
TORCH = {"numerics": "torch"}

ROWS = [
    Row("inception_v1_bn", "torchvision:googlenet", (96, 96, 3), {}, MAIN, slow=True),
    Row(
        "inception_v1_bn",
        "torchvision:googlenet",
        (160, 160, 3),
        {"aux_heads": True},
        AUX,
        outputs=("predictions", "aux_2", "aux_1"),
        case="aux",
    ),
    Row("inception_v2", "pretrainedmodels:bninception", (224, 224, 3)),
    Row("inception_v2", "pytorchcv:bninception", (224, 224, 3), slow=True),
    Row("inception_v3", "keras:InceptionV3", (107, 107, 3), slow=True),
    Row("inception_v3", "torchvision:inception_v3", (107, 107, 3), TORCH, MAIN, slow=True),
    Row(
        "inception_v3",
        "torchvision:inception_v3",
        (299, 299, 3),
        TORCH | {"aux_heads": True},
        AUX,
        outputs=("predictions", "aux_1"),
        case="aux",
    ),
    Row("inception_v3", "timm:inception_v3", (107, 107, 3), TORCH, {"aux_logits": False}, slow=True),
    Row("inception_v4", "timm:inception_v4", (107, 107, 3)),
    Row("inception_v4", "pretrainedmodels:inceptionv4", (299, 299, 3), slow=True),
    Row("inception_v4", "pytorchcv:inceptionv4", (299, 299, 3), slow=True),
    Row(
        "inception_resnet_v1",
        "facenet_pytorch:InceptionResnetV1",
        (107, 107, 3),
        {"released": True},
        {"classify": True, "num_classes": 1000},
    ),
    Row("inception_resnet_v1", "pytorchcv:inceptionresnetv1", (299, 299, 3), {"released": True}, slow=True),
    Row("inception_resnet_v2", "keras:InceptionResNetV2", (107, 107, 3), slow=True),
    Row("inception_resnet_v2", "timm:inception_resnet_v2", (107, 107, 3), TORCH, slow=True),
    Row("inception_resnet_v2", "pretrainedmodels:inceptionresnetv2", (299, 299, 3), TORCH, slow=True),
    Row("xception", "keras:Xception", (96, 96, 3), gain=0.9),
    Row("xception", "timm:legacy_xception", (96, 96, 3), TORCH, gain=0.9, slow=True),
]
