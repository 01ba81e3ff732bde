"""Weights that are cut, changed, foreign or lying, in every format; `.keras` archives that would do more than load."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers
from safetensors.numpy import save

import keras_inception as ki
from keras_inception import Run
from keras_inception.weights import load

from ..weights import pytorch
from ..weights.test_caffe import CONV, field, layer, number
from .judge import Case
from .mutations import mutated
from .networks import keras_file, made, network, run, tflite, unchanged_if_refused

MEMORY = 96 * 2**20  # bytes that reading one of these may take; none of them has a hundredth of it
PYTORCH = Path(pytorch.__file__ or "").parent
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def built(path: Path, _: Path) -> None:
    """The file goes to a builder. None of these fits, so that nothing is built."""
    ki.SqueezeNet1_1(input_shape=(64, 64, 3), weights=path)


def loaded(path: Path, _: Path) -> None:
    """The file goes into a network, which stays as it was if the file is refused."""
    with unchanged_if_refused() as model:
        load(model, path)


def file(name: str, content: Callable[[], bytes], folder: Path) -> Path:
    (folder / name).write_bytes(content())
    return folder / name


@cache
def safetensors() -> bytes:
    return save({f"layer_{i}.weight": ARRAY for i in range(3)})


@cache
def weights_h5() -> bytes:
    return made(network().save_weights, "x.weights.h5")


@cache
def h5() -> bytes:
    """Keras 2's layout, which Keras writes no more: two layers of two weights."""
    whole = io.BytesIO()
    with h5py.File(whole, "w") as root:
        root.attrs["layer_names"] = [b"conv", b"predictions"]
        for name in ("conv", "predictions"):
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            for weight, values in zip(("kernel:0", "bias:0"), network().get_layer(name).get_weights(), strict=True):
                group[f"{name}/{weight}"] = values
    return whole.getvalue()


@cache
def caffemodel() -> bytes:
    return layer("conv", "Convolution", CONV) + layer("ip", "InnerProduct", [ARRAY, ARRAY[0]])


@cache
def zipped() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.safetensors", safetensors())
    return whole.getvalue()


def committed(name: str) -> bytes:
    return (PYTORCH / name).read_bytes()


# format -> a good file, and what it is given to. None fits SqueezeNet; what fits the tiny network is an answer.
FORMATS: dict[str, tuple[Callable[[], bytes], Callable[[Path, Path], None]]] = {
    "x.safetensors": (safetensors, built),
    "x.pth": (partial(committed, "plain.pth"), built),
    "old.pth": (partial(committed, "old.pth"), built),
    "x.ckpt": (partial(committed, "lightning.ckpt"), built),
    "x.caffemodel": (caffemodel, built),
    "x.zip": (zipped, built),
    "x.tflite": (tflite, built),
    "x.h5": (h5, loaded),
    "x.weights.h5": (weights_h5, loaded),
    "x.keras": (keras_file, loaded),
}
SHARES, SEEDS = 8, 10


def cut(content: Callable[[], bytes], share: float) -> bytes:
    return content()[: int(share * len(content()))]


def changed(content: Callable[[], bytes], seed: int) -> bytes:
    return mutated(content(), seed)


# ------------------------------------------------------------------------------------------------------- lying headers


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def tensor(**fields: Any) -> bytes:
    """A safetensors file with one tensor whose entry has these fields."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | fields
    return header(json.dumps({"a": entry}).encode(), bytes(8))


def sparse(size: int, start: Callable[[], bytes], name: str, folder: Path) -> Path:
    """A file of a size that the disk does not hold."""
    path = file(name, start, folder)
    os.truncate(path, size)
    return path


def pth(content: bytes, numbers: bytes = bytes(8), method: int = zipfile.ZIP_STORED) -> bytes:
    """A `.pth` of a pickle and one storage."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", numbers)
    return whole.getvalue()


class Call:
    """Pickled, a call: `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Stored(str):
    """A storage of 32-bit floats, which `torch.save` does not pickle but refers to."""


class Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        return ("storage", FloatStorage, "0", "cpu", int(thing)) if isinstance(thing, Stored) else None


class FloatStorage:
    """Stands for PyTorch's, of which a pickle has the name."""


def rebuild_tensor(*_: Any) -> None:
    """Stands for PyTorch's function, of which a pickle has the name."""


def state(count: int, offset: Any, shape: Any, strides: Any, tensors: int = 1) -> bytes:
    """The pickle of a state_dict whose tensors are views of one storage."""
    text = io.BytesIO()
    view = Call(rebuild_tensor, Stored(count), offset, shape, strides, False, {})
    Pickler(text, protocol=2).dump({f"layer_{i}.weight": view for i in range(tensors)})
    names = {b"FloatStorage": b"torch\nFloatStorage", b"rebuild_tensor": b"torch._utils\n_rebuild_tensor_v2"}
    content = text.getvalue()
    for ours, theirs in names.items():
        content = content.replace(f"c{__name__}\n".encode() + ours, b"c" + theirs)
    return content


def with_dataset(**options: Any) -> bytes:
    """A `.weights.h5` whose first kernel is another dataset."""
    whole = io.BytesIO(weights_h5())
    with h5py.File(whole, "r+") as root:
        names: list[str] = []
        root.visit(lambda name: names.append(name) if name.endswith("vars/0") else None)
        del root[names[0]]
        if link := options.pop("link", None):
            root[names[0]] = link
        else:
            root.create_dataset(names[0], **options)
    return whole.getvalue()


def looped_h5() -> bytes:
    """A group that holds itself."""
    whole = io.BytesIO(weights_h5())
    with h5py.File(whole, "r+") as root:
        root["layers/again"] = root["layers"]
    return whole.getvalue()


def values(value: float) -> bytes:
    whole = io.BytesIO(weights_h5())
    with h5py.File(whole, "r+") as root:
        root.visititems(lambda _, item: item.write_direct(np.full(item.shape, value, np.float32))
                        if isinstance(item, h5py.Dataset) and item.dtype == np.float32 else None)  # fmt: skip
    return whole.getvalue()


def classifier(classes: int, dtype: str = "float32") -> bytes:
    """The tiny network with another number of classes, or another type."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, name="conv", dtype=dtype)(image))
    other = keras.Model(image, layers.Dense(classes, name="predictions", dtype=dtype)(x), name="tiny")
    return made(other.save_weights, "x.weights.h5")


LYING: dict[str, tuple[str, Callable[[], bytes], Callable[[Path, Path], None]]] = {
    **{
        f"safetensors: {name}": ("x.safetensors", content, built)
        for name, content in {
            "a shape of petabytes": partial(tensor, shape=[10**6, 10**6]),
            "a shape beyond 64 bits": partial(tensor, shape=[2**63, 2**63]),
            "a negative shape": partial(tensor, shape=[-2]),
            "a shape of text": partial(tensor, shape="2"),
            "offsets backwards": partial(tensor, data_offsets=[8, 0]),
            "offsets beyond the end": partial(tensor, data_offsets=[0, 2**40]),
            "an unknown type": partial(tensor, dtype="F31"),
            "a type of a byte that is a number of eight": partial(tensor, dtype="F8_E4M3", shape=[8]),
            "no tensors": partial(header, b"{}"),
            "only metadata": partial(header, b'{"__metadata__":{"a":"b"}}'),
            "metadata that is a list": partial(header, b'{"__metadata__":[]}'),
            "nested lists": partial(header, b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
            "two of a name": partial(
                header,
                b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
                bytes(8),
            ),
            "a name with a line break": lambda: save({"a\nb": ARRAY}),
            "values that are not finite": lambda: save({"a": ARRAY * np.nan}),
            "whole numbers": lambda: save({"a": ARRAY.astype(np.int64)}),
            "an empty tensor": lambda: save({"a": ARRAY[:0]}),
            "ten thousand tensors": lambda: save({f"t{i}": ARRAY[0] for i in range(10_000)}),
        }.items()
    },
    **{
        f"pth: {name}": ("x.pth", content, built)
        for name, content in {
            "a view of petabytes": lambda: pth(state(2, 0, (10**6, 10**9), (0, 0))),
            "a view beyond its storage": lambda: pth(state(2, 1, (2,), (1,))),
            "a view that begins before": lambda: pth(state(2, -1, (2,), (1,))),
            "negative strides": lambda: pth(state(2, 1, (2,), (-1,))),
            "strides of text": lambda: pth(state(2, 0, (2,), ("1",))),
            "a storage of a terabyte": lambda: pth(state(2**38, 0, (2,), (1,))),
            "a storage of no numbers": lambda: pth(state(-1, 0, (2,), (1,))),
            "a pickle of 70 MB, packed": lambda: pth(b"\x80\x02" + b"0" * 7 * 10**7, method=zipfile.ZIP_DEFLATED),
            "a pickle that calls": lambda: pth(pickle.dumps({"a": Call(os.mkdir, "harmed")})),
            "a pickle that evaluates": lambda: pth(pickle.dumps({"a": Call(eval, "1 / 0")})),
            "a pickle that imports": lambda: pth(b"cantigravity\nfly\n."),
            "a pickle that only pops": lambda: pth(b"\x80\x02" + b"0" * 100 + b"."),
            "a pickle that has no end": lambda: pth(b"\x80\x02}"),
            "a pickle of a later protocol": lambda: pth(b"\x80\xff}."),
            "a text of 2^62 bytes": lambda: pth(b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"."),
            "a frame of 2^62 bytes": lambda: pth(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"."),
            "a number of 2^31 bytes": lambda: pth(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"."),
            "a memo at 4 billion": lambda: pth(b"\x80\x02}r\xff\xff\xff\xff."),
            "nested lists": lambda: pth(b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b"."),
            "a list in itself": lambda: pth(b"\x80\x02]q\x00h\x00a."),
            "no pickle": lambda: pth(b""),
            "an archive of nothing": lambda: b"PK\5\6" + bytes(18),
        }.items()
    },
    **{
        f"h5: {name}": ("x.weights.h5", content, loaded)
        for name, content in {
            "a kernel of petabytes": partial(with_dataset, shape=(2**25, 2**25), dtype="f4", chunks=(1, 1024)),
            "a kernel of 4 GB, packed": partial(
                with_dataset, shape=(2**15, 2**15), dtype="f4", chunks=(2**10, 2**10), compression="gzip"
            ),
            "a kernel in another file": partial(
                with_dataset, shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)]
            ),
            "a kernel that is a link to another file": partial(
                with_dataset, link=h5py.ExternalLink("/etc/hostname", "/")
            ),
            "a kernel that is a link to itself": partial(with_dataset, link=h5py.SoftLink("/layers/conv2d/vars/0")),
            "a kernel of text": partial(with_dataset, data=[b"a", b"b"]),
            "a kernel of records": partial(with_dataset, data=np.zeros(3, [("a", "f4"), ("b", "i4")])),
            "a kernel of whole numbers": partial(with_dataset, data=np.zeros((3, 3, 3, 4), np.int8)),
            "a kernel of complex numbers": partial(with_dataset, data=np.zeros((3, 3, 3, 4), np.complex64)),
            "a kernel of no numbers": partial(with_dataset, data=np.zeros((0,), np.float32)),
            "a scalar kernel": partial(with_dataset, data=np.float32(1)),
            "a group in itself": looped_h5,
            "NaN": partial(values, float("nan")),
            "infinity": partial(values, float("inf")),
            "no layers": lambda: made(lambda path: h5py.File(path, "w").close(), "x.h5"),
        }.items()
    },
    "classes: 1,001": ("x.weights.h5", partial(classifier, 1001), loaded),
    "classes: 1": ("x.weights.h5", partial(classifier, 1), loaded),
    "type: float16": ("x.weights.h5", partial(classifier, 3, "float16"), loaded),
    "type: float64": ("x.weights.h5", partial(classifier, 3, "float64"), loaded),
    **{
        f"caffemodel: {name}": ("x.caffemodel", content, built)
        for name, content in {
            "a length of 2^63": lambda: b"\x0a" + number(2**63),
            "a varint without an end": lambda: b"\x0a" + b"\xff" * 20,
            "layers in layers": lambda: b"\xa2\x06\x7f" * 10_000,
            "a factor of zero numbers": lambda: layer("n", "BatchNorm", [ARRAY[0], ARRAY[0], ARRAY[0, :0]]),
            "a factor of three": lambda: layer("n", "BatchNorm", [ARRAY[0]] * 3),
            "a name that is no text": lambda: field(100, field(1, b"\xff\xfe") + field(2, "Convolution")),
            "a dense layer of one axis": lambda: layer("ip", "InnerProduct", [ARRAY[0]]),
            "a dense layer of no axis": lambda: layer("ip", "InnerProduct", [np.float32(1).reshape(())]),
        }.items()
    },
    **{
        f"foreign: {kind} named {name}": (name, content, uses)
        for kind, content in {
            "a web page": lambda: b"<!DOCTYPE html><html>",
            "a pickle": lambda: pickle.dumps({"a": Call(os.mkdir, "harmed")}),
            "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "zeros": lambda: bytes(4096),
            "nothing": lambda: b"",
        }.items()
        for name, uses in {name: uses for name, (_, uses) in FORMATS.items() if not name.startswith("old")}.items()
    },
}
# What is unusual, and harmless. The values are taken, or the classes adapted.
ACCEPTED = {
    "h5: a kernel of whole numbers",
    "h5: a group in itself",
    "classes: 1,001",
    "classes: 1",
    "type: float16",
    "type: float64",
}
LARGE = {  # name -> how the file begins; all else in it are zeros that the disk does not hold
    "x.safetensors": safetensors,
    "header.safetensors": lambda: struct.pack("<Q", 90 * 2**20) + b"{",
    "x.pth": partial(committed, "old.pth"),
    "x.caffemodel": caffemodel,
    "x.h5": h5,
    "x.tflite": tflite,
}

# ----------------------------------------------------------------------------------------------------------- .keras


def archive(config: Any = None, **members: Any) -> bytes:
    """The tiny network's archive with another configuration, and more members."""
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(keras_file())) as good, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as bad:
        for info in good.infolist():
            content = good.read(info)
            if info.filename == "config.json" and config is not None:
                content = config if isinstance(config, bytes) else json.dumps(config).encode()
            bad.writestr(info.filename, content)
        for name, content in members.items():
            bad.writestr(name, content)
    return whole.getvalue()


def config(change: Callable[[dict[str, Any]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(keras_file())) as good:
        known = json.loads(good.read("config.json"))
    change(known)
    return archive(known)


def of_class(module: Any, name: Any, arguments: dict[str, Any], known: dict[str, Any]) -> None:
    """The last layer is of another class."""
    last = known["config"]["layers"][-1]
    last |= {"module": module, "class_name": name, "registered_name": None}
    last["config"] = arguments


def field_of(path: str, value: Any, known: dict[str, Any]) -> None:
    *way, last = path.split("/")
    for step in way:
        known = known[int(step)] if isinstance(known, list) else known[step]
    known[last] = value


def lambda_of_code(known: dict[str, Any]) -> None:
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHME"}}
    of_class("keras.layers", "Lambda", {"name": "predictions", "function": code}, known)


CALLS = ("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("keras.utils", "get_file")
SAFE: dict[str, Callable[[], bytes]] = {
    "a Lambda with code": partial(config, lambda_of_code),
    **{
        f"a layer that is {module}.{name}": partial(config, partial(of_class, module, name, {"name": "predictions"}))
        for module, name in (*CALLS, ("nowhere", "Layer"), ("keras.layers", "Nothing"), ("", ""), (None, None), (1, 2))
    },
    **{
        f"an activation that is {module}.{name}": partial(
            config,
            partial(
                field_of,
                "config/layers/2/config/activation",
                {"module": module, "class_name": "function", "config": name, "registered_name": name},
            ),
        )
        for module, name in CALLS
    },
    "a layer of 2^40 units": partial(config, partial(field_of, "config/layers/3/config/units", 2**40)),
    "a layer of -1 units": partial(config, partial(field_of, "config/layers/3/config/units", -1)),
    "a layer of text units": partial(config, partial(field_of, "config/layers/3/config/units", "3")),
    "a million filters": partial(config, partial(field_of, "config/layers/1/config/filters", 10**12)),
    "an input of 2^31 squared": partial(
        config, partial(field_of, "config/layers/0/config/batch_shape", [None, 2**31, 2**31, 3])
    ),
    "an input of 2^70 squared": partial(
        config, partial(field_of, "config/layers/0/config/batch_shape", [None, 2**70, 2**70, 3])
    ),
    "no layers": partial(config, partial(field_of, "config/layers", [])),
    "layers that are text": partial(config, partial(field_of, "config/layers", "none")),
    "outputs of nowhere": partial(config, partial(field_of, "config/output_layers", [["nowhere", 0, 0]])),
    "another class of model": partial(config, partial(field_of, "class_name", "Nothing")),
    "a configuration that is a list": partial(archive, b"[]"),
    "a configuration that is no JSON": partial(archive, b"{"),
    "a configuration that is no text": partial(archive, b"\xff\xfe"),
    "a configuration of nested lists": partial(archive, b"[" * 200_000),
    "a configuration of 70 MB, packed": partial(archive, b"[" + b" " * 7 * 10**7 + b"]"),
    "no configuration": lambda: zipped(),
    "not a zip": lambda: b"PK\3\4" + bytes(1000),
}
TRAVERSAL = ("../../harmed.txt", "/tmp/harmed.txt", "..\\..\\harmed.txt", "assets/../../harmed.txt")


def a_run(content: Callable[[], bytes], folder: Path) -> Path:
    (run(folder) / "model.keras").write_bytes(content())
    return folder


def opened(path: Path, _: Path) -> None:
    """A run opens its network as Keras does, in safe mode."""
    Run.load(path).model()


CASES = [
    *(
        Case(f"weights: {name} cut after {i}/{SHARES}", partial(file, name, partial(cut, content, i / SHARES)), use,
             "either" if name == "x.tflite" else "refused", memory=MEMORY)
        for name, (content, use) in FORMATS.items()
        for i in range(SHARES)
    ),
    *(
        Case(f"weights: {name} mutation {seed}", partial(file, name, partial(changed, content, seed)), use, "either",
             memory=MEMORY)
        for name, (content, use) in FORMATS.items()
        for seed in range(SEEDS)
    ),
    *(
        Case(f"weights: {name}", partial(file, *case[:2]), case[2], "either" if name in ACCEPTED else "refused",
             memory=MEMORY)
        for name, case in LYING.items()
    ),
    *(
        Case(f"weights: {size // 10**9} GB of zeros in {name}", partial(sparse, size, start, name), built,
             memory=MEMORY)
        for name, start in LARGE.items()
        for size in (3 * 10**9, 10**12)
    ),
    *(
        Case(f"weights: {size // 10**9} GB of zeros in {name}", partial(sparse, size, start, name), built,
             memory=MEMORY)
        for name, start in LARGE.items()
        if name.endswith((".safetensors", ".pth"))
        for size in (10**9, 2 * 10**9)
    ),
    *(
        Case(f".keras: {name}", partial(a_run, content), opened, names="model.keras", memory=MEMORY)
        for name, content in SAFE.items()
    ),
    *(
        Case(f".keras: weights beside {name}", partial(file, "x.keras", content), loaded, "either", memory=MEMORY)
        for name, content in SAFE.items()
    ),
    *(
        Case(f".keras: a member named {name}", partial(a_run, partial(archive, **{name: b"harm"})), opened, "either",
             names="model.keras")
        for name in TRAVERSAL
    ),
    *(
        Case(f".keras: mutation {seed}", partial(a_run, partial(changed, keras_file, seed)), opened, "either",
             names="model.keras")
        for seed in range(SEEDS)
    ),
]  # fmt: skip
