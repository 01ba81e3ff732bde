"""Inception v3 (Szegedy et al., 2016, arXiv 1512.00567, sections 7 and 8).

    keras-inception train IMAGENET/ --recipe inception_v3 --out runs/v3

Expected: 21.2 % top-1 and 5.6 % top-5 error from one crop (Table 3). Not run here.

RMSProp with decay 0.9 and epsilon 1; learning rate 0.045, times 0.94 every two epochs; gradients clipped at 2; label
smoothing 0.1; the average of the weights is evaluated. The paper trains 50 replicas asynchronously, with batches of 32
each; here there is one. Momentum, weight decay, the weight of the auxiliary loss and the momentum of the average are
TF-Slim's. (TensorFlow's RMSProp starts its mean square at 1, Keras' at 0: with an epsilon of 1 only the first steps
differ.)
"""

from ...data import Augmentation
from .recipe import Exponential, Recipe

INCEPTION_V3 = Recipe(
    model="inception_v3",
    options={"aux_heads": True, "dropout": 0.2},
    epochs=100,
    batch_size=32,
    optimizer="RMSprop",
    arguments={"rho": 0.9, "momentum": 0.9, "epsilon": 1.0},
    learning_rate=0.045,
    schedule=Exponential(0.94, every=2 / 100),
    weight_decay=4e-5,
    clip_norm=2.0,
    label_smoothing=0.1,
    aux_weight=0.4,
    ema=0.9999,
    augmentation=Augmentation(area=0.08, colour=1.0),
)

RECIPES = {"inception_v3": INCEPTION_V3}
