"""Prove the published layouts: `python -m tests.weights [-k PART] [--accept]`; `make weights` installs the references.

For each network and publisher the reference implementation writes a file with random weights in the published layout.
The file is loaded by its path through the public API, and the logits must agree to 1e-4. The other way is proven where
`export` writes the layout: the reference loads a file that we write, strictly, and its logits must agree too. TF-Slim
also writes the networks that TensorFlow hosts as .tflite files, float and quantised, and we recognise and load them.

One proof covers all records of a network by a publisher; the last column of the table lists them. Keras files are
written here by `tf_keras`, those of ResNeXt by `keras_applications` 1.0.8, the others by Python environments that have
the references, by default this one. `--accept` records the result and the names, shapes and places of the tensors in
tests/goldens/weights/. `test_matching.py` repeats the loading from there without a reference, and
tests/weights/proofs.md is written from it. To resume an interrupted run give `--before` with today's date.
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

LINE = "{:40} {:30} {:>10} {:>10} {:>11} {:>5}  {}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.weights", description=__doc__)
    parser.add_argument("--reference-python", metavar="PATH", default=sys.executable, help="has torch, timm, ...")
    parser.add_argument("--tf2cv-python", metavar="PATH", default=sys.executable, help="has tf2cv and tf_keras")
    parser.add_argument("--slim-python", metavar="PATH", default=sys.executable, help="has tf-slim; see Makefile")
    parser.add_argument("--caffe-python", metavar="PATH", default=sys.executable, help="has OpenCV 4; see Makefile")
    parser.add_argument("-k", metavar="PART", default="", help="only proofs whose name contains this pattern")
    parser.add_argument("--before", metavar="DATE", help="only proofs recorded before that day, for example 2026-12-24")
    parser.add_argument("--accept", action="store_true", help="record the results as goldens")
    options = parser.parse_args()
    chosen = [proof for proof in proofs() if re.search(options.k, proof.id)]
    if not chosen:
        parser.error(f"no proof has {options.k!r} in its name")
    if options.before:
        chosen = [proof for proof in chosen if report.recorded(proof).get("date", "") < options.before]
    layouts = {proof.record.layout for proof in chosen}
    references: dict[str, Reference] = {}
    others = ("tf2cv", options.tf2cv_python), ("slim", options.slim_python), ("caffe", options.caffe_python)
    if layouts - {"keras"} - {layout for layout, _ in others}:
        references["torch"] = Reference(options.reference_python, "torch_reference")
    references |= {layout: Reference(python, f"{layout}_reference") for layout, python in others if layout in layouts}
    print(LINE.format("proof", "reference", "largest", "other way", "logits' std", "", "records"))
    failures = []
    for proof in chosen:
        reference = proof.reference[0]
        try:
            for result in prove(proof, references):
                spread = " ".join(f"{s:.2f}" for s in result.spread)
                tags = ", ".join(record.tag for record in proof.records)
                verdict = "ok" if result.ok else "FAIL"
                written = "" if result.written is None else f"{result.written:.1e}"
                written += "" if result.hosted is None else f"{result.hosted:.1e}"
                columns = (f"{result.difference:.1e}", written, spread, verdict, tags)
                print(LINE.format(proof.id, reference, *columns), flush=True)
                if not result.ok:
                    found = f"{result.difference:.1e}, other way {written or '-'}, std {spread}"
                    failures.append(f"{proof.id}: {found}, moves {result.moves:.1e}")
                elif options.accept:
                    write(proof, result)
                    report.PATH.write_text(report.table())
        except Exception as error:
            failures.append(f"{proof.id}: {error}")
            print(LINE.format(proof.id, reference, "", "", "", "FAIL", ""), flush=True)
    for process in references.values():
        process.close()
    records = sum(len(proof.records) for proof in chosen)
    print(f"\n{len(chosen) - len(failures)} of {len(chosen)} proofs agree to {BAR}; they cover {records} records")
    print(*failures, sep="\n\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
