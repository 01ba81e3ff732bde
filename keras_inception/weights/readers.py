"""Read the tensors of a weights file in any supported format: path -> {name: array}.

Nothing in a file is trusted. Pickles are read by PyTorch's restricted loader, which runs no code; of a `.keras` archive
only the weights are read. Sizes are checked before anything is loaded: the size of the file, the sizes in the directory
of a zip archive (`.zip`, `.keras`, PyTorch's `.pth`), and those of the tensors in an HDF5 file; the safetensors library
compares its header with the file. A file that is truncated or of another kind than its name says, or that has a value
that is not finite, is an InputError of one line.
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from ..errors import InputError

Tensors = dict[str, np.ndarray]

LARGEST = 2**31  # bytes of a file, unpacked: three times the largest published file


def read(path: str | Path) -> Tensors:
    """Read the tensors of a Keras `.h5`, `.weights.h5` or `.keras`, a `.safetensors`, a `.pth`, or a `.zip` of one.

    The names are those in the file. In Keras' formats a name is "layer|weight", both as Keras wrote them; Keras 3
    numbers the weights of a layer: "layer|0".

    Raises:
        InputError: there is no such file, it is of another kind, damaged, or has a value that is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights file at {path}")
    reader = READERS.get(path.suffix)
    if reader is None:
        raise InputError(f"{path} has none of the endings of published weights: {', '.join(READERS)}")
    if (size := _unpacked_size(path)) > LARGEST:
        raise InputError(f"{path} has {size:,} bytes, unpacked; more than {LARGEST:,} are not read")
    tensors = reader(path)
    if not tensors:
        raise InputError(f"{path} holds no weights")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} has values that are not finite")
    return tensors


def _unpacked_size(path: Path) -> int:
    """The size of a file in bytes; of a zip archive that of its members, as its directory states them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, NotImplementedError):  # no archive, or a damaged one, which its reader reports
        return path.stat().st_size


def _h5(path: Path) -> Tensors:
    try:
        with h5py.File(path) as file:
            if "layers" in file and "layer_names" not in file.attrs:
                datasets = _keras_3(file, path)
            else:
                datasets = _keras_2(file, path)
            if (size := sum(dataset.nbytes for dataset in datasets.values())) > LARGEST:
                raise ValueError(f"its tensors are stated to have {size:,} bytes")
            for name, dataset in datasets.items():
                if dataset.external or dataset.is_virtual or dataset.file.filename != file.filename:
                    raise ValueError(f"{name} is stored in another file")
            return {name: _array(dataset) for name, dataset in datasets.items()}
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, "HDF5", error) from error


def _keras_2(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The layout of `.h5`: groups list their layers, and the layers their weights."""
    root = file.get("model_weights", file)  # a whole model has the weights in a group
    if not any(key.startswith("layer_names") for key in root.attrs):
        raise InputError(f"{path} is not in Keras' .h5 layout of weights: it lists no layer_names")
    return {
        f"{layer}|{weight}": root[layer][weight]
        for layer in _listed(root, "layer_names")
        for weight in _listed(root[layer], "weight_names")
    }


def _listed(group: h5py.Group, name: str) -> list[str]:
    """The names in an attribute; Keras splits a list that is too long for one attribute into name0, name1, ..."""
    lists: list[Any] = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(lists)}" in group.attrs:
        lists.append(group.attrs[f"{name}{len(lists)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for names in lists for n in names]


def _keras_3(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The layout of `.weights.h5` and `.keras`: groups named by class and number, with the layer's name in them."""
    found: list[tuple[str, int, h5py.Dataset]] = []

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset) or "seed_generator" in place:
            return
        group, _, index = place.rpartition("/vars/")
        if (layer := item.parent.attrs.get("name")) is None:
            raise InputError(
                f"{path} does not name its layers; load it into its network, and save that with Keras 3.15"
            )
        found.append((group if "/" in group else str(layer), int(index), item))  # a nested layer is named by its place

    file["layers"].visititems(visit)
    return {f"{layer}|{index}": dataset for layer, index, dataset in sorted(found, key=lambda item: item[:2])}


def _array(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.attrs.get("dtype") == "bfloat16":  # HDF5 has no such type
        return np.array(dataset, dtype=ml_dtypes.bfloat16).astype(np.float32)
    return np.asarray(dataset)


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, "safetensors", error) from error
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in tensors.items()}


def _pth(path: Path) -> Tensors:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"reading {path} needs PyTorch: pip install 'keras-inception[torch]'") from error

    try:
        with warnings.catch_warnings():  # about formats that it may not know; those raise
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is refused: it holds more than tensors, which loading it would have run") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, "PyTorch", error) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"{path} is not a state_dict: names and tensors")
    for name, tensor in content.items():
        if tensor.nbytes > LARGEST:  # one stored number can be a tensor of any size, until it is converted
            raise _damaged(path, "PyTorch", ValueError(f"{name} is stated to have {tensor.nbytes:,} bytes"))
    return {k: v.float().numpy() if v.is_floating_point() else v.numpy() for k, v in content.items()}


def _archive(path: Path) -> Tensors:
    """The only weights file in a `.zip`, or in a `.keras` archive."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                files = [info for info in archive.infolist() if Path(info.filename).suffix in WEIGHTS]
                if len(files) != 1:
                    raise InputError(f"{path} holds {len(files)} files of weights; one is expected")
                inner = Path(folder, Path(files[0].filename).name)
                with archive.open(files[0]) as packed, inner.open("wb") as unpacked:
                    while block := packed.read(1 << 20):
                        unpacked.write(block)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise _damaged(path, "zip", error) from error
        return read(inner)


WEIGHTS: dict[str, Callable[[Path], Tensors]] = {".h5": _h5, ".safetensors": _safetensors, ".pth": _pth, ".pt": _pth}
READERS = WEIGHTS | {".zip": _archive, ".keras": _archive}


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{path} is not a complete {kind} file: {reason}")
