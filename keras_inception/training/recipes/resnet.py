"""ResNet (He et al., 2016, arXiv 1512.03385, sections 3.4 and 4.2).

    keras-inception train CIFAR10/ --recipe resnet_cifar --out runs/resnet20
    keras-inception train IMAGENET/ --recipe resnet --model resnet50 --out runs/resnet50

Expected on CIFAR-10 (Table 6), test error: ResNet-20 8.75 %, 32 7.51 %, 44 7.17 %, 56 6.97 %, 110 6.43 %; on ImageNet
(Table 3, ten crops), top-1: ResNet-50 22.85 %, 101 21.75 %, 152 21.43 %. Not run here in full.

CIFAR-10: 64,000 steps with batches of 128; the learning rate is divided by 10 at 32,000 and 48,000. This is 164 epochs
of the paper's 45,000 images. ImageNet: the paper divides the rate when the error plateaus, within 600,000 steps; every
30 of 90 epochs is from fb.resnet.torch. The paper decays every variable. Images are scaled to -1..1; the paper
subtracts the mean image.
"""

from ...data import Augmentation, Shift
from .recipe import Recipe, Steps

RESNET_CIFAR = Recipe(
    model="resnet20",
    epochs=164,
    batch_size=128,
    optimizer="SGD",
    arguments={"momentum": 0.9},
    learning_rate=0.1,
    schedule=Steps((0.5, 0.75)),
    weight_decay=1e-4,
    decayed="all",
    augmentation=Shift(pixels=4),
    crop=1.0,
)

RECIPES = {
    "resnet_cifar": RESNET_CIFAR,
    "resnet": Recipe(
        model="resnet50",
        epochs=90,
        batch_size=256,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.1,
        schedule=Steps((30 / 90, 60 / 90)),
        weight_decay=1e-4,
        decayed="all",
        augmentation=Augmentation(area=0.08, colour=1.0),
    ),
}
