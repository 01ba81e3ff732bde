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

VERSIONS = "2.12.1", "2.15.1", "2.18.1", "2.20.0"
NETWORKS = "alexnet", "inception_v3", "resnet50", "densenet121", "mobilenet_v2", "shufflenet_v2"
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SIZE = 96
ENVIRONMENTS = Path(__file__).parents[1] / "build" / "servers"
PAGE = Path(__file__).with_suffix(".md")

CLIENT = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
files = [Path(name).read_bytes() for name in sys.argv[3:]]
given = dict(np.load(sys.argv[2]), image_bytes=files)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        signatures = tf.saved_model.load(str(folder)).signatures
        for name, signature in signatures.items():
            [(key, spec)] = signature.structured_input_signature[1].items()
            outputs = signature(**{key: tf.constant(given[key], spec.dtype)})
            assert outputs["label"].shape[0] == outputs["probabilities"].shape[0] == 2
            np.save(f"{folder.name}-{name}.npy", outputs["probabilities"].numpy())
    except Exception as error:
        print(folder.name, str(error).strip().splitlines()[0], sep=": ")
"""


def make(folder: Path) -> None:
    """The SavedModels, and what they are given: pixels, files and the networks' own input."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 120, 150, 3)).astype(np.uint8)
    preprocessing = Preprocessing(size=(SIZE, SIZE), mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0))
    inputs = preprocessing(pixels).numpy()
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


def outputs(python: Path | str, folder: Path, place: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the signatures return in this Python, and why models are refused."""
    place.mkdir()
    command = [python, "-c", CLIENT, folder / "models", folder / "given.npz", folder / "file.png", folder / "file.jpeg"]
    done = subprocess.run([*map(str, command)], cwd=place, check=True, stdout=subprocess.PIPE, text=True)
    refused = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return {file.stem: np.load(file) for file in sorted(place.glob("*.npy"))}, refused


def main(versions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder)
        want, _ = outputs(sys.executable, folder, folder / "here")
        rows = [f"| TensorFlow | {' | '.join(NETWORKS)} |", f"|---|{'---:|' * len(NETWORKS)}"]
        for version in versions:
            found, refused = outputs(python_of(version), folder, folder / version)
            cells = [" / ".join(cell(f"{name} {p}", want, found, refused) for p in PRECISIONS) for name in NETWORKS]
            rows.append(f"| {version} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    head = PAGE.read_text(encoding="utf-8").split("<!-- table -->")[0]
    about = f"{date.today()}: exported with TensorFlow {tf.__version__}; Python {platform.python_version()}."
    PAGE.write_text("\n".join([f"{head}<!-- table -->", about, "", *rows, ""]), encoding="utf-8")


def cell(model: str, want: dict[str, np.ndarray], found: dict[str, np.ndarray], refused: dict[str, str]) -> str:
    if model in refused:
        return refused[model]
    names = [name for name in want if name.startswith(f"{model}-")]
    difference = max(np.abs(want[name] - found[name]).max() for name in names)
    return f"{difference:.0e}" if difference else "0"


if __name__ == "__main__":
    main(sys.argv[1:] or list(VERSIONS))
