"""Which output is the main one, what the others are called, what makes them: for our networks and for others'."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError
from keras_inception.outputs import (
    auxiliary_names,
    backbone_of,
    by_name,
    classifier_of,
    classifiers,
    exit_names,
    exits_among,
    is_auxiliary,
    is_exit,
    main_network,
    main_output,
    outputs_of,
    without_auxiliary,
)


def head(x, name):
    logits = layers.Dense(3, name="logits" if name == "predictions" else f"{name}_logits")(x)
    return layers.Softmax(name=name)(logits)


def network(*others: str) -> keras.Model:
    """A network of this package: the main output and such others."""
    image = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(5, 3, name="conv")(image))
    outputs = {name: head(x, name) for name in [*others, "predictions"]}
    outputs["predictions"] = head(layers.Dropout(0.5, name="dropout")(x), "predictions")
    return keras.Model(image, outputs if others else outputs["predictions"], name="net")


def elsewhere(count: int = 1) -> keras.Model:
    """A functional model with a list of outputs, or one."""
    image = keras.Input((4, 4, 3))
    x = layers.Flatten(name="flat")(image)
    outputs = [layers.Dense(3, activation="softmax", name=f"dense_{i}")(x) for i in range(count)]
    return keras.Model(image, outputs if count > 1 else outputs[0], name="theirs")


def sequential() -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Flatten(), layers.Dropout(0.1), layers.Dense(3)], name="seq"
    )


def nested() -> keras.Model:
    """A head on a model, as transfer learning on keras.applications has it."""
    base = keras.Model(image := keras.Input((4, 4, 3)), layers.Flatten()(image), name="base")
    x = keras.Input((4, 4, 3))
    return keras.Model(x, layers.Dense(3, name="own")(base(x)), name="transfer")


def test_names() -> None:
    assert [name for name in ("aux_1", "aux_10", "aux_0", "aux", "auxiliary_1", "exit_1") if is_auxiliary(name)] == [
        "aux_1",
        "aux_10",
    ]
    assert [name for name in ("exit_1", "exit_01", "exit_", "exits_1", "aux_1", "exit_1\n") if is_exit(name)] == [
        "exit_1"
    ]
    assert exits_among(["exit_10", "predictions", "exit_2", "serving_default"]) == ("exit_2", "exit_10")


def test_what_a_model_returns_by_name() -> None:
    assert by_name(1) == by_name([1]) == by_name({"predictions": 1}) == {"predictions": 1}
    assert by_name([1, 2], ["a", "b"]) == {"a": 1, "b": 2}
    assert (
        list(outputs_of(network()))
        == list(outputs_of(sequential()))
        == list(outputs_of(elsewhere()))
        == ["predictions"]
    )
    assert list(outputs_of(elsewhere(2))) == ["dense_0", "dense_1"]


def test_the_main_output_and_the_others() -> None:
    model = network("aux_2", "aux_1", "exit_10", "exit_2")
    assert main_output(model) is model.output["predictions"]
    assert auxiliary_names(model) == ("aux_1", "aux_2")
    assert exit_names(model) == ("exit_2", "exit_10")
    for single in (network(), elsewhere(), sequential(), nested()):
        assert main_output(single) is single.outputs[0]
        assert auxiliary_names(single) == exit_names(single) == ()


@pytest.mark.parametrize("build", [lambda: network("aux_1", "exit_1"), network, elsewhere, sequential, nested])
def test_the_network_of_the_main_output(build) -> None:
    model, x = build(), np.ones((2, 4, 4, 3), "float32")
    alone = main_network(model)
    assert (alone is model) == (len(model.outputs) == 1)
    np.testing.assert_array_equal(alone(x), by_name(model(x))["predictions"])


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        (["aux_1"], None),
        (["aux_1", "exit_1"], {"exit_1", "predictions"}),
        (["exit_1"], {"exit_1", "predictions"}),
        (["aux_1", "features"], {"aux_1", "features", "predictions"}),  # not named by our convention
    ],
)
def test_inference_needs_no_auxiliary_heads(others, kept) -> None:
    output = without_auxiliary(network(*others)).output
    assert (set(output) if isinstance(output, dict) else None) == kept


def test_the_classifier_of_each_output() -> None:
    model = network("aux_1")
    assert {layer.name for layer in classifiers(model)} == {"logits", "aux_1_logits"}
    assert classifiers(keras.Model(model.input, model.get_layer("pool").output)) == []  # no top
    assert classifier_of(elsewhere().output).name == "dense_0"
    assert classifier_of(nested().output).name == "own"


def test_the_backbone() -> None:
    model = network("aux_1", "exit_1")
    backbone = backbone_of(model)
    assert backbone.name == "net_backbone"
    assert [layer.name for layer in backbone.layers[1:]] == ["conv", "pool"]
    assert backbone.get_layer("conv") is model.get_layer("conv")
    assert backbone_of(elsewhere()).output_shape == backbone_of(sequential()).output_shape == (None, 48)
    assert backbone_of(nested()).layers[-1].name == "base"


class Subclassed(keras.Model):
    def call(self, x):
        return x


def weightless() -> keras.Model:
    return keras.Model(image := keras.Input((4,)), layers.Softmax(name="predictions")(image), name="empty")


def head_within() -> keras.Model:
    top = keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="top")
    return keras.Model(x := keras.Input((4,)), top(x), name="net")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: main_output(elsewhere(2)), "theirs has 2 outputs .dense_0, dense_1. and none is called predictions"),
        (lambda: outputs_of(Subclassed(name="own")), "own .Subclassed. is not a functional model"),
        (lambda: outputs_of(keras.Sequential(name="unbuilt")), "unbuilt .Sequential. is not a functional model"),
        (lambda: backbone_of(weightless()), "the output predictions has no classifier"),
        (lambda: backbone_of(head_within()), "the classifier of net is in the model 'top'"),
    ],
)
def test_what_does_not_follow_the_convention_says_so(call, says) -> None:
    with pytest.raises(InputError, match=says):
        call()
