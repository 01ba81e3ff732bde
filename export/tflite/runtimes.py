"""The oldest TensorFlow Lite runtime that runs a file, by the versions of its operators.

A runtime refuses a file with a newer version of an operator than it has: "Didn't find op for builtin opcode
'FULLY_CONNECTED' version '12'". LiteRT continues TensorFlow Lite (`benchmarks/runtimes.md` has what each release runs).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# TensorFlow's release -> the versions of operators that came with it, from 2.3 on; what is older has no row.
# Source: tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc; corrected where a release refuses what
# that file says it has (benchmarks/runtimes.py): CONV_2D 7, DEPTHWISE_CONV_2D 7 and FULLY_CONNECTED 10 in 2.11,
# TRANSPOSE 7 in 2.14.4.
RELEASES = {
    "2.3": "AVERAGE_POOL_2D 3, BATCH_MATMUL 1 2, CONV_2D 4, DEPTHWISE_CONV_2D 5 6, SPACE_TO_BATCH_ND 3, SUB 3, DIV 2,"
    "BATCH_TO_SPACE_ND 3, CONCATENATION 3, FULLY_CONNECTED 7 8 9, GATHER_ND 2, SVDF 4, MAX_POOL_2D 3, MAXIMUM 3 4,"
    "MINIMUM 3 4, MUL 4, SOFTMAX 3, TRANSPOSE 4, LSTM 4, UNIDIRECTIONAL_SEQUENCE_LSTM 3,"
    "BIDIRECTIONAL_SEQUENCE_RNN 3, RESIZE_NEAREST_NEIGHBOR 3, RNN 3, SPLIT 4, SPLIT_V 2, TRANSPOSE_CONV 3, PACK 3,"
    "TANH 3, UNPACK 4, LEAKY_RELU 2, LOGISTIC 3, MIRROR_PAD 2, UNIDIRECTIONAL_SEQUENCE_RNN 3, EQUAL 3, NOT_EQUAL 3,"
    "FILL 2",
    "2.4": "BATCH_MATMUL 3, CONV_2D 5, ADD 3, SUB 4 5, GATHER 4, PAD 3, PADV2 3, TRANSPOSE 5, MEAN 3,"
    "RESIZE_NEAREST_NEIGHBOR 4, SLICE 4, ABS 2, CUMSUM 1",
    "2.5": "BATCH_MATMUL 4, BROADCAST_TO 2 3, DEPTH_TO_SPACE 2, GATHER 5, GATHER_ND 3, REDUCE_MAX 3, REDUCE_MIN 3,"
    "RELU6 3, RESIZE_BILINEAR 4, SQUEEZE 2, STRIDED_SLICE 5, SLICE 5, SQUARED_DIFFERENCE 2, RELU 3, RSQRT 2, ABS 3,"
    "FILL 3, REVERSE_V2 3, CALL_ONCE 1, RFFT2D 1, CONV_3D 1, IMAG 1, REAL 1, COMPLEX_ABS 1, HASHTABLE 1,"
    "HASHTABLE_FIND 1, HASHTABLE_IMPORT 1, HASHTABLE_SIZE 1",
    "2.6": "ADD 4, MUL 5, PAD 4, PADV2 4, REDUCE_PROD 2, STRIDED_SLICE 6, ABS 4, REDUCE_ALL 1, CONV_3D_TRANSPOSE 1,"
    "VAR_HANDLE 1, READ_VARIABLE 1, ASSIGN_VARIABLE 1, BROADCAST_ARGS 1",
    "2.7": "CAST 2, DEQUANTIZE 5, QUANTIZE 3",
    "2.8": "CAST 3, TILE 3, RANDOM_STANDARD_NORMAL 1, BUCKETIZE 1, WHERE 2, RANDOM_UNIFORM 1, MULTINOMIAL 1",
    "2.9": "CONV_2D 6, CAST 4, ARG_MAX 3, ARG_MIN 3, GELU 1 2, DYNAMIC_UPDATE_SLICE 1",
    "2.10": "RELU_0_TO_1 1, UNSORTED_SEGMENT_PROD 1, UNSORTED_SEGMENT_MAX 1, UNSORTED_SEGMENT_SUM 1, ATAN2 1",
    "2.11": "MUL 6, UNSORTED_SEGMENT_MIN 1, SIGN 1",
    "2.12": "CONV_2D 7, DEPTHWISE_CONV_2D 7, FULLY_CONNECTED 10, SPACE_TO_BATCH_ND 4,"
    "BATCH_TO_SPACE_ND 4, CAST 5, TRANSPOSE 6, UNIDIRECTIONAL_SEQUENCE_LSTM 4,"
    "MIRROR_PAD 3, SELECT 3 4, SELECT_V2 2, EXP 2, ABS 5, FILL 4, SIGN 2",
    "2.13": "ADD 5, GATHER 6, GATHER_ND 4, MUL 7, TOPK_V2 3, TRANSPOSE_CONV 4, PACK 4, EQUAL 4, GREATER_EQUAL 3,"
    "LESS 3, FLOOR_DIV 3, FLOOR_MOD 2, BITCAST 1, BITWISE_XOR 1, RIGHT_SHIFT 1",
    "2.14": "CONCATENATION 4, STRIDED_SLICE 7 8, SLICE 6, RANGE 2",
    "2.15": "CONV_2D 8, CAST 6, FULLY_CONNECTED 11, GATHER 7, TRANSPOSE_CONV 5, LOG 2, RSQRT 3,"
    "STABLEHLO_SCATTER 1, DILATE 1, STABLEHLO_RNG_BIT_GENERATOR 1, REDUCE_WINDOW 1",
    "2.16": "GATHER_ND 5, STABLEHLO_GATHER 1, STABLEHLO_ADD 1, STABLEHLO_MULTIPLY 1, STABLEHLO_REDUCE_WINDOW 1,"
    "STABLEHLO_MAXIMUM 1, STABLEHLO_MINIMUM 1, STABLEHLO_PAD 1",
    "2.17": "CAST 7, FULLY_CONNECTED 12, DYNAMIC_UPDATE_SLICE 2, STABLEHLO_COMPOSITE 1, STABLEHLO_AND 1,"
    "STABLEHLO_SHIFT_LEFT 1, STABLEHLO_CBRT 1, STABLEHLO_CASE 1",
    "2.18": "EMBEDDING_LOOKUP 4, FULLY_CONNECTED 13, DEQUANTIZE 6",
    "2.19": "TRANSPOSE 7, DYNAMIC_UPDATE_SLICE 3",
    "2.20": "PAD 5, PADV2 5, DYNAMIC_UPDATE_SLICE 4",
    "2.21": "CAST 8, CONCATENATION 5, EMBEDDING_LOOKUP 5, FULLY_CONNECTED 14, SLICE 7, DEQUANTIZE 7, EQUAL 5,"
    "NOT_EQUAL 4, QUANTIZE 4 5 6, SQRT 2, DYNAMIC_UPDATE_SLICE 5",
    "2.22": "TRANSPOSE 8, UNPACK 5, DEQUANTIZE 8, DYNAMIC_UPDATE_SLICE 6",
    "2.23": "ADD 6, MUL 8",
}
EARLIEST = "2.2"  # what is said of a file whose operators all have older versions, unless the file itself knows better
# What the versions of operators do not tell; by benchmarks/runtimes.py, and by the table for int16.
INT16 = "2.4", "int16 activations"  # the converter keeps the versions of int8 operators
DENSE_BY_CHANNEL = "2.10", "a dense layer with a scale per channel, of which older runtimes compute wrong outputs"
# LiteRT's release -> the newest release of TensorFlow Lite whose operators it has, by benchmarks/runtimes.py.
LITERT = {"1.0": "2.18", "1.2": "2.19", "2.0": "2.20", "2.1": "2.23"}
LAST_TFLITE_RUNTIME = "2.14"  # of the package tflite-runtime, which ai-edge-litert replaced


def _since() -> dict[tuple[str, int], str]:
    """(operator, version) -> release."""
    since: dict[tuple[str, int], str] = {}
    for release, operators in RELEASES.items():
        for entry in operators.split(","):
            operator, *versions = entry.split()
            since |= {(operator, int(version)): release for version in versions}
    return since


SINCE = _since()


@dataclass(frozen=True, kw_only=True)
class OldestRuntime:
    """The oldest runtime that runs a file: a release of TensorFlow Lite, "2.17".

    `reason` is what needs it, "FULLY_CONNECTED version 12"; empty where nothing is newer than release 2.2.
    `unknown` are operators with versions that are newer than the table.
    """

    release: str
    reason: str = ""
    unknown: tuple[str, ...] = ()


def oldest_runtime(
    operators: Iterable[tuple[str, int]], stated: str = "", also: Iterable[tuple[str, str]] = ()
) -> OldestRuntime:
    """The oldest runtime for these operators, (name, version) each.

    Args:
        operators: what a file has.
        stated: the file's own `min_runtime_version`, "1.14.0", if it has one. TensorFlow's converter writes it for what
            it converts first: an int16x8 file states 1.5.0, and one that was merged from several files the first one's.
        also: other needs, (release, reason) each.
    """
    operators = sorted(set(operators))
    needs = [(SINCE[key], "{} version {}".format(*key)) for key in operators if key in SINCE]
    release, reason = max([*needs, *also], key=lambda need: numbers(need[0]), default=(EARLIEST, ""))
    if stated and (not reason or numbers(stated) > numbers(release + ".0")):
        release, reason = ".".join(stated.split(".")[:2]), ""
    newest: dict[str, int] = {}
    for name, version in SINCE:
        newest[name] = max(version, newest.get(name, 0))
    unknown = tuple(f"{name} version {version}" for name, version in operators if version > newest.get(name, version))
    return OldestRuntime(release=release, reason=reason, unknown=unknown)


def litert(release: str) -> str:
    """The oldest release of LiteRT that has the operators of a release of TensorFlow Lite."""
    return next((ours for ours, theirs in LITERT.items() if numbers(theirs) >= numbers(release)), "of a later release")


def numbers(release: str) -> tuple[int, ...]:
    """ "2.17" -> (2, 17), in the order of releases."""
    return tuple(int(part) for part in release.split("."))
