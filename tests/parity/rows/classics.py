"""LeNet's successors without a shortcut: AlexNet, ZFNet, VGG, NiN, DenseNet, FractalNet, SqueezeNet.

No implementation of the grouped AlexNet and of NiN for ImageNet runs anywhere: `tests/test_classics.py` reads the
released prototxts' attributes instead. Networks with dense layers are compared at the size that the reference's are
made for.
"""

from ..row import Row

TORCH = {"numerics": "torch"}
FULL, CIFAR = (224, 224, 3), (32, 32, 3)

ROWS = [
    Row("alexnet_owt", "torchvision:alexnet", FULL, slow=True),
    Row("zfnet", "pytorchcv:zfnet", FULL, slow=True),
    *(
        Row(f"vgg{depth}{bn}", f"torchvision:vgg{depth}{bn}", FULL, TORCH, {"init_weights": False}, slow=True)
        for depth in (11, 13, 16, 19)
        for bn in ("", "_bn")
    ),
    Row("vgg16", "keras:VGG16", CIFAR),
    Row("vgg19", "keras:VGG19", CIFAR, slow=True),
    Row("nin_cifar", "pytorchcv:nin_cifar10", CIFAR, TORCH),
    *(
        Row(f"densenet{depth}", f"torchvision:densenet{depth}", (64, 64, 3), TORCH, slow=depth > 121)
        for depth in (121, 161, 169, 201)
    ),
    *(Row(f"densenet{depth}", f"keras:DenseNet{depth}", (64, 64, 3), slow=True) for depth in (121, 169, 201)),
    Row("densenet264", "timm:densenet121", (64, 64, 3), TORCH, {"block_config": [6, 12, 64, 48]}, slow=True),
    Row("densenet_bc100_12", "pytorchcv:densenet100_k12_bc_cifar10", CIFAR, slow=True),
    Row("densenet_bc190_40", "pytorchcv:densenet190_k40_bc_cifar10", CIFAR, slow=True),
    Row("densenet_bc250_24", "pytorchcv:densenet250_k24_bc_cifar10", CIFAR, slow=True),
    Row("fractalnet20", "pytorchcv:fractalnet_cifar10", CIFAR),
    Row("squeezenet1_0", "torchvision:squeezenet1_0", (96, 96, 3), slow=True),
    Row("squeezenet1_1", "torchvision:squeezenet1_1", (96, 96, 3)),
]
