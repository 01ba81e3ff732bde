"""What `quantize_to_target` tries on networks with Google's hosted weights, and what each file keeps and costs.

    python benchmarks/target.py                 # both MobileNets; on 2 cores minutes each
    python benchmarks/target.py mobilenet_v1    # one of them

Half of the 200 photographs of ImageNet's classes calibrate, the other half decides. The targets are shares of them that
keep the class which the float network predicts. The tables go into target.md. Weights and photographs come by their
hosted names from the folder that KERAS_INCEPTION_DATA names, ../shared/data by default.
"""

import os
import platform
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from export import HOSTED, hosted, photographs
from keras_inception import export
from keras_inception.files import write_file

TABLE = Path(__file__).with_suffix(".md")
TARGETS = 95, 99  # percent
COLUMNS = "| tried | in float | same answer, % | top-1, % | bytes | ms | |\n|---|---:|---:|---:|---:|---:|---|"


def search(name: str, target: float) -> export.QuantizationSearch:
    model, prepare = hosted(name)
    x = np.stack([prepare(image) for _, image in photographs()])
    y = np.array([label + 1 for label, _ in photographs()], np.int32)  # class 0 is the background
    with tempfile.TemporaryDirectory() as folder:
        try:
            return export.quantize_to_target(
                model,
                Path(folder) / "found.tflite",
                min_agreement=target,
                calibration=x[::2],
                held_out=(x[1::2], y[1::2]),
            )
        except export.TargetMissed as missed:
            return missed.search


def lines(found: export.QuantizationSearch) -> list[str]:
    rows = []
    for trial in found.trials:
        verdict = "**written**" if trial == found.chosen else "holds" if trial.holds else ""
        kept = f"{100 * trial.agreement:.1f} | {100 * (trial.top1 or 0):.1f}"
        file = trial.file.removesuffix(".tflite")
        rows.append(
            f"| {file} | {len(trial.float_layers)} | {kept} | {trial.bytes:,} | {trial.milliseconds:.2f} | {verdict} |"
        )
    if found.chosen and found.chosen.float_layers:
        rows += ["", f"In float: {', '.join(found.chosen.float_layers)}."]
    return rows


if __name__ == "__main__":
    names = sys.argv[1:] or list(HOSTED)
    tables = []
    for name in names:
        for target in TARGETS:
            found = search(name, target)
            tables += ["", f"{name}, {target} % of {found.n} photographs:", "", COLUMNS, *lines(found)]
            print("\n".join(tables[-len(found.trials) - 4 :]), flush=True)
    command = " ".join(["python benchmarks/target.py", *sys.argv[1:]])
    packages = ", ".join(f"{p} {version(p)}" for p in ("tensorflow", "keras", "ai-edge-litert"))
    text = f"""# An int8 file that keeps a target

By `{command}`, {date.today()}; {platform.machine()}, {os.cpu_count()} cores; {packages}.

One photograph is a point; classes that tie for the highest probability share it. The times are of all files in turns.
{chr(10).join(tables)}
"""
    write_file(TABLE, lambda part: part.write_text(text))
