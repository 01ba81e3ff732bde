"""A .tflite file on a graphics card, by LiteRT's GPU accelerator: which operators it refuses, what it computes.

It runs in a process of its own: drivers print, and some end the process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORKER = Path(__file__).with_name("gpu_worker.py")
LIMIT = 300  # seconds; a software adapter takes a minute for the largest networks


@dataclass(frozen=True, kw_only=True)
class GpuRun:
    """What a GPU returned, (n, ...) as the file gives it; or, if it does not run the whole file, why not."""

    outputs: np.ndarray | None = None
    refusal: str = ""


def may_have_gpu() -> bool:
    """Whether it is worth asking LiteRT for a GPU: on Linux it needs Vulkan."""
    return sys.platform != "linux" or find_library("vulkan") is not None


def run_on_gpu(path: Path, inputs: np.ndarray) -> GpuRun | None:
    """Run a file with one input and one output on a GPU; None where LiteRT finds none.

    Args:
        path: a .tflite file. Of several signatures the first is run.
        inputs: (n, ...), each as the file takes it, batch and type.
    """
    if not may_have_gpu():
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, returned = Path(folder, "inputs.npy"), Path(folder, "outputs.npy")
        np.save(given, inputs)
        command = [sys.executable, str(WORKER), str(path), str(given), str(returned)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return GpuRun(refusal=f"it was not done after {LIMIT} s")
        if done.returncode == 0:
            return GpuRun(outputs=np.load(returned))
    if "No adapters found" in done.stderr or "GPU accelerator could not be" in done.stderr:
        return None
    return GpuRun(refusal=_reason(done.returncode, done.stderr))


def _reason(code: int, said: str) -> str:
    """The operators that LiteRT lists, or how the process ended."""
    listed = re.search(r"operations are not supported by GPU delegate:\n((?:[A-Z0-9_]+: .*\n)+)", said)
    if listed:
        return "; ".join(dict.fromkeys(line.rstrip(".") for line in listed[1].splitlines()))
    if code < 0:
        return f"it ends the process by signal {-code}"
    errors = re.findall(r"^\w+Error: (.+)$", said, re.MULTILINE)
    return errors[-1] if errors else f"it ends with {code}"
