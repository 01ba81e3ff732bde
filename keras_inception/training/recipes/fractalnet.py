"""FractalNet (Larsson et al., 2017, arXiv 1605.07648, section 4).

    keras-inception train CIFAR10/ --recipe fractalnet --out runs/fractal

Expected on CIFAR-10 with shifts and mirroring: 4.60 % test error with drop-path and dropout (Table 1). Not run here.

The learning rate is divided by 10 whenever the remaining epochs have halved: four times here.
"""

from ...data import Shift
from .recipe import Recipe, Steps

RECIPES = {
    "fractalnet": Recipe(
        model="fractalnet20",
        options={"drop_path": 0.15, "global_drop_path": 0.5, "dropout": 0.4},
        epochs=400,
        batch_size=100,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.02,
        schedule=Steps((1 / 2, 3 / 4, 7 / 8, 15 / 16)),
        augmentation=Shift(pixels=4),
        crop=1.0,
    ),
}
