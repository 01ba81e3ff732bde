"""Memory and time of SavedModels whose weights are constants or variables, beside Keras' own.

    make saved-model-memory

Each file is loaded by processes of its own, in turns with the others, with oneDNN on. Memory is what a process takes
beyond TensorFlow itself. Times are of the process' own processor time, one image at a time on one thread, so that other
work on the machine counts for less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

from keras_inception.export.runtimes.processor import processor
from keras_inception.export.runtimes.runners import size_of
from keras_inception.files import write_file

PAGE = Path(__file__).with_suffix(".md")
NETWORKS = "mobilenet_v2", "resnet50", "inception_v3", "vgg16"
FROZEN = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"
# What a row is called -> the file, and whether the process is told that weights do not change.
ROWS = {
    "Keras' own": ("keras", False),
    "constants": ("constants", False),
    "variables": ("variables", False),
    f"variables, {FROZEN}=1": ("variables", True),
}
ROUNDS, IMAGES = 3, 20

LOAD = f"""
import json, re, sys, time
from pathlib import Path
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.ones(1) + 1
def most():  # not getrusage's, which begins with what the parent had
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
alone = most()
loaded = tf.saved_model.load(sys.argv[1])
taken = most() - alone
network = loaded.signatures["serving_default"]
[(name, spec)] = network.structured_input_signature[1].items()
image = {{name: tf.zeros((1, *spec.shape[1:]))}}
for _ in range(3):
    network(**image)
seconds = []
for _ in range({IMAGES}):
    began = time.process_time()
    network(**image)
    seconds.append(time.process_time() - began)
print(json.dumps([taken, most() - alone, min(seconds)]))
"""


def files(folder: Path) -> dict[tuple[str, str], Path]:
    import keras_inception
    from keras_inception import export

    found = {}
    for name in NETWORKS:
        model = keras_inception.create_model(name, weights=None)
        for weights in ("constants", "variables"):
            found[name, weights] = export.to_saved_model(model, folder / f"{name}.{weights}", weights=weights)
        found[name, "keras"] = folder / f"{name}.keras"
        model.export(found[name, "keras"], verbose=False)
    return found


def measured(path: Path, frozen: bool) -> list[float]:
    """Bytes after loading and after the first images, and the least seconds of one."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    environment |= {FROZEN: "1"} if frozen else {}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    lines = [
        "# SavedModels: memory and time by how weights are stored",
        "",
        f"By `make saved-model-memory`, {date.today()}; tensorflow {version('tensorflow')}, keras {version('keras')};",
        f"{processor()}, oneDNN on, one thread. Medians of {ROUNDS} processes each, in turns. Memory is beyond",
        "TensorFlow's own, at most; time the processor's, of one image. Above 256 MB weights are always variables.",
        "",
        "| network | weights | MB | memory when loaded, MB | when run, MB | of the file | ms | of Keras' |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder))
        for name in NETWORKS:
            runs: dict[str, list[list[float]]] = {row: [] for row in ROWS}
            for _ in range(ROUNDS):
                for row, (weights, frozen) in ROWS.items():
                    runs[row].append(measured(paths[name, weights], frozen))
            figures = {
                row: [statistics.median(column) for column in zip(*each, strict=True)] for row, each in runs.items()
            }
            for row, (loaded, run, seconds) in figures.items():
                of = size_of(paths[name, ROWS[row][0]])
                share = seconds / figures["Keras' own"][2]
                lines.append(
                    f"| {name} | {row} | {of / 1e6:.0f} | {loaded / 1e6:.0f} | {run / 1e6:.0f} | {run / of:.1f} | "
                    f"{1000 * seconds:.1f} | {share:.2f} |"
                )
                print(lines[-1], flush=True)
    write_file(PAGE, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    main()
