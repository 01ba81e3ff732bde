"""Files of weights as plain arrays: path -> {name: array}, whatever the publisher's format.

Nothing in a file is trusted: a pickle is read by PyTorch's restricted loader, which runs no code, sizes are checked
before they are believed, and a file that is cut short, or of another kind than its name says, or that holds what is not
a number, is an InputError of one line.
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError

Tensors = dict[str, np.ndarray]

LARGEST = 2**31  # bytes of a file, unpacked: three times the largest that is published


def read(path: str | Path) -> Tensors:
    """The tensors of a Keras `.h5`, a `.safetensors` or a PyTorch `.pth`, or of the one such file in a `.zip`.

    Of an .h5 a name is "layer|weight", both as Keras wrote them.

    Raises:
        InputError: there is no such file, it is of another kind, damaged, or has a value that is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights file at {path}")
    if path.suffix == ".zip":
        with _unzipped(path) as inner:
            return read(inner)
    reader = READERS.get(path.suffix)
    if reader is None:
        raise InputError(f"{path} has none of the endings of published weights: {', '.join([*READERS, '.zip'])}")
    tensors = reader(path)
    if not tensors:
        raise InputError(f"{path} holds no weights")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} has values that are not finite")
    return tensors


def _h5(path: Path) -> Tensors:
    """Keras' older layout: groups that list their layers, which list their weights."""
    try:
        with h5py.File(path) as file:
            root = file.get("model_weights", file)  # a whole model has it one deeper
            if not any(key.startswith("layer_names") for key in root.attrs):
                raise InputError(f"{path} is not in Keras' .h5 layout of weights: it lists no layer_names")
            return {
                f"{layer}|{weight}": np.asarray(_believable(weight, root[layer][weight]))
                for layer in _listed(root, "layer_names")
                for weight in _listed(root[layer], "weight_names")
            }
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, "HDF5", error) from error


def _listed(group: h5py.Group, name: str) -> list[str]:
    """An attribute's names; Keras splits a list that is too long for one attribute into name0, name1, ..."""
    lists: list[Any] = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(lists)}" in group.attrs:
        lists.append(group.attrs[f"{name}{len(lists)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for names in lists for n in names]


def _believable(name: str, tensor: Any) -> Any:
    """A tensor that is not yet in memory, if there is room for it."""
    if tensor.nbytes > LARGEST:
        raise ValueError(f"{name} is said to have {tensor.nbytes:,} bytes")
    return tensor


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:  # the library checks the header against the file
        raise _damaged(path, "safetensors", error) from error
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in tensors.items()}


def _pth(path: Path) -> Tensors:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"reading {path} needs PyTorch: pip install 'keras-inception[torch]'") from error

    try:
        with warnings.catch_warnings():  # of formats that it may not know: what it does not know it refuses
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
    try:
        content = {k: _believable(k, v) for k, v in content.items()}
    except ValueError as error:
        raise _damaged(path, "PyTorch", error) from error
    return {k: v.float().numpy() if v.is_floating_point() else v.numpy() for k, v in content.items()}


READERS: dict[str, Callable[[Path], Tensors]] = {
    ".h5": _h5,
    ".safetensors": _safetensors,
    ".pth": _pth,
    ".pt": _pth,
}


@contextmanager
def _unzipped(path: Path) -> Iterator[Path]:
    """The one file of weights in an archive, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                files = [info for info in archive.infolist() if Path(info.filename).suffix in READERS]
                if len(files) != 1:
                    raise InputError(f"{path} holds {len(files)} files of weights; one is expected")
                if files[0].file_size > LARGEST:
                    raise InputError(f"{path} unpacks to {files[0].file_size:,} bytes: it is not used")
                inner = Path(folder, Path(files[0].filename).name)
                with archive.open(files[0]) as packed, inner.open("wb") as unpacked:
                    while block := packed.read(1 << 20):
                        unpacked.write(block)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise _damaged(path, "zip", error) from error
        yield inner


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{path} is no whole {kind} file: {reason}")
