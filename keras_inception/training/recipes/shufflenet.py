"""ShuffleNet v1 and v2 (Zhang et al., 2018, arXiv 1707.01083, section 4; Ma et al., 2018, arXiv 1807.11164, section 4).

    keras-inception train IMAGENET/ --recipe shufflenet --model shufflenet_v2 --out runs/shuffle

Expected top-1 error: v1 1x with 3 groups 32.6 % (Table 2), v2 1x 30.6 % (Table 8). Not run here.

300,000 steps with batches of 1024, a learning rate that falls linearly from 0.5 to 0, and weaker scale augmentation
than Inception's. The authors' released training uses label smoothing of 0.1.
"""

from ...data import Augmentation
from .recipe import Polynomial, Recipe

RECIPES = {
    "shufflenet": Recipe(
        model="shufflenet_v1",
        epochs=240,
        batch_size=1024,
        optimizer="SGD",
        arguments={"momentum": 0.9},
        learning_rate=0.5,
        schedule=Polynomial(),
        weight_decay=4e-5,
        label_smoothing=0.1,
        augmentation=Augmentation(area=0.25),
    ),
}
