"""Files that our networks were saved in, loaded into a network for another task, and refused by another network."""

import json
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import keras_inception as ki
from keras_inception import InputError
from keras_inception.weights import copy_weights

from .conftest import images
from .files import randomize

SIZE = (64, 64, 3)
ENDINGS = ["keras", "weights.h5", "h5"]


def squeezenet(**arguments: Any) -> keras.Model:
    return ki.SqueezeNet1_1(**{"input_shape": SIZE, "classes": 5, "classifier_activation": None} | arguments)


def save(model: keras.Model, path: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):  # Keras 3 calls .h5 a legacy format
        model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return randomize(squeezenet())


@pytest.fixture(scope="module")
def folder(trained: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in every format."""
    folder = tmp_path_factory.mktemp("own")
    for ending in ENDINGS:
        save(trained, folder / f"x.{ending}")
    return folder


def different(model: keras.Model, other: keras.Model) -> set[str]:
    """The names of the model's layers whose weights are not those of the other's layer."""
    theirs = {layer.name: layer.get_weights() for layer in other.layers}
    return {
        layer.name
        for layer in model.layers
        if layer.weights and not all(map(np.array_equal, layer.get_weights(), theirs.get(layer.name, [None] * 9)))
    }


def refused(build: Callable[[], Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------- another task


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_network(folder: Path, trained: keras.Model, ending: str) -> None:
    x = images(2, *SIZE)
    np.testing.assert_array_equal(squeezenet(weights=folder / f"x.{ending}")(x), trained(x))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("arguments", "fresh"),
    [
        ({"classes": 3}, {"conv10_conv"}),
        ({"input_shape": (80, 96, 3)}, set()),
        ({"input_shape": (64, 64, 1)}, {"conv1_conv"}),
        ({"input_shape": (64, 64, 4), "classes": 2}, {"conv1_conv", "conv10_conv"}),
        ({"include_top": False}, set()),
    ],
    ids=["classes", "size", "grey", "four channels", "no top"],
)
def test_another_task_keeps_the_backbone(
    folder: Path, trained: keras.Model, ending: str, arguments: dict, fresh: set[str]
) -> None:
    model = squeezenet(weights=folder / f"x.{ending}", **arguments)
    assert different(model, trained) == fresh
    assert all(np.any(layer.kernel) for layer in model.layers if layer.name in fresh)


def test_the_first_convolution_is_adapted_to_the_channels(folder: Path, trained: keras.Model, tmp_path: Path) -> None:
    grey = squeezenet(weights=folder / "x.keras", input_shape=(64, 64, 1))
    x = images(2, 64, 64, 1)
    in_colour = np.repeat(x, 3, axis=-1)
    np.testing.assert_allclose(grey(x), trained(in_colour), atol=1e-4)
    colour = squeezenet(weights=save(grey, tmp_path / "grey.weights.h5"))
    np.testing.assert_allclose(colour(in_colour), grey(x), atol=1e-4)


def test_a_file_without_a_top_gives_the_backbone(trained: keras.Model, tmp_path: Path) -> None:
    backbone = squeezenet(include_top=False)
    copy_weights(trained, backbone, name="trained")
    assert different(squeezenet(weights=save(backbone, tmp_path / "x.keras")), trained) == {"conv10_conv"}


def test_the_file_sets_the_number_of_classes(folder: Path, trained: keras.Model) -> None:
    model = ki.SqueezeNet1_1(weights=folder / "x.keras", input_shape=SIZE)
    assert model.output_shape == (None, 5)
    assert not different(model, trained)


def test_auxiliary_heads(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = {"input_shape": SIZE, "classes": 4}
    heads = randomize(ki.InceptionV1BN(aux_heads=True, **arguments))
    path = save(heads, tmp_path / "heads.weights.h5")
    plain = ki.InceptionV1BN(weights=path, **arguments)
    assert not different(plain, heads)
    assert different(ki.InceptionV1BN(weights=path, aux_heads=True, input_shape=SIZE, classes=2), heads) == {
        *("logits", "aux_1_logits", "aux_2_logits")
    }
    assert not capsys.readouterr().err
    path = save(plain, tmp_path / "plain.weights.h5")
    model = ki.InceptionV1BN(weights=path, aux_heads=True, **arguments)
    assert all("aux" in name for name in different(model, heads))
    assert capsys.readouterr().err == f"{path} has no auxiliary heads: aux_1 and aux_2 start untrained\n"


def test_a_network_from_another_network(trained: keras.Model) -> None:
    target = squeezenet(classes=2, input_shape=(64, 64, 4))
    copy_weights(trained, target, name="runs/a")
    assert different(target, trained) == {"conv1_conv", "conv10_conv"}


# ------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_network(folder: Path, ending: str) -> None:
    path = folder / f"x.{ending}"
    refused(
        lambda: ki.LeNet5(weights=path),
        rf"x\.{ending} does not fit lenet5: \d+ only in the file: conv1.*; \d+ only in lenet5: c1\w+/kernel \(5, 5, ",
    )
    refused(lambda: ki.SqueezeNet1_0(weights=path, input_shape=SIZE), "does not fit squeezenet1_0: .*of another shape")


def test_a_deeper_network_is_another_network(tmp_path: Path) -> None:
    deep, shallow = ki.ResNet32(), ki.ResNet20()
    for source, network in ((deep, ki.ResNet20), (shallow, ki.ResNet32)):
        path = save(source, tmp_path / f"{source.name}.weights.h5")
        with pytest.raises(InputError, match=r"\d+ only in"):
            network(weights=path, include_top=False)


def test_another_width(tmp_path: Path) -> None:
    path = save(ki.MobileNetV1(alpha=0.5, input_shape=SIZE, classes=3), tmp_path / "half.keras")
    refused(
        lambda: ki.MobileNetV1(weights=path, input_shape=SIZE, classes=3),
        r"half\.keras does not fit mobilenet_v1: \d+ of another shape: "
        r"conv2d_0\w*/kernel \(3, 3, 3, 16\) for conv2d_0\w*'s \(3, 3, 3, 32\)",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"numerics": "torch"}, r"conv2d_0_\w+ has padding valid there and same here"),
        ({"activation": "relu"}, r"conv2d_0\w* has max_value None there and 6\.0 here"),
    ],
)
def test_the_same_weights_in_another_function(tmp_path: Path, arguments: dict, says: str) -> None:
    network = {"alpha": 0.25, "input_shape": SIZE}
    path = save(ki.MobileNetV1(**network, **arguments), tmp_path / "x.keras")
    refused(lambda: ki.MobileNetV1(weights=path, **network), rf"x\.keras does not fit mobilenet_v1: {says}; build the")
    other_task = {"input_shape": (81, 96, 3), "classes": 3, "classifier_activation": None}
    assert ki.MobileNetV1(weights=path, **network | arguments | other_task)


def test_what_is_refused_changes_nothing(trained: keras.Model) -> None:
    target = randomize(ki.SqueezeNet1_0(input_shape=SIZE))
    before = target.get_weights()
    refused(lambda: copy_weights(trained, target, name="runs/a"), "runs/a does not fit squeezenet1_0: ")
    assert all(map(np.array_equal, before, target.get_weights()))


def test_a_whole_map_of_another_size(tmp_path: Path) -> None:
    path = save(ki.LeNet5(), tmp_path / "x.keras")
    refused(
        lambda: ki.LeNet5(weights=path, input_shape=(48, 48, 1)), "takes the whole map .* not of 48 x 48: leave input_"
    )


# -------------------------------------------------------------------------------------------------------- bad content


@pytest.fixture
def own(trained: keras.Model, tmp_path: Path) -> Path:
    return save(trained, tmp_path / "x.weights.h5")


def test_layers_without_names(own: Path) -> None:
    with h5py.File(own, "r+") as file:
        del file["layers/conv2d/vars"].attrs["name"]
    refused(lambda: squeezenet(weights=own), "does not name its layers; load it into its network, and save that")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_network_inside_a_sequential(trained: keras.Model, tmp_path: Path, ending: str) -> None:
    layers = [keras.Input(SIZE), keras.layers.Rescaling(1 / 255), trained, keras.layers.Dense(2)]
    path = save(keras.Sequential(layers), tmp_path / f"nested.{ending}")
    refused(lambda: squeezenet(weights=path), r"\(its layers are in the model '\w+' inside: save that one by itself\)")


def test_a_folder_with_the_file_in_it(folder: Path, trained: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes((folder / "x.keras").read_bytes())
    assert not different(squeezenet(weights=tmp_path), trained)


def test_files_of_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("saved/saved_model.pb", "ckpt-1.index", "ckpt-1.data-00000-of-00001", "empty/notes.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"")
    for name in ("./ckpt-1", "ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        refused(partial(squeezenet, weights=name), "ckpt-1 is not a complete TensorFlow checkpoint: ")
    refused(lambda: squeezenet(weights="saved"), "; it is a SavedModel, which keeps no names of layers: save the model")
    refused(
        lambda: squeezenet(weights=tmp_path / "empty"),
        r"; this folder has no TensorFlow checkpoint and none of model\.k",
    )


def test_a_folder_called_imagenet_is_not_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("imagenet").mkdir()
    refused(lambda: ki.LeNet5(weights="imagenet"), "lenet5 has no weights .imagenet.: It has .caffe_mnist.")


@pytest.mark.parametrize("by", ["link", "storage", "virtual"])
def test_a_tensor_in_another_file_is_not_read(own: Path, tmp_path: Path, by: str) -> None:
    secret = np.zeros(64, "float32")
    (tmp_path / "secret").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["0"] = secret
    with h5py.File(own, "r+") as file:
        variables = file["layers/conv2d/vars"]
        del variables["1"]
        if by == "link":
            variables["1"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "0")
        elif by == "storage":
            variables.create_dataset("1", (64,), "f4", external=[(str(tmp_path / "secret"), 0, 256)])
        else:
            layout = h5py.VirtualLayout((64,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "0", (64,))
            variables.create_virtual_dataset("1", layout)
    # A link is not followed, so that its tensor is missing.
    says = "only in squeezenet1_1: conv1_conv" if by == "link" else r"conv1_conv\|1 is stored in another file"
    refused(lambda: squeezenet(weights=own), says)


@pytest.mark.parametrize("config", ["{}", "[", '{"config": {"layers": [1]}}'])
def test_a_config_that_lists_no_layers(folder: Path, tmp_path: Path, config: str) -> None:
    with zipfile.ZipFile(folder / "x.keras") as old, zipfile.ZipFile(tmp_path / "x.keras", "w") as new:
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
        new.writestr("config.json", config)
    refused(lambda: squeezenet(weights=tmp_path / "x.keras"), r"its config\.json does not list the layers")


def test_nothing_in_an_archive_is_built(folder: Path, trained: keras.Model, tmp_path: Path) -> None:
    """A Lambda in config.json is neither loaded nor refused: only names and settings are read."""
    with zipfile.ZipFile(folder / "x.keras") as old, zipfile.ZipFile(tmp_path / "x.keras", "w") as new:
        config = json.loads(old.read("config.json"))
        config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "harm", "function": "x"}})
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    assert not different(squeezenet(weights=tmp_path / "x.keras"), trained)
