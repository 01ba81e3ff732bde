"""Which networks a property is tested on, as parameters for `pytest`.

A property of the graph alone is tested on all of them, on a blueprint, which has no weights. A property that needs
weights is tested on the cheapest network of each family, and under the marker `slow` on the others.
"""

from dataclasses import replace
from functools import partial

import pytest

import keras_inception  # noqa: F401  registers every network
from keras_inception.registry import ARCHITECTURES, Architecture

SLOW_TO_BUILD = {
    "resnet1202_sd",  # 4,813 layers: 45 s
}
SLOW_TO_RUN = {
    "senet154",  # 115 million parameters, and its blocks are those of other families
}


def _family(architecture: Architecture) -> str:
    return architecture.body.__module__


def _cost(architecture: Architecture) -> tuple[float, str]:
    return architecture.macs or float("inf"), architecture.name


_by_cost = sorted(ARCHITECTURES.values(), key=_cost, reverse=True)
CHEAPEST = {a.name for a in {_family(a): a for a in _by_cost}.values()} - SLOW_TO_RUN - SLOW_TO_BUILD


def _parameters(slow: set[str], networks: list[Architecture]) -> list:
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(a, id=a.name, marks=marks[a.name in slow]) for a in networks]


def _single(architecture: Architecture) -> Architecture:
    """The architecture, or where it has early exits the one of the same name that builds it with its last exit only."""
    build = partial(architecture.build, exits=False)
    return replace(architecture, build=build) if architecture.exits else architecture


EVERY = _parameters(SLOW_TO_BUILD, list(ARCHITECTURES.values()))
ONE_A_FAMILY = _parameters(set(ARCHITECTURES) - CHEAPEST, list(map(_single, ARCHITECTURES.values())))
WITH_AUX_HEADS = [p for p in EVERY if p.values[0].aux_heads]


def smallest_shape(architecture: Architecture) -> tuple[int, int, int]:
    """The smallest legal input."""
    return architecture.smallest, architecture.smallest, architecture.input_shape[-1]
