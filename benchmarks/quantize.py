"""What int8, pruning and clustering cost in accuracy, and what they save: five networks on CIFAR-10, two on ImageNet.

    python benchmarks/quantize.py OUT                        # every file and its top-1; again: resumes
    python benchmarks/quantize.py OUT --only shufflenet_v1   # one network
    python benchmarks/quantize.py OUT --time                 # the files' latencies, where nothing else runs

Each network is trained on CIFAR-10 at a small input, briefly and along a cosine, and is then the float network of its
rows: they compare with each other, not with the literature. Top-1 is of the files in LiteRT, on the first 5,000 of the
test images, which nothing was trained, chosen or calibrated on. The hosted MobileNets have Google's weights, and are
measured on 200 photographs of ImageNet's classes in two halves, each half being what the other's file was calibrated
on or trained with. OUT/<network> holds the training, the files and their figures; benchmarks/quantize.md, written anew
after each file, holds what is finished.

CIFAR-10 comes as `cifar10_jpg.tar.gz`, photographs and weights by their hosted names, from the folder that
KERAS_INCEPTION_DATA names, ../shared/data by default.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cifar import cifar, dataset
from matplotlib.figure import Figure

from export import HOSTED, as_inputs, hosted
from keras_inception import Run, export
from keras_inception.data import Dataset, Split
from keras_inception.export import FineTuning
from keras_inception.export.quantization.qat.fine_tune import zipped
from keras_inception.export.runtimes.benchmark import benchmark
from keras_inception.files import write_file
from keras_inception.training.recipes import Recipe
from keras_inception.training.train import train

TABLE = Path(__file__).with_suffix(".md")
IMAGE = TABLE.with_suffix(".png")
TEST = 5_000


@dataclass(frozen=True)
class Network:
    """How a network is trained in float: its input in pixels, epochs, how many images; and how many it is tuned on.

    Tuned: pruned, clustered, trained quantised.
    """

    name: str
    size: int
    epochs: int
    images: int
    tuning: int
    options: dict[str, Any] = field(default_factory=dict)
    quantised: int = 1  # epochs of training quantised
    batch_size: int = 64  # this and the next: in float
    learning_rate: float = 2e-3


NETWORKS = [
    Network("mobilenet_v1", 48, 6, 20_000, 10_000, {"alpha": 0.5}),
    Network("mobilenet_v2", 48, 6, 20_000, 10_000, {"alpha": 0.5}),
    Network("shufflenet_v1", 48, 4, 20_000, 10_000, {"scale": 0.5}),
    Network("shufflenet_v2", 48, 3, 12_000, 4_000, {"scale": 0.5}),
    Network("inception_v3", 75, 4, 12_000, 3_000, quantised=2, batch_size=32, learning_rate=5e-4),
]
VARIANTS = {
    "float32": "float",
    "dynamic": "int8 weights",
    "int8": "int8 after training",
    "aware": "int8, trained quantised",
    "pruned": "half of the weights 0",
    "clustered": "16 values a kernel",
    "all": "pruned, clustered, then trained quantised in int8",
}


class Files:
    """A network's files and their figures, in a folder."""

    def __init__(self, folder: Path):
        self.folder, self._file = folder, folder / "figures.json"
        self.figures: dict[str, dict[str, Any]] = json.loads(self._file.read_text()) if self._file.exists() else {}
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, variant: str) -> Path:
        return self.folder / f"{variant}.tflite"

    def add(self, variant: str, **figures: Any) -> None:
        self.figures[variant] = self.figures.get(variant, {}) | figures
        write_file(self._file, lambda part: part.write_text(json.dumps(self.figures, indent=1)))
        print(f"{time.strftime('%H:%M:%S')} {self.folder.parent.name} {variant} {figures}", flush=True)


# ------------------------------------------------------------------------------------------------------------ CIFAR-10


def trained(network: Network, out: Path, sides: dict[str, Split]) -> Run:
    """The float network of OUT/<network>/float, trained where it is not there yet."""
    folder = out / network.name / "float"
    if not (folder / "run.json").exists():
        print(f"{time.strftime('%H:%M:%S')} {network.name} is trained", flush=True)
        train(
            dataset(sides["train"], network.images),
            out=folder,
            recipe=Recipe(batch_size=network.batch_size, epochs=network.epochs, learning_rate=network.learning_rate),
            model=network.name,
            size=network.size,
            options=network.options,
        )
    return Run.load(folder)


def measure(network: Network, out: Path, sides: dict[str, Split]) -> Iterator[None]:
    """Train it, make its files one after the other, and measure each."""
    files, run = Files(out / network.name / "files"), trained(network, out, sides)
    makers = variants(run, dataset(sides["train"], network.tuning), network.quantised)
    for variant, make in makers.items():
        if variant in files.figures:
            continue
        started = time.monotonic()
        make(files.path(variant))
        took = time.monotonic() - started
        compared = export.agreement(files.path(variant), run, sides["test"], limit=TEST)
        content = files.path(variant).read_bytes()
        figures = {"top1": compared.top1, "float": compared.keras_top1, "agreement": compared.agreement}
        files.add(variant, **figures, bytes=len(content), zipped=zipped(content), seconds=round(took))
        yield


def variants(run: Run, data: Dataset, epochs: int) -> dict[str, Callable[[Path], object]]:
    """What makes each file, quantised ones in `epochs` of training; the trainings start from the float network."""
    known = {"preprocessing": run.preprocessing, "labels": run.labels}

    @cache
    def pruned() -> export.Compressed:
        return export.prune(run, data, sparsity=0.5, training=FineTuning(epochs=1, learning_rate=3e-4))

    def float32(made: export.Compressed, path: Path) -> object:
        return export.to_tflite(made.model, path, overwrite=True, **known)

    return {
        "float32": lambda path: export.to_tflite(run, path, overwrite=True),
        "dynamic": lambda path: export.to_tflite(run, path, quantization="dynamic", overwrite=True),
        "int8": lambda path: export.to_tflite(
            run, path, quantization="int8", calibration=export.CalibrationSet.of(data.train, run.preprocessing),
            overwrite=True,
        ),
        "aware": lambda path: export.quantize_aware(
            run, data, path, training=FineTuning(epochs=epochs), overwrite=True
        ),
        "pruned": lambda path: float32(pruned(), path),
        "clustered": lambda path: float32(export.cluster(run, data, clusters=16, training=FineTuning(epochs=1)), path),
        "all": lambda path: export.quantize_aware(
            export.cluster(pruned(), data, clusters=16, training=FineTuning(epochs=1)), data, path,
            training=FineTuning(epochs=epochs), overwrite=True,
        ),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- hosted MobileNets


def measure_hosted(name: str, out: Path) -> Iterator[None]:
    """The same network float, quantised after training and trained quantised, each half by the other one."""
    files = Files(out / f"{name}, hosted weights" / "files")
    if "aware" in files.figures:
        return
    model, prepare = hosted(name)
    x, y = as_inputs(prepare)
    half = np.random.default_rng(0).permutation(len(y)) % 2 == 0
    makers: dict[str, Callable[..., object]] = {
        "float32": lambda path, x, y: export.to_tflite(model, path, overwrite=True),
        "int8": lambda path, x, y: export.to_tflite(model, path, quantization="int8", calibration=x, overwrite=True),
        "aware": lambda path, x, y: export.quantize_aware(
            model, (x, y), path, training=FineTuning(batch_size=10, learning_rate=1e-5), overwrite=True
        ),
    }
    for variant, make in makers.items():
        path, results = files.path(variant), []
        for part in (half, ~half):
            make(path, x[part], y[part])
            results.append(export.agreement(path, model, (x[~part], y[~part])))
        content = path.read_bytes()
        named = {"top1": "top1", "float": "keras_top1", "agreement": "agreement"}
        figures = {key: float(np.mean([getattr(r, field) for r in results])) for key, field in named.items()}
        files.add(variant, **figures, bytes=len(content), zipped=zipped(content))
        yield


# ----------------------------------------------------------------------------------------------------------- the table


def measure_time(files: Files) -> None:
    made = [variant for variant in VARIANTS if variant in files.figures]
    result = benchmark([files.path(variant) for variant in made], seconds=3)
    for variant, timing in zip(made, result.timings, strict=True):
        files.add(variant, milliseconds=timing.milliseconds)


def draw(networks: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Each file's size in an archive, as a share of the float one's, and its change of top-1: a panel a network."""
    figure = Figure(figsize=(3 * len(networks), 3.6), layout="constrained")
    [panels] = figure.subplots(1, len(networks), sharey=True, squeeze=False)
    for axes, (name, figures) in zip(panels, networks.items(), strict=True):
        for i, (variant, label) in enumerate(VARIANTS.items()):
            if row := figures.get(variant):
                size, change = row["zipped"] / figures["float32"]["zipped"], 100 * (row["top1"] - row["float"])
                axes.plot(size, change, f"C{i}o", label=label)
        axes.axhline(0, color="grey", linewidth=0.5)
        axes.set(title=name, xlabel="size in an archive, beside float", xlim=(0, 1.2))
    panels[0].set_ylabel("top-1 beside float, points")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(IMAGE, dpi=100)


def write(out: Path) -> None:
    lines = []
    names = [network.name for network in NETWORKS] + [f"{name}, hosted weights" for name in HOSTED]
    known = {name: Files(out / name / "files").figures for name in names}
    draw({network.name: known[network.name] for network in NETWORKS if known[network.name]})
    for name, figures in known.items():
        for variant, row in ((v, figures[v]) for v in VARIANTS if v in figures):
            change = f"{100 * (row['top1'] - row['float']):+.1f}"
            milliseconds = f"{row['milliseconds']:.2f}" if "milliseconds" in row else ""
            cells = [f"{row['top1']:.1%}", change, f"{row['agreement']:.1%}"]
            cells += [f"{row['bytes']:,}", f"{row['zipped']:,}", milliseconds]
            lines.append(f"| {name} | {VARIANTS[variant]} | {' | '.join(cells)} |")
    trained = "\n".join(
        f"- {n.name} ({', '.join([f'{n.size} x {n.size}', *(f'{k} {v}' for k, v in n.options.items())])}): {n.epochs} "
        f"epochs of {n.images:,} images, {n.tuning:,} once more to prune, cluster or train quantised"
        + (f" ({n.quantised} epochs)" if n.quantised > 1 else "")
        for n in NETWORKS
    )
    packages = ("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert")
    text = f"""# Quantised, pruned, clustered

By `python benchmarks/quantize.py`, {date.today()}; {platform.machine()}, {os.cpu_count()} cores;
{", ".join(f"{package} {version(package)}" for package in packages)}.

Top-1 in LiteRT, on {TEST:,} of CIFAR-10's test images, of networks trained on enlarged CIFAR-10:

{trained}

The hosted MobileNets: 200 photographs of ImageNet's classes, trained quantised on 100 of them at a time.
"Change" is in points beside the float network, with a standard error of at most the root of the share of images that
get another answer over their number: 0.6 points where 5,000 get the same answer in 82 %, 2 where 200 do in 92 %.
"Zipped" is what an app's archive holds.

Published, of whole networks on ImageNet, float, int8 after training and trained quantised: MobileNet v1 70.9, 59.1 and
70.7, v2 71.9, 69.8 and 71.1, Inception v3 78, 78 and 78 (Krishnamoorthi, arXiv 1806.08342, table 4, a scale a filter);
MobileNet v1 71.0 float and 71.1 trained quantised, v2 70.8 and 70.0 (TensorFlow Model Optimization's documentation).

![Top-1 against size]({IMAGE.name})

| network | file | top-1 | change | same answer | bytes | zipped | ms |
|---|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(lines)}
"""
    if missing := [f"{n.name} {VARIANTS[v]}" for n in NETWORKS for v in VARIANTS if v not in known[n.name]]:
        text += f"\nNot made yet: {'; '.join(missing)}.\n"
    write_file(TABLE, lambda part: part.write_text(text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="networks whose name begins so; hosted ones end with it")
    parser.add_argument("--time", action="store_true", help="measure the latencies of the files that are there")
    given = parser.parse_args()
    if given.time:
        for folder in sorted(given.out.glob(f"{given.only}*/files")):
            measure_time(Files(folder))
            write(given.out)
    else:
        keras.utils.set_random_seed(0)
        for host in HOSTED:
            if f"{host}, hosted weights".startswith(given.only):
                for _ in measure_hosted(host, given.out):
                    write(given.out)
        both_sides = cifar(given.out)
        for one in NETWORKS:
            if one.name.startswith(given.only):
                for _ in measure(one, given.out, both_sides):
                    write(given.out)
