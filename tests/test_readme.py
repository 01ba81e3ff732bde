"""What the README shows is run, and its table of models is generated."""

import re
from pathlib import Path

from keras_inception.registry import ARCHITECTURES, Architecture

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"(?<=<!-- models: generated -->\n).*(?=<!-- end -->)", re.DOTALL)


def table() -> str:
    """The networks of each paper, with the span of their costs."""
    papers: dict = {}
    for a in ARCHITECTURES.values():
        papers.setdefault(a.paper, []).append(a)
    rows = [
        "| year | paper | builders | input | parameters | multiply-adds | published weights |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for paper, networks in sorted(papers.items(), key=lambda item: (item[0].year, item[0].title)):
        names = ", ".join(f"`{a.builder}`" for a in networks)
        inputs = " ".join(dict.fromkeys(f"{a.input_shape[0]}x{a.input_shape[1]}" for a in networks))
        title = f"[{paper.title}]({paper.url})"
        costs = (_span([a.parameters for a in networks]), _span([a.macs for a in networks]))
        rows.append("| " + " | ".join((str(paper.year), title, names, inputs, *costs, _weights(networks))) + " |")
    return "\n".join(rows) + "\n"


def _weights(networks: list[Architecture]) -> str:
    """How many checkpoints there are, and the best top-1 that a publisher states on ImageNet."""
    checkpoints = [c for a in networks for c in a.weights]
    best = max((c.top1 for c in checkpoints if c.top1 and c.dataset == "imagenet"), default=None)
    return f"{len(checkpoints) or 'none'}" + (f", top-1 to {best:.1f} %" if best else "")


def _span(numbers: list[int | None]) -> str:
    known = sorted(n for n in numbers if n)
    ends = dict.fromkeys((_short(known[0]), _short(known[-1]))) if known else ["-"]
    return " to ".join(ends)


def _short(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def test_the_table_of_models_is_up_to_date(accept):
    text = README.read_text(encoding="utf-8")
    if accept:
        README.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
        return
    assert TABLE.search(text)[0] == table(), "the README's table is not the registry's: `pytest --accept` renews it"


def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
