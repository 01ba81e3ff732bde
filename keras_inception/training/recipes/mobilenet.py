"""MobileNet v1 and v2 (Howard et al., 2017, arXiv 1704.04861, section 4; Sandler et al., 2018, 1801.04381, 6.1).

    keras-inception train IMAGENET/ --recipe mobilenet_v2 --out runs/v2

Expected top-1 accuracy: v1 70.6 % (Table 8), v2 72.0 % (Table 4). Not run here.

v1: as Inception v3, asynchronous RMSProp, "with less regularization": no label smoothing, no side heads, fewer small
crops, little or no weight decay on depthwise kernels. v2: RMSProp with momentum 0.9, 0.045 times 0.98 an epoch, batches
of 96 on each of 16 workers, asynchronously; here there is one. Epochs are not stated: so many that the rate ends at a
thousandth of its start, with v2's 0.98.
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
