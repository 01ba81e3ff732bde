"""Published weights in a network, and in one for another task: what is kept, adapted and initialised anew."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_inception as ki
from keras_inception import InputError, cli, facts
from keras_inception.analysis.table import checkpoint_rows
from keras_inception.cli import networks
from keras_inception.data import from_arrays
from keras_inception.layers import TF, TORCH
from keras_inception.outputs import classifiers, main_network
from keras_inception.registry import get
from keras_inception.training.train import train
from keras_inception.weights import (
    Checkpoint,
    Weights,
    WeightsSource,
    checkpoint_of,
    checkpoints,
    choose,
    fit_classes,
    imagenet_labels,
)
from keras_inception.weights.transfer import (
    CLASSIFIER,
    adapter,
    first_convolutions,
    reinitialise_classifiers,
)

from ..conftest import Network
from ..server import Server
from .conftest import Publish, images
from .files import randomize, torch_names

SIZE = (64, 64, 3)


def squeezenet(**arguments: Any) -> keras.Model:
    return ki.SqueezeNet1_1(**{"input_shape": SIZE, "classifier_activation": None} | arguments)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return randomize(squeezenet())


@pytest.fixture
def checkpoint(trained: keras.Model, publish: Publish) -> Checkpoint:
    return publish(trained, "squeezenet1_1", "tv_in1k", top1=58.2)


def weighted(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights]


def different(one: keras.Model, other: keras.Model) -> set[str]:
    return set(weighted(one)) - set(same(one, other))


def same(one: keras.Model, other: keras.Model) -> list[str]:
    """The names of the layers with equal weights."""
    theirs = {layer.name: layer.get_weights() for layer in other.layers}
    return [
        layer.name
        for layer in one.layers
        if layer.weights and all(map(np.array_equal, layer.get_weights(), theirs.get(layer.name, [[]])))
    ]


# ------------------------------------------------------------------------------------------------- what `weights` takes


def test_a_tag_makes_the_network_of_the_publisher(checkpoint: Checkpoint, trained: keras.Model, server: Server) -> None:
    model = ki.SqueezeNet1_1(weights="tv_in1k", classifier_activation=None)
    assert model.input_shape == trained.input_shape
    x = images(2, *SIZE)
    np.testing.assert_array_equal(model(x), trained(x))
    assert checkpoint_of(model) is checkpoint
    assert len(server.asked) == 1


def test_every_way_to_name_it(checkpoint: Checkpoint, trained: keras.Model, home: Path, tmp_path: Path) -> None:
    squeezenet(weights="imagenet")
    cached = home / "squeezenet1_1.tv_in1k.safetensors"
    anywhere = tmp_path / "downloaded.safetensors"
    anywhere.write_bytes(cached.read_bytes())
    for weights in ("imagenet", checkpoint, cached, str(cached), anywhere):
        model = squeezenet(weights=weights)
        assert same(model, trained) == weighted(trained)
        assert checkpoint_of(model) is checkpoint


def chosen(weights: Weights, network: str = "shufflenet_v2", **arguments: Any) -> WeightsSource:
    """The source that a builder chooses for its arguments."""
    about = ki.model_info(network)
    return choose(network, weights, arguments, own=about.own, numerics=about.numerics)


def test_the_first_that_fits_is_imagenet(publish: Publish) -> None:
    large = ki.Preprocessing(size=(96, 96))
    publish(None, "shufflenet_v2", "cifar", dataset="cifar10", classes=10)
    publish(None, "shufflenet_v2", "one")
    publish(None, "shufflenet_v2", "one_tf", numerics="tf")
    publish(None, "shufflenet_v2", "half", kwargs={"scale": 0.5})
    publish(None, "shufflenet_v2", "half_large", kwargs={"scale": 0.5}, preprocessing=large)

    def tag(**arguments: Any) -> str | None:
        checkpoint = chosen("imagenet", **arguments).checkpoint
        return checkpoint and checkpoint.tag

    assert tag() == "one"
    assert tag(numerics="tf") == "one_tf"
    assert tag(scale=0.5) == "half"
    assert tag(scale=0.5, input_shape=(80, 80, 3)) == "half"
    assert tag(scale=0.5, input_shape=(96, 96, 3)) == "half_large"
    with pytest.raises(
        InputError, match=r"one was trained with scale=1\.0; got 1\.5: leave scale out, or choose other"
    ):
        tag(scale=1.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"numerics": "tf"}, "trained with numerics='torch'; got 'tf': leave numerics out"),
        ({"numerics": TF}, "trained with numerics='torch'; got Numerics"),
        ({"scale": 1.0}, r"trained with scale=0\.5; got 1\.0: leave scale out"),
    ],
)
def test_another_network_than_it_was_trained_in(publish: Publish, server: Server, arguments: dict, says: str) -> None:
    half = publish(None, "shufflenet_v2", "half_in1k", kwargs={"scale": 0.5})
    for weights in ("half_in1k", half):
        with pytest.raises(InputError, match=f"shufflenet_v2.half_in1k was {says}") as caught:
            ki.ShuffleNetV2(weights=weights, **arguments)
        assert "\n" not in str(caught.value)
    assert not server.asked  # before anything is downloaded


def test_the_same_arguments_given_again(publish: Publish) -> None:
    half = publish(None, "shufflenet_v2", "half_in1k", kwargs={"scale": 0.5})
    for numerics in ("torch", TORCH):
        source = chosen("half_in1k", scale=0.5, numerics=numerics, classes=10, input_shape=SIZE)
        assert source.checkpoint is half
    assert source.arguments == {"scale": 0.5, "numerics": "torch", "classes": 1000}
    assert source.input_shape == SIZE


def test_a_file_of_ones_own_in_a_published_layout(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine, path = randomize(squeezenet(classes=7)), tmp_path / "mine.safetensors"
    mine.get_layer("conv10_conv").bias.assign(np.arange(7.0))
    save_file(torch_names(mine, "squeezenet1_1"), path)
    x = images(1, *SIZE)
    np.testing.assert_array_equal(squeezenet(weights=path, classes=7)(x), mine(x))
    assert not capsys.readouterr().err  # there is only one checkpoint, so there is no doubt
    source = chosen(path, "squeezenet1_1", numerics=TF)  # the owner of the file knows better
    assert source.checkpoint is checkpoint
    assert not source.exact


def test_an_unknown_file_is_treated_as_a_checkpoint_and_reported(
    trained: keras.Model, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    publish(trained, "squeezenet1_1", "a")
    publish(trained, "squeezenet1_1", "b", preprocessing=ki.Preprocessing(size=(64, 64)))
    changed = torch_names(trained, "squeezenet1_1") | {"classifier.1.bias": np.ones(1000, np.float32)}
    save_file(changed, tmp_path / "mine.safetensors")
    assert checkpoint_of(squeezenet(weights=tmp_path / "mine.safetensors")).tag == "a"
    assert (
        "mine.safetensors is not a known file; treated as squeezenet1_1.a: numerics 'torch'" in capsys.readouterr().err
    )


def test_what_is_published_is_listed(checkpoint: Checkpoint) -> None:
    assert ki.list_models(pretrained=True) == ["squeezenet1_1"]
    assert ki.list_models("inception*", pretrained=True) == []
    assert ki.model_info("SqueezeNet1_1").weights == checkpoints("squeezenet1_1") == (checkpoint,)


def test_the_command_line_lists_it(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    published = {name: record | {"weights": checkpoint_rows(get(name))} for name, record in facts.facts().items()}
    for reader in (facts, networks):
        monkeypatch.setattr(reader, "facts", lambda: published)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["keras-inception", *arguments])
        cli.app(standalone_mode=False)
        return capsys.readouterr().out

    (row,) = json.loads(call("models", "--pretrained", "--json"))
    assert row == {
        "model": "squeezenet1_1",
        "tag": "tv_in1k",
        "top-1": 0.582,
        "pixels": "64×64",
        "resize": "crop 0.875",
        "bytes": checkpoint.bytes,
        "licence": "Apache-2.0",
        "source": "torchvision",
        "url": checkpoint.urls[0],
    }
    for arguments in (("models", "--pretrained"), ("info", "squeezenet1_1")):
        assert re.search(
            r"squeezenet1_1 +tv_in1k +58\.20% +64×64 +crop 0\.875 +[\d,]+ +Apache-2\.0 +torchvision", call(*arguments)
        )
    assert "tv_in1k" not in call("info", "lenet5")
    with pytest.raises(InputError, match=r"no pretrained model matches 'lenet\*'"):
        call("models", "lenet*", "--pretrained")


# ---------------------------------------------------------------------------------------------------------- other tasks


def test_other_classes_keep_the_backbone(checkpoint: Checkpoint, trained: keras.Model) -> None:
    model = squeezenet(weights="tv_in1k", classes=10)
    assert model.output_shape == (None, 10)
    assert different(model, trained) == {"conv10_conv"}
    assert np.ptp(model.get_layer("conv10_conv").kernel) > 0


def test_the_background_is_left_out(publish: Publish) -> None:
    with_background = randomize(squeezenet(classes=1001))
    publish(with_background, "squeezenet1_1", classes=1001)
    model = squeezenet(weights="imagenet")
    assert model.output_shape == (None, 1000)
    kernel = with_background.get_layer("conv10_conv").kernel
    np.testing.assert_array_equal(model.get_layer("conv10_conv").kernel, kernel[..., 1:])
    assert not different(squeezenet(weights="imagenet", classes=1001), with_background)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channels_adapt_the_stem(checkpoint: Checkpoint, trained: keras.Model, channels: int) -> None:
    model = squeezenet(weights="tv_in1k", input_shape=(64, 64, channels))
    stem, theirs = (np.array(m.get_layer("conv1_conv").kernel) for m in (model, trained))
    assert stem.shape[2] == channels
    for i in range(channels):
        expected = theirs.sum(2) if channels == 1 else theirs[:, :, i % 3] * 3 / channels
        np.testing.assert_allclose(stem[:, :, i], expected, rtol=1e-5, atol=1e-6)
    assert different(model, trained) == {"conv1_conv"}


def test_a_grey_image_has_the_logits_of_the_image_in_colour(checkpoint: Checkpoint, trained: keras.Model) -> None:
    model, grey = squeezenet(weights="tv_in1k", input_shape=(64, 64, 1)), images(2, 64, 64, 1)
    expected = trained(np.repeat(grey, 3, axis=-1))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(model(grey), expected, atol=1e-4)


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_without_the_top(checkpoint: Checkpoint, trained: keras.Model, pooling: str | None) -> None:
    model = ki.SqueezeNet1_1(weights="tv_in1k", include_top=False, pooling=pooling)
    assert model.input_shape == (None, None, None, 3)
    features = keras.Model(trained.input, trained.get_layer("fire9").output)
    x = images(1, *SIZE)
    expected = np.array(features(x))
    expected = {"avg": expected.mean((1, 2)), "max": expected.max((1, 2))}.get(pooling or "", expected)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)


def test_another_size(checkpoint: Checkpoint, trained: keras.Model) -> None:
    assert not different(squeezenet(weights="tv_in1k", input_shape=(96, 80, 3)), trained)


def test_a_top_that_takes_the_whole_map(publish: Publish) -> None:
    trained = randomize(ki.AlexNetOWT(input_shape=(79, 79, 3), classes=5))
    publish(trained, "alexnet_owt", classes=5)
    told = r"fc6_dense of alexnet_owt\.test .* of 79 x 79 pixels, not of 111 x 79: leave input_shape out"
    with pytest.raises(InputError, match=told) as caught:
        ki.AlexNetOWT(weights="imagenet", input_shape=(111, 79, 3))
    assert "\n" not in str(caught.value)
    backbone = ki.AlexNetOWT(weights="imagenet", input_shape=(111, 79, 3), include_top=False)
    assert not different(backbone, trained)


def test_a_classifier_after_an_average_takes_no_map(checkpoint: Checkpoint) -> None:
    x = keras.Input((8, 8, 3))
    logits = keras.layers.Dense(5, name="logits")
    y = keras.layers.Activation("softmax", name="predictions")(logits(keras.layers.GlobalAveragePooling2D()(x)))
    of_another_width = np.zeros((7, 5), np.float32)  # returned as it is: the error names its shape
    assert adapter(keras.Model(x, y), name=checkpoint.id)(logits, "kernel", of_another_width) is of_another_width


@pytest.fixture(scope="module")
def with_auxiliary_heads() -> keras.Model:
    return randomize(ki.InceptionV1BN(aux_heads=True, input_shape=(64, 64, 3), numerics="torch", classes=20))


def test_auxiliary_heads_that_were_not_trained_start_anew(
    with_auxiliary_heads: keras.Model, publish: Publish, capsys: pytest.CaptureFixture
) -> None:
    publish(main_network(with_auxiliary_heads), "inception_v1_bn", classes=20)
    model = ki.InceptionV1BN(weights="imagenet", aux_heads=True)
    assert sorted(model.output_names) == ["aux_1", "aux_2", "predictions"]
    assert same(model, with_auxiliary_heads) == [name for name in weighted(model) if "aux" not in name]
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("downloading inception_v1_bn.test, ")
    assert told[1:] == ["inception_v1_bn.test has no auxiliary heads: aux_1 and aux_2 start untrained"]


def test_auxiliary_heads_that_were(
    with_auxiliary_heads: keras.Model, publish: Publish, capsys: pytest.CaptureFixture
) -> None:
    publish(with_auxiliary_heads, "inception_v1_bn", classes=20, kwargs={"aux_heads": True})
    plain = ki.InceptionV1BN(weights="imagenet")
    assert capsys.readouterr().err.endswith(" MB, licence Apache-2.0\n")  # of the download
    assert plain.output_names == ["predictions"]
    assert not different(plain, with_auxiliary_heads)
    ten = ki.InceptionV1BN(weights="imagenet", aux_heads=True, classes=10)
    assert different(ten, with_auxiliary_heads) == {"logits", "aux_1_logits", "aux_2_logits"}
    assert not capsys.readouterr().err


def test_classifiers_are_initialised_anew(checkpoint: Checkpoint, trained: keras.Model) -> None:
    model = squeezenet(weights="tv_in1k")
    assert not different(model, trained)
    reinitialise_classifiers(model)
    assert different(model, trained) == {"conv10_conv"}
    assert not np.any(model.get_layer("conv10_conv").bias)


def test_the_ends_of_every_network_are_found(plan: Network) -> None:
    wide = plan.architecture.classes
    found = classifiers(plan.model)
    assert len(found) == len(plan.model.outputs)
    assert all(variable.shape[-1] == wide for layer in found for variable in layer.weights)
    assert len({layer.name for layer in found} & set(CLASSIFIER)) == 1

    first = first_convolutions(plan.model)
    assert first
    assert all(layer.kernel.shape[2] == plan.model.input_shape[-1] for layer in first)


# ----------------------------------------------------------------------------------------------------------- training


def test_training_prepares_images_as_the_weights_were_trained(
    checkpoint: Checkpoint, trained: keras.Model, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    images = from_arrays(rng.integers(0, 256, (12, 40, 40, 3), dtype=np.uint8), np.repeat([0, 1], 6), ["a", "b"])
    settings = {"epochs": 1, "freeze_epochs": 1, "batch_size": 4, "cache_features": False, "augmentation": None}
    run = train(images, out=tmp_path / "x", model="squeezenet1_1", weights="imagenet", **settings)
    assert run.preprocessing == checkpoint.preprocessing
    assert run.weights == "tv_in1k"
    assert run.kwargs == {"input_shape": [64, 64, 3], "classes": 2, "numerics": "torch"}
    assert different(run.model(), trained) == {"conv10_conv"}


@pytest.mark.parametrize("known", [True, False])
def test_a_thousand_other_classes_are_other_classes(checkpoint: Checkpoint, trained: keras.Model, known: bool) -> None:
    model = squeezenet(weights="tv_in1k")
    labels = [label.synset for label in imagenet_labels()]
    fit_classes(model, labels if known else labels[::-1])
    assert different(model, trained) == (set() if known else {"conv10_conv"})
    fit_classes(trained, labels[::-1])  # no published weights: as it is
    assert different(model, trained) == (set() if known else {"conv10_conv"})
