"""Inception v4 and the Inception-ResNets (Szegedy et al., 2017, arXiv 1602.07261, section 4).

    keras-inception train IMAGENET/ --recipe inception_v4 --out runs/v4
    keras-inception train IMAGENET/ --recipe inception_v4 --model inception_resnet_v2 --out runs/ir2

Expected from one crop, top-1 and top-5 error (Table 2): Inception-ResNet v1 21.3 and 5.5 %, v2 19.9 and 4.9 %,
Inception v4 20.0 and 5.0 %. Not run here.

Learning rate, decay and epsilon are Inception v3's, as the paper states. What it does not state is Inception v3's too.
"""

from dataclasses import replace

from .inception_v3 import INCEPTION_V3

RECIPES = {"inception_v4": replace(INCEPTION_V3, model="inception_v4", options={"aux_heads": True})}
