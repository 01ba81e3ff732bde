"""GoogLeNet (Szegedy et al., 2015, arXiv 1409.4842, section 6).

    keras-inception train IMAGENET/ --recipe googlenet --out runs/googlenet
    keras-inception evaluate runs/googlenet --crops 144

Expected: 10.07 % top-5 error from one crop of one network, 6.67 % from 144 crops of seven (Table 3). Not run here.

The paper does not state learning rate, epochs, batch size and weight decay: they are those of BVLC's quick solver (60
epochs, batches of 32). The paper trains asynchronously on several machines.
"""

from ...data import Augmentation
from .recipe import Exponential, Recipe

RECIPES = {
    "googlenet": Recipe(
        model="inception_v1",
        options={"aux_heads": True},
        epochs=60,
        batch_size=32,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.01,
        schedule=Exponential(0.96, every=8 / 60),
        weight_decay=2e-4,
        aux_weight=0.3,
        ema=0.9999,  # Polyak averaging; the paper does not state its momentum
        augmentation=Augmentation(area=0.08, colour=1.0),
    ),
}
