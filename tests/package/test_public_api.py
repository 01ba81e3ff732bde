"""What is public is listed, can be imported, and has a docstring."""

import importlib
import importlib.metadata
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


def test_names_that_users_look_for_are_public() -> None:
    assert callable(keras_inception.train)
    assert callable(keras_inception.evaluate)
    assert callable(keras_inception.load_folder)
    assert inspect.ismodule(keras_inception.recipes)
    assert keras_inception.__version__ == importlib.metadata.version("keras-inception")
    assert {"train", "evaluate", "load_folder", "recipes", "__version__"} <= set(keras_inception.__all__)
    assert set(keras_inception.__all__) <= set(dir(keras_inception))
    assert {"data", "layers", "training", "weights"} <= set(dir(keras_inception))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("InceptionV33", "module 'keras_inception' has no attribute 'InceptionV33'; did you mean 'InceptionV3'?"),
        ("trian", "module 'keras_inception' has no attribute 'trian'; did you mean 'train'?"),
        ("zzzzzz", "module 'keras_inception' has no attribute 'zzzzzz'"),
    ],
)
def test_a_wrong_name_is_an_error_of_this_module(name: str, message: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(keras_inception, name)
    assert str(caught.value) == message


def test_a_public_name_is_looked_up_once() -> None:
    vars(keras_inception).pop("LeNet5", None)
    assert vars(keras_inception).get("LeNet5") is None
    assert keras_inception.LeNet5 is vars(keras_inception)["LeNet5"]
