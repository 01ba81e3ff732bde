"""What `quantize_to_target` tries on networks with trained weights, and what each file keeps and costs.

    make target                                       # all searches that target.json lacks; an hour
    python benchmarks/target.py OUT --only nasnet     # networks whose name begins so; hosted ones begin with it

The targets are half a point of top-1, and for the hosted MobileNets 95 and 99 % of images with the predicted class of
the float network. Of 200 photographs of ImageNet's classes one half calibrates, the other decides. The networks of
ptq.py are trained on CIFAR-10 as there, in OUT: 100 training images calibrate, 5,000 test images decide, and the other
5,000 judge the file that was written. target.md is written anew from target.json after each search.

Weights and images come by their hosted names from the folder that KERAS_INCEPTION_DATA names, ../shared/data by
default.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cifar import cifar
from ptq import CALIBRATION, NETWORKS, arguments
from quantize import Network, trained

from export import HOSTED, as_inputs, hosted
from keras_inception import export
from keras_inception.data import Split
from keras_inception.export.runtimes.processor import processor
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")
FOUND = PAGE.with_suffix(".json")
DROP = {"max_drop": 0.5}
TARGETS = {"half a point": DROP, "95 % the same": {"min_agreement": 95}, "99 % the same": {"min_agreement": 99}}
COLUMNS = "| tried | in float | same answer, % | top-1, % | bytes | ms | |\n|---|---:|---:|---:|---:|---:|---|"

Search = Callable[..., export.QuantizationSearch]


def of_photographs(name: str) -> tuple[Search, Callable[[Path], float | None]]:
    """A search that lacks its target and the path, and nobody left to judge."""
    model, prepare = hosted(name)
    x, y = as_inputs(prepare)
    return partial(export.quantize_to_target, model, calibration=x[::2], held_out=(x[1::2], y[1::2])), lambda file: None


def of_cifar(network: Network, out: Path) -> tuple[Search, Callable[[Path], float | None]]:
    """A search that lacks its target and the path, and the points of top-1 that a file loses on other images."""
    sides = cifar(out)
    run = trained(network, out, sides)
    decide, judge = _halves(sides["test"])

    def judged(file: Path) -> float:
        found = export.agreement(file, run, judge, limit=len(judge))
        return 100 * (found.top1 - found.keras_top1)

    calibration = export.CalibrationSet.of(sides["train"].sample(CALIBRATION), run.preprocessing)
    return partial(export.quantize_to_target, run, calibration=calibration, held_out=decide), judged


def _halves(images: Split) -> tuple[Split, Split]:
    first = np.random.default_rng(0).permutation(len(images)) % 2 == 0
    return images.select(first), images.select(~first)


def search(name: str, out: Path, targets: dict[str, dict[str, float]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was found for each target."""
    networks = {network.name: network for network in NETWORKS}
    run, judged = of_cifar(networks[name], out) if name in networks else of_photographs(name.removeprefix("hosted "))
    for target, options in targets.items():
        with tempfile.TemporaryDirectory() as folder:
            file, others = Path(folder) / "found.tflite", None
            began = time.monotonic()
            try:
                found = run(file, **options)
            except export.TargetMissed as missed:
                found = missed.search
            else:
                others = judged(file)
            seconds = time.monotonic() - began
        yield (
            target,
            {
                "n": found.n,
                "top1": found.keras_top1,
                "trials": [asdict(trial) | {"chosen": trial == found.chosen} for trial in found.trials],
                "others": others,
                "seconds": seconds,
                "on": f"{date.today()}, {processor()}",
            },
        )


def read() -> dict[str, dict[str, Any]]:
    return json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}


def details(found: dict[str, Any]) -> list[str]:
    rows = [COLUMNS]
    layers: list[str] = []
    for trial in found["trials"]:
        verdict = "**written**" if trial["chosen"] else "holds" if trial["holds"] else ""
        layers = trial["float_layers"] if trial["chosen"] else layers
        cells = [
            trial["file"].removesuffix(".tflite"),
            str(len(trial["float_layers"])),
            f"{100 * trial['agreement']:.1f}",
            f"{100 * trial['top1']:.1f}",
            f"{trial['bytes']:,}",
            f"{trial['milliseconds']:.2f}",
            verdict,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, "", f"In float: {', '.join(layers)}."] if layers else rows


def summary(name: str, target: str, found: dict[str, Any]) -> str:
    exact, *tried = found["trials"]
    chosen = next((trial for trial in tried if trial["chosen"]), None)
    shown = chosen or min(tried, key=lambda trial: trial["loss"])
    kept = "missed by " + f"{shown['loss'] - limit(target):.1f} points" if chosen is None else "holds"
    cells = [
        name,
        target,
        f"{found['n']:,}",
        f"{100 * found['top1']:.1f}",
        f"{shown['file'].removesuffix('.tflite')}",
        kept,
        f"{-shown['loss']:+.2f}",
        "" if found["others"] is None else f"{found['others']:+.2f}",
        f"{shown['bytes'] / exact['bytes']:.0%}",
        f"{len(found['trials'])}",
        f"{found['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def limit(target: str) -> float:
    """The points that may be lost."""
    options = TARGETS[target]
    return options["max_drop"] if "max_drop" in options else 100 - options["min_agreement"]


def write() -> None:
    found = read()
    rows = [summary(name, target, result) for name, results in found.items() for target, result in results.items()]
    tables = [
        "\n".join(["", f"## {name}, {target}", "", f"{result['on']}.", "", *details(result)])
        for name, results in found.items()
        for target, result in results.items()
    ]
    packages = ", ".join(f"{p} {version(p)}" for p in ("tensorflow", "keras", "ai-edge-litert"))
    text = f"""# An int8 file that keeps a target

By `make target`; {packages}. `export --max-drop 0.5` and `--min-agreement` do this search.

Hosted MobileNets: 100 photographs of ImageNet's classes decide, so one is a point; classes that tie for the highest
probability share it. The others are trained briefly on CIFAR-10, as for `make ptq`: 5,000 test images decide, and "on
others" is the change of top-1 on the other 5,000. Change is in points of what the target measures. Size is beside the
float32 file. The seconds are of the whole search, which times its files at the end.

| network | target | images | float top-1 | file | | change | on others | size | files tried | s |
|---|---|---:|---:|---|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}
{chr(10).join(tables)}
"""
    write_file(PAGE, lambda part: part.write_text(text, encoding="utf-8"))


def main() -> None:
    given = arguments(__doc__)
    keras.utils.set_random_seed(0)
    asked = {f"hosted {name}": TARGETS for name in HOSTED} | {n.name: {"half a point": DROP} for n in NETWORKS}
    for name, targets in asked.items():
        done = read().get(name, {})
        left = {target: options for target, options in targets.items() if target not in done}
        if not left or not name.startswith(given.only):
            continue
        for target, result in search(name, given.out, left):
            found = read()
            text = json.dumps(found | {name: found.get(name, {}) | {target: result}}, indent=1)
            write_file(FOUND, lambda part, text=text: part.write_text(text + "\n", encoding="utf-8"))
            write()
            print(summary(name, target, result), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
