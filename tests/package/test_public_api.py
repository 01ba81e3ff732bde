"""What is public is listed, can be imported, and says what it is."""

import importlib
import inspect

import pytest

import keras_inception
import keras_inception.models
from keras_inception.registry import ARCHITECTURES

PUBLIC = ["keras_inception", "keras_inception.models", "keras_inception.export"]


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_there_once(name: str) -> None:
    module = importlib.import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    things = {public: getattr(module, public) for public in module.__all__}
    silent = [
        public
        for public, thing in things.items()
        if (callable(thing) or inspect.ismodule(thing)) and not (inspect.getdoc(thing) or "").strip()
    ]
    assert not silent


def test_every_builder_is_public() -> None:
    for architecture in ARCHITECTURES.values():
        for name in filter(None, (architecture.builder, architecture.alias)):
            for module in (keras_inception, keras_inception.models):
                assert name in module.__all__, f"{name} is not in {module.__name__}.__all__"
                assert getattr(module, name) is architecture.build


def test_models_lists_builders_and_nothing_else() -> None:
    builders = {name for a in ARCHITECTURES.values() for name in (a.builder, a.alias) if name}
    assert set(keras_inception.models.__all__) == builders
    assert builders < set(keras_inception.__all__)
