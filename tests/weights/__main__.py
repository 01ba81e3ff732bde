"""Published weights, proven: `python -m tests.weights [-k PART] [--accept]`; `make weights` has all that it needs.

For each network and publisher its reference implementation, with random weights, writes a file in the published layout;
the file is loaded by its path as anyone would, and the logits must agree to 1e-4. One proof stands for all records of
that network by that publisher: the table's last column lists them. Keras files are written here by `tf_keras`, and
ResNeXt's by `keras_applications` 1.0.8; the others by Pythons that have their references, by default this one.
`--accept` records what was measured, and names, shapes and places of the tensors, in tests/goldens/weights/, from which
`test_matching.py` repeats the loading without any reference, and tests/weights/proofs.md is made. A run that was
interrupted goes on with `--before` today.
"""

from __future__ import annotations

import argparse
import re
import sys

from tests.parity.compare import BAR

from . import report
from .exchange import Reference
from .golden import write
from .proofs import proofs, prove

LINE = "{:40} {:30} {:>10} {:>11} {:>5}  {}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.weights", description=__doc__)
    parser.add_argument("--reference-python", metavar="PATH", default=sys.executable, help="one with torch, timm, ...")
    parser.add_argument("--tf2cv-python", metavar="PATH", default=sys.executable, help="one with tf2cv and tf_keras")
    parser.add_argument("-k", metavar="PART", default="", help="only proofs in whose name this pattern is found")
    parser.add_argument(
        "--before", metavar="DATE", help="only proofs not recorded on that day, as 2026-12-24, or later"
    )
    parser.add_argument("--accept", action="store_true", help="record what was found as goldens")
    options = parser.parse_args()
    chosen = [proof for proof in proofs() if re.search(options.k, proof.id)]
    if not chosen:
        parser.error(f"no proof has {options.k!r} in its name")
    if options.before:
        chosen = [proof for proof in chosen if report.recorded(proof).get("date", "") < options.before]
    layouts = {proof.record.layout for proof in chosen}
    references: dict[str, Reference] = {}
    if layouts - {"keras", "tf2cv"}:
        references["torch"] = Reference(options.reference_python, "torch_reference")
    if "tf2cv" in layouts:
        references["tf2cv"] = Reference(options.tf2cv_python, "tf2cv_reference")
    print(LINE.format("proof", "reference", "largest", "logits' std", "", "records"))
    failures = []
    for proof in chosen:
        reference = proof.reference[0]
        try:
            for result in prove(proof, references):
                spread = " ".join(f"{s:.2f}" for s in result.spread)
                tags = ", ".join(record.tag for record in proof.records)
                word = "ok" if result.ok else "FAIL"
                print(LINE.format(proof.id, reference, f"{result.difference:.1e}", spread, word, tags), flush=True)
                if not result.ok:
                    failures.append(f"{proof.id}: {result.difference:.1e}, std {spread}, moves {result.moves:.1e}")
                elif options.accept:
                    write(proof, result)
                    report.PATH.write_text(report.table())
        except Exception as error:
            failures.append(f"{proof.id}: {error}")
            print(LINE.format(proof.id, reference, "", "", "FAIL", ""), flush=True)
    for process in references.values():
        process.close()
    records = sum(len(proof.records) for proof in chosen)
    print(f"\n{len(chosen) - len(failures)} of {len(chosen)} proofs agree to {BAR}; they stand for {records} records")
    print(*failures, sep="\n\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
