"""A network as a .tflite file: operators that every phone has, shapes that every GPU takes, and the same answers.

By default on a network of each kind of block that phones are given; under the marker `slow` on all of them.
"""

import gc
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_inception import export
from keras_inception.export._flatbuffer import float_operators, foreign_operators, operators
from keras_inception.registry import Architecture

from .networks import ONE_A_FAMILY, smallest_shape

# A residual bottleneck with depthwise convolutions; grouped convolutions and a shuffle; fire modules.
BY_DEFAULT = {"mobilenet_v2", "shufflenet_v1", "squeezenet1_1", "lenet5"}
INT8_BY_DEFAULT = {"mobilenet_v1", "shufflenet_v2", "resnet20"}
# What a fixed batch and whole constants leave no place for.
DYNAMIC = {"SHAPE", "PACK", "VAR_HANDLE", "READ_VARIABLE", "GATHER", "GATHER_ND", "WHERE", "WHILE", "IF"}
LEAST_SNR = 12  # decibels of the logits in int8: random weights are harder than trained ones, ShuffleNet v1 has 15


def networks(default: set[str]) -> list:
    every = [parameter.values[0] for parameter in ONE_A_FAMILY]
    return [pytest.param(a, id=a.name, marks=[] if a.name in default else [pytest.mark.slow]) for a in every]


def exported(architecture: Architecture, path: Path, quantization: str) -> tuple[bytes, export.Agreement]:
    """The network's file on a small input, with random weights, and how its logits agree."""
    keras.utils.set_random_seed(0)
    height, width, channels = smallest_shape(architecture)
    model = architecture.build(
        input_shape=(height + 1, width + 1, channels), classifier_activation=None
    )  # XNNPACK: note 1
    pictures = np.random.default_rng(0).normal(size=(12, *model.input_shape[1:])).astype("float32")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.1
    model(pictures, training=True)  # mostly the statistics of these pictures: activations as large as trained ones
    calibration = pictures[:8] if quantization == "int8" else None
    export.to_tflite(model, path, quantization=quantization, calibration=calibration)
    result = export.agreement(path, model, pictures[8:])
    del model
    gc.collect()
    return path.read_bytes(), result


def scan(content: bytes) -> Counter:
    """Check every operator and every tensor's shape; how many there are of each operator."""
    assert not foreign_operators(content)
    found = Counter(operators(content))
    assert not DYNAMIC & set(found)
    for tensor in Interpreter(model_content=content).get_tensor_details():
        assert len(tensor["shape"]) <= 4, tensor["name"]
        assert -1 not in tensor["shape_signature"], tensor["name"]
    return found


@pytest.mark.parametrize("architecture", networks(BY_DEFAULT))
def test_float32(architecture: Architecture, tmp_path: Path) -> None:
    content, result = exported(architecture, tmp_path / "float32.tflite", "none")
    found = scan(content)
    print(f"\n{architecture.name} float32 {len(content):,} bytes {result.snr:.0f} dB {dict(found.most_common())}")
    assert result.format == "tflite float32"
    assert result.snr > 90


@pytest.mark.parametrize("architecture", networks(INT8_BY_DEFAULT))
def test_int8(architecture: Architecture, tmp_path: Path) -> None:
    """Every operator in int8 but for the two at the edge."""
    content, result = exported(architecture, tmp_path / "int8.tflite", "int8")
    found = scan(content)
    print(f"\n{architecture.name} int8 {len(content):,} bytes {result.snr:.0f} dB {dict(found.most_common())}")
    assert not float_operators(content)
    assert found["DEQUANTIZE"] == 1
    assert result.format == "tflite int8"
    assert result.snr > LEAST_SNR
