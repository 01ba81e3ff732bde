"""The dictionary of networks, its names, and what its builders refuse."""

import inspect
import re
import sys
from pathlib import Path

import keras
import pytest

import keras_inception as ki
from keras_inception import InputError, create_model, list_models, model_info
from keras_inception.builder import register
from keras_inception.layers import TF, Numerics, Pool, Tensor, chain, deep_graph
from keras_inception.registry import ARCHITECTURES, Architecture, Backbone, Paper, get

KERAS = ["weights", "include_top", "input_shape", "input_tensor", "pooling", "classes", "classifier_activation", "name"]
COMMON = [*KERAS, "numerics"]

every = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)


@every
def test_a_network_has_one_name_in_two_spellings(architecture: Architecture) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", architecture.name)
    assert get(architecture.name) is get(architecture.builder) is architecture
    assert architecture.builder.lower() == architecture.name.replace("_", "") or "_" in architecture.builder
    if architecture.alias:
        assert get(architecture.alias) is architecture


@every
def test_a_builder_documents_its_arguments(architecture: Architecture) -> None:
    builder = getattr(ki, architecture.builder)
    signature = inspect.signature(builder)
    assert list(signature.parameters) == [*COMMON, *architecture.own]
    assert {parameter.kind for parameter in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert signature.parameters["classes"].default == architecture.classes
    assert signature.parameters["weights"].default is None
    text = inspect.getdoc(builder)
    assert text is not None
    for told in (architecture.paper.title, architecture.paper.url, str(architecture.paper.year), "InputError"):
        assert told in text


@every
def test_its_paper_can_be_found(architecture: Architecture) -> None:
    paper = architecture.paper
    assert re.fullmatch(r"https://\S+", paper.url)
    assert 1989 <= paper.year <= 2020
    assert paper.title
    assert paper.authors


@every
def test_images_are_prepared_for_its_input(architecture: Architecture) -> None:
    assert architecture.preprocessing_for().input_shape == architecture.input_shape
    assert architecture.preprocessing_for((64, 48, 1)).input_shape == (64, 48, 1)
    assert architecture.smallest <= min(architecture.input_shape[:2])


@pytest.mark.parametrize("name", ["inception_v3", "InceptionV3", "inceptionv3", "INCEPTION-V3", "Inception_v3"])
def test_spellings(name: str) -> None:
    assert get(name).name == "inception_v3"
    assert model_info(name) is get(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("inception_v33", "inception_v3"), ("mobilnet_v2", "mobilenet_v2"), ("LeNet", "lenet5")],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"unknown model '{name}': did you mean .*{hint}") as caught:
        get(name)
    assert "\n" not in str(caught.value)


def test_a_name_like_nothing_here() -> None:
    with pytest.raises(InputError, match="`keras-inception models` lists them"):
        create_model("zzzzzzzzzzzz")


def test_list_models() -> None:
    assert list_models() == sorted(ARCHITECTURES)
    assert list_models("inception*") == [name for name in sorted(ARCHITECTURES) if name.startswith("inception")]
    assert "lenet5" in list_models("*net5")
    assert list_models("nothing*") == []
    assert list_models(pretrained=True) == [name for name in sorted(ARCHITECTURES) if get(name).weights]
    assert "inception_v3" in list_models("inception*", pretrained=True)


@every
def test_published_weights_are_of_networks_that_it_builds(architecture: Architecture) -> None:
    for checkpoint in architecture.weights:
        source = architecture.source(checkpoint.tag, {})
        assert source.checkpoint is checkpoint
        assert set(source.arguments) <= {*COMMON, *architecture.own}
        assert source.arguments["numerics"] in architecture.numerics
        assert architecture.preprocessing_for(source.input_shape).size == checkpoint.preprocessing.size


def _described(builder: str, name: str, backbone: Backbone = lambda x: Pool("max")(x, name="pool")) -> None:
    paper = Paper(title="A Test", authors="Nobody", year=2000, url="https://example.org")
    options = {"input_shape": (8, 8, 1), "smallest": 1, "parameters": None, "macs": None}
    register(builder, name, backbone, paper=paper, **options)  # type: ignore[arg-type]


def test_a_name_is_registered_once() -> None:
    before = dict(ARCHITECTURES)
    with pytest.raises(ValueError, match=r"'lenet5' is registered already, by keras_inception\.models\.lenet"):
        _described("Other", "lenet5")
    assert before == ARCHITECTURES


def test_registering_makes_a_builder() -> None:
    _described("Tiny", "tiny")
    try:
        assert create_model("Tiny", classes=3).output_shape == (None, 3)
    finally:
        ARCHITECTURES.pop("tiny")


# ------------------------------------------------------------------------------------------------- arguments refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (8, 32, 1)}, "input_shape: LeNet5 takes images of at least 16 x 16 pixels; got 8 x 32"),
        ({"input_tensor": keras.Input((8, 32, 1))}, "input_tensor: LeNet5 takes images of at least 16 x 16 pixels"),
        ({"input_tensor": keras.Input((32, 32))}, "input_tensor must be N x H x W x C, with a known C; got"),
        ({"weights": "nowhere.weights.h5"}, "nowhere.weights.h5"),
        ({"weights": "model.pt"}, "no weights file at model.pt"),
        ({"weights": "model.onnx"}, "'imagenet', a tag, .* got 'model.onnx'"),
        ({"weights": "imagenet"}, "lenet5 has no weights .imagenet.: It has .caffe_mnist."),
    ],
)
def test_an_argument_that_is_not_allowed(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ki.LeNet5(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_suggests_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"LeNet5\(\) got an unexpected keyword argument 'clases'; .* 'classes'\?"):
        ki.LeNet5(clases=10)
    with pytest.raises(TypeError, match=r"'zzz'; it takes weights, .*classes"):
        ki.LeNet5(zzz=10)
    with pytest.raises(TypeError):
        ki.LeNet5(None)  # everything is keyword-only


def test_auxiliary_heads_are_offered_where_there_are_some() -> None:
    for architecture in ARCHITECTURES.values():
        assert ("aux_heads" in architecture.own) == bool(architecture.aux_heads)
        assert architecture.own.get("aux_heads", False) is False


# -------------------------------------------------------------------------------------------------------- the builder


def test_numerics_of_ones_own() -> None:
    model = ki.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, numerics=Numerics(epsilon=0.5))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in norms} == {0.5}
    assert ki.MobileNetV2.__module__ == "keras_inception.models.mobilenet_v2"


def test_the_first_numerics_is_the_default() -> None:
    for architecture in ARCHITECTURES.values():
        default = inspect.signature(architecture.build).parameters["numerics"].default
        assert default == next(iter(architecture.numerics))
    assert get("lenet5").numerics == {"tf": TF}


def test_a_network_deeper_than_the_recursion_limit_is_built_and_the_limit_stays() -> None:
    """Keras wires a model by recursion, a frame for each layer."""
    assert sys.getrecursionlimit() < 20_000  # importing the models has not changed it

    def backbone(x: Tensor) -> Tensor:
        return chain(x, [Pool("max", 1)] * 300, name="x")

    _described("Deep", "deep", backbone)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        model = create_model("deep")
        assert sys.getrecursionlimit() < before
        with pytest.raises(RecursionError):
            keras.Model(model.inputs, model.outputs)
        with deep_graph():
            assert len(keras.Model(model.inputs, model.outputs).layers) > 300
    finally:
        sys.setrecursionlimit(before)
        ARCHITECTURES.pop("deep")


def test_weights_from_a_file(tmp_path: Path) -> None:
    one = ki.LeNet5()
    one.save_weights(tmp_path / "one.weights.h5")
    other = ki.LeNet5(weights=tmp_path / "one.weights.h5")
    x = keras.random.uniform((2, 32, 32, 1))
    assert keras.ops.max(keras.ops.abs(one(x) - other(x))) == 0
