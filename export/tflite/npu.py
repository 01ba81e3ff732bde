"""A .tflite file and phones' NPUs: which operators their compilers refuse, and what is in a file that one compiled.

Source of the operators: the compiler plugins of LiteRT in github.com/google-ai-edge/LiteRT/tree/f674577/litert/vendors,
of August 2026. Lists of what they take are qualcomm/compiler/Qualcomm_QNN_Compiler.md,
mediatek/compiler/MediaTek_Neuro_Compiler.md, kSupportedOps in intel_openvino/compiler/openvino_compiler_plugin.cc and
the cases in samsung/compiler/create_model.cc; kUnSupportedOps in google_tensor/compiler/compiler_plugin.cc is what that
one refuses. The vendors' own compilers, which are not public, may refuse more, for types, shapes and options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .flatbuffer import operators
from .metadata import read_metadata

DISPATCH = "DISPATCH_OP"  # the operator that stands for what an NPU computes
STAMP = "LiteRtStamp"  # the metadata of a compiled file: the maker and the name of the chip, with zeros between them

_ALL = {
    *("ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D"),
    *("DEQUANTIZE", "DIV", "FULLY_CONNECTED", "GELU", "GREATER", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU"),
    *("LESS", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PAD", "PADV2", "QUANTIZE", "REDUCE_MAX"),
    *("RELU", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPLIT", "SQRT"),
    *("SQUARED_DIFFERENCE", "STABLEHLO_COMPOSITE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE"),
    "TRANSPOSE_CONV",
}
_ALL_BUT_MEDIATEK = {
    *("ARG_MAX", "BROADCAST_TO", "CONV_3D", "COS", "CUMSUM", "EMBEDDING_LOOKUP", "EQUAL", "EXP", "FLOOR_DIV", "GATHER"),
    *("GATHER_ND", "GREATER_EQUAL", "LOG", "LOGICAL_AND", "MIRROR_PAD", "NOT_EQUAL", "POW", "RELU_0_TO_1"),
    *("REVERSE_V2", "SELECT", "SELECT_V2", "SIN"),
}
_QUALCOMM_AND_INTEL = {
    *("DEPTH_TO_SPACE", "FLOOR_MOD", "LESS_EQUAL", "LOGICAL_NOT", "LOGICAL_OR", "ONE_HOT", "PACK", "PRELU"),
    *("REDUCE_ALL", "SIGN", "SQUARE", "TILE", "TOPK_V2", "UNPACK"),
}
_QUALCOMM_AND_SAMSUNG = {"CEIL", "FLOOR", "REDUCE_MIN", "RELU6", "RELU_N1_TO_1", "SPACE_TO_DEPTH"}
_QUALCOMM = {
    *("ARG_MIN", "BATCH_TO_SPACE_ND", "DYNAMIC_UPDATE_SLICE", "ELU", "L2_POOL_2D", "NEG", "REDUCE_ANY", "ROUND"),
    *("SPACE_TO_BATCH_ND", "SPLIT_V"),
}
TAKES = {
    "qualcomm": _ALL | _ALL_BUT_MEDIATEK | _QUALCOMM_AND_INTEL | _QUALCOMM_AND_SAMSUNG | _QUALCOMM,
    "mediatek": _ALL | {"PRELU"},
    "samsung": _ALL | _ALL_BUT_MEDIATEK | _QUALCOMM_AND_SAMSUNG,
    "intel": _ALL | _ALL_BUT_MEDIATEK | _QUALCOMM_AND_INTEL | {"EXPAND_DIMS", "RANGE"},
}
REFUSES = {
    "google_tensor": {
        *("ASSIGN_VARIABLE", "BIDIRECTIONAL_SEQUENCE_LSTM", "BROADCAST_ARGS", "BUCKETIZE", "CALL_ONCE", "COMPLEX_ABS"),
        *("CONV_3D_TRANSPOSE", "DENSIFY", "FAKE_QUANT", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT"),
        *("HASHTABLE_SIZE", "IMAG", "LOCAL_RESPONSE_NORMALIZATION", "MATRIX_DIAG", "MATRIX_SET_DIAG", "MULTINOMIAL"),
        *("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "RANK"),
        *("READ_VARIABLE", "REAL", "REDUCE_PROD", "REVERSE_SEQUENCE", "RFFT2D", "SEGMENT_SUM", "SHAPE"),
        *("SPARSE_TO_DENSE", "STABLEHLO_SCATTER", "SVDF", "UNIDIRECTIONAL_SEQUENCE_RNN", "UNIQUE"),
        *("UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM"),
        *("VAR_HANDLE", "WHERE"),
    }
}


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What is in a file that was compiled ahead of time.

    `chip` is "Qualcomm SM8750", `parts` how many pieces of the network its NPU computes, and `on_cpu` the operators
    between them, which the CPU does: {"PAD": 2}.
    """

    chip: str
    parts: int
    on_cpu: dict[str, int]

    def __str__(self) -> str:
        """What the command line says of it."""
        on_cpu = ", ".join(f"{n:,} {kind}" for kind, n in self.on_cpu.items())
        return f"for {self.chip}, {f'in {self.parts} parts; on the CPU: {on_cpu}' if on_cpu else 'all of it'}"


def compiled(model: bytes) -> Compiled | None:
    """What was compiled in a .tflite file; None if nothing was, and the file runs everywhere."""
    kinds = Counter(operators(model))
    if not (parts := kinds.pop(DISPATCH, 0)):
        return None
    stamp = read_metadata(model, STAMP) or b""
    chip = " ".join(part.decode(errors="replace") for part in stamp.split(b"\0") if part)
    return Compiled(chip=chip or "an unnamed chip", parts=parts, on_cpu=dict(kinds.most_common()))


def refused(kinds: Iterable[str]) -> dict[str, list[str]]:
    """The operators among these that compilers for NPUs refuse, each with the vendors: {"ADD_N": ["mediatek"]}."""
    found: dict[str, list[str]] = {}
    for kind in sorted(set(kinds)):
        vendors = [vendor for vendor, taken in TAKES.items() if kind not in taken]
        vendors += [vendor for vendor, refused in REFUSES.items() if kind in refused]
        if vendors:
            found[kind] = sorted(vendors)
    return found
