"""Both sides of every row, live, in one table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_inception import create_model

from .pairing import Arrays, Mismatch, pair
from .row import Row
from .rows import ALL
from .units import Unit, answers, assign, image, seeded, units

BAR = 1e-4  # the largest absolute difference of a logit
SPREAD = (0.1, 10.0)  # the logits' standard deviation must lie here, or the bar would say too little or too much
MOVES = 0.01  # another image must change a logit by this much, or the logits would only be the last layers' biases
LISTED = 8  # logits in a golden


@dataclass(frozen=True)
class Answer:
    """What the reference said."""

    logits: dict[str, np.ndarray]
    parameters: int
    version: str


def ours(row: Row) -> tuple[keras.Model, list[Unit], list[Arrays]]:
    """Our network under the row's random weights."""
    model = create_model(row.model, input_shape=row.shape, classifier_activation=None, **row.kwargs)
    network = units(model, row.order)
    if row.sort:
        network.sort(key=lambda unit: row.sort(unit.name))
    weights = seeded(network, row.seed, row.gain)
    assign(network, weights)
    return model, network, weights


def parameters(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


# ------------------------------------------------------------------------------------------------------ the references


def keras_answer(row: Row, names: list[str], weights: list[Arrays]) -> Answer:
    build = getattr(keras.applications, row.reference.split(":")[1])
    kwargs = {"weights": None, "input_shape": row.shape, "classifier_activation": None} | dict(row.reference_kwargs)
    model = build(**kwargs)
    network = units(model)
    assign(network, pair(names, weights, [u.name for u in network], [u.shapes for u in network]))
    logits = answers(model, image(row.shape, row.seed))
    return Answer({k: v.reshape(-1) for k, v in logits.items()}, parameters(model), f"keras {keras.__version__}")


class Torch:
    """The reference environment: one process for all rows."""

    def __init__(self, python: str):
        root = Path(__file__).parents[2]
        command = [python, "-m", "tests.parity.reference"]
        self.process = subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, row: Row, names: list[str], weights: list[Arrays]) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            exchange = f"{folder}/exchange.npz"
            arrays = {f"{i}/{kind}": array for i, unit in enumerate(weights) for kind, array in unit.items()}
            np.savez(exchange, image=image(row.shape, row.seed), **arrays)
            reply = self._ask(
                reference=row.reference,
                kwargs=dict(row.reference_kwargs),
                outputs=row.outputs,
                registered=row.registered,
                names=names,
                exchange=exchange,
            )
            if error := reply.get("error"):
                raise Mismatch(error)
            with np.load(exchange) as archive:
                return Answer(dict(archive), reply["parameters"], reply["version"])

    def _ask(self, **request: object) -> dict:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise SystemExit("the reference environment's Python stopped; its messages are above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


# ------------------------------------------------------------------------------------------------------------ the table


def compare(row: Row, torch: Torch | None) -> tuple[Answer, list[str], bool]:
    """The reference's answer, the table's cells, and whether all is well."""
    keras.backend.clear_session()
    model, network, weights = ours(row)
    ask = keras_answer if row.library == "keras" else torch
    answer = ask(row, [unit.name for unit in network], weights)
    own = answers(model, image(row.shape, row.seed))
    difference = max(float(np.abs(own[k] - answer.logits[k]).max()) for k in row.outputs)
    spread = [float(answer.logits[k].std()) for k in row.outputs]
    other = answers(model, image(row.shape, row.seed + 1))
    moves = min(float(np.abs(own[k] - other[k]).max()) for k in row.outputs)
    ok = difference <= BAR and moves >= MOVES and all(SPREAD[0] <= s <= SPREAD[1] for s in spread)
    counts = [f"{parameters(model):,}", f"{answer.parameters:,}"]
    return answer, [row.id, row.reference, *counts, f"{difference:.1e}", " ".join(f"{s:.2f}" for s in spread)], ok


def write_golden(row: Row, answer: Answer) -> None:
    """Round to nine digits, which is all that float32 has."""

    def summary(logits: np.ndarray) -> dict:
        first = [float(f"{v:.9g}") for v in logits[:LISTED]]
        return {"first": first, "mean": float(f"{logits.mean():.9g}"), "std": float(f"{logits.std():.9g}")}

    golden = {
        "reference": row.reference,
        "version": answer.version,
        "parameters": answer.parameters,
        "seed": row.seed,
        "shape": row.shape,
        "logits": {k: summary(answer.logits[k]) for k in row.outputs},
    }
    row.golden.parent.mkdir(parents=True, exist_ok=True)
    row.golden.write_text(json.dumps(golden, indent=1) + "\n")


WIDTHS = (44, 38, 13, 13, 10, 12, 4)


def _line(cells: Sequence[str]) -> str:
    aligned = (c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True)))
    return " ".join(aligned)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    variable = "KERAS_INCEPTION_REFERENCE_PYTHON"
    parser.add_argument("--reference-python", metavar="PATH", default=os.environ.get(variable), help=f"or ${variable}")
    parser.add_argument("-k", metavar="PART", default="", help="only rows whose name has this in it")
    parser.add_argument("--accept", action="store_true", help="record the references' logits as goldens")
    options = parser.parse_args(arguments)
    rows = [row for row in ALL if options.k in row.id]
    if not rows:
        parser.error(f"no row has {options.k!r} in its name")
    if not options.reference_python and any(row.library != "keras" for row in rows):
        parser.error(f"give --reference-python or ${variable}: a Python with torch, torchvision, timm, ...")
    torch = Torch(options.reference_python) if options.reference_python else None
    print(_line(["row", "reference", "parameters", "reference's", "largest", "logits' std", ""]))
    failures = []
    for row in rows:
        try:
            answer, cells, ok = compare(row, torch)
        except Exception as error:
            failures.append(f"{row.id}: {error}")
            print(_line([row.id, row.reference, "", "", "", "", "FAIL"]), flush=True)
            continue
        print(_line([*cells, "ok" if ok else "FAIL"]), flush=True)
        if not ok:
            spread = f"a standard deviation of {SPREAD[0]} to {SPREAD[1]}"
            failures.append(f"{row.id}: the bar is {BAR}, with {spread}, and {MOVES} between two images")
        elif options.accept:
            write_golden(row, answer)
    if torch:
        torch.close()
    print(f"\n{len(rows) - len(failures)} of {len(rows)} rows agree to {BAR} (largest absolute difference of a logit)")
    print(*failures, sep="\n\n")
    return 1 if failures else 0
