"""Forms of a grouped 1x1 convolution in int8: which GPUs compute rightly, and what each costs on a CPU.

    make grouped    # minutes; needs a GPU that LiteRT finds, or a software adapter (make test-gpu says which)

LiteRT's GPU accelerator computes grouped 1x1 convolutions in int8 wrongly. ShuffleNet v1, the network that has them, is
exported in other forms that compute the same, and as a float16 file. The result goes into grouped.md.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from keras import layers

from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.optimize.graph import Node
from keras_inception.export.optimize.grouped import grouped_as_several
from keras_inception.export.runtimes.gpu import run_on_gpu
from keras_inception.registry import get

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.conformance import qat  # noqa: E402  (a network whose int8 outputs say something)

SIDE, IMAGES = 128, 4
PAGE = Path(__file__).with_suffix(".md")


def is_grouped(node: Node) -> bool:
    return node.is_a(layers.Conv2D) and node.layer.kernel_size == (1, 1) and node.layer.groups > 1


def two_rows(node: Node) -> Node | None:
    """A 2x1 kernel, whose second row is 0."""
    if not is_grouped(node):
        return None
    kernel, *bias = node.values()
    layer = layers.Conv2D.from_config(node.layer.get_config() | {"kernel_size": (2, 1), "padding": "same"})
    return Node(layer, node.sources, node.shape, node.name, [np.pad(kernel, [(0, 1), (0, 0), (0, 0), (0, 0)]), *bias])


def dense(node: Node) -> Node | None:
    """One group; the weights between the groups are 0."""
    if not is_grouped(node):
        return None
    kernel, *bias = node.values()
    groups, (rows, columns) = node.layer.groups, kernel.shape[2:]
    blocks = kernel.reshape(rows, groups, columns // groups)
    whole = np.zeros((groups, rows, groups, columns // groups), np.float32)
    for group in range(groups):
        whole[group, :, group] = blocks[:, group]
    layer = layers.Conv2D.from_config(node.layer.get_config() | {"groups": 1})
    return Node(layer, node.sources, node.shape, node.name, [whole.reshape(1, 1, groups * rows, columns), *bias])


FORMS: dict[str, Callable[[Node], Node | None] | None] = {
    "grouped": None,
    "two rows, one of zeros": two_rows,
    "dense": dense,
    "split": grouped_as_several,
}


def main() -> None:
    rules = importlib.import_module("keras_inception.export.optimize").INTEGER_RULES
    lines = [
        "# Grouped 1x1 convolutions in int8, on GPUs",
        "",
        f"By `make grouped`, {date.today()}; ai-edge-litert {version('ai-edge-litert')}, tensorflow "
        f"{version('tensorflow')}. ShuffleNet v1 at {SIDE} pixels, random weights",
        "(`qat.network` of tests/conformance). dB: signal-to-noise ratio of the logits against the Keras model.",
        "",
        "| groups | form | bytes | ms on this CPU | dB on it | dB on a GPU |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for groups in (3, 8):
        own = get("shufflenet_v1")
        model = qat.network(replace(own, build=partial(own.build, groups=groups)), SIDE)
        x = qat.images(model.input_shape[1:])
        want = model.predict_on_batch(x)[:IMAGES]
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for form, rule in FORMS.items():
                if rule:
                    rules[form] = rule
                files[f"{form}, int8"] = export.to_tflite(
                    model, Path(folder) / f"{form}.tflite", quantization="int8", calibration=x
                )
                rules.pop(form, None)
            files["grouped, float16"] = export.to_tflite(model, Path(folder) / "float16.tflite", quantization="float16")
            timed = export.benchmark([str(file) for file in files.values()])
            for (form, file), timing in zip(files.items(), timed.timings, strict=True):
                on_cpu = export.agreement(file, model, x).snr
                lines.append(
                    f"| {groups} | {form} | {file.stat().st_size:,} | {timing.milliseconds:.1f} | {on_cpu:.0f} | "
                    f"{on_gpu(file, x[:IMAGES], want)} |"
                )
                print(lines[-1], flush=True)
    lines += ["", f"CPU: {timed.machine}. GPU: {os.environ.get('VK_ICD_FILENAMES', 'of this machine').split('/')[-1]}."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def on_gpu(file: Path, x: np.ndarray, want: np.ndarray) -> str:
    run = run_on_gpu(file, x[:, np.newaxis])
    if run is None:
        raise SystemExit("LiteRT finds no GPU: see `make test-gpu`")
    return run.refusal if run.outputs is None else f"{snr(want, run.outputs[:, 0]):.0f}"


if __name__ == "__main__":
    main()
