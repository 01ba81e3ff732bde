"""Files for NPUs: what is missing is said first; what a compiler makes, and leaves when it fails. No NPU is needed."""

import importlib.util
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InputError, Preprocessing, cli, export
from keras_inception.export import npu
from keras_inception.export.tflite import mediapipe_metadata, metadata
from keras_inception.export.tflite.npu import Compiled, compiled, refused

from .npu_stub import CHIPS, StubBackend, installed

PREPROCESSING, LABELS = Preprocessing(size=(8, 8), resize_mode="letterbox", fill=(1, 2, 3)), ["a", "b", "c"]
INPUTS = np.random.default_rng(0).uniform(-1, 1, (40, 8, 8, 3)).astype("float32")
QUANTIZATIONS = ["none", "float16", "dynamic", "int8", "int16x8"]


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x), name="net")


def exported(folder, quantization="int8", **options):
    options |= {"calibration": INPUTS} if quantization.startswith("int") else {}
    options = {"preprocessing": PREPROCESSING, "labels": LABELS} | options
    return export.to_tflite(network(), folder / f"{quantization}.tflite", quantization=quantization, **options)


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("int8"))


@pytest.fixture
def stub(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(StubBackend, "leaves", frozenset())
    monkeypatch.setattr(StubBackend, "fails", {})
    return installed(monkeypatch, tmp_path / "sdk")


def refusal(file, target, **options):
    with pytest.raises(InputError) as caught:
        export.to_npu(file, target, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("vendor", npu.VENDORS)
def test_a_missing_sdk_is_named_with_where_it_comes_from(vendor, int8, tmp_path):
    package, site = npu.VENDORS[vendor].package, npu.VENDORS[vendor].site
    if importlib.util.find_spec(package.removesuffix("-nightly").replace("-", "_")):
        pytest.skip(f"{package} is installed")
    said = refusal(int8, vendor, folder=tmp_path / "out")
    if vendor == "samsung" and "does not load" in said:  # in ai-edge-litert 2.3.0 the plugin lacks a symbol
        assert "undefined symbol" in said
    else:
        exactly = "" if package.endswith("-nightly") else f"=={version('ai-edge-litert')}"
        assert f"pip install {package}{exactly}, which downloads it from {site}" in said
    assert not (tmp_path / "out").exists()


def test_an_sdk_whose_download_failed(int8, stub, tmp_path):
    (tmp_path / "sdk" / "stub_sdk" / "data" / "libstub.so").unlink()
    said = refusal(int8, "stub")
    assert "installed without the SDK (data/libstub.so is not in it)" in said
    assert "stub.example.org" in said
    assert "--no-cache-dir" in said  # pip has kept the wheel that it built without the SDK


@pytest.mark.parametrize(("plugin", "says"), [
    ("broken.so", "broken.so does not load"), ("missing.so", "no compiler for stub here, missing.so: use Linux"),
])  # fmt: skip
def test_a_plugin_that_no_sdk_helps(plugin, says, int8, stub, tmp_path, monkeypatch):
    (tmp_path / "broken.so").write_text("no library")
    (tmp_path / "sdk" / "stub_sdk" / "data" / "libstub.so").unlink()
    module = sys.modules[stub.__module__]
    monkeypatch.setattr(module, "COMPILER_PLUGIN_LIB_PATH", tmp_path / plugin, raising=False)
    assert says in refusal(int8, "stub")


@pytest.mark.parametrize(("target", "says"), [
    ("apple", "unknown NPU 'apple'; give one of qualcomm, mediatek, google_tensor, samsung, intel"),
    ("qualcomm:X1", "unknown chip 'X1' of qualcomm; LiteRT"),
    ("", "unknown NPU ''"),
])  # fmt: skip
def test_unknown_targets(target, says, int8):
    assert says in refusal(int8, target)


@pytest.mark.parametrize("quantization", [
    q if q in ("int8", "float16") else pytest.param(q, marks=pytest.mark.slow) for q in QUANTIZATIONS
])  # fmt: skip
def test_a_compiled_file_keeps_what_the_file_says_of_itself(quantization, stub, tmp_path):
    file = exported(tmp_path, quantization)
    [path] = export.to_npu(file, "stub:x1")
    assert path == tmp_path / f"{quantization}_Stub_X1.tflite"
    content = path.read_bytes()
    assert metadata.read_record(content) == metadata.read_record(file.read_bytes())
    assert mediapipe_metadata.read_labels(content) == LABELS
    assert compiled(content) == Compiled(chip="Stub X1", parts=1, on_cpu={})
    found = export.doctor(path)
    assert (found.ready, found.format, found.npu) == (True, "tflite for Stub X1", "for Stub X1, all of it")
    assert found.signatures == export.doctor(file).signatures
    [note] = found.findings
    assert note.level == "note"
    assert "runs on that chip only" in note.problem


def test_all_chips_of_a_vendor_and_what_stays_on_the_cpu(int8, stub, tmp_path, monkeypatch):
    monkeypatch.setattr(stub, "leaves", frozenset({"MEAN", "SOFTMAX"}))
    paths = export.to_npu(int8, "stub", tmp_path / "out")
    assert [path.name for path in paths] == [f"int8_Stub_{chip}.tflite" for chip in CHIPS]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths}
    program = compiled(paths[1].read_bytes())
    assert program == Compiled(chip="Stub X2", parts=3, on_cpu={"MEAN": 1, "SOFTMAX": 1})
    assert str(program) == "for Stub X2, in 3 parts; on the CPU: 1 MEAN, 1 SOFTMAX"


def test_signatures_of_early_exits(stub, tmp_path):
    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(4, 3, activation="relu")(image)
    head = lambda x: layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))  # noqa: E731
    model = keras.Model(image, {"exit_1": head(first), "predictions": head(layers.Conv2D(4, 3)(first))})
    file = export.to_tflite(model, tmp_path / "exits.tflite")
    [path] = export.to_npu(file, "stub:X1")
    assert export.doctor(path).signatures == export.doctor(file).signatures
    assert compiled(path.read_bytes()).parts == 2


def test_a_failure_leaves_nothing(int8, stub, tmp_path, monkeypatch):
    log = tmp_path / "temporary" / "tool.error"
    log.write_text(LOGS["qualcomm"][0])
    failed = ValueError(f"apply_plugin failed to apply plugin. See {log} for details.")
    monkeypatch.setattr(stub, "fails", {"X2": failed})
    old = tmp_path / "out" / "int8_Stub_X1.tflite"
    old.parent.mkdir()
    old.write_bytes(int8.read_bytes())
    said = refusal(int8, "stub", folder=old.parent, overwrite=True)
    assert said.startswith(f"{int8} could not be compiled for Stub X2: Could not load shared library")
    assert list(old.parent.iterdir()) == [old]
    assert old.read_bytes() == int8.read_bytes()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_npu_that_takes_nothing(int8, stub, tmp_path, monkeypatch):
    monkeypatch.setattr(stub, "leaves", frozenset(export.doctor(int8).operators))
    assert "takes none of the operators" in refusal(int8, "stub:X1", folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_compiled_or_replaced(int8, stub, tmp_path):
    (tmp_path / "notes.tflite").write_text("notes")
    assert "is not a TFLite file" in refusal(tmp_path / "notes.tflite", "stub")
    [path] = export.to_npu(int8, "stub:X1", tmp_path)
    assert "was compiled already, for Stub X1, all of it" in refusal(path, "stub:X1")
    assert f"{path} exists" in refusal(int8, "stub:X1", folder=tmp_path)
    assert export.to_npu(int8, "stub:X1", tmp_path, overwrite=True) == [path]


def test_interpreters_say_that_a_file_is_for_a_chip(int8, stub, tmp_path):
    [path] = export.to_npu(int8, "stub:X1", tmp_path)
    says = "it was compiled for Stub X1, and runs only there: give the .tflite file that it was made of"
    for call in (export.open_predictor, lambda path: export.benchmark([path])):
        with pytest.raises(InputError, match=says):
            call(path)


# How LiteRT's tool ends where something is missing (2.3.0), and what of it is said.
LOGS = {
    "qualcomm": (
        "INFO: [cpu_registry.cc:75] XNNPACK CPU accelerator registered.\n"
        "WARNING: [compiler_plugin.cc:312] Failed to load plugin at: /a.so with error: ERROR: [plugin.cc:259]\n"
        "└ Could not load shared library /a.so: libQnnHtp.so: cannot open shared object file.\n"
        "[LITERT_TOOLS:APPLY] \tFailed\n",
        "Could not load shared library /a.so: libQnnHtp.so: cannot open shared object file.",
    ),
    "google_tensor": (
        "ERROR: [adapter_aot.cc:78] Failed to load Tensor TPU compiler library: x.so: cannot open shared object file\n"
        "WARNING: [compiler_plugin.cc:955] Applying plugin with unknown SDK version\n"
        "ERROR: [apply_plugin.cc:455] ERROR: [litert/compiler/plugin/compiler_plugin.cc:483]\n",
        "Failed to load Tensor TPU compiler library: x.so: cannot open shared object file",
    ),
    "intel": (
        "ERROR: [openvino_compiler_plugin.cc:714] Exception in compilation: Exception from core.cpp:117:\n"
        'VCL compiler loading failed. Error: Exception from vcl_api.cpp:22:\nCannot load library "y.so": gone\n',
        'Cannot load library "y.so": gone',
    ),
    "an operator": ("INFO: begins\nERROR: [create_model.cc:544] Unsupported op: 13\n", "Unsupported op: 13"),
    "silent": ("", "its compiler failed without a message"),
}


@pytest.mark.parametrize("case", LOGS)
def test_the_reason_is_taken_from_the_log(case, tmp_path):
    log, says = tmp_path / "tool.error", LOGS[case][1]
    log.write_text(LOGS[case][0], encoding="utf-8")
    assert npu._why(ValueError(f"apply_plugin failed. See {log} for details.")) == says
    assert not log.exists()


def test_the_chips_that_the_documentation_lists():
    page = (Path(__file__).parents[2] / "docs" / "howto" / "npu.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]+?)(?: \(.*\))? \|", page, re.MULTILINE))
    known = {name: [b.soc_model for b in npu._backends(vendor)] for name, vendor in npu.VENDORS.items()}
    assert {name: chips.split(", ") for name, chips in listed.items()} == {k: sorted(v) for k, v in known.items()}


def test_operators_that_compilers_refuse():
    assert refused(["CONV_2D", "SOFTMAX", "MEAN"]) == {}
    assert refused(["ADD_N", "PACK", "LOCAL_RESPONSE_NORMALIZATION"]) == {
        "ADD_N": ["intel", "mediatek", "qualcomm", "samsung"],
        "LOCAL_RESPONSE_NORMALIZATION": sorted(set(npu.VENDORS)),
        "PACK": ["mediatek", "samsung"],
    }


# ------------------------------------------------------------------------------------------------- of a run, by command


@pytest.fixture
def run(tmp_path):
    from PIL import Image

    from keras_inception import Run

    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)):
        file = tmp_path / "images" / LABELS[i % 3] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    path = tmp_path / "run"
    path.mkdir()
    network().save(path / "model.keras")
    data = {"folder": str(tmp_path / "images"), "validation": 0.25}
    run = Run(builder="-", kwargs={}, labels=tuple(LABELS), preprocessing=PREPROCESSING, data=data, path=path)
    run.save()
    return run


def test_export_compiles_each_tflite_file(run, stub, capsys, monkeypatch):
    monkeypatch.setattr(stub, "leaves", frozenset({"SOFTMAX"}))
    words = ["export", str(run.path), "--to", "tflite-int8", "--to", "tflite", "--npu", "stub:x1"]
    cli.app(words, standalone_mode=False)
    folder = run.path / "exports"
    names = {"int8.tflite", "float32.tflite", "int8_Stub_X1.tflite", "float32_Stub_X1.tflite"}
    assert {path.name for path in folder.iterdir()} == names
    shown = capsys.readouterr()
    assert f"wrote {folder / 'int8_Stub_X1.tflite'} for Stub X1, in 2 parts; on the CPU: 1 SOFTMAX" in shown.out
    assert "tflite int8" in shown.out  # measured, and the compiled files are not
    assert {path.name for path in export.exported(run)} == {"int8.tflite", "float32.tflite"}
    cli.app(["doctor", str(folder / "int8_Stub_X1.tflite")], standalone_mode=False)
    assert "compiled for Stub X1, in 2 parts; on the CPU: 1 SOFTMAX" in capsys.readouterr().out


@pytest.mark.parametrize(("formats", "targets", "says"), [
    (["saved_model"], ["stub"], "npu='stub' is for .tflite files"),
    (["tflite"], ["stub", "stub:X2"], "npu=stub, stub:X2 names a chip twice"),
    (["tflite"], ["mediatek:none"], "unknown chip 'none' of mediatek"),
    (["tflite"], ["qualcomm"], "pip install ai-edge-litert-sdk-qualcomm"),
])  # fmt: skip
def test_what_cannot_be_compiled_for_is_told_before_anything_is_written(formats, targets, says, run, stub):
    if targets == ["qualcomm"] and importlib.util.find_spec("ai_edge_litert_sdk_qualcomm"):
        pytest.skip("the SDK is installed")
    with pytest.raises(InputError, match=says):
        export.export_run(run, formats, npu=targets)
    assert not (run.path / "exports").exists()


def test_an_existing_file_for_an_npu_is_told_first(run, stub):
    there = run.path / "exports" / "float32_Stub_X2.tflite"
    there.parent.mkdir()
    there.touch()
    with pytest.raises(InputError, match=rf"{there} exists; give --overwrite"):
        export.export_run(run, ["tflite"], npu=["stub"])
    assert list(there.parent.iterdir()) == [there]
