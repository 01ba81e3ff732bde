"""Faulty files, each with its finding, and a healthy one without."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from keras_inception import InputError, Preprocessing, cli, export
from keras_inception.export.optimize import INTEGER_RULES
from keras_inception.export.tflite import mediapipe_metadata, metadata
from keras_inception.export.tflite.flatbuffer import operator_versions, packed
from keras_inception.export.tflite.runtimes import OldestRuntime
from keras_inception.terminal import quiet

PREPROCESSING, LABELS = Preprocessing(size=(8, 8), resize_mode="stretch"), ["a", "b", "c"]
INPUTS = np.random.default_rng(0).uniform(-1, 1, (60, 8, 8, 3)).astype(np.float32)


def network(*body, classes=3):
    keras.utils.set_random_seed(0)
    image = x = keras.Input((8, 8, 3))
    for layer in body:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x), name="patient")


def converted(function, shape=(1, 8, 8, 3), *, dtype=tf.float32, flex=False):
    """A file as other exporters write it."""
    concrete = tf.function(function, [tf.TensorSpec(shape, dtype)]).get_concrete_function()
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        if flex:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        return converter.convert()


@pytest.fixture
def examined(tmp_path):
    """Findings of a file's bytes: {problem and cure: level}."""

    def examined(content):
        (tmp_path / "patient.tflite").write_bytes(content)
        return {f"{f.problem}: {f.cure}": f.level for f in export.doctor(tmp_path / "patient.tflite").findings}

    return examined


def level(findings, *words):
    """The level of the one finding with all of these words."""
    [found] = [level for text, level in findings.items() if all(word in text for word in words)]
    return found


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    path = tmp_path_factory.mktemp("healthy") / "phone.tflite"
    model = network(layers.Conv2D(4, 3))
    options = {"quantization": "int8", "calibration": INPUTS, "preprocessing": PREPROCESSING, "labels": LABELS}
    return export.to_tflite(model, path, **options)


def test_nothing_is_wrong_with_our_files(healthy):
    found = export.doctor(healthy)
    assert found.ready
    [edge_tpu] = found.findings
    assert edge_tpu.level == "note"
    assert "leaves 2 of 7 operators on the CPU: DEQUANTIZE (float32), QUANTIZE (float32)" in edge_tpu.problem
    assert "edge='uint8'" in edge_tpu.cure
    assert found.runtime.release == "2.10"  # its dense layer; by the versions of its operators 1.14
    assert "scale per channel" in found.runtime.reason
    assert found.format == "tflite int8"
    assert found.signatures == {"serving_default": "pixels FLOAT32 1x8x8x3 -> probabilities FLOAT32 1x3"}
    assert found.operators["CONV_2D"] == 2
    assert set(found.types) == {"INT8", "INT32", "FLOAT32"}


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory):
    """A dense layer that is large enough for the converter to quantise its weights by channel."""
    path = tmp_path_factory.mktemp("dynamic") / "dynamic.tflite"
    return export.to_tflite(network(layers.Dense(64), layers.Dense(64)), path, quantization="dynamic")


def with_version(content, operator, version):
    """The file as a converter of another release would write it, without TensorFlow's own statement."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    [place] = [i for i, (name, _) in enumerate(operator_versions(content)) if name == operator]
    model.operatorCodes[place].version = version
    model.metadata = [entry for entry in model.metadata if entry.name != b"min_runtime_version"]
    return packed(model)


def test_the_oldest_runtime_is_in_the_file_and_its_record(dynamic):
    content = dynamic.read_bytes()
    assert metadata.read_metadata(content, "min_runtime_version") == b"2.17.0".ljust(16, b"\0")
    assert metadata.read_record(content).runtime == "2.17"
    found = export.doctor(dynamic)
    assert found.runtime == OldestRuntime(release="2.17", reason="FULLY_CONNECTED version 12")
    findings = {f"{f.problem}: {f.cure}": f.level for f in found.findings}
    assert (
        level(findings, "2.17, or LiteRT 1.0,", "FULLY_CONNECTED version 12", "tflite-runtime", "ai-edge-litert")
        == "warning"
    )


def test_of_several_signatures_the_newest_operator_counts(healthy, dynamic):
    """TensorFlow's statement is that of the first subgraph."""
    models = {}
    for key, path in (("a", healthy), ("b", dynamic)):
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        model.metadata = [entry for entry in model.metadata if entry.name == b"min_runtime_version"]
        models[key] = packed(model)
    assert metadata.read_record(metadata.with_record(models, metadata.Record())).runtime == "2.17"


@pytest.mark.parametrize(("version", "release"), [(1, "2.2"), (3, "2.4"), (4, "2.6"), (5, "2.20")])
def test_the_oldest_runtime_of_a_file_that_does_not_state_it(version, release, examined, tmp_path):
    padded = converted(lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]))
    examined(with_version(padded, "PAD", version))
    found = export.doctor(tmp_path / "patient.tflite").runtime
    assert found.release == release
    assert (found.reason == "") == (version == 1)


def test_a_version_that_is_not_known_yet(examined, tmp_path):
    content = with_version(converted(tf.nn.softmax, (1, 9)), "SOFTMAX", 99)
    findings = examined(content)
    assert level(findings, "SOFTMAX version 99 is newer") == "note"
    assert level(findings, "LiteRT refuses it", "Didn't find op") == "error"


@pytest.mark.parametrize(("body", "options", "says"), [
    ([layers.Conv2D(4, 3), layers.LeakyReLU()], {}, ["LEAKY_RELU (not supported)", "all after the first", "replace"]),
    ([layers.Conv2D(4, 3, activation="tanh"), layers.MaxPooling2D()], {}, []),
    ([layers.Conv2D(4, 3)], {"batch": 2}, ["CONV_2D (batch 2)", "SOFTMAX (batch 2)", "with batch=1"]),
])  # fmt: skip
def test_what_an_edge_tpu_leaves_to_the_cpu(body, options, says, examined, tmp_path):
    options = {"quantization": "int8", "calibration": INPUTS, "edge": "uint8"} | options
    path = export.to_tflite(network(*body), tmp_path / "int8.tflite", **options)
    findings = examined(path.read_bytes())
    if says:
        assert level(findings, "Edge TPU", *says) == "note"
    else:
        assert not any("Edge TPU" in text for text in findings)
    assert any("takes 2 images at once" in text for text in findings) == ("batch" in options)


def test_operators_that_no_phone_has(examined):
    findings = examined(converted(tf.math.erf, flex=True))
    assert level(findings, "FlexErf") == "error"


def test_a_free_batch_and_five_dimensions(examined):
    def shuffle(x):
        x = tf.reshape(x, (-1, 8, 8, 3, 1))
        return tf.reshape(tf.transpose(x, (0, 1, 2, 4, 3)) + tf.ones((1, 8, 8, 3, 3)), (-1, 576))

    findings = examined(converted(shuffle, (None, 8, 8, 3)))
    assert level(findings, "free dimension", "LiteRT.js") == "warning"
    assert level(findings, "more than four dimensions") == "warning"


def test_operators_that_no_gpu_has(examined):
    findings = examined(converted(tf.nn.local_response_normalization))
    assert level(findings, "LOCAL_RESPONSE_NORMALIZATION", "GPU") == "warning"
    assert level(findings, "no metadata", "MediaPipe") == "warning"


def test_double_precision(examined):
    findings = examined(converted(lambda x: tf.cast(x, tf.float64)))
    assert level(findings, "FLOAT64", "float32") == "error"


def test_not_a_number(examined):
    assert level(examined(converted(lambda x: tf.math.log(x - 1.0))), "NaN", "grey image") == "error"


@pytest.mark.parametrize("options", [{"groups": 3}, {"strides": 2}])
def test_special_1x1_convolutions_in_int8(tmp_path, options, monkeypatch):
    model = network(layers.Conv2D(12, 1), layers.Conv2D(12, 1, **options))
    monkeypatch.delitem(INTEGER_RULES, "stride of a 1x1 convolution before it")  # as files of other exporters
    for quantization, expected in (("int8", ["warning"]), ("float16", [])):
        calibration = INPUTS if quantization == "int8" else None
        path = export.to_tflite(model, tmp_path / quantization, quantization=quantization, calibration=calibration)
        found = [
            f for f in export.doctor(path).findings if "1 1x1 convolutions in int8 with groups or a stride" in f.problem
        ]
        assert [f.level for f in found] == expected
        assert all("float16" in f.cure for f in found)


def residual_sum(side: int) -> keras.Model:
    """A network that ends with a residual block on a map of `side` positions."""
    image = keras.Input((side, side, 8))
    start = layers.Conv2D(8, 1, activation="relu")(image)
    return keras.Model(image, layers.Conv2D(4, 1)(layers.Add()([layers.Conv2D(8, 1)(start), start])))


def test_sums_of_maps_of_one_position_in_int8(tmp_path, monkeypatch):
    images = np.random.default_rng(0).normal(size=(8, 1, 1, 8)).astype(np.float32)

    def warned(name: str) -> bool:
        path = export.to_tflite(residual_sum(1), tmp_path / name, quantization="int8", calibration=images)
        return any("sums of maps of one position" in finding.problem for finding in export.doctor(path).findings)

    assert not warned("own")
    monkeypatch.delitem(INTEGER_RULES, "sum of maps of one position as of two")  # as files of other exporters
    assert warned("plain")


def test_average_pools_over_zeros(examined, tmp_path):
    padded = converted(lambda x: tf.nn.avg_pool(tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 2, "VALID"))
    assert level(examined(padded), "1 average pools of padded maps", "to_tflite") == "warning"
    path = export.to_tflite(network(layers.ZeroPadding2D(1), layers.AveragePooling2D(3, 2)), tmp_path / "own")
    assert not any("average pools" in f.problem for f in export.doctor(path).findings)


def test_int8_and_int16_by_their_edges(tmp_path):
    model, options = network(layers.Conv2D(4, 3)), {"calibration": INPUTS, "preprocessing": PREPROCESSING}
    path = export.to_tflite(model, tmp_path / "int8", quantization="int8", edge="int8", **options)
    assert any("int8 at the edge" in f.problem and "uint8" in f.cure for f in export.doctor(path).findings)
    path = export.to_tflite(model, tmp_path / "int16", quantization="int16x8", **options)
    found = export.doctor(path)
    assert any("CPUs only" in f.problem for f in found.findings)
    assert found.runtime.release == "2.10"


def test_labels_that_are_not_the_classes(healthy, examined):
    """MediaPipe would hang. The file is from elsewhere, with labels appended."""
    content = healthy.read_bytes()
    whole = packed(schema.ModelT.InitFromPackedBuf(content, 0))
    assert (
        level(examined(mediapipe_metadata.with_labels(whole, LABELS[:2])), "2 labels for 3 classes", "hangs") == "error"
    )
    assert level(examined(whole), "no labels") == "note"


@pytest.mark.parametrize("known", [True, False])
def test_outputs_that_are_not_classes(known, examined, tmp_path):
    """The heads of detectors and pose networks: scalars, and outputs whose shape the file does not hold."""

    def detect(x):
        return {"boxes": tf.reshape(x, (1, 48, 4)), "score": tf.reduce_max(x)}

    content = schema.ModelT.InitFromPackedBuf(converted(detect), 0)
    [graph] = content.subgraphs
    if not known:
        for output in graph.outputs:
            graph.tensors[output].shape = None
    findings = examined(mediapipe_metadata.with_labels(packed(content), ["cat", "dog"]))
    assert "error" not in findings.values()
    [signature] = export.doctor(tmp_path / "patient.tflite").signatures.values()
    assert "FLOAT32 scalar" in signature


def test_a_single_scalar_output(examined):
    findings = examined(converted(tf.reduce_max))
    assert "error" not in findings.values()


def test_files_that_cannot_be_examined(healthy, tmp_path):
    (tmp_path / "text.tflite").write_text("hello, phone")
    (tmp_path / "cut.tflite").write_bytes(healthy.read_bytes()[:1000])
    cases = {"nothing": "does not exist", "text.tflite": "not a TFLite", "cut.tflite": "damaged", ".": "folder"}
    for name, words in cases.items():
        with pytest.raises(InputError, match=words):
            export.doctor(tmp_path / name)


def test_command(healthy, tmp_path, monkeypatch, capfd):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-inception", "doctor", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capfd.readouterr()
        return stop.value.code or 0, said.out, said.err

    code, out, _ = call(healthy)
    assert code == 0
    assert "oldest runtime: TensorFlow Lite 2.10 (a dense layer with a scale per channel" in out
    model = network(layers.Conv2D(4, 3))
    options = {"quantization": "int8", "calibration": INPUTS, "preprocessing": PREPROCESSING, "labels": LABELS}
    code, out, _ = call(export.to_tflite(model, tmp_path / "edge.tflite", edge="uint8", **options))
    assert "nothing is wrong" in out
    (tmp_path / "flex.tflite").write_bytes(converted(tf.math.erf, flex=True))
    code, out, err = call(tmp_path / "flex.tflite", "--json")
    assert code == 1
    report = json.loads(out)
    assert not report["ready"]
    assert "FlexErf" in report["findings"][0]["problem"]
    assert err.startswith("error: ")
    assert err.count("\n") == 1
