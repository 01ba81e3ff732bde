"""What is wrong with a .tflite file, found before it is on a phone; each finding with its cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from keras_inception.arguments import checked
from keras_inception.errors import InputError, first_line
from keras_inception.terminal import quiet

from .comparison import snr
from .optimize.gpu import VECTOR
from .runtimes.gpu import may_have_gpu, run_on_gpu
from .runtimes.trial import try_out
from .tflite import mediapipe_metadata, npu
from .tflite.edge_tpu import left_on_cpu
from .tflite.flatbuffer import (
    FLOATS,
    Operator,
    batch_of,
    foreign_operators,
    is_tflite,
    names_of,
    operators,
    parsed,
    precision,
    shape_of,
)
from .tflite.metadata import Record, read_metadata, read_record, runtime_of
from .tflite.runtimes import LAST_TFLITE_RUNTIME, OldestRuntime, litert, numbers
from .tflite.tensors import dequantize

LARGE = 100_000_000  # bytes
# Measured with LiteRT 2.3.0's GPU accelerator, and listed as unsupported by TensorFlow's GPU delegate.
NOT_ON_GPU = {
    *("LOCAL_RESPONSE_NORMALIZATION", "L2_POOL_2D", "UNIQUE", "TOPK_V2", "WHERE", "SPARSE_TO_DENSE"),
    *("SHAPE", "PACK", "UNPACK", "GATHER_ND", "SCATTER_ND"),
    *("WHILE", "IF", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"),
}
WRONG = 10  # decibels: a GPU's outputs, compared with the CPU's, that no rounding explains
AGAIN = "export the Keras model again with to_tflite"
APP = {"crop": "cut out the image's middle", "letterbox": "add the borders"}  # what MediaPipe does not

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """An "error" stops the file from running or makes its outputs wrong.

    A "warning" costs accuracy, speed or an accelerator.
    """

    level: Level
    problem: str
    cure: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The contents of a file and the findings; `ready` says whether it runs on a phone.

    `runtime` is the oldest release of TensorFlow Lite that has the file's operators. `gpu` says how LiteRT's GPU
    accelerator ran it on this machine; empty where there is no GPU, or for several inputs or outputs.
    `npu` says what of the file was compiled for which chip, and `runtime` is then that of the file before.
    """

    path: str
    format: str
    bytes: int
    signatures: dict[str, str]
    operators: dict[str, int]
    types: dict[str, int]
    runtime: OldestRuntime
    gpu: str
    npu: str
    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The contents and findings as plain JSON values."""
        return asdict(self) | {"ready": self.ready}


@checked
def doctor(path: str | Path) -> Diagnosis:
    """Examine a .tflite file of any origin: operators, types, shapes, what GPUs refuse, metadata, and one run.

    Raises:
        InputError: there is no such file, or it is not a TFLite file that can be read.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: doctor examines .tflite files")
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a .tflite file")
    if not is_tflite(path):
        raise InputError(f"{path} is not a TFLite file")
    file = _File(path, path.read_bytes())
    with parsed(path):
        checks = COMPILED_CHECKS if file.compiled else CHECKS
        return Diagnosis(
            path=str(path),
            format=f"tflite for {file.compiled.chip}" if file.compiled else f"tflite {file.precision}",
            bytes=len(file.content),
            signatures=_signatures(file),
            operators=dict(Counter(op.kind for op in file.ops).most_common()),
            types=dict(Counter(_type(t) for g in file.model.subgraphs for t in g.tensors).most_common()),
            runtime=file.runtime,
            gpu=file.on_gpu.said if file.on_gpu else "",
            npu=str(file.compiled or ""),
            findings=tuple(sorted((f for check in checks for f in check(file)), key=_gravity)),
        )


def gpu_problems(path: Path) -> list[str]:
    """Why GPUs refuse a .tflite file or compute it wrongly, as far as its operators tell."""
    return [finding.problem for finding in _gpu(_File(path, path.read_bytes()))]


@dataclass(frozen=True)
class _OnGpu:
    """What a GPU made of a file: why it refuses it, or the signal-to-noise ratio of its outputs against the CPU's."""

    refusal: str
    decibels: float

    @property
    def said(self) -> str:
        if self.refusal:
            return f"refused: {self.refusal}"
        right = "runs" if self.decibels >= WRONG else "wrong outputs"
        return f"{right}, {self.decibels:.0f} dB to the CPU's"


@dataclass(frozen=True)
class _File:
    path: Path
    content: bytes

    @cached_property
    def model(self) -> Any:
        return schema.ModelT.InitFromPackedBuf(self.content, 0)

    @cached_property
    def precision(self) -> str:
        return precision(self.content)

    @cached_property
    def compiled(self) -> npu.Compiled | None:
        return npu.compiled(self.content)

    @cached_property
    def foreign(self) -> set[str]:
        """The operators that phones lack; what stands for an NPU's program is `compiled`."""
        return foreign_operators(self.content) - {npu.DISPATCH}

    @cached_property
    def record(self) -> Record:
        return read_record(self.content)

    @cached_property
    def runtime(self) -> OldestRuntime:
        return runtime_of(self.content)

    @cached_property
    def ops(self) -> list[Operator]:
        kinds = iter(operators(self.content))
        return [
            Operator(
                next(kinds),
                [graph.tensors[i] for i in op.inputs if i >= 0],
                [graph.tensors[i] for i in op.outputs if i >= 0],
                op.builtinOptions,
            )
            for graph in self.model.subgraphs
            for op in (graph.operators if graph.operators is not None else ())
        ]

    @cached_property
    def run(self) -> bool | RuntimeError:
        """Whether a run on a grey image gives finite values, or why it did not come to an end."""
        try:
            return try_out(self.path, pixels=self.record.input == "pixels")
        except RuntimeError as error:
            return error

    @cached_property
    def on_gpu(self) -> _OnGpu | None:
        """A run on noise; None without a GPU, or if the file does not run on the CPU, or has several ends."""
        if not may_have_gpu() or isinstance(self.run, RuntimeError):
            return None
        try:
            with quiet():
                interpreter = Interpreter(model_content=self.content)
                interpreter.allocate_tensors()
                [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()
                x = _noise(given, pixels=self.record.input == "pixels")
                interpreter.set_tensor(given["index"], x)
                interpreter.invoke()
                want = interpreter.get_tensor(output["index"])
        except Exception:  # which `_runs` reports, or there are several inputs or outputs
            return None
        if (run := run_on_gpu(self.path, x[np.newaxis])) is None:
            return None
        if run.outputs is None:
            return _OnGpu(run.refusal, 0.0)
        return _OnGpu("", snr(dequantize(want, output), dequantize(run.outputs[0], output)))

    @property
    def ends(self) -> tuple[Any, Any]:
        """The first input and the first output of the first subgraph."""
        graph = self.model.subgraphs[0]
        return graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]


def _foreign(file: _File) -> Iterator[Finding]:
    if file.foreign:
        yield Finding(
            "error",
            f"needs {', '.join(sorted(file.foreign))}, which plain TFLite runtimes do not have",
            f"{AGAIN}, which allows built-in operators only and names the layer; or link TensorFlow's Flex delegate",
        )


def _runs(file: _File) -> Iterator[Finding]:
    """One run of subgraph 0 on a grey image."""
    if file.foreign:
        return
    if isinstance(file.run, RuntimeError):
        yield Finding("error", f"LiteRT refuses it: {first_line(file.run)}", AGAIN)
    elif not file.run:
        yield Finding("error", "gives NaN or infinite values for a grey image", "train again, or export in float32")


def _half_or_double(file: _File) -> Iterator[Finding]:
    wrong = {_type(t) for op in file.ops for t in op.outputs} & {"FLOAT16", "FLOAT64", "BFLOAT16", "COMPLEX64"}
    if "FLOAT16" in wrong and all(op.kind == "DEQUANTIZE" for op in file.ops if "FLOAT16" in map(_type, op.outputs)):
        wrong.remove("FLOAT16")
    if wrong:
        cure = "build the network in float32 (to_tflite does), and use quantization='float16' for half the size"
        yield Finding("error", f"computes in {', '.join(sorted(wrong))}, for which phone CPUs have no operators", cure)


def _labels(file: _File) -> Iterator[Finding]:
    """Labels are those of a classifier's classes; the outputs of detectors and pose networks are something else."""
    labels, shape = mediapipe_metadata.read_labels(file.content), shape_of(file.ends[1])
    if labels is not None and len(file.model.subgraphs[0].outputs) == 1 and shape and len(labels) != shape[-1]:
        problem = f"{len(labels)} labels for {shape[-1]} classes: MediaPipe hangs at the first image"
        yield Finding("error", problem, "give to_tflite one label per class, in the order of the outputs")


def _dynamic(file: _File) -> Iterator[Finding]:
    free = [
        t for g in file.model.subgraphs for t in g.tensors if t.shapeSignature is not None and -1 in t.shapeSignature
    ]
    if free:
        problem = f"{len(free)} tensors have a free dimension: GPU delegates and LiteRT.js refuse them"
        yield Finding("warning", problem, f"{AGAIN}, which fixes the batch at 1")


def _gpu(file: _File) -> Iterator[Finding]:
    if high := [t for op in file.ops for t in op.outputs if len(shape_of(t)) > 4]:
        problem = f"{len(high)} tensors have more than four dimensions, as {_name(high[0])}: GPU delegates refuse them"
        cure = "write the reshape with at most four dimensions, as this package's shuffle does"
        yield Finding("warning", problem, cure)
    padded = {id(op.outputs[0]) for op in file.ops if op.kind in ("PAD", "PADV2")}
    if pools := [op for op in file.ops if op.kind == "AVERAGE_POOL_2D" and id(op.inputs[0]) in padded]:
        problem = f"{len(pools)} average pools of padded maps, which LiteRT's GPU accelerator (2.3.0) computes wrongly"
        yield Finding("warning", problem, f"{AGAIN}, which makes convolutions of them")
    if refused := sorted({op.kind for op in file.ops} & NOT_ON_GPU):
        yield Finding(
            "warning", f"{', '.join(refused)} do not run on a GPU", f"{AGAIN}, which rewrites them where it can"
        )
    if file.precision == "int16x8":
        yield Finding("warning", "int16 activations run on CPUs only, and slowly", "use int8, or float16 for GPUs")
    if uneven := [op for op in file.ops if _has_uneven_groups(op)]:
        problem = (
            f"{len(uneven)} grouped convolutions with groups of channels that do not divide by 4, which LiteRT's GPU "
            "accelerator (2.3.0) computes wrongly, or crashes at"
        )
        yield Finding("warning", problem, f"for GPUs {AGAIN} and quantization='float16', which splits them")
    if file.precision == "int8" and (special := [op for op in file.ops if _is_special_1x1(op)]):
        yield Finding(
            "warning",
            f"{len(special)} 1x1 convolutions in int8 with groups or a stride, which LiteRT's GPU accelerator (2.3.0) "
            "computes wrongly",
            "run it on the CPU; for GPUs export quantization='float16'",
        )
    if file.precision == "int8" and (sums := _sums_of_vectors(file.ops)):
        problem = (
            f"{len(sums)} sums of maps of one position in int8, which LiteRT's GPU accelerator (2.3.0) computes wrongly"
        )
        yield Finding("warning", problem, f"{AGAIN}, which gives such maps two positions, or for a larger input")


def _on_gpu(file: _File) -> Iterator[Finding]:
    """What a GPU of this machine did, unless `_gpu` foresaw it."""
    if (run := file.on_gpu) is None or any(_gpu(file)):
        return
    cure = f"run it on the CPU; or {AGAIN} and quantization='float16', which is for GPUs"
    if run.refusal:
        yield Finding("warning", f"LiteRT's GPU accelerator refuses it: {run.refusal}", cure)
    elif run.decibels < WRONG:
        yield Finding("warning", f"wrong on this machine's GPU: outputs of {run.decibels:.0f} dB to the CPU's", cure)


def _float_islands(file: _File) -> Iterator[Finding]:
    if file.precision not in ("int8", "int16x8", "uint8"):
        return
    inside = [
        op
        for op in file.ops
        if op.kind not in ("QUANTIZE", "DEQUANTIZE") and any(_type(t) in FLOATS for t in (*op.inputs, *op.outputs))
    ]
    if inside:
        yield Finding(
            "warning",
            f"{len(inside)} of {len(file.ops)} operators compute in float: "
            f"{', '.join(sorted({op.kind for op in inside}))}; microcontrollers and integer accelerators refuse them",
            f"{AGAIN} and quantization='int8', which rewrites what has no int8 form",
        )


def _precision(file: _File) -> Iterator[Finding]:
    if file.precision == "dynamic":
        cure = "use float16 for GPUs or int8 with calibration; keep it where only the size matters"
        yield Finding("note", "dynamic range: a small file, but often slower than float32", cure)
    if any(_type(t) == "UINT8" and t.quantization is not None for op in file.ops for t in op.outputs[:1]
           if op.kind not in ("QUANTIZE", "DEQUANTIZE")):  # fmt: skip
        problem = "computes in uint8 with one scale per tensor: the older form, slower on today's CPUs"
        yield Finding("warning", problem, "export int8 from the float network; uint8 only at the edge, edge='uint8'")
    if "INT8" in map(_type, file.ends):
        cure = "export with edge='float32' or 'uint8'; keep it for microcontrollers"
        yield Finding("warning", "int8 at the edge, which MediaPipe and LiteRT.js refuse", cure)
    calibration = file.record.calibration or {}
    for note in calibration.get("notes", ()):
        yield Finding("warning", note, "export again with better calibration images")


def _runtime(file: _File) -> Iterator[Finding]:
    oldest = file.runtime
    if numbers(oldest.release) > numbers(LAST_TFLITE_RUNTIME):
        yield Finding(
            "warning",
            f"needs TensorFlow Lite {oldest.release}, or LiteRT {litert(oldest.release)}, for "
            f"{oldest.reason or 'an operator'}; tflite-runtime, which ends at {LAST_TFLITE_RUNTIME}, and older apps "
            "refuse it",
            "install ai-edge-litert, which replaced tflite-runtime, or export in float16",
        )
    if oldest.unknown:
        problem = f"{', '.join(oldest.unknown)} is newer than the releases that this package knows"
        yield Finding("note", problem, "try it in the runtime of the app")


def _batch(file: _File) -> Iterator[Finding]:
    if (batch := batch_of(file.content)) > 1:
        problem = f"takes {batch} images at once; MediaPipe takes files of batch 1"
        yield Finding("note", problem, f"for MediaPipe {AGAIN} and batch=1")


def _edge_tpu(file: _File) -> Iterator[Finding]:
    if file.precision not in ("int8", "uint8"):
        return
    first = len(file.model.subgraphs[0].operators)
    if not (left := left_on_cpu(file.ops[:first])):
        return
    kinds = ", ".join(sorted({text for _, text in left}))
    problem = f"the Edge TPU's compiler leaves {len(left)} of {first} operators on the CPU: {kinds}"
    if inside := [i for i, _ in left if i not in (0, first - 1)]:
        problem += f"; and all after the first of them, up to {first - inside[0] - 1} more"
    cure = "for a Coral device export with batch=1" if batch_of(file.content) > 1 else "replace these layers"
    yield Finding("note", problem, cure if inside else "for a Coral device export with edge='uint8'")


def _npu(file: _File) -> Iterator[Finding]:
    """What a compiled file asks for, or which operators compilers for NPUs refuse by their sources."""
    if file.compiled:
        yield Finding(
            "note",
            f"was compiled for {file.compiled.chip}: it runs on that chip only, in LiteRT's CompiledModel with the "
            "vendor's libraries",
            "give other phones the .tflite file that it was made of",
        )
    elif refused := npu.refused({op.kind for op in file.ops} - file.foreign):
        kinds = ", ".join(f"{kind} ({', '.join(vendors)})" for kind, vendors in refused.items())
        problem = f"compilers for NPUs leave operators to the CPU, or refuse the file: {kinds}"
        yield Finding("note", problem, "for these NPUs replace the layers")


def _described(file: _File) -> Iterator[Finding]:
    described = read_metadata(file.content, mediapipe_metadata.NAME)
    if described is None:
        problem = "has no metadata: MediaPipe refuses float files without it, and apps cannot know the input"
        yield Finding("warning", problem, f"{AGAIN}, labels= and preprocessing=")
    elif not mediapipe_metadata.normalises(described) and _type(file.ends[0]) == "FLOAT32":
        problem = "does not say how images are normalised, so MediaPipe refuses it"
        yield Finding("warning", problem, f"{AGAIN} and preprocessing=: the file then normalises its input itself")
    if described is not None and mediapipe_metadata.read_labels(file.content) is None:
        yield Finding("note", "has no labels: apps get class numbers only", f"{AGAIN} and labels=")
    if len(file.model.subgraphs) > 1:
        problem = f"has {len(file.model.subgraphs)} signatures; MediaPipe takes files with one"
        yield Finding("note", problem, "for MediaPipe export one exit: exits=False")


def _stretched(file: _File) -> Iterator[Finding]:
    """MediaPipe stretches each image to the input's size, whatever the file's record says."""
    known, described = file.record.preprocessing, read_metadata(file.content, mediapipe_metadata.NAME)
    if known is None or known.resize_mode == "stretch" or described is None:
        return
    if file.record.input == "pixels" and batch_of(file.content) == 1 and len(file.model.subgraphs) == 1:
        yield Finding(
            "warning",
            f"was made with resize {known.resize_mode!r}, and MediaPipe stretches every image: those that are not "
            "square come out distorted, which costs accuracy",
            f"in the app {APP[known.resize_mode]} before MediaPipe gets the image, or train with --resize stretch",
        )


def _size(file: _File) -> Iterator[Finding]:
    if len(file.content) > LARGE:
        cure = "export in float16 (half) or int8 (a quarter), or use a smaller network"
        yield Finding("warning", f"{len(file.content) / 1e6:.0f} MB is large for an app", cure)


Check: TypeAlias = Callable[[_File], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _foreign,
    _runs,
    _half_or_double,
    _labels,
    _dynamic,
    _gpu,
    _on_gpu,
    _float_islands,
    _precision,
    _runtime,
    _batch,
    _edge_tpu,
    _npu,
    _described,
    _stretched,
    _size,
)
COMPILED_CHECKS: tuple[Check, ...] = (_foreign, _npu, _size)  # neither MediaPipe nor an interpreter opens such a file


def _gravity(finding: Finding) -> int:
    return ("error", "warning", "note").index(finding.level)


def _signatures(file: _File) -> dict[str, str]:
    """Every signature's input and output, "pixels FLOAT32 1x224x224x3 -> probabilities FLOAT32 1x1000"."""
    found = {}
    for signature in file.model.signatureDefs or ():
        graph = file.model.subgraphs[signature.subgraphIndex]
        sides = [
            ", ".join(f"{m.name.decode()} {_shape(graph.tensors[m.tensorIndex])}" for m in side)
            for side in (signature.inputs, signature.outputs)
        ]
        found[signature.signatureKey.decode()] = " -> ".join(sides)
    return found or {"(none)": " -> ".join(map(_shape, file.ends))}


def _shape(tensor: Any) -> str:
    return f"{_type(tensor)} {'x'.join(map(str, shape_of(tensor))) or 'scalar'}"


def _noise(given: dict[str, Any], *, pixels: bool) -> np.ndarray:
    """Random values as an input takes them: pixels, integers, or numbers of a deviation of 1."""
    rng, dtype = np.random.default_rng(0), np.dtype(given["dtype"])
    if np.issubdtype(dtype, np.integer):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, given["shape"], dtype)
    values = rng.uniform(0, 255, given["shape"]) if pixels else rng.normal(size=given["shape"])
    return values.astype(dtype)


def _has_uneven_groups(op: Operator) -> bool:
    if op.kind != "CONV_2D":
        return False
    given, kernel = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    if len(given) != 4 or not 0 < kernel[3] < given[3]:
        return False
    return bool(kernel[3] % VECTOR or kernel[0] // (given[3] // kernel[3]) % VECTOR)


def _is_special_1x1(op: Operator) -> bool:
    """Whether it is a 1x1 convolution with groups or with a stride."""
    if op.kind != "CONV_2D":
        return False
    given, kernel = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    strided = op.options is not None and (op.options.strideH, op.options.strideW) != (1, 1)
    return len(given) == 4 and kernel[1:3] == (1, 1) and (kernel[3] < given[3] or strided)


def _sums_of_vectors(ops: Sequence[Operator]) -> list[Operator]:
    """Sums with a vector without a batch that another operator computes."""
    made = {id(tensor) for op in ops for tensor in op.outputs if len(shape_of(tensor)) == 1}
    return [op for op in ops if op.kind == "ADD" and made & set(map(id, op.inputs))]


def _type(tensor: Any) -> str:
    return names_of(schema.TensorType)[tensor.type]


def _name(tensor: Any) -> str:
    return tensor.name.decode().split(";")[0]
