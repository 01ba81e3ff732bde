"""MobileNet v1 and v2 (Howard et al., 2017, arXiv 1704.04861, section 4; Sandler et al., 2018, 1801.04381, 6.1).

    keras-inception train IMAGENET/ --recipe mobilenet_v2 --out runs/v2

Expected top-1 accuracy: v1 70.6 % (Table 8), v2 72.0 % (Table 4). Not run here.

v1: asynchronous RMSProp as for Inception v3, with less regularisation: no label smoothing, no auxiliary heads, fewer
small crops, little or no weight decay on depthwise kernels. v2: RMSProp with momentum 0.9; learning rate 0.045, times
0.98 per epoch; batches of 96 on each of 16 asynchronous workers; here there is one. The epochs are not stated: with
v2's 0.98, these reduce the learning rate to a thousandth.
"""

from dataclasses import replace

from ...data import Augmentation
from .inception_v3 import INCEPTION_V3
from .recipe import Exponential

MOBILENET_V1 = replace(
    INCEPTION_V3,
    model="mobilenet_v1",
    options={},
    clip_norm=None,
    label_smoothing=0.0,
    decayed="kernels but depthwise",
    augmentation=Augmentation(area=0.25),
)
MOBILENET_V2 = replace(
    INCEPTION_V3,
    model="mobilenet_v2",
    options={"dropout": 0.2},
    epochs=340,
    batch_size=96,
    arguments={"rho": 0.9, "momentum": 0.9, "epsilon": 1.0},
    schedule=Exponential(0.98, every=1 / 340),
    clip_norm=None,
    label_smoothing=0.0,
    augmentation=Augmentation(area=0.08),
)

RECIPES = {"mobilenet_v1": MOBILENET_V1, "mobilenet_v2": MOBILENET_V2}
