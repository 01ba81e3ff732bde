"""SavedModels in int8 and bfloat16 beside float32: times, what trained networks keep, and what stays in float32.

    make saved-model-int8    # half an hour, most of it training; resumes; needs KERAS_INCEPTION_DATA

The times are of networks of keras.applications with random weights, in one interleaved run with oneDNN on for all.
Trained are the MobileNets with Google's hosted weights, judged on photographs of ImageNet's classes, of which the other
half calibrates; and two networks that the program trains on CIFAR-10, judged on its test images. Each int8 file
runs twice: rounded as in int8 but added exactly, which is what processors with VNNI or AMX give, and by the kernels as
they compute here. Weights and images come by their hosted names from the folder that KERAS_INCEPTION_DATA names,
../shared/data by default. The result goes into saved_model_int8.md.
"""

import os
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from cifar import ROWS, cifar, measure

from export import HOSTED, as_inputs, hosted, servers
from keras_inception import create_model, export
from keras_inception.analysis.cost import layer_costs
from keras_inception.export.comparison import snr
from keras_inception.export.optimize import TENSORFLOW_INT8_RULES, Graph, optimize, rewrite
from keras_inception.export.quantization.in_tensorflow import in_int8
from keras_inception.export.runtimes import int8_in_float, runners
from keras_inception.export.runtimes.processor import multiplies_bfloat16, processor, sums_exactly
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")
PRECISIONS = "float32", "bfloat16", "int8"
TRAINED = "resnet20-plain", "inception_v1_bn-plain"  # rows of cifar.py
EPOCHS, IMAGES, JUDGED = 5, 6_000, 1_000
SECONDS = 12  # for each file
CARRIED = (
    *("alexnet", "vgg16", "squeezenet1_1", "inception_v1", "inception_v3", "resnet50", "resnext50_32x4d"),
    *("xception", "mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2"),
)


def files_of(model: keras.Model, calibration: np.ndarray, folder: Path, name: str) -> dict[str, Path]:
    """A SavedModel of each precision."""
    found = {}
    for precision in PRECISIONS:
        given = {"calibration": calibration} if precision == "int8" else {}
        path = folder / f"{name}.{precision}"
        found[precision] = export.to_saved_model(model, path, precision=precision, overwrite=True, **given)
    return found


def times(folder: Path) -> Iterator[str]:
    files = {}
    for name, model, x in servers():
        files[name] = files_of(model, x, folder, name)
    result = export.benchmark([path for row in files.values() for path in row.values()], seconds=SECONDS)
    timed = {Path(t.path).name: t for t in result.timings}
    peaks = f"{result.float32_peak / 1e9:.0f} (float32) and {result.int8_peak / 1e9:.0f} (int8)"
    yield f"Milliseconds an image, {result.threads} threads; peaks {peaks} GMAC/s:"
    yield ""
    yield "| network | precision | ms | quartiles | of float32 | MB | memory, MB |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for name, row in files.items():
        for precision, path in row.items():
            t = timed[path.name]
            share = t.milliseconds / timed[row["float32"].name].milliseconds
            quartiles = " to ".join(f"{q:.1f}" for q in t.quartiles)
            sizes = f"{t.bytes / 1e6:.1f} | {t.memory / 1e6:.0f}"
            yield f"| {name} | {precision} | {t.milliseconds:.1f} | {quartiles} | {share:.2f} | {sizes} |"


def trained(folder: Path) -> Iterator[tuple[str, keras.Model, np.ndarray, np.ndarray, np.ndarray]]:
    """A name, the network, inputs that calibrate, others that judge, and the classes of these."""
    for name in HOSTED:
        model, prepare = hosted(name)
        x, labels = as_inputs(prepare)
        yield f"{name}, hosted", model, x[::2], x[1::2], labels[1::2]
    sides = cifar(folder)
    for row in (row for row in ROWS if row.name in TRAINED):
        run = measure(row, 0, folder, sides, EPOCHS, IMAGES)
        given, judged = sides["train"].sample(200), sides["test"].sample(JUDGED)
        x, y = (np.stack([run.preprocessing(side.image(i)) for i in range(len(side))]) for side in (given, judged))
        yield f"{row.model}, CIFAR-10", run.model(), x, y, judged.labels


def kept(folder: Path) -> Iterator[str]:
    yield "| network | images | precision | same answer, % | dB | top-1, % | same answer by the sums here, % | dB |"
    yield "|---|---:|---|---:|---:|---:|---:|---:|"
    for title, model, calibration, x, labels in trained(folder):
        want = model.predict(x, verbose=0)
        for precision, path in files_of(model, calibration, folder, "judged").items():
            exact, here = (outputs(path, x, exactly=exactly) for exactly in (True, False))
            top1 = 100 * (exact.argmax(-1) == labels).mean()
            yield f"| {title} | {len(x)} | {precision} | {judged(want, exact)} | {top1:.1f} | {judged(want, here)} |"


def outputs(path: Path, x: np.ndarray, *, exactly: bool) -> np.ndarray:
    """(n, classes), with sums of int8 added exactly or as TensorFlow adds them on this processor."""
    with mock.patch.object(runners, "sums_exactly", return_value=not exactly):
        run = runners.open_file(path).runners["input"]
    return np.concatenate([run(image[np.newaxis]) for image in x])


def judged(want: np.ndarray, got: np.ndarray) -> str:
    return f"{100 * (got.argmax(-1) == want.argmax(-1)).mean():.1f} | {snr(want, got):.1f}"


def carried(folder: Path) -> Iterator[str]:
    yield "| network | multiply-adds in int8, % | layers in float32 |"
    yield "|---|---:|---|"
    for name in CARRIED:
        network = rewrite(optimize(create_model(name, weights=None)), TENSORFLOW_INT8_RULES)[0]
        nodes = {node.name: node for node in Graph(network).nodes()}
        rows = [row for row in layer_costs(network) if row.macs]
        left = [row for row in rows if not in_int8(nodes[row.name])]
        share = 1 - sum(row.macs for row in left) / sum(row.macs for row in rows)
        kinds = sorted({kind(nodes[row.name].layer) for row in left})
        yield f"| {name} | {100 * share:.1f} | {f'{len(left)}: ' if left else ''}{', '.join(kinds)} |"


def kind(layer: keras.Layer) -> str:
    grouped = "grouped " if getattr(layer, "groups", 1) > 1 else ""
    return grouped + type(layer).__name__


SECTIONS: dict[str, Callable[[Path], Iterator[str]]] = {
    "Times": times,
    "What trained networks keep": kept,
    "What is in int8": carried,
}


def main(folder: str) -> None:
    if not int8_in_float.has_kernels():  # the processes that time get the environment too
        raise SystemExit("TensorFlow has no int8 kernels here: start it with TF_ENABLE_ONEDNN_OPTS=1")
    work = Path(folder)
    work.mkdir(parents=True, exist_ok=True)
    has = [
        f"{'with' if sums_exactly() else 'without'} VNNI or AMX",
        f"{'with' if multiplies_bfloat16() else 'without'} AVX512-BF16 or AMX",
    ]
    lines = [
        "# SavedModels in int8 and bfloat16",
        "",
        f"By `make saved-model-int8`, {date.today()}; tensorflow {version('tensorflow')}, keras {version('keras')}.",
        f"{processor()}, {os.cpu_count()} cores, {', '.join(has)}; TF_ENABLE_ONEDNN_OPTS=1 for every file.",
    ]
    for title, section in SECTIONS.items():
        lines += ["", f"## {title}", ""]
        for line in section(work):
            print(line, flush=True)
            lines.append(line)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
