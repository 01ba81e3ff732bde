"""MSDNet (Huang et al., 2018, arXiv 1703.09844, section 5 and appendix A).

    keras-inception train CIFAR10/ --recipe msdnet_cifar --out runs/msdnet
    keras-inception train IMAGENET/ --recipe msdnet --out runs/msdnet_imagenet

Expected: the paper plots accuracy over cost (Figures 4 to 8) and has no table. Not run here.

The losses of all exits have equal weight, and the trained network keeps all exits.
"""

from dataclasses import replace

from .densenet import DENSENET, DENSENET_CIFAR

RECIPES = {
    "msdnet_cifar": replace(DENSENET_CIFAR, model="msdnet_cifar"),
    "msdnet": replace(DENSENET, model="msdnet"),
}
