"""Read the tensors of a file that `torch.save` wrote, without PyTorch and without running what its pickle names.

A pickle names classes and functions, and says with what to call them. Here a tensor, a parameter and a dictionary are
records of this module, and every other name stands for a class that keeps nothing: calling it, or restoring its state,
does nothing. So a file may hold an `argparse.Namespace`, paths, dates or an optimizer, and no code of it ever runs.

Both layouts are read: the zip archive of PyTorch 1.6 and later, and the pickles in a row before it. Only the tensors of
the network are read, not those of an optimizer beside it.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import InputError
from ..terminal import note

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of the old layout

DTYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "QInt8Storage": np.int8,
    "QUInt8Storage": np.uint8,
    "QInt32Storage": np.int32,
    "UntypedStorage": np.uint8,
}
TYPES = {f"torch.{np.dtype(kind).name}": np.dtype(kind) for kind in DTYPES.values()}
LARGEST_PICKLE = 2**26  # bytes, of all that is not numbers
MOST_NAMES = 1_000  # different classes and functions in a pickle
# What training scripts call the weights in a checkpoint, the preferred first. As in timm, an average comes first.
STATES = (
    *("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "ema"),
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params"),
)
COUNTERS = ("n_averaged",)  # of torch.optim.swa_utils.AveragedModel


class _Refused(Exception):
    """A file that is whole, and of a kind that is not read; the message follows its path."""


def read_state(path: Path, largest: int) -> dict[str, np.ndarray]:
    """The state_dict in a file, alone or in a training script's checkpoint; floating point as float32.

    Raises:
        InputError: the file holds no state_dict, or one of other tensors.
        Exception: the file is damaged; there is no end to what a pickle can raise.
    """
    try:
        with path.open("rb") as file:
            content, storages = _unzipped(file) if zipfile.is_zipfile(file) else _in_a_row(file)
            state = _state(content, path)
            for name, tensor in state.items():
                if isinstance(tensor, QuantizedTensor) or tensor.dtype.kind == "c":
                    kind = "complex" if tensor.dtype.kind == "c" else "quantised"
                    raise _Refused(f"holds {kind} tensors, {name} for example: save the float model's state_dict")
                if tensor.nbytes > largest:  # one stored number can be a tensor of any size, until it is copied
                    raise ValueError(f"{name} is stated to have {tensor.nbytes:,} bytes")
            if (size := sum(tensor.nbytes for tensor in state.values())) > largest:
                raise ValueError(f"its tensors are stated to have {size:,} bytes")
            return {name: tensor.read(storages) for name, tensor in state.items()}
    except _Refused as error:
        raise InputError(f"{path} {error}") from error


def _state(content: Any, path: Path) -> dict[str, StoredTensor]:
    """The state_dict in a file's content."""
    if (found := _found(content, path, levels=2)) is not None:
        return {name: tensor for name, tensor in found.items() if name not in COUNTERS}
    held = [content[k] for k in STATES if k in content] if isinstance(content, Mapping) else [content]
    if whole := next((x for x in held if isinstance(x, Nothing)), None):
        raise _Refused(
            f"holds an object of {whole.stands_for[:80]!r} in place of a state_dict, and its code is not run: "
            "save model.state_dict() with PyTorch"
        )
    keys = f" (its keys are {', '.join(map(repr, list(content)[:5]))})" if isinstance(content, dict) and content else ""
    raise _Refused(f"is not a state_dict, names and tensors{keys}: save model.state_dict() with PyTorch")


def _found(content: Any, path: Path, *, levels: int) -> dict[str, StoredTensor] | None:
    """The tensors under the first of `STATES` that has some, or in the dictionary itself."""
    if not isinstance(content, Mapping):
        return None
    nested = {k: _found(content[k], path, levels=levels - 1) for k in STATES if levels and k in content}
    if held := [k for k, state in nested.items() if state]:
        if len(held) > 1:
            note(f"{path} holds {' and '.join(held)}: {held[0]} is taken")
        return nested[held[0]]
    return {str(k): v for k, v in content.items() if isinstance(v, StoredTensor)} or None


# ------------------------------------------------------------------------------------------------------- what is stored


class Nothing:
    """An object of a class, or the result of a function, that a pickle names. It keeps nothing and does nothing."""

    stands_for = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Any arguments are accepted."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def _ignore(self, *args: Any, **kwargs: Any) -> Any:
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Dict(dict):
    """In place of OrderedDict, defaultdict and Counter."""

    def __init__(self, items: Any = (), *_: Any):
        super().__init__(items if isinstance(items, list | dict) else ())

    def __setstate__(self, state: Any) -> None:
        """A state_dict's versions of its modules are not needed."""


@dataclass(frozen=True)
class Storage:
    """A sequence of numbers in the file, by its key."""

    key: str
    dtype: np.dtype
    count: int


class StoredTensor(Nothing):
    """A view of a storage: offset, shape and strides, counted in numbers."""

    def __init__(self, storage: Storage, offset: int, shape: Any, strides: Any, *_: Any):
        self.storage, self.offset = storage, int(offset)
        self.shape, self.strides = tuple(map(int, shape)), tuple(map(int, strides))
        self.dtype = storage.dtype
        if len(self.shape) != len(self.strides) or min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError(f"a tensor has the shape {self.shape} and the strides {self.strides}")

    @property
    def nbytes(self) -> int:
        """The size of the tensor as an array of its own."""
        size = self.dtype.itemsize
        for side in self.shape:
            size *= side
        return size

    def read(self, storages: _Storages) -> np.ndarray:
        """The tensor; floating point as float32."""
        numbers = np.frombuffer(storages.read(self.storage), self.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if all(self.shape) and last >= len(numbers):
            raise ValueError(f"a tensor ends at {last} of {len(numbers)} numbers")
        steps = [stride * self.dtype.itemsize for stride in self.strides]
        view = as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        exact = self.dtype.kind in "iub"
        return np.array(view, dtype=self.dtype if exact else np.float32, order="C")


class _TensorOfType(StoredTensor):
    """A tensor whose storage has no type of its own."""

    def __init__(self, storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any):
        super().__init__(storage, offset, shape, strides)
        named = rest[2].stands_for
        if named not in TYPES:
            raise _Refused(f"holds a tensor of {named}, which is not read: save it as float32")
        self.dtype = TYPES[named]


class QuantizedTensor(StoredTensor):
    """A tensor of whole numbers with a scale."""


class _Parameter(Nothing):
    """torch.nn.Parameter: its tensor."""

    def __new__(cls, tensor: Any, *_: Any) -> Any:
        return tensor


class _Typed(Nothing):
    """A tensor of a subclass: what the function in the first place makes of the third."""

    def __new__(cls, function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
        return function(*arguments)


KNOWN: dict[str, type] = {
    "collections.OrderedDict": _Dict,
    "collections.defaultdict": _Dict,
    "collections.Counter": _Dict,
    "torch._utils._rebuild_tensor": StoredTensor,
    "torch._utils._rebuild_tensor_v2": StoredTensor,
    "torch._utils._rebuild_tensor_v3": _TensorOfType,
    "torch._utils._rebuild_qtensor": QuantizedTensor,
    "torch._utils._rebuild_parameter": _Parameter,
    "torch._utils._rebuild_parameter_with_state": _Parameter,
    "torch._tensor._rebuild_from_type_v2": _Typed,
}


# -------------------------------------------------------------------------------------------------------------- reading


# An extension would be looked up in the process, and a bytearray reserved at the size that the pickle states.
REFUSED = (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)
EVERY: Any = pickle._Unpickler.dispatch  # type: ignore[attr-defined]
OPERATIONS = {code: method for code, method in EVERY.items() if bytes([code]) not in REFUSED}


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """Builds nothing but dictionaries, lists, plain values and the records above.

    It is Python's own implementation: the one in C reserves memory for whatever number of objects a pickle states.
    """

    dispatch = OPERATIONS

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self.names: dict[str, type] = dict(KNOWN)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> type:
        """What a name stands for here."""
        full = f"{module}.{name}"
        if full not in self.names:
            self.names[full] = type("Nothing", (Nothing,), {"stands_for": full})
        if len(self.names) > MOST_NAMES:
            raise ValueError(f"it names more than {MOST_NAMES:,} classes")
        return self.names[full]

    def persistent_load(self, reference: Any) -> Any:
        """What is stored beside the pickle: numbers; and in old files, modules with their source."""
        kind, *rest = reference
        if kind == "module":
            return rest[0]
        storage_type, key, _, count, *view = rest
        if view and view[0] is not None:
            raise _Refused("holds views of storages, as PyTorch wrote before 0.4: load and save it with a newer one")
        name = storage_type.stands_for.rpartition(".")[2]
        if name not in DTYPES:
            raise _Refused(f"holds a {name}, which is not read: save the tensors as float32")
        return self.storages.setdefault(str(key), Storage(str(key), np.dtype(DTYPES[name]), int(count)))


class _Storages:
    """Where the storages are in a file: by their key, the archive's member or the offset in bytes."""

    def __init__(
        self, file: IO[bytes], archive: zipfile.ZipFile | None = None, places: Mapping[str, Any] | None = None
    ):
        self.file, self.archive, self.places = file, archive, places or {}

    def read(self, storage: Storage) -> bytes:
        size = storage.count * storage.dtype.itemsize
        place = self.places[storage.key]
        if self.archive is None:
            left = self.file.seek(0, io.SEEK_END) - place
            self.file.seek(place)
            content = self.file.read(size) if left >= size else b""
        elif place.file_size < size:
            content = b""
        else:
            content = self.archive.read(place)
        if len(content) < size:
            raise ValueError(f"it ends within the storage {storage.key}")
        return content[:size]


def _unzipped(file: IO[bytes]) -> tuple[Any, _Storages]:
    """The layout since PyTorch 1.6: NAME/data.pkl, NAME/data/KEY."""
    archive = zipfile.ZipFile(file)
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "constants.pkl" in members:
        raise _Refused("is a TorchScript archive: save model.state_dict() with PyTorch instead of torch.jit.save")
    if "byteorder" in members and archive.read(members["byteorder"]) == b"big":
        raise _Refused("was written on a big-endian machine: load and save it with PyTorch on another one")
    places = {name.removeprefix("data/"): info for name, info in members.items() if name.startswith("data/")}
    if (size := members["data.pkl"].file_size) > LARGEST_PICKLE:
        raise ValueError(f"its pickle is stated to have {size:,} bytes")
    return _Unpickler(io.BytesIO(archive.read(members["data.pkl"]))).load(), _Storages(file, archive, places)


def _in_a_row(file: IO[bytes]) -> tuple[Any, _Storages]:
    """The layout before PyTorch 1.6: two marks, facts about the machine, the content, keys; then each storage."""
    if file.read(512)[257:262] == b"ustar":
        raise _Refused("is a tar archive, as PyTorch wrote before 0.2: load and save it with a newer PyTorch")
    file.seek(0)
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (MAGIC, PROTOCOL):
        raise ValueError("it does not begin as torch.save begins a file")
    if _Unpickler(file).load().get("little_endian") is not True:
        raise _Refused("was written on a big-endian machine: load and save it with PyTorch on another one")
    unpickler = _Unpickler(file)
    content = unpickler.load()
    places = {}
    for key in _Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        places[str(key)] = file.tell()
        file.seek(count * unpickler.storages[str(key)].dtype.itemsize, io.SEEK_CUR)
    return content, _Storages(file, places=places)
