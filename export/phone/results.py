"""What `benchmark.sh` measured on phones: the logs of `benchmark_model`, LiteRT's or TensorFlow Lite's, as records."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_inception.arguments import checked
from keras_inception.errors import InputError

from ..tflite.flatbuffer import precision
from . import is_kit

# The names of delegates in "Replacing 64 out of 64 node(s) with delegate (LITERT_CL) node": the CPU's and the NPU's.
# All others are the GPU's: LITERT_CL, TfLiteGpuDelegateV2.
CPU, NPU = ("TfLiteXNNPackDelegate",), ("DispatchDelegate", "TfLiteNnapiDelegate", "TfLiteQnnDelegate")
REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
NUMBER = r"([\d.]+(?:e[+-]\d+)?)"
# One line sums up the warm-up, one the images that count; later ones are the profiler's.
PHASE = "Running benchmark for at least "
TIMED = re.compile(r"(?<!\(microseconds\): )\bcount=(\d+) (.*)")
FIGURE = re.compile(rf"(\w+)={NUMBER}")
INITIALIZED = re.compile(rf"Initialized session in {NUMBER}ms")
# As LiteRT's program writes it, and as TensorFlow Lite's.
MEMORY = rf"Overall footprint:\s+{NUMBER} MB", rf"Memory footprint delta .*overall={NUMBER}"


@dataclass(frozen=True, kw_only=True)
class PhoneTiming:
    """A file on a phone's processor.

    `accelerator` is "cpu", "gpu" or "npu", and `threads` the CPU's. `milliseconds` is the median of `runs` images, and
    `percentiles` are the 5th and the 95th; older programs give the mean instead, and no percentiles.
    `initialization` is in milliseconds too. `memory` is what the program's process grew by, in bytes. Of the network's
    `nodes` operators the accelerator computed `on_it`, and the CPU the others; an NPU's compiler joins operators first.
    What the log does not say is None. If the program failed, all that it measures is None, and `problem` is the last
    thing it said.
    """

    path: str
    accelerator: str
    threads: int | None
    format: str
    bytes: int
    runs: int | None = None
    milliseconds: float | None = None
    percentiles: tuple[float, float] | None = None
    initialization: float | None = None
    memory: int | None = None
    on_it: int | None = None
    nodes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhoneResults:
    """A phone, "Google Pixel 8, Google Tensor G3, Android 15", and what was timed on it."""

    phone: str
    timings: tuple[PhoneTiming, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


@checked
def phone_results(folder: str | Path) -> tuple[PhoneResults, ...]:
    """Read the results in a phone kit, one record for each phone that `benchmark.sh` was run with.

    Args:
        folder: the folder that `to_phone` wrote.

    Raises:
        InputError: it is no phone kit, it has no results, or a file in `results/` is not a log of `benchmark.sh`.
    """
    folder = Path(folder)
    if not is_kit(folder):
        raise InputError(f"{folder} is not a phone kit: give the folder that `keras-inception phone` wrote")
    phones: dict[str, list[PhoneTiming]] = {}
    for log in sorted((folder / "results").glob("*/*.log")):
        phone, timing = _read(log, folder)
        phones.setdefault(phone, []).append(timing)
    if not phones:
        raise InputError(f"{folder} has no results: connect a phone, and run sh {folder / 'benchmark.sh'}")
    return tuple(PhoneResults(phone=phone, timings=tuple(timings)) for phone, timings in phones.items())


# ---------------------------------------------------------------------------------------------------------- internals


def _read(log: Path, folder: Path) -> tuple[str, PhoneTiming]:
    """The phone, and the timing, in a log."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "")
    head = dict(re.findall(r"^# (\w+): ?(.*)$", text, re.MULTILINE))
    model = folder / "models" / Path(head.get("file", "")).name
    if not {"device", "chip", "android", "file", "accelerator", "exit"} <= head.keys() or not model.is_file():
        raise InputError(f"{log} is not a log of benchmark.sh: move it elsewhere, or run benchmark.sh again")
    content = model.read_bytes()
    timing = PhoneTiming(
        path=str(model),
        accelerator=head["accelerator"],
        threads=int(head["threads"]) if head.get("threads", "").isdecimal() else None,
        format=f"tflite {precision(content)}",
        bytes=len(content),
        **_measured(text, head["accelerator"]),
    )
    return f"{head['device']}, {head['chip']}, Android {head['android']}", timing


def _measured(text: str, accelerator: str) -> dict[str, Any]:
    """The figures of a log of `benchmark_model`, by the names of `PhoneTiming`'s fields."""
    initialized, timed = INITIALIZED.search(text), TIMED.findall(text.rpartition(PHASE)[2])
    if not (initialized and timed and text.count(PHASE) > 1):  # it ended before, perhaps after the warm-up
        said = [line for line in text.splitlines() if line.strip() and not line.startswith("# ")]
        return {"problem": said[-1].strip() if said else "it ended without a message"}
    runs, figures = timed[0]
    microseconds = {name: float(value) for name, value in FIGURE.findall(figures)}
    middle = microseconds.get("median", microseconds.get("avg", microseconds.get("curr")))
    memory = [float(found[1]) for pattern in MEMORY if (found := re.search(pattern, text))]
    on_it, nodes = _replaced(text, accelerator)
    return {
        "runs": int(runs),
        "milliseconds": middle and middle / 1000,
        "percentiles": (microseconds["p5"] / 1000, microseconds["p95"] / 1000) if "p5" in microseconds else None,
        "initialization": float(initialized[1]),
        "memory": round(memory[0] * 2**20) if memory else None,
        "on_it": on_it,
        "nodes": nodes,
    }


def _replaced(text: str, accelerator: str) -> tuple[int | None, int | None]:
    """How many operators the accelerator computes, and of how many; None if the log does not say."""
    found = [(int(took), int(of), delegate) for took, of, delegate in REPLACED.findall(text)]
    if not found:
        return None, None
    kinds = {delegate: "cpu" if delegate in CPU else "npu" if delegate in NPU else "gpu" for _, _, delegate in found}
    on_it = sum(took for took, _, delegate in found if kinds[delegate] == accelerator)
    return on_it, max(of for _, of, _ in found)
