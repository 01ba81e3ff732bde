"""Weights in 4 and 8 bits by AI Edge Quantizer beside our files: size, size in a zip archive, answers kept, time.

    make small-weights    # a quarter of an hour; needs KERAS_INCEPTION_DATA

Of Google's hosted MobileNets; half of the 200 photographs of ImageNet's classes calibrate, the other half judges,
against the float network. AlexNet has random weights, so of it there are sizes and times. The quantizer has an
environment of its own (small_weights_run.py). The result goes into small_weights.md.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

import keras_inception
from export import HOSTED, hosted, photographs
from keras_inception import export
from keras_inception.export.comparison import snr
from keras_inception.export.quantization.qat.fine_tune import zipped
from keras_inception.export.runtimes import runners
from keras_inception.export.runtimes.processor import processor
from keras_inception.files import write_file

PAGE, WORKER = Path(__file__).with_suffix(".md"), Path(__file__).with_name("small_weights_run.py")
OURS = "none", "float16", "dynamic", "int8"
# What small_weights_run.py makes; the first two are for networks that are mostly dense layers.
THEIRS = "dense int8", "dense int4", "dynamic, dense int4", "int8", "int8, dense int4", "int8, dense int4, 1x1 int4"
HEAD = """# Weights in 4 and 8 bits

By `make small-weights`, {today}; ai-edge-quantizer {quantizer}, tensorflow {tensorflow}, ai-edge-litert {litert}.
{processor}, one thread. 100 photographs; the answer is the class of the highest probability, beside the float
network's.

"Dense int8" and "dense int4" have weights of dense layers in these bits, and compute in float; "dynamic" computes in
int8 where weights are integers; "int8" has integer activations throughout, by the quantizer's default calibration, and
int8 weights except where int4 is said. "Zipped" is what the file adds to an .apk.
The machine had other work too: compare times within a table, and roughly.
"""


def files_of(
    model: keras.Model, images: np.ndarray, folder: Path, quantizer: str, ours: Sequence[str], theirs: Sequence[str]
) -> tuple[dict[str, Path], str]:
    """Each file by its row, and the quantizer's version."""
    files = {}
    for kind in ours:
        calibration = images if kind == "int8" else None
        path = folder / f"{kind}.tflite"
        files[f"ours | {kind}"] = export.to_tflite(model, path, quantization=kind, calibration=calibration)
    np.save(folder / "images.npy", images)
    for i, form in enumerate(theirs):
        files[f"AI Edge Quantizer | {form}"] = path = folder / f"theirs_{i}.tflite"
        command = [quantizer, WORKER, folder / "none.tflite", form, folder / "images.npy", path]
        done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True)
    return files, done.stdout.strip()


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    run = runners.open_file(path).runners["input"]
    return np.concatenate([run(image[np.newaxis]) for image in x])


def table(name: str, files: dict[str, Path], judged: Callable[[Path], str]) -> list[str]:
    times = export.benchmark(list(files.values()), threads=1, seconds=2).timings
    lines = ["", f"{name}:", "", "| by | file | bytes | zipped | same answer, % | dB | ms |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for (row, path), time in zip(files.items(), times, strict=True):
        content = path.read_bytes()
        row = row.replace("none", "float32")
        lines.append(f"| {row} | {len(content):,} | {zipped(content):,} | {judged(path)} | {time.milliseconds:.3g} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quantizer-python", required=True, help="Python with ai-edge-quantizer")
    quantizer, lines = parser.parse_args().quantizer_python, []
    for name in HOSTED:
        model, prepare = hosted(name)
        x = np.stack([prepare(image) for _, image in photographs()])
        want = model.predict(x[1::2], verbose=0)

        def judged(path: Path, x: np.ndarray = x[1::2], want: np.ndarray = want) -> str:
            got = outputs(path, x)
            return f"{100 * (got.argmax(-1) == want.argmax(-1)).mean():.0f} | {snr(want, got):.1f}"

        with tempfile.TemporaryDirectory() as folder:
            files, release = files_of(model, x[::2], Path(folder), quantizer, OURS, THEIRS)
            lines += table(name, files, judged)
    keras.utils.set_random_seed(0)
    model = keras_inception.AlexNet()
    x = np.random.default_rng(0).uniform(-1, 1, (4, *model.input_shape[1:])).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files, _ = files_of(model, x, Path(folder), quantizer, ("none", "int8"), THEIRS[:2])
        lines += table("alexnet, random weights", files, lambda path: "- | -")
    versions = {"tensorflow": version("tensorflow"), "litert": version("ai-edge-litert")}
    head = HEAD.format(today=date.today(), quantizer=release, processor=processor(), **versions)
    write_file(PAGE, lambda part: part.write_text(head + "\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    main()
