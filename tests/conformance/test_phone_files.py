"""A network as .tflite files in float16 and with dynamic ranges, and a file with its metadata, which is healthy.

`test_tflite.py` has float32 and int8.
"""

from pathlib import Path

import keras
import numpy as np

from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.preprocessing import Preprocessing

from ..conftest import Network
from . import qat
from .tflite import BELOW_ROUNDING, rounded

ENOUGH = 128  # images to calibrate with


def test_float16(conditioned: Network, tmp_path: Path) -> None:
    images = qat.images(conditioned.model.input_shape[1:])
    halved = _halved(export.optimize(conditioned.model))
    path = export.to_tflite(conditioned.model, tmp_path / "network.tflite", quantization="float16")
    bar = snr(conditioned.model.predict_on_batch(images), halved.predict_on_batch(images)) - BELOW_ROUNDING
    assert export.agreement(path, conditioned.model, images).snr >= bar


def test_dynamic_ranges(conditioned: Network, tmp_path: Path) -> None:
    images = qat.images(conditioned.model.input_shape[1:])
    optimized = export.optimize(conditioned.model)
    path = export.to_tflite(conditioned.model, tmp_path / "network.tflite", quantization="dynamic")
    bar = snr(conditioned.model.predict_on_batch(images), rounded(optimized, images)) - BELOW_ROUNDING
    assert export.agreement(path, conditioned.model, images).snr >= bar


def test_the_doctor_finds_nothing(conditioned: Network, tmp_path: Path) -> None:
    """In a file in int8 with everything that an app needs.

    But what `runtimes.md` shows of GPUs, and that response norms need LOG in int8, which is of TensorFlow Lite 2.15.
    """
    side, _, colours = conditioned.model.input_shape[1:]
    path = export.to_tflite(
        conditioned.model,
        tmp_path / "network.tflite",
        quantization="int8",
        calibration=qat.images(conditioned.model.input_shape[1:], ENOUGH).clip(-3, 3),  # 0 to 255
        labels=[f"class {i}" for i in range(conditioned.model.output_shape[-1])],
        preprocessing=Preprocessing(
            size=(side, side), mean=(127.5,) * colours, std=(42.5,) * colours,
            channels="RGB" if colours == 3 else "L", resize_mode="stretch",
        ),
    )  # fmt: skip
    found = [finding for finding in export.doctor(path).findings if finding.level != "note"]
    known = "GPU", "for LOG version 2"
    assert [finding for finding in found if not any(words in finding.problem for words in known)] == []


def _halved(model: keras.Model) -> keras.Model:
    """The network with the constants of a float16 file: rounded, a batch norm's after it is a scale and an offset."""
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = weights
            scale = gamma / np.sqrt(variance + layer.epsilon)
            layer.set_weights(
                [
                    _half(scale),
                    _half(beta - mean * scale),
                    np.zeros_like(mean),
                    np.full_like(variance, 1 - layer.epsilon),
                ]
            )
        else:
            layer.set_weights([_half(weight) for weight in weights])
    return model


def _half(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16).astype(np.float32)
