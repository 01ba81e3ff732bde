"""A vendor of NPUs that the package does not know, whose compiler needs no SDK: in LiteRT's registry for a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.aot.core import aot_types, components
from ai_edge_litert.aot.vendors import import_vendor

from keras_inception.export import npu
from keras_inception.export.tflite.flatbuffer import operators, packed
from keras_inception.export.tflite.npu import DISPATCH, STAMP

CHIPS = "X1", "X2"


class StubTarget(aot_types.Target):
    def __init__(self, chip: str):
        self.chip = chip

    def __hash__(self) -> int:
        return hash(self.chip)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StubTarget) and self.chip == other.chip

    def __repr__(self) -> str:
        return f"Stub_{self.chip}"

    @classmethod
    def backend_id(cls) -> str:
        return "stub"

    def flatten(self) -> dict[str, Any]:
        return super().flatten() | {"soc_model": self.chip}


class StubBackend(aot_types.Backend):
    """`leaves` are operators for the CPU; `fails` says of a chip what goes wrong with it."""

    leaves: frozenset[str] = frozenset()
    fails: dict[str, Exception] = {}  # noqa: RUF012 - tests replace it

    @classmethod
    def create(cls, config: Any) -> StubBackend:
        return cls(config)

    @classmethod
    def id(cls) -> str:
        return "stub"

    @property
    def soc_manufacturer(self) -> str:
        return "Stub"

    @property
    def soc_model(self) -> str:
        return self.config["soc_model"]

    @property
    def target(self) -> StubTarget:
        return StubTarget(self.soc_model)

    @property
    def target_id(self) -> str:
        return repr(self.target)

    def specialize(self) -> Iterator[StubBackend]:
        chips = CHIPS if self.soc_model == "ALL" else [self.soc_model]
        return (StubBackend({**self.config, "soc_model": chip}) for chip in chips)

    def call_component(self, input_model: Any, output_model: Any, component: Any) -> None:
        if not isinstance(component, components.ApplyPluginT):
            output_model.set_bytes(input_model.path.read_bytes())
            return
        output_model.path.touch()  # as the real tool does before it fails
        if self.soc_model in self.fails:
            raise self.fails[self.soc_model]
        output_model.path.write_bytes(dispatched(input_model.model_bytes, self.soc_model, self.leaves))


def dispatched(model: bytes, chip: str, leaves: frozenset[str]) -> bytes:
    """The file with a program for every run of operators, and like a real one without the labels after its end."""
    content, kinds = schema.ModelT.InitFromPackedBuf(model, 0), iter(operators(model))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = DISPATCH
    content.operatorCodes.append(code)
    place = len(content.operatorCodes) - 1
    for graph in content.subgraphs:
        kept: list[Any] = []
        for op in graph.operators:
            if next(kinds) in leaves:
                kept.append(op)
            elif kept and kept[-1].opcodeIndex == place:
                kept[-1].outputs = op.outputs
            else:
                program = schema.OperatorT()
                program.opcodeIndex, program.inputs, program.outputs = place, op.inputs[:1], op.outputs
                kept.append(program)
        graph.operators = kept
    stamp, entry = schema.BufferT(), schema.MetadataT()
    stamp.data = np.frombuffer(b"Stub".ljust(100, b"\0") + chip.encode().ljust(50, b"\0"), np.uint8)
    content.buffers.append(stamp)
    entry.name, entry.buffer = STAMP, len(content.buffers) - 1
    content.metadata = [*(content.metadata or []), entry]
    return packed(content)


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> type[StubBackend]:
    """Make "stub" a target, with an SDK in this folder."""
    (folder / "stub_sdk" / "data").mkdir(parents=True)
    (folder / "stub_sdk" / "__init__.py").touch()
    (folder / "stub_sdk" / "data" / "libstub.so").touch()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setitem(npu.VENDORS, "stub", npu.Vendor("stub", "stub-sdk", "data/libstub.so", "stub.example.org"))
    monkeypatch.setattr(import_vendor, "_VENDOR_REGISTRY", dict(import_vendor._VENDOR_REGISTRY))
    import_vendor.register_backend(StubBackend)
    return StubBackend
