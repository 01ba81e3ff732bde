"""A SavedModel, an .onnx file and a folder of OpenVINO answer as the network does."""

from pathlib import Path

import pytest

from keras_inception import export
from keras_inception.export.comparison import snr

from ..conftest import Network
from . import qat, tflite

FLOAT32 = 90  # decibels


def _same(path: Path, network: Network) -> None:
    found = export.agreement(path, network.model, qat.images(network.model.input_shape[1:]))
    assert found.snr >= FLOAT32, found
    assert found.agreement == 1


def test_saved_model(conditioned: Network, tmp_path: Path) -> None:
    _same(export.to_saved_model(conditioned.model, tmp_path / "saved_model"), conditioned)


def test_int8_saved_model(conditioned: Network, tmp_path: Path) -> None:
    """It loses what rounding costs, and little more."""
    model = conditioned.model
    x = qat.images(model.input_shape[1:])
    path = export.to_saved_model(model, tmp_path / "int8", precision="int8", calibration=x)
    alone = snr(model.predict_on_batch(x), tflite.rounded(export.optimize(model), x))
    assert export.agreement(path, model, x).snr >= alone - tflite.BELOW_ROUNDING


def test_onnx(conditioned: Network, tmp_path: Path) -> None:
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'keras-inception[onnx]'")
    _same(export.to_onnx(conditioned.model, tmp_path / "network.onnx"), conditioned)


def test_openvino(conditioned: Network, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="it is not installed: pip install 'keras-inception[openvino]'")
    _same(export.to_openvino(conditioned.model, tmp_path / "openvino"), conditioned)
