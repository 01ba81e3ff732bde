"""Trained networks as files for servers and phones, and the check that they still predict the same."""

from keras_inception.backend import need_tensorflow

from .agreement import Agreement, agreement, agreements
from .doctor import Diagnosis, Finding, doctor
from .formats import FORMATS, Target, export_run, exported, misses
from .npu import to_npu
from .onnx import to_onnx
from .openvino import to_openvino
from .optimize import optimize
from .phone import to_phone
from .phone.results import PhoneResults, PhoneTiming, phone_results
from .quantization.calibration import CalibrationSet
from .quantization.qat.fine_tune import Compressed, Quantized, cluster, prune, quantize_aware
from .quantization.qat.settings import FineTuning
from .quantization.search import QuantizationSearch, TargetMissed, Trial, quantize_to_target
from .runtimes.benchmark import Benchmark, Timing, benchmark
from .runtimes.predictor import ExportedFile, open_predictor
from .saved_model import to_saved_model
from .tflite.convert import to_tflite
from .tflite.layer_errors import LayerError, layer_errors
from .tflite.metadata import About, Record
from .web import to_web
from .weights_files import to_keras_h5, to_torch

need_tensorflow(__name__)

__all__ = [
    "FORMATS",
    "About",
    "Agreement",
    "Benchmark",
    "CalibrationSet",
    "Compressed",
    "Diagnosis",
    "ExportedFile",
    "Finding",
    "FineTuning",
    "LayerError",
    "PhoneResults",
    "PhoneTiming",
    "QuantizationSearch",
    "Quantized",
    "Record",
    "Target",
    "TargetMissed",
    "Timing",
    "Trial",
    "agreement",
    "agreements",
    "benchmark",
    "cluster",
    "doctor",
    "export_run",
    "exported",
    "layer_errors",
    "misses",
    "open_predictor",
    "optimize",
    "phone_results",
    "prune",
    "quantize_aware",
    "quantize_to_target",
    "to_keras_h5",
    "to_npu",
    "to_onnx",
    "to_openvino",
    "to_phone",
    "to_saved_model",
    "to_tflite",
    "to_torch",
    "to_web",
]
