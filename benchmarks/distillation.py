"""A small network that a larger one teaches, against the labels alone: what `--teacher` gives on few images.

    python benchmarks/distillation.py measure    # half an hour on two cores; resumes
    python benchmarks/distillation.py report     # benchmarks/distillation.md, from all rows

Teacher and student are trained on the same 1,000 images of CIFAR-10. Data and networks, and the folder that they are
read from, are those of `finetune.py`. Each training appends a row to distillation.jsonl, and is left out if it has one.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterable
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import keras
from finetune import HELD_OUT, STARTS, of_cifar, percent

from keras_inception import Run
from keras_inception.run import versions
from keras_inception.training import train
from keras_inception.training.recipes.recipe import TEACHER_WEIGHT, TEMPERATURE

ROWS = Path(__file__).with_suffix(".jsonl")
BUILD = Path(__file__).parents[1] / "build" / "distillation"  # teachers, and what is cached
IMAGES, SEEDS = 1_000, (0, 1)
TEACHER, TEACHES = "MobileNet v2", "teacher"
STUDENTS = "MobileNet v1 0.25", "MobileNet v1 0.25, random"
ALONE = "no teacher"
SETTINGS: dict[str, dict[str, float]] = {
    ALONE: {},
    "temperature 1, weight 0.5": {"temperature": 1.0, "teacher_weight": 0.5},
    "temperature 2, weight 0.5": {"temperature": 2.0, "teacher_weight": 0.5},
    "temperature 4, weight 0.5": {"temperature": 4.0, "teacher_weight": 0.5},
    "temperature 4, weight 0.9": {"temperature": 4.0, "teacher_weight": 0.9},
}
DEFAULT = f"temperature {TEMPERATURE:g}, weight {TEACHER_WEIGHT:g}"

# Every setting with one seed, then the defaults with the others.
CELLS = [*product([0], STUDENTS, SETTINGS), *product(SEEDS[1:], STUDENTS, [ALONE, DEFAULT])]


def trained(start: str, seed: int, out: Path, **arguments: Any) -> Run:
    """A training by the defaults, with these arguments."""
    network = STARTS[start]
    return train(
        of_cifar(IMAGES, seed),
        out=out,
        model=network.model,
        options={"alpha": network.alpha},
        size=network.size,
        weights=network.weights(BUILD),
        seed=seed,
        **arguments,
    )


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def add(network: str, setting: str, seed: int, run: Run, seconds: float) -> None:
    measured = {"top1": run.metrics["top1"], "loss": run.metrics["loss"], "seconds": round(seconds, 1)}
    row = {"network": network, "setting": setting, "seed": seed} | measured
    with ROWS.open("a") as file:
        print(json.dumps(row), file=file)
    print(row, flush=True)


def measure(minutes: float) -> None:
    """Measure what has no row yet; no training begins after so many minutes."""
    done = {(row["seed"], row["network"], row["setting"]) for row in rows()}
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    os.environ["KERAS_INCEPTION_HOME"] = str(BUILD / "home")
    for seed, start, setting in CELLS:
        if (seed, start, setting) in done or time.monotonic() - began > 60 * minutes:
            continue
        taught: dict[str, Any] = {}
        if setting != ALONE:
            taught = {"teacher": BUILD / f"teacher_{seed}", **SETTINGS[setting]}
            if not (taught["teacher"] / "run.json").exists():
                clock = time.perf_counter()
                run = trained(TEACHER, seed, taught["teacher"])
                add(TEACHER, TEACHES, seed, run, time.perf_counter() - clock)
        clock = time.perf_counter()
        run = trained(start, seed, BUILD / str(time.time_ns()), **taught)
        add(start, setting, seed, run, time.perf_counter() - clock)
        keras.backend.clear_session()


def table(found: list[dict[str, Any]], settings: Iterable[str], seeds: tuple[int, ...]) -> list[str]:
    """A row for each network and setting that has all these seeds."""
    lines = []
    for network, setting in [(TEACHER, TEACHES), *product(STUDENTS, settings)]:
        mine = [r for r in found if (r["network"], r["setting"]) == (network, setting) and r["seed"] in seeds]
        if len(mine) == len(seeds):
            loss = sum(row["loss"] for row in mine) / len(mine)
            lines.append(f"| {network} | {setting} | {percent(row['top1'] for row in mine)} | {loss:.2f} |")
    return lines


def report() -> None:
    found = rows()
    head = ["", "| network | setting | top-1 | loss |", "|---|---|---:|---:|"]
    several = table(found, [ALONE, DEFAULT], SEEDS)
    parts = [
        f"""# Distillation: a small network that a larger one teaches

{date.today()}; {platform.machine()}, {os.cpu_count()} cores; {", ".join(f"{k} {v}" for k, v in versions().items())}.
`make distillation`. MobileNet v2 is fine-tuned from Google's hosted weights on {IMAGES:,} images of CIFAR-10 at
96 x 96, and teaches MobileNet v1 0.25 on the same images, from hosted weights too unless the row says random; all by
the defaults of `train`. Top-1 in percent, and loss, on {HELD_OUT} held-out images, on which the epoch is chosen too.

## Temperature and weight

One seed. "weight" is that of the teacher, the rest of the loss is the labels'.""",
        *head,
        *table(found, SETTINGS, SEEDS[:1]),
    ]
    if several:
        parts += [
            "\n## The defaults\n",
            f"Means of {len(SEEDS)} seeds, which choose other images, and their standard deviation.",
            *head,
            *several,
        ]
    ROWS.with_suffix(".md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="to begin trainings in")
    asked = parser.parse_args()
    measure(asked.minutes) if asked.what == "measure" else report()
