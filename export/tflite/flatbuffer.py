"""The flatbuffer of a .tflite file: its contents, and how several files become one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_inception.errors import InputError

IDENTIFIER = b"TFL3"  # of the format, at byte 4
FLOATS = frozenset(("FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"))


@dataclass(frozen=True)
class Operator:
    """An operator in the object API: its name, its tensors, and the options of its kind, None where it has none."""

    kind: str
    inputs: list[Any]
    outputs: list[Any]
    options: Any


def is_tflite(path: Path) -> bool:
    """Whether it is a TFLite file, by its identifier."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(8)[4:] == IDENTIFIER


@contextmanager
def parsed(path: Path) -> Iterator[None]:
    """Turn whatever an exported file's damaged contents raise in the block into an InputError.

    Nothing verifies a flatbuffer in Python: a wrong offset is followed, and raises anything.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged: export it again, or copy it again") from error


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape of a tensor in the object API; a scalar, or a tensor of unknown shape, has none in the file."""
    return () if tensor.shape is None else tuple(map(int, tensor.shape))


@cache
def names_of(enumeration: type) -> dict[int, str]:
    """The names in an enumeration of the schema, by code."""
    return {code: name for name, code in vars(enumeration).items() if isinstance(code, int)}


def operators(model: bytes) -> list[str]:
    """The names of a .tflite file's operators in execution order; a custom one has its own name."""
    content = schema.Model.GetRootAs(model, 0)
    kinds = [kind for kind, _ in _codes(content)]
    return [
        kinds[op.OpcodeIndex()] for graph in _graphs(content) for op in _each(graph.Operators, graph.OperatorsLength())
    ]


def operator_versions(model: bytes) -> list[tuple[str, int]]:
    """The operators that a .tflite file uses, each with the version of its definition."""
    return _codes(schema.Model.GetRootAs(model, 0))


def _codes(content: Any) -> list[tuple[str, int]]:
    names, codes = names_of(schema.BuiltinOperator), []
    for code in _each(content.OperatorCodes, content.OperatorCodesLength()):
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # the older field ends at 127
        custom = builtin == schema.BuiltinOperator.CUSTOM
        codes.append((code.CustomCode().decode() if custom else names[builtin], code.Version()))
    return codes


def dense_by_channel(model: bytes) -> bool:
    """Whether a dense layer with integer activations has a scale for each of its outputs."""
    content, kinds, types = schema.Model.GetRootAs(model, 0), iter(operators(model)), schema.TensorType
    for graph in _graphs(content):
        for op in _each(graph.Operators, graph.OperatorsLength()):
            if next(kinds) == "FULLY_CONNECTED":
                given, weights = graph.Tensors(op.Inputs(0)), graph.Tensors(op.Inputs(1)).Quantization()
                if given.Type() in (types.INT8, types.INT16) and weights is not None and weights.ScaleLength() > 1:
                    return True
    return False


def batch_of(model: bytes) -> int:
    """How many images a .tflite file takes at once; 1 for a free batch."""
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    given = graph.Tensors(graph.Inputs(0))
    return int(given.Shape(0)) if given.ShapeLength() > 1 else 1


def foreign_operators(model: bytes) -> set[str]:
    """The operators that a phone's plain runtime lacks: TensorFlow's own ("Flex...") and custom ones."""
    return set(operators(model)) - set(names_of(schema.BuiltinOperator).values())


def float_operators(model: bytes) -> list[str]:
    """The operators with float inputs or outputs, except those that only convert."""
    content, types = schema.Model.GetRootAs(model, 0), names_of(schema.TensorType)
    kinds, found = iter(operators(model)), []
    for graph in _graphs(content):
        for op in _each(graph.Operators, graph.OperatorsLength()):
            kind, ends = next(kinds), [*op.InputsAsNumpy(), *op.OutputsAsNumpy()]
            floats = any(types[graph.Tensors(i).Type()] in FLOATS for i in ends if i >= 0)
            if floats and kind not in ("QUANTIZE", "DEQUANTIZE"):
                found.append(kind)
    return found


def outputs_of_operators(model: bytes) -> dict[str, str]:
    """The outputs of the first subgraph's operators: tensor name -> operator."""
    content = schema.Model.GetRootAs(model, 0)
    graph, kinds = content.Subgraphs(0), operators(model)
    ops = _each(graph.Operators, graph.OperatorsLength())
    return {graph.Tensors(op.Outputs(0)).Name().decode(): kind for op, kind in zip(ops, kinds, strict=False)}


def inputs_of_operators(model: bytes) -> dict[str, list[str]]:
    """The tensors that the first subgraph's operators read of other operators, by the name of their own output."""
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    names = [tensor.Name().decode() for tensor in _each(graph.Tensors, graph.TensorsLength())]
    read: dict[str, list[str]] = {}
    for op in _each(graph.Operators, graph.OperatorsLength()):
        read[names[op.Outputs(0)]] = [names[i] for i in op.InputsAsNumpy() if i >= 0 and names[i] in read]
    return read


def precision(model: bytes) -> str:
    """How a .tflite file computes: "float32", "float16", "dynamic", "int8", "int16x8", or "uint8" in older files."""
    content = schema.Model.GetRootAs(model, 0)
    constants, activations = set(), set()
    for graph in _graphs(content):
        edges = {*graph.InputsAsNumpy().tolist(), *graph.OutputsAsNumpy().tolist()}
        for i, tensor in enumerate(_each(graph.Tensors, graph.TensorsLength())):
            if content.Buffers(tensor.Buffer()).DataLength():
                constants.add(tensor.Type())
            elif i not in edges:
                activations.add(tensor.Type())
    kind = schema.TensorType
    if kind.INT16 in activations:
        return "int16x8"
    if kind.INT8 in activations:
        return "int8"
    if kind.UINT8 in activations:
        return "uint8"
    if kind.FLOAT16 in constants:
        return "float16"
    return "dynamic" if kind.INT8 in constants else "float32"


def merged(models: Mapping[str, bytes]) -> Any:
    """The contents of one file with a subgraph and a signature for each of these files, in this order.

    `packed` writes equal weights once. TensorFlow's converter takes several signatures too, but in int16x8, and with
    its older quantiser, it mixes up their ranges.
    """
    whole = None
    for key, model in models.items():
        content = schema.ModelT.InitFromPackedBuf(model, 0)
        [graph], [signature] = content.subgraphs, content.signatureDefs
        signature.signatureKey = graph.name = key
        if whole is None:
            whole = content
            continue
        for tensor in graph.tensors:
            tensor.buffer += len(whole.buffers)
        for op in graph.operators:
            op.opcodeIndex += len(whole.operatorCodes)
        signature.subgraphIndex = len(whole.subgraphs)
        whole.buffers += content.buffers
        whole.operatorCodes += content.operatorCodes
        whole.subgraphs.append(graph)
        whole.signatureDefs.append(signature)
    _drop_copies(whole)
    return whole


def packed(content: Any) -> bytes:
    """The bytes of a file with these contents."""
    builder = _Builder(1024)
    builder.Finish(content.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _drop_copies(content: Any) -> None:
    """Remove repeated buffers and operator codes. Tensors without data share buffer 0, which is empty."""
    known: dict[bytes, int] = {b"": 0}
    kept, place = [schema.BufferT()], []
    for buffer in content.buffers:
        key = b"" if buffer.data is None else hashlib.sha256(buffer.data).digest()
        if key not in known:
            known[key] = len(kept)
            kept.append(buffer)
        place.append(known[key])
    codes: dict[tuple[Any, ...], int] = {}
    code_place = [codes.setdefault(tuple(vars(code).values()), len(codes)) for code in content.operatorCodes]
    first = {place: i for i, place in reversed(list(enumerate(code_place)))}
    content.operatorCodes = [content.operatorCodes[first[i]] for i in range(len(codes))]
    content.buffers = kept
    for graph in content.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = place[tensor.buffer]
        for op in graph.operators:
            op.opcodeIndex = code_place[op.opcodeIndex]
    for entry in content.metadata or ():
        entry.buffer = place[entry.buffer]


class _Builder(flatbuffers.Builder):
    """A builder that writes equal names and equal arrays once, which the signatures of one network repeat.

    It aligns tensor data to 16 bytes, as the format requires; the generated Python code does not.
    """

    def __init__(self, size: int):
        super().__init__(size)
        self.places: dict[tuple[str, bytes], int] = {}

    def StartVector(self, elem_size: int, num_elems: int, alignment: int) -> int:
        return super().StartVector(elem_size, num_elems, 16 if elem_size == 1 else alignment)

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = x.dtype.str, hashlib.sha256(x.tobytes()).digest()
        if key not in self.places:
            self.places[key] = super().CreateNumpyVector(x)
        return self.places[key]

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:
        key = "name", s.encode() if isinstance(s, str) else s
        if key not in self.places:
            self.places[key] = super().CreateString(s, encoding, errors)
        return self.places[key]


def _graphs(content: Any) -> Iterator[Any]:
    return _each(content.Subgraphs, content.SubgraphsLength())


def _each(get: Any, length: int) -> Iterator[Any]:
    return (get(i) for i in range(length))
