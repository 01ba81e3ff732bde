"""Exported files compared with those of Keras' own export and with hosted ones, each table in one interleaved run.

    python benchmarks/export.py make FOLDER          # the files: minutes of CPU, 900 MB
    python benchmarks/export.py time FOLDER TABLE    # "servers", "int8" or "hosted": 3 minutes on an idle machine
    python benchmarks/export.py judge FOLDER         # the hosted MobileNets on photographs

Each prints its table and writes it into its place in export.md.

In "servers" and "int8" both sides are the same network of keras.applications with random weights, including offsets and
means of batch norm. "hosted" and "judge" read Google's hosted files and photographs of ImageNet's classes from
$KERAS_INCEPTION_DATA; our files have the hosted files' weights. OpenVINO has rows if it is installed.
"""

import importlib.metadata
import importlib.util
import os
import re
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_inception
from keras_inception import export
from keras_inception.export.runtimes.benchmark import Timing, benchmark
from keras_inception.terminal import quiet
from keras_inception.weights import from_tflite

DATA = Path(os.environ.get("KERAS_INCEPTION_DATA", Path(__file__).parents[2] / "shared" / "data"))
SERVERS = "MobileNetV2", "ResNet50", "InceptionV3"
HOSTED = {
    "mobilenet_v1": ("mobilenet_v1_0.25_128_quant.tflite", {"alpha": 0.25, "input_shape": (128, 128, 3)}),
    "mobilenet_v2": ("mobilenet_v2_1.0_224_quant.tflite", {}),
}
QUANTIZATIONS = "none", "float16", "dynamic", "int8"
PAGE = Path(__file__).with_suffix(".md")
SECONDS = 12  # for each file of a table


def servers() -> Iterator[tuple[str, keras.Model, np.ndarray]]:
    """A name, the network of keras.applications with random weights, and 8 inputs that calibrate it."""
    for name in SERVERS:
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(weights=None)
        shift_norms(model)
        yield name, model, np.random.default_rng(0).uniform(-1, 1, (8, *model.input_shape[1:])).astype(np.float32)


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, model, x in servers():
        with quiet():
            model.export(folder / f"{name}.keras")
        export.to_saved_model(model, folder / f"{name}.ours", overwrite=True)
        for ending, inputs in ("tflite", None), ("int8.tflite", x):
            if name == "InceptionV3" or inputs is None:
                (folder / f"{name}.keras.{ending}").write_bytes(plain_tflite(model, inputs))
                quantization = "none" if inputs is None else "int8"
                path = folder / f"{name}.ours.{ending}"
                export.to_tflite(model, path, quantization=quantization, calibration=inputs, overwrite=True)
        print(name, flush=True)
    for name in HOSTED:
        model, prepare = hosted(name)
        x = np.stack([prepare(image) for _, image in photographs()[::2]])
        for quantization in QUANTIZATIONS:
            path = folder / f"{name}.{quantization}.tflite"
            calibration = x if quantization == "int8" else None
            export.to_tflite(model, path, quantization=quantization, calibration=calibration, overwrite=True)
        print(name, flush=True)


def shift_norms(model: keras.Model) -> None:
    """Set offsets and means as in a trained network: for zeros TensorFlow makes no bias and fuses no activation."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.beta.shape))


def plain_tflite(model: keras.Model, inputs: np.ndarray | None) -> bytes:
    """Keras' own export, converted by TensorFlow's converter; with inputs in full int8."""
    with quiet(), tempfile.TemporaryDirectory() as folder:
        model.export(folder, input_signature=[tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)])
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if inputs is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([x[np.newaxis]] for x in inputs)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()


def hosted(name: str) -> tuple[keras.Model, Callable]:
    """Our network with the weights of a hosted file, and its preprocessing."""
    file, arguments = HOSTED[name]
    info = keras_inception.model_info(name)
    model = info.build(classes=1001, weights=None, **arguments)
    from_tflite(model, DATA / file)
    prepare = tf.function(info.preprocessing_for(arguments.get("input_shape")), reduce_retracing=True)
    return model, lambda image: prepare(image).numpy()


@cache
def photographs() -> list[tuple[int, np.ndarray]]:
    """(ImageNet class 0..999, RGB image) each."""
    with tarfile.open(DATA / "imagenet_sample_200.tar") as archive:
        members = [(int(Path(m.name).name.split("_")[0]), archive.extractfile(m)) for m in archive if m.isfile()]
        return [(label, tf.io.decode_jpeg(file.read(), channels=3).numpy()) for label, file in members if file]


def as_inputs(prepare: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The photographs as a hosted MobileNet takes them, (n, H, W, 3), and their classes; 0 is the background."""
    x = np.stack([prepare(image) for _, image in photographs()])
    return x, np.array([label + 1 for label, _ in photographs()], np.int32)


def measure(folder: Path, table: str) -> None:
    """Write a table of medians and quartiles."""
    files = {
        "servers": [folder / f"{name}.{side}" for name in SERVERS for side in ("keras", "ours")],
        "int8": [folder / f"InceptionV3.{side}.{ending}" for ending in ("int8.tflite", "tflite")
                 for side in ("keras", "ours")],
        "hosted": [path for name, (file, _) in HOSTED.items()
                   for path in (DATA / file, *(folder / f"{name}.{q}.tflite" for q in QUANTIZATIONS))],
    }[table]  # fmt: skip
    extra = ["openvino"] if importlib.util.find_spec("openvino") and table != "hosted" else []
    result = benchmark(files, runtimes=["tensorflow", "litert", *extra], seconds=SECONDS)
    packages = ["tensorflow", "keras", "ai-edge-litert", *extra]
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    peaks = f"peaks {result.float32_peak / 1e9:.0f} (float32) and {result.int8_peak / 1e9:.0f} (int8) GMAC/s"
    lines = [
        f"{date.today()}: {result.machine}, {result.threads} threads; {peaks};",
        f"{versions}.",
        "",
        "| file | runtime | ms | quartiles | of the peak | MB | memory, MB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for t in result.timings:
        share = "" if t.of_peak is None else f"{t.of_peak:.0%}"
        quartiles = " to ".join(f"{q:.2f}" for q in t.quartiles)
        sizes = f"{t.bytes / 1e6:.1f} | {t.memory / 1e6:.0f}"
        lines.append(f"| {Path(t.path).name} | {t.runtime} | {t.milliseconds:.2f} | {quartiles} | {share} | {sizes} |")
    publish(table, [*lines, "", ratios(result.timings)])


def ratios(timings: Sequence[Timing]) -> str:
    """Our files' times as shares of those of their counterparts in the same runtime."""
    found = {(Path(t.path).name, t.runtime): t.milliseconds for t in timings}
    hosted_files = {file: f"{name}.int8.tflite" for name, (file, _) in HOSTED.items()}
    shares = []
    for (name, runtime), milliseconds in found.items():
        ours = hosted_files.get(name, name.replace(".keras", ".ours"))
        if ours != name:
            shares.append(f"{ours} in {runtime} {found[ours, runtime] / milliseconds:.2f}")
    return textwrap.fill(
        "**Time as a share of the counterpart's**: " + ", ".join(shares) + ".", 120, break_on_hyphens=False
    )


def publish(block: str, lines: Sequence[str]) -> None:
    """Print a table, and write it into its place in the page."""
    text = "\n".join(lines)
    print(text)
    place = re.compile(rf"(?<=<!-- {block} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
    PAGE.write_text(place.sub(lambda _: text, PAGE.read_text(encoding="utf-8"), count=1), encoding="utf-8")


def judge(folder: Path) -> None:
    """How many photographs each file classifies correctly; int8 is calibrated on every second photograph."""
    columns = ["network", "Keras", "hosted file", *QUANTIZATIONS, "other half: Keras", "int8"]
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for name, (file, _) in HOSTED.items():
        model, prepare = hosted(name)
        x, labels = as_inputs(prepare)
        results = [export.agreement(folder / f"{name}.{q}.tflite", model, (x, labels)) for q in QUANTIZATIONS]
        half = export.agreement(folder / f"{name}.int8.tflite", model, (x[1::2], labels[1::2]))
        correct = [round(r.top1 * r.n) for r in results]
        row = [round(results[0].keras_top1 * len(x)), int(np.sum(predicted(DATA / file, x) == labels)), *correct]
        row += [round(half.keras_top1 * half.n), round(half.top1 * half.n)]
        lines.append(f"| {' | '.join(map(str, [name, *row]))} |")
    publish("judge", lines)


def predicted(path: Path, x: np.ndarray) -> np.ndarray:
    """The classes that a hosted file predicts, in its own 8 bits: N x H x W x 3 in [-1, 1] -> N."""
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    (given,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]
    found = []
    for pixels in np.clip(np.round(x / scale + zero), 0, 255).astype(np.uint8):
        interpreter.set_tensor(given["index"], pixels[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"])[0].argmax())
    return np.array(found)


if __name__ == "__main__":
    command, where, *rest = sys.argv[1:]
    {"make": make, "time": measure, "judge": judge}[command](Path(where), *rest)
