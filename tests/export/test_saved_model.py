"""SavedModels for servers of several kinds, and the same network in ONNX and OpenVINO."""

import importlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_inception import InputError, Preprocessing, export
from keras_inception.export import saved_model
from keras_inception.export.optimize import optimize
from keras_inception.export.runtimes import processor, runners

from .test_optimize import scrambled

PREPROCESSING = Preprocessing(size=(32, 32), channels="BGR", mean=(50.0, 60.0, 80.0), std=(57.0, 71.0, 89.0))
LABELS = [f"cläss {i}" for i in range(10)]


@pytest.fixture(scope="module")
def model():
    """Every image has its own prediction, with a probability that is neither 0 nor 1."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((32, 32, 3))
    for filters in (16, 32, 32):
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, 2, "same", use_bias=False)(x))
        y = layers.SeparableConv2D(filters, 3, padding="same")(layers.ReLU()(y))
        x = layers.Concatenate()([layers.ReLU()(layers.BatchNormalization()(y)), layers.AveragePooling2D(2)(x)])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return scrambled(keras.Model(image, layers.Dense(10, activation="softmax", name="predictions")(x)))


@pytest.fixture(scope="module")
def inputs():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    return PREPROCESSING(pixels)


# The rounding of a number is 2^-12 in float16 and 2^-9 in bfloat16; a dozen layers in a row, each adding its own, make
# about four times that of a logit near 3, and a probability moves by a quarter of what its logit does at most.
@pytest.mark.parametrize(("precision", "bar"), [("float32", 1e-5), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_precision(model, inputs, precision, bar, tmp_path):
    path = export.to_saved_model(model, tmp_path / precision, precision=precision)
    result = export.agreement(path, model, inputs)
    assert result.format == ("saved_model" if precision == "float32" else f"saved_model {precision}")
    assert result.max_difference < bar
    assert (result.max_difference > 1e-5) == (precision != "float32")
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert signature.structured_outputs["probabilities"].dtype == tf.float32
    assert signature.structured_input_signature[1]["input"].dtype == tf.float32
    weights = 4 * optimize(model).count_params()
    size = (path / "saved_model.pb").stat().st_size
    assert size - (weights if precision == "float32" else 0.55 * weights) < 60_000


def test_xla_gives_the_same_outputs(model, inputs, tmp_path):
    path = export.to_saved_model(model, tmp_path / "xla", jit_compile=True)
    loaded = tf.saved_model.load(str(path))
    functions = loaded.signatures["serving_default"].graph.as_graph_def().library.function
    assert any(function.attr["_XlaMustCompile"].b for function in functions)
    assert export.agreement(path, model, inputs).max_difference < 1e-5


def test_batch_norm_is_folded(model, tmp_path):
    path = export.to_saved_model(model, tmp_path / "folded")
    graph = tf.saved_model.load(str(path)).signatures["serving_default"].graph.as_graph_def()
    operations = [node.op for function in graph.library.function for node in function.node_def]
    assert "Conv2D" in operations
    assert not [op for op in operations if op in ("Rsqrt", "VarHandleOp", "ReadVariableOp") or "BatchNorm" in op]


def test_unknown_precision(model, tmp_path):
    with pytest.raises(InputError, match="precision must be 'float32', 'float16', 'bfloat16' or 'int8'; got 'int4'"):
        export.to_saved_model(model, tmp_path / "x", precision="int4")
    assert not list(tmp_path.iterdir())


TOOL = """
import sys
for name in ("keras", "keras_inception"):
    sys.modules[name] = None  # an import of either fails
from tensorflow.python.tools.saved_model_cli import main
main()
"""


@pytest.mark.slow
def test_tensorflows_own_tool_runs_it(model, inputs, tmp_path):
    path = export.to_saved_model(model, tmp_path / "saved", labels=LABELS, preprocessing=PREPROCESSING)
    np.save(tmp_path / "input.npy", inputs)
    arguments = ["run", "--dir", path, "--tag_set", "serve", "--signature_def", "preprocessed", "--outdir", tmp_path]
    arguments += ["--inputs", f"input={tmp_path / 'input.npy'}"]
    done = subprocess.run(
        [sys.executable, "-c", TOOL, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    want = model(inputs, training=False).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), want, atol=1e-5)
    labels = np.load(tmp_path / "label.npy", allow_pickle=True)  # the tool pickles strings
    assert labels.tolist() == [LABELS[i].encode() for i in want.argmax(-1)]


# ------------------------------------------------------------------------------------------------ ONNX and OpenVINO

WRITERS = {"onnx": (export.to_onnx, "model.onnx"), "openvino": (export.to_openvino, "folder")}


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("name", WRITERS)
def test_other_servers(name, prepared, model, inputs, tmp_path):
    for package in {"onnx": ["tf2onnx", "onnx", "onnxruntime"], "openvino": ["openvino"]}[name]:
        pytest.importorskip(package)
    write, file = WRITERS[name]
    known = {"labels": LABELS, "preprocessing": PREPROCESSING} if prepared else {}
    path = write(model, tmp_path / file, **known)
    opened = runners.open_file(path)
    assert opened.record == export.Record(input="pixels" if prepared else "input",
                                          preprocessing=known.get("preprocessing"),
                                          labels=tuple(LABELS) if prepared else None)  # fmt: skip
    result = export.agreement(path, model, inputs)
    assert result.format == name
    assert result.agreement == 1
    assert result.max_difference < 1e-5
    assert not export.misses(result)
    with pytest.raises(InputError, match="exists: give another path"):
        write(model, path)
    write(model, path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", WRITERS)
def test_groups_of_a_large_network_for_other_servers(name, tmp_path, monkeypatch):
    """Above `FREEZE_BELOW` its weights are variables until they are converted."""
    for package in {"onnx": ["tf2onnx", "onnx", "onnxruntime"], "openvino": ["openvino"]}[name]:
        pytest.importorskip(package)
    monkeypatch.setattr(saved_model, "FREEZE_BELOW", 0)
    image = keras.Input((16, 16, 8))
    maps = layers.Conv2D(16, 3, groups=2)(image)
    large = keras.Model(image, layers.GlobalAveragePooling2D()(maps))
    write, file = WRITERS[name]
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 8)).astype(np.float32)
    assert export.agreement(write(large, tmp_path / file), large, images).max_difference < 1e-5


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("name", WRITERS)
def test_int8_for_other_servers(name, prepared, model, inputs, tmp_path):
    for package in {"onnx": ["tf2onnx", "onnx", "onnxruntime"], "openvino": ["openvino", "nncf"]}[name]:
        pytest.importorskip(package)
    write, file = WRITERS[name]
    known = {"labels": LABELS, "preprocessing": PREPROCESSING} if prepared else {}
    path = write(model, tmp_path / file, quantization="int8", calibration=inputs, **known)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    opened = runners.open_file(path)
    assert opened.record.calibration["images"] == len(inputs)
    assert opened.record.preprocessing == known.get("preprocessing")
    assert opened.free_batch
    result = export.agreement(path, model, inputs)
    assert result.format == f"{name} int8"
    assert result.agreement == 1
    assert 15 < result.snr < 70  # neither nonsense nor float32
    with pytest.raises(InputError, match=r"calibration= is for int8"):
        write(model, path, calibration=inputs)
    with pytest.raises(InputError, match="quantization must be 'none' or 'int8'; got 'int4'"):
        write(model, tmp_path / "other", quantization="int4")


@pytest.mark.parametrize(
    ("lines", "exact"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags\t\t: fpu avx2 fma\n", False),
        ("Features\t: fp asimd asimddp\n", True),
        ("", False),
    ],
)
def test_which_processors_add_int8_exactly(lines, exact, monkeypatch):
    monkeypatch.setattr(processor.Path, "read_text", lambda path, **_: lines)
    processor.sums_exactly.cache_clear()
    try:
        assert processor.sums_exactly() is exact
    finally:
        processor.sums_exactly.cache_clear()


@pytest.mark.parametrize("name", WRITERS)
def test_grouped_convolutions_for_other_servers(name, tmp_path):
    """Keras compiles them by XLA, which converters do not read."""
    for package in {"onnx": ["tf2onnx", "onnx", "onnxruntime"], "openvino": ["openvino"]}[name]:
        pytest.importorskip(package)
    image = keras.Input((8, 8, 12))
    x = keras.layers.Conv2D(12, 3, groups=2, padding="same", dilation_rate=2, activation="relu")(image)
    grouped = keras.Model(image, keras.layers.Conv2D(6, 1, groups=3, strides=2, use_bias=False)(x))
    write, file = WRITERS[name]
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 12)).astype("float32")
    assert export.agreement(write(grouped, tmp_path / file), grouped, x).snr > 100


@pytest.mark.parametrize(
    ("name", "package", "options"),
    [("onnx", "tf2onnx", {}), ("openvino", "openvino", {}), ("openvino", "nncf", {"quantization": "int8"})],
)
def test_without_the_extra(name, package, options, model, tmp_path, monkeypatch):
    if package == "nncf":
        pytest.importorskip("openvino")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == package else found(asked))
    write, file = WRITERS[name]
    with pytest.raises(InputError, match=rf"pip install 'keras-inception\[{name}\]'"):
        write(model, tmp_path / file, **options)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------- a cross-check


@pytest.mark.parametrize(
    ("name", "differs"), [("saved_model", 1e-5), ("none", 1e-5), ("int8", 0.02), ("openvino", 1e-5)]
)
def test_openvino_reads_it_too(name, differs, model, inputs, tmp_path):
    """The same file by a reader and by kernels that share no code with its makers'."""
    pytest.importorskip("openvino")
    known = {"labels": LABELS, "preprocessing": PREPROCESSING}
    if name == "saved_model":
        path = export.to_saved_model(model, tmp_path / "folder", **known)
    elif name == "openvino":
        path = export.to_openvino(model, tmp_path / "folder", **known)
    else:
        calibration = inputs if name == "int8" else None
        path = export.to_tflite(model, tmp_path / "file.tflite", quantization=name, calibration=calibration, **known)
    first, second = (export.agreement(path, model, inputs, runtime=runtime) for runtime in (None, "openvino"))
    assert second.format == (first.format if name == "openvino" else f"{first.format} in openvino")
    assert second.max_difference < differs
    assert not export.misses(second)


def test_cross_checks_that_are_not_to_be_had(model, inputs, tmp_path, monkeypatch):
    path = export.to_tflite(model, tmp_path / "file.tflite")
    with pytest.raises(InputError, match="unknown runtime 'torch' for a cross-check; give 'openvino'"):
        export.agreement(path, model, inputs, runtime="torch")
    monkeypatch.setitem(sys.modules, "openvino", None)  # an import fails
    with pytest.raises(InputError, match=r"pip install 'keras-inception\[openvino\]'"):
        export.agreement(path, model, inputs, runtime="openvino")
