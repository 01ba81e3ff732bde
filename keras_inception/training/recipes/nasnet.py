"""NASNet-A (Zoph et al., 2018, arXiv 1707.07012, appendix A.3).

    keras-inception train IMAGENET/ --recipe nasnet --out runs/nasnet
    keras-inception train IMAGENET/ --recipe nasnet_large --out runs/nasnet_large

Expected top-1 accuracy: mobile 74.0 %, large 82.7 % (Tables 2 and 3). Not run here.

The values are TF-Slim's for one replica. (TF-Slim has 50 synchronous replicas with batches of 32, or 100 with batches
of 16, and multiplies the learning rate by their number.) In the large network the probability of dropping paths grows
to 0.3 during the training. The epochs are not stated.
"""

from dataclasses import replace

from .inception_v3 import INCEPTION_V3
from .recipe import Exponential

NASNET = replace(
    INCEPTION_V3,
    model="nasnet_mobile",
    options={"aux_heads": True},
    learning_rate=0.04,
    schedule=Exponential(0.97, every=2.4 / 100),
    clip_norm=10.0,
)

RECIPES = {
    "nasnet": NASNET,
    "nasnet_large": replace(
        NASNET,
        model="nasnet_large",
        options={"aux_heads": True, "drop_path": 0.3},
        batch_size=16,
        learning_rate=0.015,
        weight_decay=5e-5,
    ),
}
