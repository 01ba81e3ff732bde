"""Trained networks as files that servers and phones run, and the proof that they still give the same answers."""

from .agreement import Agreement, agreement, agreements
from .benchmark import Benchmark, Timing, benchmark
from .calibration import CalibrationSet
from .doctor import Diagnosis, Finding, doctor
from .formats import FORMATS, export_run, exported, misses
from .layer_errors import LayerError, layer_errors
from .metadata import About, Record
from .onnx import to_onnx
from .openvino import to_openvino
from .optimize import optimize
from .quantize import Compressed, Quantized, cluster, prune, quantize_aware
from .saved_model import to_saved_model
from .tflite import to_tflite

__all__ = [
    "FORMATS",
    "About",
    "Agreement",
    "Benchmark",
    "CalibrationSet",
    "Compressed",
    "Diagnosis",
    "Finding",
    "LayerError",
    "Quantized",
    "Record",
    "Timing",
    "agreement",
    "agreements",
    "benchmark",
    "cluster",
    "doctor",
    "export_run",
    "exported",
    "layer_errors",
    "misses",
    "optimize",
    "prune",
    "quantize_aware",
    "to_onnx",
    "to_openvino",
    "to_saved_model",
    "to_tflite",
]
