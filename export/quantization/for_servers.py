"""int8 files for servers: each runtime's own tool chooses the ranges, after our rounding of kernels and biases.

`benchmarks/server_int8.md` has what that is worth, also beside NNCF's own.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_inception.errors import InputError

from ..inputs import Exportable
from ..optimize import optimize
from .calibration import Calibration, CalibrationSet
from .rounding import prepared

ServerQuantization: TypeAlias = Literal["none", "int8"]


def check_quantization(quantization: str, calibration: Calibration | None) -> None:
    """Raise an InputError if calibration images are given that the quantisation does not take."""
    if quantization == "none" and calibration is not None:
        raise InputError("calibration= is for int8; a file in float32 needs none: leave it out")


def optimized(source: Exportable, images: CalibrationSet | None) -> keras.Model:
    """The network for inference; before it becomes int8, with rounded kernels and corrected biases."""
    network = optimize(source.model)
    return prepared(network, network_inputs(source, images)) if images else network


def network_inputs(source: Exportable, images: CalibrationSet) -> list[tf.Tensor]:
    """Each image as the network takes it, (1, *input_shape)."""
    normalize = source.preprocessing.normalize if source.preprocessing else tf.identity
    return [normalize(image) for image in images.representative(source.input_dtype)]


def quantized_onnx(model: Any, source: Exportable, images: CalibrationSet, part: Path) -> Any:
    """An ONNX model whose kernels and maps are int8, in the form that ONNX Runtime calls QDQ; `part` is free for files.

    Kernels are signed and have a scale for each output channel. Maps are unsigned, from their smallest to their largest
    value: with signed ones ONNX Runtime 1.32 leaves 20 of ResNet-50's 53 convolutions in float32, and is no faster.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    [given] = model.graph.input

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = images.representative(source.input_dtype)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {given.name: image}

    onnx.save(model, str(part))
    quant_pre_process(str(part), str(part), skip_symbolic_shape=True)
    quantize_static(str(part), str(part), Images(), per_channel=True, activation_type=QuantType.QUInt8)
    return onnx.load(str(part))


def quantized_openvino(model: Any, source: Exportable, images: CalibrationSet) -> Any:
    """An OpenVINO model whose kernels and maps are int8, by NNCF."""
    import nncf

    inputs = list(images.representative(source.input_dtype))
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,  # maps with negative values have a zero point, as in a .tflite file
        subset_size=len(inputs),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            disable_bias_correction=True,  # ours is in the model
            overflow_fix=nncf.OverflowFix.DISABLE,  # kernels of 8 bits; `sums_exactly` is of processors without VNNI
        ),
    )


def need_nncf() -> None:
    """Raise an InputError unless OpenVINO and NNCF are installed."""
    if not (importlib.util.find_spec("openvino") and importlib.util.find_spec("nncf")):
        raise InputError("int8 for OpenVINO needs nncf: pip install 'keras-inception[openvino]'")
