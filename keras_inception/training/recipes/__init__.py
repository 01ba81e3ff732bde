"""Training recipes as data: the defaults, and those of the papers, one file per paper (`train --recipe NAME`)."""

from __future__ import annotations

import difflib

from ...errors import InputError
from . import (
    bn_inception,
    defaults,
    densenet,
    fractalnet,
    googlenet,
    inception_v3,
    inception_v4,
    mobilenet,
    msdnet,
    nasnet,
    resnet,
    senet,
    shufflenet,
    stochastic_depth,
    wide_resnet,
)
from .defaults import FINE_TUNE, FROM_SCRATCH
from .recipe import Cosine, Exponential, Polynomial, Recipe, Steps

__all__ = ["FINE_TUNE", "FROM_SCRATCH", "RECIPES", "Cosine", "Exponential", "Polynomial", "Recipe", "Steps", "get"]

MODULES = (
    defaults,
    googlenet,
    bn_inception,
    inception_v3,
    inception_v4,
    resnet,
    wide_resnet,
    stochastic_depth,
    fractalnet,
    densenet,
    senet,
    mobilenet,
    shufflenet,
    nasnet,
    msdnet,
)
RECIPES: dict[str, Recipe] = {name: recipe for module in MODULES for name, recipe in module.RECIPES.items()}


def get(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        InputError: there is none; the message suggests similar names, or lists all.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(RECIPES)}"
        raise InputError(f"unknown recipe {name!r}: {hint}")
    return RECIPES[name]
