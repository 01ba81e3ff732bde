"""Files timed in turns, each in a process of its own."""

import importlib
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError, cli, export
from keras_inception.analysis.cost import total

benchmark_module = sys.modules["keras_inception.export.runtimes.benchmark"]


def network(size):
    """A convolution of every kind; its last two are dense and transposed."""
    x = image = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(12, 3, groups=2, activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.Conv2DTranspose(5, 3, strides=2)(x)
    return keras.Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    models = {"small": network(16), "large": network(256)}
    paths = [export.to_tflite(model, folder / f"{name}.tflite") for name, model in models.items()]
    batch = export.to_tflite(models["small"], folder / "batch.tflite", batch=4)
    return models, [*paths, export.to_saved_model(models["small"], folder / "small"), batch]


@pytest.fixture(scope="module")
def result(files):
    return export.benchmark(files[1], seconds=0.4, threads=1)


def test_multiply_adds_of_a_file(files):
    models, paths = files
    for model, path in zip(models.values(), paths, strict=False):
        assert benchmark_module.multiply_adds(path.read_bytes()) == total(model).macs


def test_multiply_adds_beyond_32_bits(tmp_path):
    image = keras.Input((384, 384, 3))
    model = keras.Model(image, layers.Conv2D(64, 3, padding="same")(layers.Conv2D(64, 3, padding="same")(image)))
    content = export.to_tflite(model, tmp_path / "wide.tflite").read_bytes()
    assert benchmark_module.multiply_adds(content) == total(model).macs > 2**32


def test_memory_is_0_where_python_cannot_tell(monkeypatch):
    """The package is imported, and its worker runs, where there is no module `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)  # an import fails
    worker = importlib.reload(benchmark_module.worker)
    monkeypatch.setattr(worker.os.path, "exists", lambda path: False)
    monkeypatch.setattr(worker.sys, "platform", "win32")
    assert worker.peak_memory() == 0


def test_files_are_timed(result, files):
    small, large, saved, batch = result.timings
    assert [timing.path for timing in result.timings] == list(map(str, files[1]))
    assert [(t.runtime, t.format) for t in result.timings] == [
        ("litert", "tflite float32"), ("litert", "tflite float32"), ("tensorflow", "saved_model"),
        ("litert", "tflite float32"),
    ]  # fmt: skip
    for timing in result.timings:
        low, high = timing.quartiles
        assert 0 < low <= timing.milliseconds <= high
        assert timing.runs > 0
        assert timing.bytes > 1000
    assert large.milliseconds > 5 * small.milliseconds  # 300 times the work
    # TensorFlow alone takes hundreds of megabytes, which a process with LiteRT does not.
    assert 10e6 < small.memory < 0.5 * saved.memory
    assert (small.macs, saved.macs, saved.of_peak) == (total(files[0]["small"]).macs, None, None)
    assert batch.macs == small.macs  # of one image
    assert batch.milliseconds < 3 * small.milliseconds
    assert large.of_peak > 0  # a neighbour may take the machine while the peak is measured
    assert result.threads == 1
    assert min(result.float32_peak, result.int8_peak) > 1e9


def test_command(result, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr(benchmark_module, "benchmark", lambda files, **options: asked.update(options) or result)
    cli.app(["benchmark", "a", "b", "--runtime", "litert", "--threads", "1", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result.to_dict()))
    assert asked == {"runtimes": ["litert"], "threads": 1, "seconds": 10.0}
    cli.app(["benchmark", "a"], standalone_mode=False)
    table = capsys.readouterr().out
    assert "small.tflite" in table
    assert "tensorflow" in table
    assert "GMAC/s" in table


def test_what_cannot_be_timed_says_so(files, tmp_path):
    small = files[1][0]
    text, broken = tmp_path / "text.txt", tmp_path / "broken.tflite"
    text.write_text("no network")
    broken.write_bytes(small.read_bytes()[:2000])
    free = export.to_saved_model(network(None), tmp_path / "free")
    for arguments, options, says in [
        ([], {}, "give files to time"),
        ([tmp_path / "none"], {}, "none does not exist"),
        ([text], {}, "text.txt is not a SavedModel"),
        ([small], {"runtimes": ["tensorflow"]}, "is read by litert and openvino, not by tensorflow"),
        ([small], {"runtimes": ["torch"]}, "unknown runtime 'torch'; give one of tensorflow, litert"),
        ([small], {"threads": 0}, "threads must be a whole number of at least 1 or None; got 0"),
        ([broken], {}, "broken.tflite is refused by LiteRT"),
        ([free], {}, "has a free size: export it with a fixed size"),
    ]:
        with pytest.raises(InputError, match=says):
            export.benchmark(arguments, **options)


@pytest.mark.parametrize(("runtime", "extra", "name"), [
    ("onnxruntime", "onnx", "model.onnx"), ("openvino", "openvino", "folder/model.xml"),
])  # fmt: skip
def test_missing_extras_are_named(runtime, extra, name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, runtime, None)  # an import fails
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    given = path if extra == "onnx" else path.parent
    for use in (
        lambda: export.benchmark([given]),
        lambda: export.agreement(given, network(16), np.zeros((1, 16, 16, 3))),
    ):
        with pytest.raises(InputError, match=rf"{runtime} is not installed: pip install 'keras-inception\[{extra}\]'"):
            use()
