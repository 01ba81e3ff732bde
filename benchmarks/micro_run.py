"""The side of benchmarks/micro.py that has TensorFlow Lite Micro: `micro_run.py FILE IMAGES.npy` prints JSON."""

import json
import subprocess
import sys
from importlib import metadata

import numpy as np
from tflite_micro.python.tflite_micro import runtime

LARGEST = 16_000_000  # bytes
GRAIN = 256


def outputs(path: str, images: np.ndarray, arena: int) -> list[list[int]]:
    interpreter = runtime.Interpreter.from_file(path, arena_size=arena)
    rows = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0)[0].astype(int).tolist())
    return rows


def runs(path: str, arena: int) -> bool:
    """Whether an arena is large enough; in a process of its own, which a small one may end."""
    command = [sys.executable, __file__, path, "", str(arena)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    path, images = sys.argv[1:3]
    if len(sys.argv) > 3:
        runtime.Interpreter.from_file(path, arena_size=int(sys.argv[3]))
        return
    found = outputs(path, np.load(images), LARGEST)
    least, most = 0, LARGEST
    while most - least > GRAIN:
        middle = (least + most) // 2
        least, most = (least, middle) if runs(path, middle) else (middle, most)
    print(json.dumps({"outputs": found, "arena": most, "version": metadata.version("tflite-micro")}))


if __name__ == "__main__":
    main()
