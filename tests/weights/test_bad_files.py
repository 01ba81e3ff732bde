"""Weights that cannot be used: an error of one line each, and no half-filled model."""

import os
import pickle
import re
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import keras_inception as ki
from keras_inception import InputError, cli
from keras_inception.weights import Checkpoint, download, load

from ..server import Server
from .conftest import Publish
from .files import randomize, torch_names

SIZE = (64, 64, 3)


def squeezenet(**arguments: Any) -> keras.Model:
    return ki.SqueezeNet1_1(**{"input_shape": SIZE} | arguments)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return randomize(squeezenet())


@pytest.fixture(scope="module")
def good(trained: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network in every format."""
    folder = tmp_path_factory.mktemp("good")
    save_file(torch_names(trained, "squeezenet1_1"), folder / "x.safetensors")
    trained.save_weights(folder / "x.weights.h5")
    trained.save(folder / "x.keras")
    return folder


@pytest.fixture
def checkpoint(trained: keras.Model, publish: Publish) -> Checkpoint:
    return publish(trained, "squeezenet1_1", "tv_in1k")


@pytest.fixture
def bad(good: Path, tmp_path: Path) -> Path:
    """Copies of the good files that a test may damage."""
    return Path(shutil.copytree(good, tmp_path / "bad"))


def refused(weights: Any, says: str, **arguments: Any) -> None:
    with pytest.raises(InputError, match=says) as caught:
        squeezenet(weights=weights, **arguments)
    assert "\n" not in str(caught.value)


class Harm:
    """Its code runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("harmed",)


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("name", ["x.safetensors", "x.weights.h5", "x.keras"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_cut_short(bad: Path, name: str, share: float) -> None:
    path = bad / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, re.escape(str(path)))


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("name", ["x.safetensors", "x.weights.h5", "x.keras", "x.h5", "x.pth"])
def test_a_pickle_is_not_run(bad: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bad)
    (bad / name).write_bytes(pickle.dumps({"conv1.weight": Harm()}))
    refused(bad / name, re.escape(name))
    assert not (bad / "harmed").exists()


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}',
        b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
        b'{"a":',
        b"[]",
    ],
    ids=["petabytes", "shape", "overlap", "half", "list"],
)
def test_a_safetensors_header_that_lies(bad: Path, header: bytes) -> None:
    path = bad / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    refused(path, re.escape(str(path)))


@pytest.mark.usefixtures("checkpoint")
def test_a_safetensors_header_of_exabytes(bad: Path) -> None:
    path = bad / "x.safetensors"
    path.write_bytes(b"\xff" * 7 + b"\x7f" + bytes(100))
    refused(path, re.escape(str(path)))


@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite(bad: Path, trained: keras.Model, value: float) -> None:
    tensors = torch_names(trained, "squeezenet1_1")
    tensors["features.3.squeeze.bias"][2] = value
    save_file(tensors, bad / "x.safetensors")
    refused(bad / "x.safetensors", r"features\.3\.squeeze\.bias has values that are not finite")
    with h5py.File(bad / "x.weights.h5", "r+") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if isinstance(file[name], h5py.Dataset) else None)
        file[names[0]][..., 0] = value
    refused(bad / "x.weights.h5", "has values that are not finite")


def test_another_network(checkpoint: Checkpoint, bad: Path, trained: keras.Model) -> None:
    tensors = torch_names(trained, "squeezenet1_1")
    path = bad / "other.safetensors"

    def holds(changed: dict[str, np.ndarray], says: str) -> None:
        save_file(changed, path)
        refused(path, says)

    save_file({"conv1.weight": np.zeros(3, np.float32)}, path)
    refused(path, r"does not hold squeezenet1_1: the names of its 1 tensors, as 'conv1\.weight', .* \(torchvision\)$")
    lacks = {k: v for k, v in tensors.items() if k != "features.3.squeeze.bias"}
    holds(lacks, r"1 only in squeezenet1_1: fire2_squeeze/bias \(16,\)|fire2_squeeze_conv/bias \(16,\)")
    holds(tensors | {"features.3.squeeze.bias": np.zeros(17, np.float32)}, r"features\.3\.squeeze\.bias \(17,\) for")
    holds({k: v[:5] if "expand1x1.weight" in k else v for k, v in tensors.items()}, "8 of another shape")
    with pytest.raises(
        InputError, match=r"squeezenet1_1\.tv_in1k is a checkpoint of squeezenet1_1, not of squeezenet1_0"
    ):
        ki.SqueezeNet1_0(weights=checkpoint)
    for name in ("x.weights.h5", "x.keras"):
        with pytest.raises(InputError, match=f"{name} does not fit lenet5"):
            ki.LeNet5(weights=bad / name)


def test_a_refused_file_leaves_the_model_unchanged(bad: Path) -> None:
    model = randomize(ki.SqueezeNet1_0(input_shape=SIZE))
    before = model.get_weights()
    for path, says in {
        bad / "x.weights.h5": "does not fit squeezenet1_0",
        bad / "x.safetensors": "go to the builder",
    }.items():
        with pytest.raises(InputError, match=says):
            load(model, path)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_that_is_not_weights(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("x.onnx", "x.tflite", "x.pb"):
        (tmp_path / name).write_bytes(b"whatever")
    taken = r"weights is None, 'imagenet', a tag, .* \.safetensors, .* file or of a TensorFlow checkpoint"
    refused(tmp_path / "x.onnx", rf"{taken}; got '.*x\.onnx'$")
    refused(tmp_path / "x.tflite", r"x\.tflite is not a \.tflite file: it does not have the identifier TFL3$")
    refused("x.params", "got 'x.params'$")
    refused(tmp_path / "nothing.safetensors", r"no weights file at .*nothing\.safetensors$")
    refused(str(tmp_path / "nothing.pth"), r"no weights file at .*nothing\.pth$")
    (tmp_path / "folder.h5").mkdir()
    refused(tmp_path / "folder.h5", r"no weights file at .*folder\.h5$")
    (tmp_path / "x.h5").write_bytes(b"")
    refused(tmp_path / "x.h5", r"x\.h5 is not a complete HDF5 file")


@pytest.mark.usefixtures("checkpoint")
def test_an_unknown_tag() -> None:
    refused("tv_in2k", r"squeezenet1_1 has no weights 'tv_in2k': did you mean 'tv_in1k'\? It has 'tv_in1k'")
    refused("", "squeezenet1_1 has no weights ''")
    for weights in ("imagenet", "tf_in1k"):
        with pytest.raises(InputError, match="no weights are published for fractalnet20 that can be loaded"):
            ki.FractalNet20(weights=weights)


@pytest.mark.parametrize("weights", [1, ["imagenet"], b"imagenet", True])
def test_another_type(weights: Any) -> None:
    refused(weights, f"weights must be None, .*; got {re.escape(repr(weights))}$")


def test_a_download_that_is_not_what_was_published(
    checkpoint: Checkpoint, server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = server.files
    content = bytearray(server.files[path])
    content[-1] ^= 1
    server.put(path, bytes(content))
    refused("tv_in1k", r"squeezenet1_1-tv_in1k\.safetensors is not the file that was published")
    assert [p.name for p in home.iterdir() if not p.name.endswith(".lock")] == []
    monkeypatch.setenv(download.OFFLINE, "1")
    refused("tv_in1k", rf"put http.*/squeezenet1_1-tv_in1k\.safetensors at {home}/squeezenet1_1\.tv_in1k\.safetensors$")


def test_a_zip_in_place_of_a_model(bad: Path) -> None:
    with zipfile.ZipFile(bad / "x.keras", "w") as archive:
        archive.writestr("../../config.json", "{}")
    refused(bad / "x.keras", r"x\.keras holds 0 files of weights; one is expected")


def test_the_command_line_prints_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for i in range(8):
        (tmp_path / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (30 * i, 0, 0)).save(tmp_path / "images" / "ab"[i % 2] / f"{i}.png")
    for weights, says in (("tv_in2k", "did you mean"), (str(tmp_path / "x.onnx"), "got ")):
        command = ["train", tmp_path / "images", "--out", tmp_path / "run", "--model", "vgg11", "--weights", weights]
        monkeypatch.setattr(sys, "argv", ["keras-inception", *map(str, command)])
        with pytest.raises(SystemExit, match="1"):
            cli.main()
        assert re.fullmatch(rf"error: [^\n]*{says}[^\n]*\n", capsys.readouterr().err)
        assert not (tmp_path / "run").exists()
