"""Read the tensors of a weights file in any supported format: path -> {name: array}.

Nothing in a file is trusted. Pickles run no code (see `pytorch`); of a `.keras` archive only the weights are read.
Sizes are checked before anything is loaded: the size of the file, the sizes in the directory of an archive (`.zip`,
`.keras`, `.tar.gz`), and those of the tensors in an HDF5 file, a TensorFlow checkpoint or a PyTorch file, which may
also hold an optimizer that is not read; the safetensors library compares its header with the file. A file that is
truncated or of another kind than its name says, or that has a value that is not finite, is an InputError of one line.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from ..errors import InputError
from ..files import parse_json
from .caffe import MODEL, read_caffemodel
from .pytorch import read_state
from .tensorflow import ARCHIVES, GRAPH, checkpoint_at, read_archive, read_checkpoint, read_graph

Tensors = dict[str, np.ndarray]

LARGEST = 2**31  # bytes of a file, unpacked: three times the largest published file


# What wrappers put before every name: DataParallel, torch.compile, Lightning, and classifiers around a backbone.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\.safetensors|\.bin)")


def read(path: str | Path) -> Tensors:
    """Read the tensors of a Keras `.h5`, `.weights.h5` or `.keras`, a `.safetensors`, a `.pth`, or a `.zip` of one.

    Or of a TensorFlow 1 checkpoint, given by its prefix, one of its files, its folder or its `.tar.gz`, of a frozen
    graph, `.pb`, or of a Caffe network, `.caffemodel`.

    The names are those in the file. In Keras' formats a name is "layer|weight", both as Keras wrote them; Keras 3
    numbers the weights of a layer: "layer|0". In PyTorch's a prefix before all names, "module." for example, is left
    out. The index of several files, or one of these files, gives the tensors of all.

    Raises:
        InputError: there is no such file, it is of another kind, damaged, or has a value that is not finite.
    """
    path = Path(path)
    if checkpoint := checkpoint_at(path):
        return _checked(path, read_checkpoint(checkpoint, LARGEST))
    if not path.is_file():
        raise InputError(f"no weights file at {path}")
    tensors: Tensors = {}
    for file in _shards(path):
        reader = next((reader for ending, reader in READERS.items() if file.name.endswith(ending)), None)
        if reader is None:
            raise InputError(f"{file} has none of the endings of published weights: {', '.join(READERS)}")
        if reader is not _pth and (size := _unpacked_size(file)) > LARGEST:
            raise InputError(f"{file} has {size:,} bytes, unpacked; more than {LARGEST:,} are not read")
        tensors |= reader(file)
    if reader in (_safetensors, _pth):
        tensors = without_prefixes(tensors)
    return _checked(path, tensors)


def _checked(path: Path, tensors: Tensors) -> Tensors:
    """The tensors, if there are any and all values are finite."""
    if not tensors:
        raise InputError(f"{path} holds no weights")
    for name, array in tensors.items():
        if array.dtype.kind not in "fiub":
            raise InputError(f"{path} holds {name} as {array.dtype}: save the network in float32")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} has values that are not finite")
    return tensors


def _shards(path: Path) -> list[Path]:
    """The files that a network is split into, where `path` is one of them or their index; otherwise the file itself."""
    if path.name.endswith(INDEX):
        try:
            names = {Path(name).name for name in parse_json(path.read_text(encoding="utf-8"))["weight_map"].values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, "index", error) from error
        shards = [path.with_name(name) for name in sorted(names)]
    elif shard := SHARD.fullmatch(path.name):
        before, count, ending = shard.groups()
        shards = [path.with_name(f"{before}-{i:05d}-of-{count}{ending}") for i in range(1, int(count) + 1)]
    else:
        return [path]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise InputError(f"{path} is one part of {len(shards)}; missing beside it: {', '.join(missing[:5])}")
    return shards


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
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        with safe_open(path, "numpy"):  # compares the header with the size of the file; nothing else is read yet
            pass
        stored = dict(deserialize(path.read_bytes()))
        if other := next((t["dtype"] for t in stored.values() if t["dtype"] not in SAFETENSORS_TYPES), None):
            raise InputError(f"{path} holds tensors of the type {other}: save the network in float32, without scales")
        arrays = {
            k: np.frombuffer(t["data"], SAFETENSORS_TYPES[t["dtype"]]).reshape(t["shape"]) for k, t in stored.items()
        }
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, "safetensors", error) from error
    halves = (np.float16, ml_dtypes.bfloat16)
    return {k: v.astype(np.float32) if v.dtype in halves else v for k, v in arrays.items()}


def _pth(path: Path) -> Tensors:
    try:
        return read_state(path, LARGEST)
    except InputError:
        raise
    except Exception as error:  # whatever a pickle that is none can raise
        raise _damaged(path, "PyTorch", error) from error


def without_prefixes(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """The tensors by the names that the network has by itself, where a wrapper has put a prefix before all of them."""
    while prefix := next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return dict(tensors)


def _archive(path: Path) -> Tensors:
    """The only weights file in a `.zip`, or in a `.keras` archive."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                files = [info for info in archive.infolist() if info.filename.endswith(tuple(WEIGHTS))]
                if len(files) != 1:
                    raise InputError(f"{path} holds {len(files)} files of weights; one is expected")
                inner = Path(folder, Path(files[0].filename).name)
                with archive.open(files[0]) as packed, inner.open("wb") as unpacked:
                    while block := packed.read(1 << 20):
                        unpacked.write(block)
        except InputError:
            raise
        except Exception as error:  # of zipfile, or of the method that a member is packed with
            raise _damaged(path, "zip", error) from error
        return read(inner)


SAFETENSORS_TYPES: dict[str, Any] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8},
}
WEIGHTS: dict[str, Callable[[Path], Tensors]] = {
    **{".h5": _h5, ".safetensors": _safetensors},
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".pth.tar"), _pth),
}
READERS: dict[str, Callable[[Path], Tensors]] = {
    **WEIGHTS,
    **{".zip": _archive, ".keras": _archive, GRAPH: read_graph, MODEL: read_caffemodel},
    **dict.fromkeys(ARCHIVES, lambda path: read_archive(path, LARGEST)),
}
INDEX = (".safetensors.index.json", ".bin.index.json")  # of a network in several files, as Hugging Face writes it


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{path} is not a complete {kind} file: {reason}")
