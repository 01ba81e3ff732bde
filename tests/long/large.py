"""The largest networks, built, optimised and exported at their default input: peak memory and seconds.

    make long                                    # what is not in the table yet; hours
    python -m tests.long.large "vgg19 / onnx"    # this row again

Each row has a process of its own, which builds the network anew and is ended above 12 GB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from keras_inception.registry import get

from ..conformance.table import LIMIT, Row, Table
from . import machine

NETWORKS = ("vgg19", "fractalnet34", "nasnet_large", "senet154", "resnet1202_sd")
TFLITE = {"tflite": "none", "tflite float16": "float16", "tflite dynamic": "dynamic", "tflite int8": "int8"}
EXACT = ("optimize", "saved model", "tflite", "onnx", "openvino")  # in float32
STEPS = ("build", "optimize", "saved model", *TFLITE, "onnx", "openvino")
ROWS = {f"{name} / {step}": (name, step) for name in NETWORKS for step in STEPS}
MOST = 12.0  # GB of resident memory
IMAGES = 2
FLOAT = 60  # decibels that a file of float32 weights, or the optimised network, reaches against the Keras model
POLL = 0.2  # seconds between two looks at a process


def measure(row: tuple[str, str]) -> Row:
    """The row's figures, found in a process that ends at `MOST` GB."""
    command = [sys.executable, "-m", "tests.long.large", "--step", *row]
    return json.loads(within(command, MOST).splitlines()[-1])


def within(command: list[str], most: float) -> str:
    """What a command prints.

    Raises:
        MemoryError: it held more than `most` GB of resident memory, and was ended.
        RuntimeError: it failed; the message is its last line, or the signal that ended it.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors, text=True)
        began, peak = time.monotonic(), 0.0
        while process.poll() is None:
            peak = max(peak, held(process.pid))
            if peak > most or time.monotonic() - began > LIMIT:
                process.kill()
            time.sleep(POLL)
        if peak > most:
            raise MemoryError(f"{peak:.1f} GB after {time.monotonic() - began:.0f} s, more than {most:g} GB")
        errors.seek(0)
        if process.returncode:
            lines = errors.read().strip().splitlines() if process.returncode > 0 else []
            raise RuntimeError(lines[-1] if lines else f"ended with {process.returncode}")
        said.seek(0)
        return said.read()


def held(pid: int) -> float:
    """The resident memory of a process in GB; 0 after its end."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * resource.getpagesize() / 1e9


# -------------------------------------------------------------------------------------------------- in a row's process


def take(name: str, step: str) -> Row:
    """Do one step with a network of random weights; its peak and seconds are those before the outputs are compared."""
    import keras
    import numpy as np

    from keras_inception import export
    from keras_inception.export.comparison import snr
    from keras_inception.layers import deep_graph

    keras.utils.set_random_seed(0)
    began = time.monotonic()
    with deep_graph(), tempfile.TemporaryDirectory() as folder:
        architecture = get(name)
        model = architecture.build(classifier_activation=None)
        x = np.random.default_rng(0).normal(size=(IMAGES, *model.input_shape[1:])).astype(np.float32)
        if step != "build":
            began = time.monotonic()
            made = _steps(x)[step](model, Path(folder) / name)
        peak, seconds = _peak(), round(time.monotonic() - began)
        if step == "build":
            size, decibels = 4 * model.count_params(), FLOAT
        elif isinstance(made, Path):
            found = export.agreement(made, model, x)
            size, decibels = found.bytes, found.snr
        else:
            size = 4 * made.count_params()
            decibels = snr(model.predict_on_batch(x), made.predict_on_batch(x))
    good = peak <= MOST and (decibels >= FLOAT or step not in EXACT)
    return {
        "input": architecture.input_shape[0],
        "GB": f"{peak:.1f}",
        "step s": seconds,
        "bytes": size,
        "dB": "" if step == "build" else f"{decibels:.0f}",
        "ok": "yes" if good else "no",
    }


def _steps(x: Any) -> dict[str, Callable[[Any, Path], Any]]:
    """What is done with a network; exports take the path to write."""
    from keras_inception import export

    def tflite(model: Any, path: Path, *, quantization: str) -> Path:
        calibration = x if quantization == "int8" else None
        return export.to_tflite(model, path.with_suffix(".tflite"), quantization=quantization, calibration=calibration)

    return {
        "optimize": lambda model, path: export.optimize(model),
        "saved model": export.to_saved_model,
        **{step: partial(tflite, quantization=quantization) for step, quantization in TFLITE.items()},
        "onnx": lambda model, path: export.to_onnx(model, path.with_suffix(".onnx")),
        "openvino": export.to_openvino,
    }


def _peak() -> float:
    """The most resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


TABLE = Table(
    module="tests.long.large",
    path=Path(__file__).with_suffix(".md"),
    title="The largest networks, built, optimised and exported",
    notes=(
        "`make long` measures the rows that are missing. Random weights, the default input, logits, a process a row, "
        "which builds the network first.",
        f"**GB**: the peak of resident memory, at most {MOST:g}: a process that holds more is ended. **step s**: "
        "seconds of the step alone; **s** has the build and the comparison too, and other work ran beside it.",
        f"**dB**: signal-to-noise ratio against the Keras model, {IMAGES} images; at least {FLOAT} where weights are "
        "float32. What other forms may lose is in tests/conformance/tflite.md: random weights lose more than trained "
        "ones.",
    ),
    columns=("input", "GB", "step s", "bytes", "dB"),
    packages=("tensorflow", "keras", "ai-edge-litert", "onnx", "tf2onnx", "openvino"),
    measure=measure,
    networks=ROWS,
    key="network / step",
    machine=machine(),
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(take(*sys.argv[2:])))
    else:
        TABLE.main()
