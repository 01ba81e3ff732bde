"""Squeeze-and-excitation networks (Hu et al., 2018, arXiv 1709.01507, section 5).

    keras-inception train IMAGENET/ --recipe senet --model seresnet50 --out runs/se50

Expected from one crop, top-1 error (Table 2): SE-ResNet-50 23.29 %, 101 22.38 %, 152 21.57 %, SE-ResNeXt-50 21.10 %.
Not run here. The weight decay is ResNet's; the paper does not state one.
"""

from ...data import Augmentation
from .recipe import Recipe, Steps

RECIPES = {
    "senet": Recipe(
        model="seresnet50",
        epochs=100,
        batch_size=1024,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.6,
        schedule=Steps((0.3, 0.6, 0.9)),
        weight_decay=1e-4,
        augmentation=Augmentation(area=0.08),
    ),
}
