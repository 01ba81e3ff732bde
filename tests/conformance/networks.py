"""The networks that a property is tested on, as parameters for `pytest`.

A property of the graph alone is tested on all of them, on a blueprint, which has no weights. A property that needs
weights is tested on small networks that have each kind of layer, and under the marker `slow` on the others.
"""

from dataclasses import replace
from functools import partial

import pytest

import keras_inception.models  # noqa: F401  (the families enter their networks)
from keras_inception.registry import ARCHITECTURES, Architecture

SLOW_TO_BUILD = {"resnet1202_sd"}  # 4,813 layers: 45 s
# Hundreds of layers or a hundred million parameters, and blocks that a smaller network or a test of its own has.
SLOW_TO_RUN = SLOW_TO_BUILD | {
    "fractalnet40",
    "inception_resnet_v1",
    "inception_resnet_v2",
    "inception_v4",
    "msdnet",
    "msdnet_cifar",
    "msdnet_cifar_budget",
    "nasnet_large",
    "nasnet_mobile",
    "resnet110_v2",
    "resnet164_v2",
    "se_inception_resnet_v2",
    "senet154",
    "wide_resnet40_4",
}

# Small ones, with every kind of layer and of graph but NASNet's and MSDNet's: subsampling, local response norms,
# branches, sums with padded channels, concatenations, joins, groups and a shuffle, depthwise convolutions.
QUICK = {
    "lenet5",
    "alexnet_owt",
    "inception_v1_bn",
    "resnet20",
    "densenet40_12",
    "fractalnet20",
    "shufflenet_v1",
    "mobilenet_v2",
}


def _cheapest_of_each_family() -> set[str]:
    """A family is a file of models/."""
    candidates = [a for a in ARCHITECTURES.values() if a.name not in SLOW_TO_RUN]
    by_cost = sorted(candidates, key=lambda a: (a.macs or float("inf"), a.name), reverse=True)
    return {a.name for a in {a.backbone.__module__: a for a in by_cost}.values()}


def _parameters(slow: set[str], networks: list[Architecture]) -> list:
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(a, id=a.name, marks=marks[a.name in slow]) for a in networks]


def _single(architecture: Architecture) -> Architecture:
    """The architecture; if it has early exits, one that builds it with its last exit only."""
    build = partial(architecture.build, exits=False)
    return replace(architecture, build=build) if architecture.exits else architecture


NETWORKS = list(ARCHITECTURES.values())
EVERY = _parameters(SLOW_TO_BUILD, NETWORKS)
WEIGHTED = _parameters(set(ARCHITECTURES) - QUICK, list(map(_single, NETWORKS)))
EXPORTED = _parameters(set(ARCHITECTURES) - {"lenet5"}, list(map(_single, NETWORKS)))
WITH_AUX_HEADS = _parameters(SLOW_TO_RUN, [a for a in NETWORKS if a.aux_heads])


# What is in the file of another family, or slow.
FURTHER = (
    *("resnet110_sd", "msdnet_cifar", "inception_v3", "resnext50_32x4d", "seresnet50", "inception_v4"),
    *("inception_resnet_v2", "senet154"),
)


def _variants() -> dict[str, Architecture]:
    """Every variant for phones, as "mobilenet_v1 alpha=0.25", and at least one network of every other family."""
    mobile = {
        "mobilenet_v1": ("alpha", (0.25, 0.5, 0.75, 1.0)),
        "mobilenet_v2": ("alpha", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
        "shufflenet_v1": ("groups", (1, 2, 3, 4, 8)),
        "shufflenet_v2": ("scale", (0.5, 1.0, 1.5, 2.0)),
        "squeezenet1_0": (None, ()),
        "squeezenet1_1": (None, ()),
        "nasnet_mobile": (None, ()),
    }
    found = {}
    for name, (argument, values) in mobile.items():
        own = ARCHITECTURES[name]
        for value in values:
            label = f"{name} {argument}={value}"
            found[label] = replace(own, name=label, build=partial(own.build, **{argument: value}))
        if argument is None:
            found[name] = own
    others = [_single(own) for own in NETWORKS if own.name in {*_cheapest_of_each_family(), *FURTHER}]
    return found | {other.name: other for other in others if other.name not in mobile}


FOR_PHONES = _variants()


def smallest_shape(architecture: Architecture) -> tuple[int, int, int]:
    """The smallest legal input."""
    return architecture.smallest, architecture.smallest, architecture.input_shape[-1]
