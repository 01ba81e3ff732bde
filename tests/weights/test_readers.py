"""Weights files are read as they are, and other files are refused in one line."""

import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_inception.errors import InputError
from keras_inception.weights import pytorch, readers
from keras_inception.weights.readers import read

PYTORCH = Path(__file__).with_name("pytorch")
ARRAYS = {"conv.weight": np.arange(24, dtype="float32").reshape(4, 3, 2), "fc.bias": np.ones(3, "float32")}


def h5(path: Path, layers: dict[str, dict[str, np.ndarray]] | None = None, *, inside: str = "", split: int = 0) -> Path:
    """As Keras 2 writes it; `split` names an attribute."""
    layers = layers or {
        "conv1/conv": {"conv1/conv/kernel:0": ARRAYS["conv.weight"]},
        "relu": {},
        "fc": {"b:0": np.ones(3)},
    }
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        names = [name.encode() for name in layers]
        if split:
            for i in range(0, len(names), split):
                root.attrs[f"layer_names{i // split}"] = names[i : i + split]
        else:
            root.attrs["layer_names"] = names
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [w.encode() for w in weights]
            for weight, array in weights.items():
                group[weight] = array
    return path


@pytest.mark.parametrize("options", [{}, {"inside": "model_weights"}, {"split": 2}], ids=["weights", "model", "split"])
def test_a_keras_h5_is_its_layers_weights_in_their_order(tmp_path: Path, options: dict) -> None:
    tensors = read(h5(tmp_path / "w.h5", **options))
    assert list(tensors) == ["conv1/conv|conv1/conv/kernel:0", "fc|b:0"]
    np.testing.assert_array_equal(tensors["conv1/conv|conv1/conv/kernel:0"], ARRAYS["conv.weight"])


def test_safetensors_and_half_precision(tmp_path: Path) -> None:
    save_file(ARRAYS | {"half": np.ones(2, "float16")}, path := tmp_path / "w.safetensors")
    tensors = read(path)
    assert tensors["half"].dtype == np.float32
    np.testing.assert_array_equal(tensors["conv.weight"], ARRAYS["conv.weight"])


WRAPPED = {
    "plain.pth": "",
    "old.pth": "",
    "parameters.pt": "",
    "parallel.bin": "",
    "compiled.pth": "",
    "averaged.pth": "averaged.pth holds model_ema and model: model_ema is taken\n",
    "lightning.ckpt": "",
    "nested.pth.tar": "",
    "script.pth": "",
    "old_script.pt": "",
    "views.pth": "",
    "old_views.pth": "",
    "half.pth": "",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_pytorch_files_are_read_without_pytorch(name: str, capsys: pytest.CaptureFixture) -> None:
    tensors = read(PYTORCH / name)
    assert {k: v.dtype for k, v in tensors.items() if k != "steps"} == {k: v.dtype for k, v in ARRAYS.items()}
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(tensors[key], array)
    assert capsys.readouterr().err.endswith(WRAPPED[name])
    assert "torch" not in sys.modules


def test_brain_floats_and_a_prefix_in_safetensors(tmp_path: Path) -> None:
    header, content = {}, b""
    for name, array in ARRAYS.items():
        part = array.astype(ml_dtypes.bfloat16).tobytes()
        offsets = [len(content), len(content) + len(part)]
        header[f"model.{name}"] = {"dtype": "BF16", "shape": array.shape, "data_offsets": offsets}
        content += part
    (path := tmp_path / "w.safetensors").write_bytes(with_header(header, content))
    for name, array in read(path).items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    path.write_bytes(with_header({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, b"12"))
    refused(path, "holds tensors of the type F8_E4M3: save the network in float32, without scales")


@pytest.mark.parametrize("asked", ["model.safetensors.index.json", "model-00002-of-00002.safetensors"])
def test_a_network_in_several_files(tmp_path: Path, asked: str) -> None:
    names = {key: f"model-0000{i}-of-00002.safetensors" for i, key in enumerate(ARRAYS, 1)}
    for key, name in names.items():
        save_file({f"backbone.{key}": ARRAYS[key]}, tmp_path / name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert read(tmp_path / asked).keys() == ARRAYS.keys()
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    refused(tmp_path / asked, "is one part of 2; missing beside it: model-00001-of-00002.safetensors")


def test_an_index_that_lists_nothing(tmp_path: Path) -> None:
    for text in ("{}", "[1]", "{", '{"weight_map": {"w": 1}}'):
        (path := tmp_path / "pytorch_model.bin.index.json").write_text(text)
        refused(path, "is not a complete index file")


def test_a_zip_is_the_one_file_of_weights_in_it(tmp_path: Path) -> None:
    inner = h5(tmp_path / "net.tf2.h5")
    with zipfile.ZipFile(tmp_path / "net.tf2.h5.zip", "w") as archive:
        archive.write(inner, "net.tf2.h5")
        archive.writestr("README", "about")
    assert list(read(tmp_path / "net.tf2.h5.zip")) == list(read(inner))


def test_a_zip_of_two_files_of_weights_is_refused(tmp_path: Path) -> None:
    inner = h5(tmp_path / "w.h5")
    with zipfile.ZipFile(path := tmp_path / "two.zip", "w") as archive:
        archive.write(inner, "a.h5")
        archive.write(inner, "b.h5")
    with pytest.raises(InputError, match=r"two\.zip holds 2 files of weights; one is expected"):
        read(path)


# ------------------------------------------------------------------------------------------------------------ bad files


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def lying(content: bytes) -> bytes:
    """Make the header of a safetensors file state more bytes than there are."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["conv.weight"] |= {"shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    return with_header(header, content[8 + size :])


def with_header(header: dict, content: bytes) -> bytes:
    """As safetensors writes it."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "is not a complete safetensors file"),
        (lying, "is not a complete safetensors file"),
        (lambda content: struct.pack("<Q", 2**60) + content[8:], "is not a complete safetensors file"),
        (lambda content: b"", "is not a complete safetensors file"),
        (lambda content: b"<html>not found</html>", "is not a complete safetensors file"),
    ],
    ids=["cut", "lying", "huge header", "empty", "html"],
)
def test_a_safetensors_file_that_lies_is_refused(tmp_path: Path, spoil: Callable, message: str) -> None:
    save_file(ARRAYS, path := tmp_path / "w.safetensors")
    path.write_bytes(spoil(path.read_bytes()))
    refused(path, message)


@pytest.mark.parametrize("spoil", [cut, lambda content: b"", lambda content: b"<html>"], ids=["cut", "empty", "html"])
def test_an_h5_file_that_is_cut_short_is_refused(tmp_path: Path, spoil: Callable) -> None:
    path = h5(tmp_path / "w.h5")
    path.write_bytes(spoil(path.read_bytes()))
    refused(path, "is not a complete HDF5 file")


def test_an_h5_file_of_another_kind_or_with_weights_missing_is_refused(tmp_path: Path) -> None:
    with h5py.File(path := tmp_path / "other.h5", "w") as file:
        file["data"] = np.ones(3)
    refused(path, "is not in Keras' .h5 layout of weights: it lists no layer_names")
    path = h5(tmp_path / "lost.h5")
    with h5py.File(path, "a") as file:
        del file["fc"]["b:0"]
    refused(path, "is not a complete HDF5 file")


def test_sizes_are_checked_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = h5(tmp_path / "w.h5")
    with h5py.File(path, "a") as file:
        del file["fc"]["b:0"]
        file["fc"].create_dataset("b:0", (10**6, 10**6), "f4", chunks=(10, 10))
    refused(path, "is not a complete HDF5 file: its tensors are stated to have 4,000,000,000,096 bytes")
    monkeypatch.setattr(readers, "LARGEST", 5_000)
    for name in ("w.h5.zip", "w.keras"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("w.h5", bytes(10_000))
        refused(tmp_path / name, "has 10,000 bytes, unpacked; more than 5,000 are not read")
    save_file({"w": np.zeros(2_000, "float32")}, path := tmp_path / "w.safetensors")
    refused(path, "bytes, unpacked; more than 5,000 are not read")


def test_a_tensor_in_another_hdf5_file_is_not_read(tmp_path: Path) -> None:
    h5(tmp_path / "other.h5")
    with h5py.File(path := h5(tmp_path / "w.h5"), "a") as file:
        del file["fc"]["b:0"]
        file["fc"]["b:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "fc/b:0")
    refused(path, "fc|b:0 is stored in another file")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("expanded.pth", "is not a complete PyTorch file: conv.weight is stated to have 4,000,000,000,000 bytes"),
        ("float8.pth", "holds a tensor of torch.float8_e4m3fn, which is not read: save it as float32"),
        ("quantised.pth", "holds quantised tensors, conv.weight for example: save the float model's state_dict"),
        ("complex.pth", "holds complex tensors"),
        (
            "whole.pth",
            "an object of 'torch.nn.modules.container.Sequential' in place of a state_dict, and its code is not run",
        ),
        ("old_whole.pth", "an object of 'torch.nn.modules.container.Sequential'"),
        ("whole_in.pt", "an object of 'torch.nn.modules.container.Sequential'"),
        ("traced.pt", "is a TorchScript archive: save model.state_dict()"),
        ("list.pth", "is not a state_dict"),
        ("optimizer.pth", "is not a state_dict, names and tensors (its keys are 'optimizer', 'epoch')"),
    ],
)
def test_pytorch_files_without_weights_that_can_be_read(name: str, says: str) -> None:
    refused(PYTORCH / name, says)


@pytest.mark.parametrize("name", ["plain.pth", "old.pth"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
def test_a_pytorch_file_that_is_cut_short(tmp_path: Path, name: str, share: float) -> None:
    content = (PYTORCH / name).read_bytes()
    (path := tmp_path / name).write_bytes(content[: int(share * len(content))])
    refused(path, "is not a complete PyTorch file")


class Harm:
    """Its code runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("harmed",)


EVIL = [
    b"cos\nmkdir\n(S'harmed'\ntR.",
    b"(S'harmed'\nios\nmkdir\n.",
    b"(cos\nmkdir\nS'harmed'\no.",
    b"\x80\x04cbuiltins\ngetattr\n(cos\n__dict__\nS'mkdir'\ntR(S'harmed'\ntR.",
    b"ccollections\nOrderedDict\n(dS'__class__'\ncos\nmkdir\nsb.",  # BUILD on the class itself
    b"ctorch._utils\n_rebuild_tensor_v2\n(NdS'nbytes'\nI1\nstb.",
    b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nmkdir\nN(S'harmed'\nttR.",
    b"\x82\x01.",  # an extension
    b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a bytearray of a terabyte
    b"Nr\xff\xff\xff\x7f.",  # an entry of the memo that needs 32 GB before it
    b"".join(b"c%d\n%d\n0" % (i, i) for i in range(1_001)) + b"N.",
    b"(" * 10_000 + b"t" * 10_000 + b".",
]


@pytest.mark.parametrize("content", [pickle.dumps({"weight": Harm()}), *EVIL], ids=range(len(EVIL) + 1))
def test_a_pickle_that_poses_as_weights_is_not_run(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(path := tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", content)
    refused(path, "w.pth ")
    head = b"".join(map(pickle.dumps, (pytorch.MAGIC, pytorch.PROTOCOL, {"little_endian": True})))
    for whole in (content, head + content + pickle.dumps([])):
        path.write_bytes(whole)
        refused(path, "w.pth ")
    assert os.listdir(tmp_path) == ["w.pth"]


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": np.array([1, np.nan], "float32")}, path := tmp_path / "w.safetensors")
    refused(path, "is damaged: conv.weight has values that are not finite")


def test_a_file_without_weights_of_another_kind_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save_file({}, path := tmp_path / "w.safetensors")
    refused(path, "holds no weights")
    (path := tmp_path / "w.onnx").write_bytes(b"")
    refused(path, "has none of the endings of published weights: .h5, .safetensors, .pth, ")
    refused(tmp_path / "none.h5", "no weights file at ")
    (path := tmp_path / "w.h5.zip").write_bytes(b"PK")
    refused(path, "is not a complete zip file")


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    assert message in str(caught.value)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
