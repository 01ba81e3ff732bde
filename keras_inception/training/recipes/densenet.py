"""DenseNet (Huang et al., 2017, arXiv 1608.06993, section 4.2).

    keras-inception train CIFAR10/ --recipe densenet_cifar --out runs/densenet40
    keras-inception train IMAGENET/ --recipe densenet --model densenet121 --out runs/densenet121

Expected on CIFAR-10, test error (Table 2): DenseNet-40-12 5.24 %, 100-12 4.10 %, 100-24 3.74 %, BC-100-12 4.51 %,
BC-250-24 3.62 %, BC-190-40 3.46 %. On ImageNet, one crop, top-1 (Table 3): 121 25.02 %, 169 23.80 %, 201 22.58 %.
Not run here.
"""

from dataclasses import replace

from ...data import Augmentation, Shift
from .recipe import Recipe, Steps

DENSENET_CIFAR = Recipe(
    model="densenet40_12",
    epochs=300,
    batch_size=64,
    optimizer="SGD",
    arguments={"momentum": 0.9, "nesterov": True},
    learning_rate=0.1,
    schedule=Steps((0.5, 0.75)),
    weight_decay=1e-4,
    decayed="all",
    augmentation=Shift(pixels=4),
    crop=1.0,
)
DENSENET = replace(
    DENSENET_CIFAR,
    model="densenet121",
    epochs=90,
    batch_size=256,
    schedule=Steps((30 / 90, 60 / 90)),
    augmentation=Augmentation(area=0.08, colour=1.0),
    crop=None,
)

RECIPES = {"densenet_cifar": DENSENET_CIFAR, "densenet": DENSENET}
