"""What one network of each family costs as an int8 .tflite file, at its own size: latency and bytes.

    python benchmarks/which_network.py make FOLDER    # the files: half an hour of CPU, 700 MB; resumes
    python benchmarks/which_network.py time FOLDER    # which_network.md, files in turns: minutes

Weights are random: neither time nor size depends on their values. `time` takes the files that are in the folder, so the
table can be made without the slowest. ShuffleNet v1 at half width and AlexNet are timed in float32 too, on one thread
as in ShuffleNet's paper, which compares them; docs/claims.py reads their rows. docs/which_network.py draws the int8
files.
"""

import argparse
import importlib.metadata
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_inception import create_model, export
from keras_inception.export.runtimes.processor import features, processor
from keras_inception.run import versions

PAGE = Path(__file__).with_suffix(".md")
TURNS = 20
INT8_UNITS = "avx2", "avx512bw", "avx_vnni", "avx512_vnni", "amx_int8"  # what decides how much int8 gains
HALF: dict[str, Any] = {"scale": 0.5, "groups": 3}
INT8 = (
    *("alexnet", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2", "shufflenet_v2", "shufflenet_v1", "inception_v1"),
    *("resnet18", "resnet50", "inception_v3", "vgg16", "inception_v4", "densenet121", "xception", "nasnet_mobile"),
    *("inception_resnet_v2", "resnext50_32x4d", "inception_v2", "wide_resnet50_2", "senet154", "nasnet_large"),
)
# Name in the table -> network, its arguments, quantization. The quickest to make are first.
FILES: dict[str, tuple[str, dict[str, Any], Literal["none", "int8"]]] = {
    "alexnet, float32": ("alexnet", {}, "none"),
    "shufflenet_v1 x0.5, float32": ("shufflenet_v1", HALF, "none"),
    **{name: (name, {}, "int8") for name in INT8},
}


def make(folder: Path) -> None:
    """Write the files that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for title, (network, arguments, quantization) in FILES.items():
        path = folder / f"{title}.tflite"
        if path.exists():
            continue
        keras.utils.set_random_seed(0)
        model = create_model(network, weights=None, **arguments)
        images = np.random.default_rng(0).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
        calibration = images if quantization == "int8" else None
        export.to_tflite(model, path, quantization=quantization, calibration=calibration)
        print(title, flush=True)
        keras.backend.clear_session()


def measure(folder: Path) -> None:
    """Time the files of the folder in turns and write the table."""
    runs = {title: runner(path) for title in FILES if (path := folder / f"{title}.tflite").exists()}
    found: dict[str, list[float]] = {title: [] for title in runs}
    for turn in range(TURNS + 1):
        for title, run in runs.items():
            began = time.thread_time()
            run()
            if turn:  # the first prepares
                found[title].append(1000 * (time.thread_time() - began))
    known = ", ".join(f"{package} {version}" for package, version in versions().items())
    litert = importlib.metadata.version("ai-edge-litert")
    units = [unit for unit in INT8_UNITS if unit in features()]
    lines = [
        "# Which network: int8 files",
        "",
        f"{date.today()}; {processor()} with {' and '.join(units)}, one thread;",
        f"{known}, ai-edge-litert {litert}.",
        "`make which-network` repeats it.",
        "",
        "Files of the networks with their default arguments, at their own size, with random weights, in LiteRT; one",
        f"image at a time, all files in turns, {TURNS} times. They are int8 where the name says nothing. Milliseconds",
        "are CPU time of the one thread that computes, which is the latency on an idle core: other work on the machine",
        "takes the core away, but is not counted. A dash: not measured yet.",
        "",
        "| file | ms | quartiles | bytes |",
        "|---|---:|---:|---:|",
    ]
    for title in FILES:
        if title not in found:
            lines.append(f"| {title} | - | - | - |")
            continue
        low, median, high = np.quantile(found[title], (0.25, 0.5, 0.75))
        size = (folder / f"{title}.tflite").stat().st_size
        lines.append(f"| {title} | {median:.2f} | {low:.2f} to {high:.2f} | {size} |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def runner(path: Path) -> Callable[[], None]:
    """What predicts one image with a file, in the calling thread."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    image = np.random.default_rng(0).uniform(-1, 1, entry["shape"]).astype(np.float32)
    interpreter.set_tensor(entry["index"], image)
    return interpreter.invoke


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["make", "time"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    (make if given.do == "make" else measure)(given.folder)
