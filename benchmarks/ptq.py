"""int8 after training, each method alone and together: networks trained on CIFAR-10, and the hosted MobileNets.

    make ptq                                     # everything: hours; resumes
    python benchmarks/ptq.py OUT --only mobile   # networks whose name begins so; hosted ones begin with it

Each network is trained briefly at a small input, and is then the float network of its rows: they compare with each
other, not with the literature. 100 training images calibrate; test images, which nothing else has seen, judge: 1,000
for every method, 5,000 for what `to_tflite` did before and does now. Of 200 photographs of ImageNet's classes the
hosted MobileNets calibrate with one half and are judged by the other, both ways, and a row has the mean. OUT/<network>
holds the training, ptq.json the figures, and ptq.md is written anew from them after each method. A network whose
training is not in OUT any more, and lacks a method, is trained and measured again.

CIFAR-10 comes as `cifar10_jpg.tar.gz`, photographs and weights by their hosted names, from the folder that
KERAS_INCEPTION_DATA names, ../shared/data by default.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from cifar import cifar
from ptq_methods import at_percentile, clipped, equalized, sequentially_corrected
from quantize import Network, trained
from tensorflow.lite.python.convert import mlir_quantize

from export import HOSTED, as_inputs, hosted
from keras_inception.export.comparison import same_class, snr
from keras_inception.export.inputs import Exportable
from keras_inception.export.optimize import INTEGER_RULES, TFLITE_RULES, optimize, rewrite
from keras_inception.export.optimize.fold import LINEAR
from keras_inception.export.quantization.bias_correction import bias_corrected
from keras_inception.export.quantization.rounding import rounded
from keras_inception.export.tflite import convert, ranges
from keras_inception.files import write_file
from keras_inception.terminal import quiet

Narrow: TypeAlias = "Callable[[bytes, Sequence[np.ndarray]], bytes]"
PAGE = Path(__file__).with_suffix(".md")
CALIBRATION = 100
JUDGED, ALL = 1_000, 5_000
SEQUENTIAL = 16  # images of the sequential correction
MOST_LAYERS = 60  # that it corrects: it runs the file once for each

NETWORKS = [
    Network("mobilenet_v1", 48, 4, 10_000, 0, {"alpha": 0.5}),
    Network("mobilenet_v2", 48, 4, 10_000, 0, {"alpha": 0.5}),
    Network("shufflenet_v1", 48, 3, 10_000, 0, {"scale": 0.5}),
    Network("densenet121", 32, 2, 10_000, 0, learning_rate=1e-3),
    Network("seresnet50", 32, 2, 5_000, 0, learning_rate=1e-3),
    Network("resnext50_32x4d", 32, 2, 5_000, 0, learning_rate=1e-3),
    Network("msdnet_cifar_budget", 32, 2, 5_000, 0, learning_rate=1e-3),
    Network("nasnet_mobile", 32, 2, 5_000, 0, {"numerics": "torch"}, learning_rate=1e-3),
]
FIGURES = PAGE.with_suffix(".json")
BEFORE, NOW = "before: biases corrected", "now: kernels and ranges"


class Maker:
    """Makes int8 files of a network with calibration images, (n, H, W, C)."""

    def __init__(self, model: keras.Model, images: np.ndarray):
        self.source = Exportable.of(model)
        self.examples = list(images[:, np.newaxis])
        self._calibrated: dict[str, bytes] = {}

    @property
    def layers(self) -> int:
        """The number of layers with a kernel."""
        return sum(type(layer) in LINEAR for layer in self.network.layers)

    @cached_property
    def network(self) -> keras.Model:
        return rewrite(optimize(self.source.model), TFLITE_RULES | INTEGER_RULES)[0]

    @cached_property
    def equal(self) -> keras.Model:
        return equalized(self.network, self.examples)

    def corrected(self, network: keras.Model) -> keras.Model:
        return bias_corrected(network, self.examples)

    def exact(self, network: keras.Model) -> bytes:
        """The float file."""
        return self._saved(network, convert._convert_plainly)

    def calibrated(self, kind: str) -> bytes:
        """The float file with ranges of one of the networks of KINDS."""
        if kind not in self._calibrated:
            options = convert._Options(quantization="int8", edge="float32", float_layers=(), batch=1)
            calibrate = partial(convert._calibrated, options=options, examples=self.examples)
            self._calibrated[kind] = self._saved(KINDS[kind](self), calibrate)
        return self._calibrated[kind]

    def _saved(self, network: keras.Model, make: Callable[[str], bytes]) -> bytes:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            convert._save(network, lambda x: x, self.source, 1, folder)
            return make(folder)


def _kind(name: str, narrow: Narrow = lambda content, examples: content, **options: bool) -> Callable[[Maker], bytes]:
    """A method by the network and the ranges that it makes."""

    def made(maker: Maker) -> bytes:
        calibrated = maker.calibrated(name)
        with quiet():
            return mlir_quantize(narrow(calibrated, maker.examples), **options)

    return made


def _sequential(method: Callable[[Maker], bytes]) -> Callable[[Maker], bytes]:
    return lambda maker: sequentially_corrected(method(maker), maker.exact(maker.network), maker.examples[:SEQUENTIAL])


KINDS: dict[str, Callable[[Maker], keras.Model]] = {
    "nothing": lambda maker: maker.network,
    "corrected": lambda maker: maker.corrected(maker.network),
    "clipped": lambda maker: clipped(maker.network, maker.examples),
    "rounded": lambda maker: maker.corrected(rounded(maker.network, maker.examples)),
    "equal": lambda maker: maker.corrected(maker.equal),
    "equal, rounded": lambda maker: maker.corrected(rounded(maker.equal, maker.examples)),
}
METHODS: dict[str, Callable[[Maker], bytes]] = {
    "biases as they are": _kind("nothing"),
    BEFORE: _kind("corrected"),
    "kernels clipped by MSE": _kind("clipped"),
    "kernels rounded by covariance": _kind("rounded"),
    "ranges by MSE": _kind("corrected", ranges.narrowed),
    "ranges by percentile": _kind("corrected", partial(ranges.with_ranges, choose=at_percentile)),
    "channels equalised": _kind("equal"),
    "biases sequentially": _sequential(_kind("corrected")),
    NOW: _kind("rounded", ranges.narrowed),
    "now, channels equalised": _kind("equal, rounded", ranges.narrowed),
    "now, biases sequentially": _sequential(_kind("rounded", ranges.narrowed)),
    "per tensor: before": _kind("corrected", disable_per_channel=True),
    "per tensor: ranges by MSE": _kind("corrected", ranges.narrowed, disable_per_channel=True),
    "per tensor: equalised": _kind("equal", disable_per_channel=True),
}


def outputs(content: bytes, x: np.ndarray) -> np.ndarray:
    """(n, classes) of a file."""
    with quiet():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    [given], [output] = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in x[:, np.newaxis]:
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"])[0])
    return np.stack(found)


def judged(want: np.ndarray, got: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Decibels, percent of images with the same answer, and points of top-1 beside float."""
    change = np.mean(got.argmax(-1) == labels) - np.mean(want.argmax(-1) == labels)
    return {"snr": snr(want, got), "same": 100 * same_class(want, got), "change": 100 * change}


@dataclass(frozen=True)
class Side:
    """A network with the images that calibrate, and those that judge."""

    model: keras.Model
    calibration: np.ndarray
    x: np.ndarray
    y: np.ndarray


def of_cifar(network: Network, out: Path) -> Iterator[Side]:
    sides = cifar(out)
    run = trained(network, out, sides)
    calibration, test = sides["train"].sample(CALIBRATION), sides["test"].sample(ALL)

    def prepared(images: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [np.asarray(run.preprocessing(np.stack(images[i : i + 500]))) for i in range(0, len(images), 500)]
        )

    yield Side(run.model(), prepared(calibration.sources), prepared(test.sources), test.labels)


def of_photographs(name: str) -> Iterator[Side]:
    model, prepare = hosted(name)
    x, y = as_inputs(prepare)
    half = np.random.default_rng(0).permutation(len(y)) % 2 == 0
    for part in (half, ~half):
        yield Side(model, x[part], x[~part], y[~part])


class Figures:
    """What is measured of a network, in FIGURES: a row for each method, as the mean over the sides."""

    def __init__(self, name: str):
        self.name = name
        self.rows = _read().get(name, {})

    def add(self, method: str, rows: Sequence[dict[str, float]]) -> None:
        self.rows[method] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        text = json.dumps(_read() | {self.name: self.rows}, indent=1)
        write_file(FIGURES, lambda part: part.write_text(text + "\n", encoding="utf-8"))
        print(f"{time.strftime('%H:%M:%S')} {self.name}, {method}: {self.rows[method]}", flush=True)


def _read() -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def measure(figures: Figures, methods: Sequence[str], made: Callable[[], Iterator[Side]]) -> Iterator[None]:
    """Measure those of these methods that are not measured yet; "all" is of all images that judge."""
    methods = [method for method in methods if method not in figures.rows]
    if not methods:
        return
    sides = [(side, Maker(side.model, side.calibration)) for side in made()]
    if any(maker.layers > MOST_LAYERS for _, maker in sides):
        methods = [method for method in methods if "sequentially" not in method]
    exact = [outputs(maker.exact(maker.network), side.x) for side, maker in sides]
    right = [100 * np.mean(want.argmax(-1) == side.y) for want, (side, _) in zip(exact, sides, strict=True)]
    figures.add("float", [{"top1": top1, "n": sum(len(side.y) for side, _ in sides)} for top1 in right])
    for method in methods:
        whole, rows = [], []
        for want, (side, maker) in zip(exact, sides, strict=True):
            some = np.arange(0, len(side.y), max(1, len(side.y) // JUDGED))
            images = np.arange(len(side.y)) if method in (BEFORE, NOW) else some
            got = np.zeros_like(want)
            got[images] = outputs(METHODS[method](maker), side.x[images])
            whole.append(judged(want[images], got[images], side.y[images]))
            rows.append(judged(want[some], got[some], side.y[some]))
        if method in (BEFORE, NOW):
            figures.add(f"all: {method}", whole)
        figures.add(method, rows)
        yield


def write() -> None:
    """Write the page of what is measured."""
    networks = {f"hosted {name}": f"{name}, hosted" for name in HOSTED} | {n.name: n.name for n in NETWORKS}
    known = {name: Figures(name).rows for name in networks}
    known = {name: rows for name, rows in known.items() if NOW in rows}
    methods = [method for method in METHODS if any(method in rows for rows in known.values())]
    head = f"| method | {' | '.join(networks[name] for name in known)} | mean |\n|---|{'---:|' * (len(known) + 1)}"
    tables = []
    for key, form in (("snr", ".1f"), ("same", ".1f"), ("change", "+.1f")):
        lines = [head]
        for method in methods:
            values = [rows[method][key] if method in rows else None for rows in known.values()]
            mean = None if None in values else np.mean(values)
            lines.append(f"| {method} | {' | '.join('' if v is None else f'{v:{form}}' for v in [*values, mean])} |")
        tables.append("\n".join(lines))
    floors = [
        "| network | images | float top-1 | before | now | same answer before | now | dB before | now |",
        f"|---|{'---:|' * 8}",
    ]
    for name, rows in known.items():
        before, now = rows[f"all: {BEFORE}"], rows[f"all: {NOW}"]
        cells = [f"{rows['float']['n']:,.0f}", f"{rows['float']['top1']:.1f}"]
        cells += [f"{r['change']:+.2f}" for r in (before, now)]
        cells += [f"{r[key]:.1f}" for key in ("same", "snr") for r in (before, now)]
        floors.append(f"| {networks[name]} | {' | '.join(cells)} |")
    trained_how = "\n".join(
        f"- {n.name} ({', '.join([f'{n.size} x {n.size}', *(f'{k} {v}' for k, v in n.options.items())])}): {n.epochs} "
        f"epochs of {n.images:,} images"
        for n in NETWORKS
        if n.name in known
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "ai-edge-litert"))
    text = f"""# int8 after training, by method

By `make ptq`, {date.today()}; {packages}.
Networks trained on CIFAR-10, enlarged where they are 48 x 48:

{trained_how}

{CALIBRATION} training images calibrate. Hosted MobileNets: halves of 200 photographs, the mean of both ways.
Decibels are of the probabilities. "Now" is what `to_tflite(quantization="int8")` does: kernels rounded by covariance,
ranges by MSE; "before" is per-channel minimum and maximum with biases corrected, which the rows between add one method
to. The sequential correction sees {SEQUENTIAL} images; it is measured of networks with at most {MOST_LAYERS} layers.

## Before and now

Top-1 in points beside float, on all images. Its standard error is at most the root of the share of other answers over
the number of images: of 5,000 with 94 % the same 0.35 points, of 200 photographs with 94 % the same 1.7.

{chr(10).join(floors)}

## Decibels

On every fifth of those images, or all photographs.

{tables[0]}

## Same answer, %

{tables[1]}

## Top-1 beside float, points

{tables[2]}
"""
    if missing := [networks[name] for name in networks if len(known.get(name, ())) < len(methods)]:
        text += f"\nNot measured, or not all of it: {', '.join(missing)}.\n"
    write_file(PAGE, lambda part: part.write_text(text, encoding="utf-8"))


def arguments(about: str | None) -> argparse.Namespace:
    """OUT and --only, which every benchmark of these networks takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="networks whose name begins so; hosted ones begin with it")
    return parser.parse_args()


def main() -> None:
    given = arguments(__doc__)
    keras.utils.set_random_seed(0)
    made = {f"hosted {name}": partial(of_photographs, name) for name in HOSTED}
    trained_here = {network.name: partial(of_cifar, network, given.out) for network in NETWORKS}
    made |= trained_here
    for methods in ((BEFORE, NOW), tuple(METHODS)):
        for name, sides in made.items():
            if name.startswith(given.only):
                figures = Figures(name)
                is_here = (given.out / name / "float" / "run.json").exists() or name not in trained_here
                if METHODS.keys() - figures.rows and not is_here:
                    figures.rows = {}  # of another training
                for _ in measure(figures, methods, sides):
                    write()
    write()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
