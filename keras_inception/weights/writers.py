"""Write the tensors of a weights file: the reverse of `readers`, for the formats that other libraries load."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from .matching import Tensors

LONGEST = 64_512  # bytes of an attribute in HDF5, less its header; Keras splits longer lists


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Write a `.safetensors` file; its metadata say, as PyTorch's libraries do, that the layout is theirs."""
    from safetensors.numpy import save_file

    save_file(dict(tensors), path, metadata={"format": "pt"})


def write_pth(path: Path, tensors: Tensors) -> None:
    """Write a state_dict as `torch.save` does since PyTorch 1.6: an archive of a pickle and each tensor's numbers."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickled({name: (a.dtype, a.shape) for name, a in tensors.items()}))
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", array.astype(array.dtype.newbyteorder("<")).tobytes())
        archive.writestr("archive/version", "3\n")


def write_h5(path: Path, layers: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write {layer: {weight: array}} as Keras 2 saves weights, in the order in which Keras loads them."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = np.bytes_("2.15.0")  # the last that wrote this layout by itself
        _list(file, "layer_names", list(layers))
        for layer, weights in layers.items():
            group = file.create_group(layer)
            _list(group, "weight_names", list(weights))
            for name, array in weights.items():
                group.create_dataset(name, data=array)


WRITERS: dict[str, Callable[[Path, Tensors], None]] = {
    ".safetensors": write_safetensors,
    **dict.fromkeys((".pth", ".pt"), write_pth),
}


def _list(group: h5py.Group, name: str, names: Sequence[str]) -> None:
    """Write names into an attribute; a list that is too long for one goes into name0, name1, ..."""
    array = np.array([n.encode() for n in names], dtype="S")
    parts = 1 + array.nbytes // LONGEST
    for i, part in enumerate(np.array_split(array, parts)):
        group.attrs[name if parts == 1 else f"{name}{i}"] = part


# ------------------------------------------------------------------------------------------------------------- a pickle

STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


def _pickled(stored: Mapping[str, tuple[np.dtype, Sequence[int]]]) -> bytes:
    """A dictionary of tensors. Its operations are written one by one: `pickle` would import the classes of PyTorch."""
    out = io.BytesIO()
    out.write(pickle.PROTO + b"\2" + pickle.EMPTY_DICT + pickle.MARK)
    for key, (name, (dtype, shape)) in enumerate(stored.items()):
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        storage = (_name("torch", STORAGES[dtype]), _text(str(key)), _text("cpu"), _number(int(np.prod(shape))))
        out.write(_text(name) + _name("torch._utils", "_rebuild_tensor_v2"))
        out.write(pickle.MARK + _tuple(_text("storage"), *storage) + pickle.BINPERSID)
        out.write(_number(0) + _tuple(*map(_number, shape)) + _tuple(*map(_number, strides)) + pickle.NEWFALSE)
        out.write(_name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE)  # hooks: none
        out.write(pickle.TUPLE + pickle.REDUCE)
    out.write(pickle.SETITEMS + pickle.STOP)
    return out.getvalue()


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def _number(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE
