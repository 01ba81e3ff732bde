"""Seconds before anything happens: commands that compute nothing, the import, and building a network.

    make starting

Whole processes, by turns with what they are compared with; networks in one process, by turns with keras.applications'.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from keras_inception.export.runtimes.processor import processor

TABLE = Path(__file__).with_suffix(".md")
ROUNDS, BUILDS = 7, 3
COMMANDS = {("--help",): 0.3, ("models",): 1.0, ("info", "inception_v3"): 1.0}  # seconds that they may take
IMPORT, FIRST = "import keras", "import keras_inception; keras_inception.LeNet5()"
IMPORT_RATIO, BUILD_RATIO = 1.05, 1.0

BUILD = f"""
import json, statistics, sys, time
import keras, keras_inception
name = sys.argv[1]
seconds = {{}}
for _ in range({BUILDS} + 1):
    for package in (keras_inception, keras.applications):
        started = time.perf_counter()
        getattr(package, name)(weights=None)
        seconds.setdefault(package.__name__, []).append(time.perf_counter() - started)
        keras.backend.clear_session()
print(json.dumps([statistics.median(s[1:]) for s in seconds.values()]))
"""


def main() -> None:
    import keras

    import keras_inception

    program = str(Path(sys.executable).parent / "keras-inception")
    calls = {" ".join(words): (program, *words) for words in COMMANDS}
    calls |= {code: (sys.executable, "-c", code) for code in (IMPORT, FIRST)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seconds[name].append(timed(lambda call=call: subprocess.run(call, check=True, capture_output=True)))
    found = {name: statistics.median(values) for name, values in seconds.items()}
    lines = ["| command | seconds | at most | |", "|---|---:|---:|---|"]
    lines += [row(f"`{name}`", found[name], most) for name, most in zip(found, COMMANDS.values(), strict=False)]
    lines += ["", f"`{IMPORT}` takes {found[IMPORT]:.2f} s.", ""]
    lines += ["| | of Keras' time | at most | |", "|---|---:|---:|---|"]
    lines.append(row(f"`{FIRST}`, of `{IMPORT}`", found[FIRST] / found[IMPORT], IMPORT_RATIO))
    both = sorted(set(vars(keras.applications)) & set(keras_inception.__all__))
    for name in both:
        done = subprocess.run([sys.executable, "-c", BUILD, name], check=True, capture_output=True, text=True)
        own, theirs = json.loads(done.stdout.splitlines()[-1])
        lines.append(row(f"`{name}()`, {1000 * own:.0f} ms", own / theirs, BUILD_RATIO))
        print(lines[-1], flush=True)
    TABLE.write_text("\n".join([
        "# Before anything happens",
        "",
        f"`make starting`: medians of {ROUNDS} rounds of whole processes, and of {BUILDS} builds without weights in "
        f"one process, after a first; each by turns with what it is compared with. {processor()}. {date.today()}; "
        f"tensorflow {version('tensorflow')}, keras {version('keras')}.",
        "",
        *lines,
    ]) + "\n", encoding="utf-8")  # fmt: skip


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def row(what: str, value: float, most: float) -> str:
    return f"| {what} | {value:.2f} | {most} | {'yes' if value <= most else 'no'} |"


if __name__ == "__main__":
    main()
