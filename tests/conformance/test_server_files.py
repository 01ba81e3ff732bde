"""A SavedModel, an .onnx file and a folder of OpenVINO answer as the network does."""

from pathlib import Path

import pytest

from keras_inception import export

from ..conftest import Network
from . import qat

FLOAT32 = 90  # decibels


def _same(path: Path, network: Network) -> None:
    found = export.agreement(path, network.model, qat.images(network.model.input_shape[1:]))
    assert found.snr >= FLOAT32, found
    assert found.agreement == 1


def test_saved_model(conditioned: Network, tmp_path: Path) -> None:
    _same(export.to_saved_model(conditioned.model, tmp_path / "saved_model"), conditioned)


def test_onnx(conditioned: Network, tmp_path: Path) -> None:
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'keras-inception[onnx]'")
    _same(export.to_onnx(conditioned.model, tmp_path / "network.onnx"), conditioned)


def test_openvino(conditioned: Network, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="it is not installed: pip install 'keras-inception[openvino]'")
    _same(export.to_openvino(conditioned.model, tmp_path / "openvino"), conditioned)
