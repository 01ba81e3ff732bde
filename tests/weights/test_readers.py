"""Weights files are read as they are, and other files are refused in one line."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_inception.errors import InputError
from keras_inception.weights import readers
from keras_inception.weights.readers import read

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


def test_pytorch_files_nested_and_in_half_precision(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {k: torch.from_numpy(v) for k, v in ARRAYS.items()} | {"half": torch.ones(2, dtype=torch.bfloat16)}
    for name, content in (("plain.pth", state), ("nested.pt", {"state_dict": state, "epoch": 3})):
        torch.save(content, tmp_path / name)
        tensors = read(tmp_path / name)
        assert tensors["half"].dtype == np.float32
        np.testing.assert_array_equal(tensors["conv.weight"], ARRAYS["conv.weight"])


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
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


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
    for name in ("w.h5.zip", "w.keras", "w.pth"):
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


def test_a_pytorch_tensor_of_one_number_all_over_is_not_unrolled(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(1).expand(10**6, 10**6)}, path := tmp_path / "w.pth")
    refused(path, "is not a complete PyTorch file: w is stated to have 4,000,000,000,000 bytes")


class Harm:
    """Its code would run when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("/nonexistent/harm"),)


def test_a_pickle_that_poses_as_weights_is_not_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (path := tmp_path / "w.pth").write_bytes(pickle.dumps({"weight": Harm()}))
    refused(path, "it holds more than tensors")
    torch.save({"weight": Harm()}, path)
    refused(path, "it holds more than tensors")
    torch.save([torch.ones(2)], path)
    refused(path, "is not a state_dict")
    torch.save({k: torch.from_numpy(v) for k, v in ARRAYS.items()}, path)
    path.write_bytes(cut(path.read_bytes()))
    refused(path, "w.pth is ")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": np.array([1, np.nan], "float32")}, path := tmp_path / "w.safetensors")
    refused(path, "is damaged: conv.weight has values that are not finite")


def test_a_file_without_weights_of_another_kind_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save_file({}, path := tmp_path / "w.safetensors")
    refused(path, "holds no weights")
    (path := tmp_path / "w.ckpt").write_bytes(b"")
    refused(path, "has none of the endings of published weights: .h5, .safetensors, .pth, .pt, .zip, .keras")
    refused(tmp_path / "none.h5", "no weights file at ")
    (path := tmp_path / "w.h5.zip").write_bytes(b"PK")
    refused(path, "is not a complete zip file")


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    assert message in str(caught.value)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
