"""Wide ResNet (Zagoruyko and Komodakis, 2016, arXiv 1605.07146, section 3.5).

    keras-inception train CIFAR10/ --recipe wide_resnet --out runs/wrn

Expected on CIFAR-10, test error: WRN-40-4 4.53 %, WRN-16-8 4.27 %, WRN-28-10 4.00 % (Table 5). Not run here.
"""

from dataclasses import replace

from .recipe import Steps
from .resnet import RESNET_CIFAR

RECIPES = {
    "wide_resnet": replace(
        RESNET_CIFAR,
        model="wide_resnet28_10",
        epochs=200,
        arguments={"momentum": 0.9, "nesterov": True},
        schedule=Steps((60 / 200, 120 / 200, 160 / 200), factor=0.2),
        weight_decay=5e-4,
    ),
}
