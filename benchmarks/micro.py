"""Small networks in int8 on TensorFlow Lite Micro, the runtime of microcontrollers, by its interpreter in Python.

    python benchmarks/micro.py --micro-python PATH    # writes benchmarks/micro.md; `make micro` makes the environment

Of each file: its size, which is flash memory, the arena, which is RAM, the operators that a program has to register,
and whether the outputs are those of LiteRT. Weights are random: they change none of the first three.
"""

import argparse
import json
import subprocess
import tempfile
from datetime import date
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_inception import create_model, export
from keras_inception.run import versions

PAGE = Path(__file__).with_suffix(".md")
NETWORKS: dict[str, tuple[str, dict, tuple[int, int, int]]] = {
    "LeNet-5": ("lenet5", {}, (32, 32, 1)),
    "Caffe's LeNet": ("lenet5", {"variant": "caffe"}, (28, 28, 1)),
    "MobileNet v1 0.25, 96 pixels, grey": ("mobilenet_v1", {"alpha": 0.25}, (96, 96, 1)),
    "MobileNet v1 0.25, 96 pixels": ("mobilenet_v1", {"alpha": 0.25}, (96, 96, 3)),
    "MobileNet v1 0.25, 128 pixels": ("mobilenet_v1", {"alpha": 0.25}, (128, 128, 3)),
    "MobileNet v2 0.35, 96 pixels": ("mobilenet_v2", {"alpha": 0.35}, (96, 96, 3)),
    "ShuffleNet v2 0.5, 96 pixels": ("shufflenet_v2", {"scale": 0.5}, (96, 96, 3)),
    "SqueezeNet 1.1, 96 pixels": ("squeezenet1_1", {}, (96, 96, 3)),
    "ResNet-20": ("resnet20", {}, (32, 32, 3)),
}
IMAGES = 8
HEAD = """# Microcontrollers

Files in int8, `edge="int8"`, for 10 classes, with random weights, on TensorFlow Lite Micro's interpreter for Python.
{today}; tflite-micro {version}; {packages}. `make micro` repeats it.

"File" is flash memory. "Arena" is RAM: the smallest one with which the network is prepared, on a 64-bit processor;
pointers of 32 bits need less. "Steps": the largest difference from LiteRT's reference kernels, of 256. "Operators" are
what a program registers.

| network | file, kB | arena, kB | steps | operators |
|---|---:|---:|---:|---|
"""


def litert(file: Path, images: np.ndarray) -> np.ndarray:
    """The outputs by LiteRT's reference kernels, which TensorFlow Lite Micro's are made from; int8 (n, classes)."""
    interpreter = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    outputs = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(outputs)


def settle(model: keras.Model, images: np.ndarray) -> None:
    """Set the moving statistics of batch norm by these images; with the initial ones activations vanish."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)


def row(title: str, python: str, folder: Path) -> tuple[str, str]:
    name, options, shape = NETWORKS[title]
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = create_model(name, input_shape=shape, classes=10, **options)
    calibration = rng.normal(size=(IMAGES, *shape)).astype("float32")
    settle(model, calibration)
    file = folder / "int8.tflite"
    export.to_tflite(model, file, quantization="int8", calibration=calibration, edge="int8", overwrite=True)
    images = rng.integers(-128, 128, (IMAGES, *shape), "int8")
    np.save(folder / "images.npy", images)
    command = [python, str(Path(__file__).with_name("micro_run.py")), str(file), str(folder / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{title}: TensorFlow Lite Micro ended with {done.returncode}: {done.stderr[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    steps = np.abs(np.array(found["outputs"]) - litert(file, images).astype(int)).max()
    operators = ", ".join(sorted(export.doctor(file).operators))
    cells = (title, f"{file.stat().st_size / 1000:,.0f}", f"{found['arena'] / 1000:,.0f}", f"{steps}", operators)
    return f"| {' | '.join(cells)} |", found["version"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--micro-python", required=True, help="has tflite-micro")
    options = parser.parse_args()
    rows, version = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for title in NETWORKS:
            line, found = row(title, options.micro_python, Path(folder))
            version = found or version
            rows.append(line)
            print(line, flush=True)
    packages = ", ".join(f"{k} {v}" for k, v in versions().items())
    PAGE.write_text(HEAD.format(today=date.today(), version=version, packages=packages) + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
