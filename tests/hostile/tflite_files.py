"""`.tflite` files that are cut or changed, through everything that opens one."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception import InputError, export
from keras_inception.export.runtimes import trial
from keras_inception.export.tflite import flatbuffer
from keras_inception.export.tflite.metadata import NAME
from keras_inception.weights import from_tflite, recognise_tflite

from .judge import Case, check_refusal
from .mutations import mutated
from .networks import INPUTS, network, tflite, unchanged_if_refused

MUTATIONS = 100  # of the default tests
IMAGE = np.zeros((9, 9, 3), np.uint8)


def predicted(path: Path) -> None:
    from keras_inception.evaluation import predict

    predict(export.open_predictor(path), IMAGE)


def filled(path: Path) -> None:
    """A file that is refused leaves the model as it was."""
    with unchanged_if_refused() as model:
        from_tflite(model, path)


def timed(path: Path) -> None:
    """Benchmark a file that does not run; one that does takes seconds."""
    try:
        trial.try_out(path)
    except RuntimeError:
        export.benchmark([path])


QUICK: tuple[Callable[[Path], Any], ...] = (export.doctor, export.open_predictor, filled, recognise_tflite)
OPENED_BY: tuple[Callable[[Path], Any], ...] = (
    export.doctor,
    lambda path: export.agreement(path, network(), INPUTS),
    predicted,
    filled,
    recognise_tflite,
    timed,
)


def opened(path: Path, _: Path, by: tuple[Callable[[Path], Any], ...] = OPENED_BY) -> None:
    """Give a file to everything that opens one; raise the last refusal, if any, where all are of one line."""
    refusal: InputError | None = None
    for opens in by:
        try:
            opens(path)
        except InputError as error:
            refusal = check_refusal(error, path.name)
    if refusal:
        raise refusal


def file(content: Callable[[], bytes], folder: Path) -> Path:
    (folder / "x.tflite").write_bytes(content())
    return folder / "x.tflite"


def cut(share: float) -> bytes:
    return tflite()[: int(share * len(tflite()))]


def changed(change: Callable[[Any], None]) -> bytes:
    """The file with its contents changed, and written again."""
    content = schema.ModelT.InitFromPackedBuf(tflite(), 0)
    change(content)
    return flatbuffer.packed(content)


def tensors_of(size: int, content: Any) -> None:
    for tensor in content.subgraphs[0].tensors:
        if tensor.shape is not None and len(tensor.shape) == 4:
            tensor.shape = np.array([1, size, size, 3], np.int32)


def strides(size: int, content: Any) -> None:
    for operator in content.subgraphs[0].operators:
        if hasattr(operator.builtinOptions, "strideH"):
            operator.builtinOptions.strideH = operator.builtinOptions.strideW = size


def scales(value: float, content: Any) -> None:
    for tensor in content.subgraphs[0].tensors:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([value], np.float32), np.array([0], int)


def backwards(content: Any) -> None:
    """Operators that read what is not computed yet."""
    content.subgraphs[0].operators.reverse()


def into_itself(content: Any) -> None:
    for operator in content.subgraphs[0].operators:
        operator.inputs = np.array(operator.outputs[:1].tolist() + list(operator.inputs[1:]), np.int32)


def without(field: str, content: Any) -> None:
    setattr(content, field, [])


def record(text: bytes, content: Any) -> None:
    """Another record of ours in the metadata."""
    for entry in content.metadata:
        if entry.name == NAME.encode():
            content.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)


def recorded(**fields: Any) -> Callable[[Any], None]:
    known = {"schema": 1, "input": "input", "preprocessing": None, "labels": ["a", "b", "c"]}
    return partial(record, json.dumps(known | fields).encode())


def with_labels(content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """The file with another list of labels at its end."""
    whole = io.BytesIO(changed(recorded(labels=None)))
    with zipfile.ZipFile(whole, "a", method) as archive:
        archive.writestr("labels.txt", content)
    return whole.getvalue()


def labels_that_lie() -> bytes:
    """The archive's directory states 4 GB."""
    content = bytearray(with_labels(b"a\nb\nc"))
    at = content.rindex(b"PK\1\2")
    content[at + 24 : at + 28] = b"\xff\xff\xff\xff"
    return bytes(content)


def aliased(count: int) -> bytes:
    """A vector of subgraphs that all are one: reading it takes as often the time of the file."""
    content = bytearray(tflite())
    root = struct.unpack_from("<I", content)[0]
    table = root - struct.unpack_from("<i", content, root)[0]
    field = root + struct.unpack_from("<H", content, table + 4 + 2 * 2)[0]
    vector = field + struct.unpack_from("<I", content, field)[0]
    graph = vector + 4 + struct.unpack_from("<I", content, vector + 4)[0]
    start = len(content) + -len(content) % 4
    content += bytes(start - len(content)) + struct.pack("<I", count)
    struct.pack_into("<I", content, field, start - field)
    for i in range(count):  # offsets are unsigned: 2^32 wraps back
        content += struct.pack("<I", (graph - (start + 4 + 4 * i)) % 2**32)
    return bytes(content)


CHANGED: dict[str, Callable[[Any], None]] = {
    **{f"tensors of {size:,} squared": partial(tensors_of, size) for size in (0, -1, 1, 2**15, 2**31 - 1)},
    **{f"strides of {size:,}": partial(strides, size) for size in (0, -1, 2**31 - 1)},
    **{f"scales of {value}": partial(scales, value) for value in (0.0, float("nan"), float("inf"), -1.0)},
    "operators in the wrong order": backwards,
    "operators that read their own output": into_itself,
    **{f"no {field}": partial(without, field) for field in ("subgraphs", "operatorCodes", "buffers", "signatureDefs")},
    "no metadata": partial(without, "metadata"),
    "a record that is no JSON": partial(record, b"{"),
    "a record that is no text": partial(record, b"\xff\xfe"),
    "a record of nested lists": partial(record, b"[" * 100_000),
    "a record that is a list": partial(record, b"[]"),
    "a record of 3 labels as text": recorded(labels="abc"),
    "a record of labels that are numbers": recorded(labels=[1, 2, 3]),
    "a record of a million labels": recorded(labels=["x"] * 1_000_000),
    "a record of an unknown input": recorded(input="sound"),
    "a record of an input that is a list": recorded(input=[]),
    "a record of preprocessing that is text": recorded(preprocessing="crop"),
    "a record of preprocessing of size 0": recorded(preprocessing={"size": [0, 0]}),
    "a record of preprocessing of size -1": recorded(preprocessing={"size": [-1, -1]}),
    "a record of preprocessing of a billion pixels": recorded(preprocessing={"size": [100_000, 100_000]}),
    "a record of preprocessing of text sizes": recorded(preprocessing={"size": ["8", "8"]}),
    "a record of preprocessing of another field": recorded(preprocessing={"size": [8, 8], "code": "1"}),
    "a record of calibration that is text": recorded(calibration="none"),
    "a record of calibration without notes": recorded(calibration={"notes": None}),
    "a record of a release that is no number": recorded(min_runtime_version="new"),
}
CONTENTS: dict[str, Callable[[], bytes]] = {
    **{f"cut after {share}/24": partial(cut, share / 24) for share in range(24)},
    **{name: partial(changed, change) for name, change in CHANGED.items()},
    "8 bytes": lambda: b"\0\0\0\0TFL3",
    "only an identifier, and zeros": lambda: b"\x08\0\0\0TFL3" + bytes(4000),
    "only an identifier, and ones": lambda: b"\xff\xff\xff\xffTFL3" + b"\xff" * 4000,
    "a Keras model": lambda: b"PK\3\4" + bytes(4) + tflite(),
    "trailing zeros": lambda: tflite() + bytes(100_000),
    "labels that state 4 GB": labels_that_lie,
    "labels of 64 MB, packed": lambda: with_labels(b"a\n" * 2**25, zipfile.ZIP_DEFLATED),
    "labels that are no text": lambda: with_labels(b"\xff\xfe\n\xff"),
    "no label": lambda: with_labels(b""),
    "a thousand subgraphs that are one": lambda: aliased(1000),
}


def mutation(seed: int) -> bytes:
    return mutated(tflite(), seed, spare=8)


def of(name: str, content: Callable[[], bytes]) -> Case:
    return Case(f".tflite: {name}", partial(file, content), opened, "either", memory=trial.MEMORY)


def mutation_case(seed: int, *, whole: bool = True) -> Case:
    """A mutation; `whole` gives it to agreement, prediction and benchmark too."""
    call = opened if whole else partial(opened, by=QUICK)
    write = partial(file, partial(mutation, seed))
    return Case(f".tflite: mutation {seed}", write, call, "either", memory=trial.MEMORY)


CASES = [
    *(of(name, content) for name, content in CONTENTS.items()),
    *(mutation_case(seed, whole=seed % 4 == 0) for seed in range(MUTATIONS)),
]
