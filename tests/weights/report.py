"""Write the table of all proofs from the goldens: tests/weights/proofs.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_inception.weights import checkpoints

from .golden import FOLDER
from .proofs import BAR, Proof, proofs

PATH = Path(__file__).with_name("proofs.md")
HEAD = """# Published weights, proven

For each checkpoint the reference implementation wrote a file with random weights in the published layout. The file was
loaded by its path through the public API, and the logits of four random images were compared. The largest difference is
listed; it may not exceed {bar}. Checkpoints of one network, publisher and set of arguments share a proof. `make
weights` repeats the proofs; `python -m tests.weights --accept` also writes this file.

"""


def table() -> str:
    """The text of the file."""
    goldens = {proof.id: recorded(proof) for proof in proofs()}
    proof_of = {record.id: proof for proof in proofs() for record in proof.records}
    layouts = dict.fromkeys(record.layout for record in checkpoints())
    summary = [_summary(layout, [p for p in proofs() if p.record.layout == layout], goldens) for layout in layouts]
    summary.append(_summary("all", proofs(), goldens))
    rows = [_row(record.id, record.layout, goldens[proof_of[record.id].id]) for record in checkpoints()]
    return HEAD.format(bar=BAR) + "\n".join(
        (
            "| layout | proofs | records | largest difference |",
            "|---|---:|---:|---:|",
            *summary,
            "",
            "| record | layout | largest difference | reference | on |",
            "|---|---|---:|---|---|",
            *rows,
            "",
        )
    )


def recorded(proof: Proof) -> dict[str, Any]:
    """The golden of a proof, {} if there is none."""
    path = FOLDER / f"{proof.id}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _summary(layout: str, chosen: list[Proof], goldens: dict[str, dict[str, Any]]) -> str:
    proven = [proof for proof in chosen if goldens[proof.id]]
    largest = max((goldens[proof.id]["largest"] for proof in proven), default=0.0)
    return f"| {layout} | {len(proven)} | {sum(len(proof.records) for proof in proven)} | {largest:.1e} |"


def _row(id: str, layout: str, golden: dict[str, Any]) -> str:
    if not golden:
        return f"| {id} | {layout} | | not proven | |"
    return f"| {id} | {layout} | {golden['largest']:.1e} | {golden['version']} | {golden['date']} |"
