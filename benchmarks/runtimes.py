"""Which release of TFLite and LiteRT opens which exported file, and whether `doctor` says so.

    python benchmarks/runtimes.py FOLDER    # about half an hour on 2 cores; 6 GB of environments

It exports small networks with random weights in every form, installs each runtime into an environment of its own in
`.venv-runtimes/`, and runs every file in every runtime. Then it gives one operator after the other another version, and
compares which versions a runtime takes with the table in `export/tflite/runtimes.py`. A runtime whose Python is not
installed is left out. The result goes into runtimes.md.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

import keras_inception
from keras_inception import Preprocessing, export
from keras_inception.export.tflite.flatbuffer import operator_versions, packed
from keras_inception.export.tflite.runtimes import LITERT, SINCE, numbers

# Package -> the Python that its versions are for, and the versions.
RUNTIMES = {
    "tflite-runtime": ("3.9", ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.13.0", "2.14.0")),
    "tensorflow-cpu": ("3.11", ("2.15.1", "2.16.2", "2.17.1")),
    "ai-edge-litert": ("3.11", ("1.0.1", "1.1.2", "1.2.0", "1.3.0", "1.4.0", "2.0.3", "2.1.6", "2.2.0", "2.3.0")),
}
NUMPY_1 = (
    "tflite-runtime",
    "ai-edge-litert 1.0",
)  # built for NumPy 1, which its package does not say
NEWEST = "ai-edge-litert 2.3.0"
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {"alpha": 0.35, "input_shape": (64, 64, 3)},
    "shufflenet_v1": {"scale": 0.25, "input_shape": (64, 64, 3)},
    "inception_v1": {"input_shape": (64, 64, 3)},
    "lenet5": {"input_shape": (32, 32, 3)},
    "msdnet": {"base": 1, "step": 1, "input_shape": (64, 64, 3)},
}
FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32 batch 4": {"batch": 4},
    "float16": {"quantization": "float16"},
    "dynamic": {"quantization": "dynamic"},
    "int8": {"quantization": "int8"},
    "int8 batch 4": {"quantization": "int8", "batch": 4},
    "int8 uint8 edges": {"quantization": "int8", "edge": "uint8"},
    "int16x8": {"quantization": "int16x8"},
}
EXITS = ("float32", "dynamic")  # the forms of a network with exits, which is a conversion for each
CLASSES = 10
ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("runtimes_worker.py")
PAGE = Path(__file__).with_suffix(".md")
WRONG = 0.01  # of a probability, over two steps of int8: who differs by more computes something else
NO_OPERATOR = "Didn't find op for builtin opcode"


def make(folder: Path) -> dict[Path, str]:
    """The files, and the form of each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, arguments in NETWORKS.items():
        model = None
        size = arguments["input_shape"][:2]
        inputs = np.random.default_rng(0).uniform(-1, 1, (50, *arguments["input_shape"])).astype(np.float32)
        for form in EXITS if name == "msdnet" else FORMS:
            path = folder / f"{name} {form}.tflite"
            files[path] = form
            if not path.exists():
                calibration = inputs if form.startswith("int") else None
                known = {"preprocessing": Preprocessing(size=size), "calibration": calibration}
                model = model or network(name, arguments)
                export.to_tflite(model, path, **known, **FORMS[form])
        print(name, flush=True)
    return files | make_trained(folder)


def network(name: str, arguments: dict[str, Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras_inception.create_model(name, classes=CLASSES, **arguments)
    for layer in model.layers:  # batch norm as in a trained network
        if isinstance(layer, keras.layers.BatchNormalization):
            rng = np.random.default_rng(len(layer.name))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.beta.shape))
    return model


def make_trained(folder: Path) -> dict[Path, str]:
    """Files of quantisation-aware training, pruned and clustered ones among them."""
    name, arguments = "lenet5", NETWORKS["lenet5"]
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (32, *arguments["input_shape"])).astype(np.float32)
    data = images, rng.integers(0, CLASSES, 32)
    once = export.FineTuning(epochs=1)
    options = {"training": once, "preprocessing": Preprocessing(size=arguments["input_shape"][:2])}
    model = network(name, arguments)
    steps: dict[str, Callable[[], Any]] = {
        "int8 trained quantised": lambda: model,
        "int8 pruned 2:4": lambda: export.prune(model, data, pattern="2:4", **options),
        "int8 clustered": lambda: export.cluster(model, data, clusters=16, **options),
    }
    files = {}
    for form, source in steps.items():
        path = folder / f"{name} {form}.tflite"
        files[path] = form
        if not path.exists():
            export.quantize_aware(source(), data, path, **options)
        print(path.name, flush=True)
    return files


def make_probes(needs: dict[Path, str], folder: Path) -> dict[Path, tuple[str, int]]:
    """Files with one operator in another version, and that operator and version.

    Of the files with an operator that with the oldest other operators is taken.
    """
    folder.mkdir(exist_ok=True)
    probes: dict[Path, tuple[str, int]] = {}
    done: set[str] = set()
    for file in sorted(needs, key=lambda file: (numbers(needs[file]), file.stat().st_size)):
        content = file.read_bytes()
        for index, (operator, _) in enumerate(operator_versions(content)):
            versions = sorted(version for name, version in SINCE if name == operator)
            if not versions or operator in done:
                continue
            done.add(operator)
            for version in range(versions[0], versions[-1] + 2):
                model = schema.ModelT.InitFromPackedBuf(content, 0)
                model.operatorCodes[index].version = version
                path = folder / f"{operator} {version}.tflite"
                path.write_bytes(packed(model))
                probes[path] = operator, version
    return probes


def environment(package: str, version: str) -> Path | None:
    """The Python of an environment with this runtime, which is made; None without a Python for it."""
    python, _ = RUNTIMES[package]
    folder = ROOT / ".venv-runtimes" / f"{package}-{version}"
    if not (folder / "installed").exists():
        if not (found := interpreter(python)):
            print(f"{package} {version} is left out: Python {python} is not installed")
            return None
        subprocess.run([found, "-m", "venv", folder], check=True)
        numpy = ["numpy<2"] if f"{package} {version}".startswith(NUMPY_1) else []
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"{package}=={version}", *numpy]
        subprocess.run(install, check=True)
        (folder / "installed").touch()
    return folder / "bin" / "python"


def interpreter(version: str) -> str | None:
    """A Python of this version, on the path or of pyenv."""
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    works = (str(p) for p in places if p and not subprocess.run([p, "--version"], capture_output=True).returncode)
    return next(works, None)


def run(python: Path, files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """What the worker says of each file; one that ends the worker has crashed it."""
    left, found = list(files), {}
    while left:
        done = subprocess.run([python, WORKER, *left], capture_output=True, text=True)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                found[Path(said["file"])] = said
        rest = [file for file in left if file not in found]
        if rest:
            found[rest[0]] = {"error": f"the runtime crashed: exit status {done.returncode}"}
        left = rest[1:]
    return found


def release_of(runtime: str) -> str:
    """The release of TensorFlow Lite whose operators a runtime has."""
    package, version = runtime.split()
    if package != "ai-edge-litert":
        return ".".join(version.split(".")[:2])
    return [theirs for ours, theirs in LITERT.items() if numbers(ours) <= numbers(version)][-1]


def has(runtime: str, release: str) -> bool:
    """Whether by `doctor`'s words a runtime has the operators of a release."""
    return numbers(release) <= numbers(release_of(runtime))


def main(folder: Path) -> None:
    files = make(folder)
    needs = {file: export.doctor(file).runtime.release for file in files}
    probes = make_probes(needs, folder / "probes")
    results, answers = {}, {}
    for package, (_, versions) in RUNTIMES.items():
        for version in versions:
            if python := environment(package, version):
                runtime = f"{package} {version}"
                results[runtime], answers[runtime] = run(python, files), run(python, probes)
                print(runtime, flush=True)
    PAGE.write_text("\n".join(page(files, needs, results, probes, answers)) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def page(
    files: dict[Path, str],
    needs: dict[Path, str],
    results: dict[str, dict[Path, dict[str, Any]]],
    probes: dict[Path, tuple[str, int]],
    answers: dict[str, dict[Path, dict[str, Any]]],
) -> list[str]:
    """The lines of runtimes.md."""
    forms = list(dict.fromkeys(files.values()))
    lines = [
        "# Older runtimes",
        "",
        f"By `make runtimes`, {date.today()}; {platform.machine()}; converted by tensorflow {tf.__version__}. Small",
        f"{', '.join(NETWORKS)} with random weights, in every form; each runtime in an environment of its own.",
        f"A cell is how many of the files work, and the largest difference of an output of theirs from {NEWEST}'s.",
        "",
        "| runtime | " + " | ".join(forms) + " |",
        "|---|" + "---|" * len(forms),
    ]
    for runtime, said in results.items():
        cells = [cell([file for file in files if files[file] == form], said, results[NEWEST]) for form in forms]
        lines.append(f"| {runtime} | {' | '.join(cells)} |")
    lines += ["", *refusals(needs, results), "", *checks(needs, results, probes, answers)]
    return lines


def fault(said: dict[str, Any], newest: dict[str, Any]) -> str:
    """Why a file does not work in a runtime; empty if it does."""
    if "error" in said:
        return said["error"]
    apart = difference(said, newest)
    return f"wrong outputs: they differ by {apart:.2f}" if apart > WRONG else ""


def difference(said: dict[str, Any], newest: dict[str, Any]) -> float:
    return float(np.abs(np.subtract(said["outputs"], newest["outputs"])).max())


def cell(files: list[Path], said: dict[Path, dict[str, Any]], newest: dict[Path, dict[str, Any]]) -> str:
    works = [file for file in files if not fault(said[file], newest[file])]
    apart = [difference(said[file], newest[file]) for file in works]
    return f"{len(works)} of {len(files)}" + (f", {max(apart):.0e}" if apart else "")


def refusals(needs: dict[Path, str], results: dict[str, dict[Path, dict[str, Any]]]) -> list[str]:
    """Every file that does not work somewhere, with the runtimes and the last one's fault."""
    lines = ["## What does not work", "", "| file | oldest release by `doctor` | does not work in | fault |"]
    lines.append("|---|---|---|---|")
    for file, release in needs.items():
        faults = {runtime: fault(said[file], results[NEWEST][file]) for runtime, said in results.items()}
        if bad := [runtime for runtime, text in faults.items() if text]:
            lines.append(f"| {file.stem} | {release} | {', '.join(bad)} | {faults[bad[-1]].split('. An older')[0]} |")
    return lines


def checks(
    needs: dict[Path, str],
    results: dict[str, dict[Path, dict[str, Any]]],
    probes: dict[Path, tuple[str, int]],
    answers: dict[str, dict[Path, dict[str, Any]]],
) -> list[str]:
    """Where `doctor` and its table are wrong about a runtime."""
    wrong = [
        f"- {runtime} and {file.stem}, which needs {release}: {fault(said[file], results[NEWEST][file]) or 'it works'}"
        for runtime, said in results.items()
        for file, release in needs.items()
        if (not fault(said[file], results[NEWEST][file])) != has(runtime, release)
    ]
    lines = ["## Against `doctor`", ""]
    count = len(results) * len(needs)
    lines += [f"Of {count} pairs of a runtime and a file, `doctor`'s oldest release is right for {count - len(wrong)}."]
    lines += ["", *wrong] if wrong else []
    missed: list[str] = []
    count = 0
    for runtime, said in answers.items():
        for probe, (operator, version) in probes.items():
            error = said[probe].get("error", "")
            refused = f"{NO_OPERATOR} '{operator}'" in error
            if NO_OPERATOR in error and not refused:
                continue  # it lacks another operator of the file
            count += 1
            since = SINCE.get((operator, version), "later")
            if refused == (since != "later" and has(runtime, since)):
                verb = "refuses" if refused else "takes"
                missed.append(f"- {runtime} {verb} {operator} version {version} (of {since})")
    lines += [
        "",
        f"Of {count} pairs of a runtime and a version of an operator, the table in `export/tflite/runtimes.py` is",
    ]
    lines += [f"right for {count - len(missed)}.", *([""] * bool(missed)), *missed]
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]))
