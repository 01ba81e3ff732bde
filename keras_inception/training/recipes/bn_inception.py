"""BN-Inception (Ioffe and Szegedy, 2015, arXiv 1502.03167, section 4.2.2: BN-x30).

    keras-inception train IMAGENET/ --recipe bn_inception --out runs/bn

Expected: 74.8 % top-1 after 6 million steps (Figure 3). Not run here.

The learning rate is 30 times Inception's, and decays six times as fast as its 4 % every eight epochs. There is no
dropout, and "less" photometric distortion than in Inception: half of it here. The weight decay is TF-Slim's 4e-5; the
paper divides an unstated value by five.
"""

from ...data import Augmentation
from .recipe import Exponential, Recipe

RECIPES = {
    "bn_inception": Recipe(
        model="inception_v2",
        epochs=150,  # of 1.28 million images in batches of 32: 6 million steps
        batch_size=32,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.045,
        schedule=Exponential(0.96, every=8 / 6 / 150),
        weight_decay=4e-5,
        augmentation=Augmentation(area=0.08, colour=0.5),
    ),
}
