"""SavedModels of this version, run by older versions of TensorFlow, as the containers of hosting services have them.

    python benchmarks/servers.py            # or some versions: python benchmarks/servers.py 2.15.1
    make servers                            # the same: minutes, and 600 MB for each version

Each version has an environment of its own, `build/servers/VERSION`, without this package. The table is printed and
written into servers.md: the largest difference of a probability from this version of TensorFlow, over all signatures.
"""

import platform
import subprocess
import sys
import tempfile
import venv
from datetime import date
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_inception import Preprocessing, create_model, export
from keras_inception.export.saved_model import Precision

VERSIONS = "2.15.1", "2.18.1", "2.12.1"
NETWORKS = "inception_v3", "mobilenet_v2", "shufflenet_v2"
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SIZE = 96
ENVIRONMENTS = Path(__file__).parents[1] / "build" / "servers"
PAGE = Path(__file__).with_suffix(".md")

CLIENT = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
model, given, *files = sys.argv[1:]
given = dict(np.load(given), image_bytes=[Path(file).read_bytes() for file in files])
found = {}
for name, signature in tf.saved_model.load(model).signatures.items():
    [(key, spec)] = signature.structured_input_signature[1].items()
    outputs = signature(**{key: tf.constant(given[key], spec.dtype)})
    assert outputs["label"].shape[0] == outputs["probabilities"].shape[0] == 2
    found[name] = outputs["probabilities"].numpy()
np.savez("found.npz", **found)
"""


def make(folder: Path) -> None:
    """The SavedModels, and what they are given: pixels, files and the networks' own input."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 120, 150, 3)).astype(np.uint8)
    preprocessing = Preprocessing(size=(SIZE, SIZE), mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0))
    inputs = preprocessing(pixels)
    np.savez(folder / "given.npz", image=pixels, input=inputs)
    for image, kind in zip(pixels, ("png", "jpeg"), strict=True):
        Image.fromarray(image).save(folder / f"file.{kind}")
    labels = [f"label {i}" for i in range(10)]
    for name in NETWORKS:
        keras.utils.set_random_seed(0)
        model = create_model(name, input_shape=(SIZE, SIZE, 3), classes=10)
        spread(model, inputs)
        for precision in PRECISIONS:
            path = folder / "models" / f"{name} {precision}"
            export.to_saved_model(model, path, labels=labels, preprocessing=preprocessing, precision=precision)


def spread(model: keras.Model, inputs: np.ndarray) -> None:
    """Give batch norms the statistics of these inputs, and logits a deviation of 2: random weights predict alike."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(inputs, training=True)
    classifier = next(layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Dense))
    classifier.kernel.assign(classifier.kernel * (2 / np.std(np.log(model(inputs, training=False)))))


def python_of(version: str) -> Path:
    """The Python of an environment that has this version of TensorFlow, which is made at the first call."""
    python = ENVIRONMENTS / version / "bin" / "python"
    if not (ENVIRONMENTS / version / "installed").exists():
        venv.create(ENVIRONMENTS / version, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"tensorflow-cpu=={version}"], check=True)
        (ENVIRONMENTS / version / "installed").touch()
    return python


def outputs(python: Path | str, folder: Path, model: str) -> dict[str, np.ndarray] | str:
    """What the signatures return in a process of this Python, or why it refuses the SavedModel."""
    files = folder / "models" / model, folder / "given.npz", folder / "file.png", folder / "file.jpeg"
    done = subprocess.run([*map(str, (python, "-c", CLIENT, *files))], cwd=folder, capture_output=True, text=True)
    return dict(np.load(folder / "found.npz")) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def main(versions: list[str]) -> None:
    models = [f"{name} {precision}" for name in NETWORKS for precision in PRECISIONS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder)
        want = {model: outputs(sys.executable, folder, model) for model in models}
        rows = [f"| TensorFlow | {' | '.join(models)} |", f"|---|{'---:|' * len(models)}"]
        for version in versions:
            python = python_of(version)
            cells = [difference(want[model], outputs(python, folder, model)) for model in models]
            rows.append(f"| {version} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
            write(rows)


def difference(want: dict[str, np.ndarray] | str, found: dict[str, np.ndarray] | str) -> str:
    """The largest, over all signatures; or why there is none."""
    if isinstance(want, str) or isinstance(found, str):
        return want if isinstance(want, str) else str(found)
    largest = max(np.abs(want[name] - found[name]).max() for name in want)
    return f"{largest:.0e}" if largest else "0"


def write(rows: list[str]) -> None:
    head = PAGE.read_text(encoding="utf-8").split("<!-- table -->")[0]
    about = f"{date.today()}: exported with TensorFlow {tf.__version__}; Python {platform.python_version()}."
    PAGE.write_text("\n".join([f"{head}<!-- table -->", about, "", *rows, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or list(VERSIONS))
