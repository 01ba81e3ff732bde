"""Stochastic depth (Huang et al., 2016, arXiv 1603.09382, section 4).

    keras-inception train CIFAR10/ --recipe stochastic_depth --out runs/sd110
    keras-inception train CIFAR10/ --recipe stochastic_depth_1202 --out runs/sd1202

Expected on CIFAR-10, test error: 5.25 % with 110 layers, against 6.41 % at constant depth (Table 1); 4.91 % with 1202.
Not run here. The survival probability falls linearly from 1 to 0.5 at the last block.
"""

from dataclasses import replace

from .recipe import Steps
from .resnet import RESNET_CIFAR

STOCHASTIC_DEPTH = replace(
    RESNET_CIFAR,
    model="resnet110_sd",
    options={"stochastic_depth": 0.5},
    epochs=500,
    arguments={"momentum": 0.9, "nesterov": True},
)

RECIPES = {
    "stochastic_depth": STOCHASTIC_DEPTH,
    "stochastic_depth_1202": replace(
        STOCHASTIC_DEPTH, model="resnet1202_sd", epochs=300, schedule=Steps((0.5, 0.75), warmup=10 / 300)
    ),
}
