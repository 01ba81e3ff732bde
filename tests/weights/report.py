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
WRITERS = """
## Writers

Where `export.to_torch` and `export.to_keras_h5` write the layout, the network of each proof was written to a file, and
the reference implementation loaded that file strictly: no name more or less, no other shape. The logits of the same
four images were compared. Keras' files were loaded by `tf_keras` and by Keras 3, those of ResNeXt by
`keras_applications`.

"""
HOSTED = """
## Hosted files

TensorFlow hosts these networks as .tflite files. TF-Slim's network was converted by TOCO, as those were, to float and
to uint8 with one scale a tensor. Each file was recognised and loaded by its path. The logits of the float file were
compared; the kernels of the quantised one were compared with those of the float one, to half a step of their scale.

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
    ) + WRITERS + _writers(goldens) + HOSTED + _hosted(goldens)  # fmt: skip


def _writers(goldens: dict[str, dict[str, Any]]) -> str:
    """The tables of the files that we wrote."""
    written = [proof for proof in proofs() if "written" in goldens[proof.id]]
    layouts: dict[str, list[Proof]] = {}
    for proof in written:
        layouts.setdefault(proof.record.layout, []).append(proof)
    lines = ["| layout | networks | largest difference |", "|---|---:|---:|"]
    for layout, chosen in (layouts | {"all": written}).items():
        largest = max((goldens[proof.id]["written"] for proof in chosen), default=0.0)
        lines.append(f"| {layout} | {len(chosen)} | {largest:.1e} |")
    lines += ["", "| network | layout | numerics | largest difference | reference | on |", "|---|---|---|---:|---|---|"]
    for proof in written:
        golden = goldens[proof.id]
        trained = ", ".join(f"{name}={value}" for name, value in proof.trained.items())
        network = f"{proof.record.model} ({trained})" if trained else proof.record.model
        cells = (network, proof.record.layout, proof.record.numerics, f"{golden['written']:.1e}")
        lines.append(f"| {' | '.join(cells)} | {golden['version']} | {golden['date']} |")
    return "\n".join((*lines, ""))


def _hosted(goldens: dict[str, dict[str, Any]]) -> str:
    """The table of the .tflite files."""
    lines = ["| network | largest difference | reference | on |", "|---|---:|---|---|"]
    for proof in proofs():
        golden = goldens[proof.id]
        if "hosted" in golden:
            width = f", alpha={proof.trained['alpha']}" if "alpha" in proof.trained else ""
            cells = (f"{proof.record.model}{width}", f"{golden['hosted']:.1e}", golden["version"], golden["date"])
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((*lines, ""))


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
