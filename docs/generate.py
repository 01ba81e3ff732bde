"""What is generated from the registry: pages, diagrams, the stub that tells editors the builders' arguments, and facts.

`python -m docs.generate [--diagrams]` writes it all. Tests compare pages, stub and facts with the registry; with
`--accept` they write pages and stub too.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_inception import facts
from keras_inception.analysis.cost import blueprint
from keras_inception.analysis.table import described
from keras_inception.arguments import Argument
from keras_inception.builder import arguments
from keras_inception.facts import by
from keras_inception.registry import Architecture, Paper, architectures, get
from keras_inception.weights import checkpoints, tflite
from keras_inception.weights.download import addresses
from keras_inception.weights.wiring import Network

from .families import FAMILIES, Family

DOCS = Path(__file__).parent
ROOT = DOCS.parent
STUB = ROOT / "keras_inception" / "models" / "__init__.pyi"
GOLDENS = ROOT / "tests" / "goldens" / "parity"
CONFORMANCE = ROOT / "tests" / "conformance"
LIBRARIES = {"facenet_pytorch": "facenet-pytorch", "keras": "keras.applications", "pretrainedmodels": "Cadene's models"}
PUBLISHERS = {
    **{"keras": "Keras team", "cadene": "Cadene", "facenet": "facenet-pytorch"},
    **{"slim": "TF-Slim", "caffe": "Caffe"},
}


def papers() -> dict[Paper, list[Architecture]]:
    """The networks of each paper, the oldest paper first."""
    found: dict[str, list[Architecture]] = {}
    for a in architectures():
        found.setdefault(a.paper.url, []).append(a)
    pairs = [(networks[0].paper, networks) for networks in found.values()]
    return dict(sorted(pairs, key=lambda pair: (pair[0].year, pair[0].title)))


def pages() -> dict[Path, str]:
    """Every generated page and its text, and the stub."""
    made = {
        DOCS / "families" / f"{FAMILIES[paper.url].slug}.md": _family(paper, all_) for paper, all_ in papers().items()
    }
    made[DOCS / "families" / "index.md"] = _index()
    made[DOCS / "departures.md"] = _departures()
    made[DOCS / "benchmarks.md"] = _benchmarks()
    made[DOCS / "api" / "networks.md"] = _api()
    made[STUB] = stub()
    return made


def table() -> str:
    """The README's table: a row for each paper, with what there is of its networks."""
    qat = {row["network"] for row in conformance("qat") if row["ok"] == "yes"}
    int8 = {row["network"] for row in conformance("tflite") if row["ok"] == "yes"}
    rows = []
    for paper, networks in papers().items():
        family = FAMILIES[paper.url]
        with_parity = sum(bool(parity(a)) for a in networks)
        rows.append(
            (
                f"[{family.heading}](docs/families/{family.slug}.md)",
                str(paper.year),
                str(len(networks)),
                _span([a.parameters for a in networks]),
                _span([a.macs for a in networks]),
                _published(networks),
                _share(with_parity, networks),
                _share(sum(a.name in int8 for a in networks), networks),
                _share(sum(a.name in qat for a in networks), networks),
            )
        )
    titles = (
        "paper",
        "year",
        "networks",
        "parameters",
        "multiply-adds",
        "weights (best)",
        "same logits",
        "int8",
        "QAT",
    )
    return markdown(titles, "lrrrrllll", rows)


def parity(architecture: Architecture) -> list[dict]:
    """What the network's logits were compared with: `reference`, `version` and `parameters` of the goldens."""
    return [json.loads(path.read_text()) for path in sorted(GOLDENS.glob(f"{architecture.name}-*.json"))]


def conformance(table: str) -> list[dict[str, str]]:
    """The rows of tests/conformance/`table`.md, by column; none where it is not measured yet."""
    return table_of(CONFORMANCE / f"{table}.md")


def table_of(path: Path) -> list[dict[str, str]]:
    """The rows of a page's table, by column; none where there is no page."""
    lines = (
        [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        if path.exists()
        else []
    )
    if not lines:
        return []
    titles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(titles, row, strict=True)) for row in rows]


# --------------------------------------------------------------------------------------------------------- family pages


def _family(paper: Paper, networks: list[Architecture]) -> str:
    family = FAMILIES[paper.url]
    parts = [
        f"# {family.heading}",
        f"{paper.authors}, {paper.year}, [{paper.title}]({paper.url}).",
        family.contribution,
        f"[![The layers of {family.drawn}](../diagrams/{family.slug}.svg)](../diagrams/{family.slug}.svg)",
        f"Drawn from the network itself: `keras-inception info {family.drawn} --diagram {family.drawn}.svg`.",
        "## Networks",
        _networks(networks),
        "Sizes are pixels; parameters and multiply-adds are of the default arguments, and the tests recompute them. "
        f"`help(keras_inception.{networks[0].builder})` lists all arguments, "
        "as does the [API reference](../api/networks.md).",
        *_own_arguments(networks),
        "## What they follow",
        *_followed(networks, family),
        "## Checkpoints",
        *_checkpoints(networks),
        "## What the tests check",
        *_evidence(networks),
    ]
    return GENERATED + "\n\n".join(parts) + "\n"


GENERATED = "<!-- generated by `python -m docs.generate` -->\n\n"


def _networks(networks: list[Architecture]) -> str:
    rows = [
        (
            f"`{a.builder}`" + (f", `{a.alias}`" if a.alias else ""),
            f"`{a.name}`",
            by(a.input_shape),
            by((a.smallest, a.smallest)),
            f"{a.parameters:,}" if a.parameters else "-",
            f"{a.macs:,}" if a.macs else "-",
            _published([a]),
        )
        for a in networks
    ]
    titles = ("builder", "name", "input", "smallest", "parameters", "multiply-adds", "checkpoints (top-1)")
    return markdown(titles, "llllrrl", rows)


def _own_arguments(networks: list[Architecture]) -> Iterable[str]:
    """The arguments of a family's builders beside those that all builders have, one row for each meaning."""
    found: dict[tuple[str, str, str], list[tuple[Architecture, Argument]]] = {}
    for a in networks:
        for argument in a.own_arguments.values():
            found.setdefault((argument.name, argument.allowed, argument.meaning), []).append((a, argument))
    if not found:
        return
    yield "## Own arguments"
    rows = []
    for (name, allowed, meaning), uses in found.items():
        defaults = dict.fromkeys(repr(argument.default) for _, argument in uses)
        having = "all" if len(uses) == len(networks) else _listed([a.builder for a, _ in uses])
        rows.append((f"`{name}`", having, _safe(allowed), " or ".join(f"`{d}`" for d in defaults), _safe(meaning)))
    names = [row[0] for row in rows]
    rows.sort(key=lambda row: names.index(row[0]))  # the meanings of one name together
    yield markdown(("argument", "of", "allowed", "default", "meaning"), "lllll", rows)


def _listed(builders: list[str]) -> str:
    return ", ".join(f"`{b}`" for b in builders) if len(builders) <= 3 else f"`{builders[0]}` to `{builders[-1]}`"


def _followed(networks: list[Architecture], family: Family) -> Iterable[str]:
    """The docstring of each backbone; a link where another page has it already."""
    for backbone in dict.fromkeys(a.backbone for a in networks):
        own = [a for a in networks if a.backbone is backbone]
        names = ", ".join(f"`{a.builder}`" for a in own)
        home = FAMILIES[_first(backbone).paper.url]
        text = _safe(inspect.getdoc(backbone) or "")
        yield f"{names}:" + (f" see [{home.heading}]({home.slug}.md)." if home is not family else "")
        if home is family:
            yield text


def _first(backbone) -> Architecture:
    """The first network of a backbone; its page describes the backbone."""
    return next(a for a in architectures() if a.backbone is backbone)


def _checkpoints(networks: list[Architecture]) -> Iterable[str]:
    rows = []
    for a in networks:
        for c in a.weights:
            sets = {**c.kwargs, "numerics": c.numerics}
            rows.append(
                (
                    f'`{a.builder}(weights="{c.tag}")`',
                    ", ".join(f"`{k}={v!r}`" for k, v in sets.items()).replace("'", '"'),
                    f"[{PUBLISHERS.get(c.layout, c.layout)}{' (page)' if c.page else ''}]({addresses(c)[0]})",
                    re.sub(r" \(.*states none for the weights\)", " (code)", c.license),
                    "-" if c.top1 is None else f"{c.top1:.2f}",
                    "-" if c.top5 is None else f"{c.top5:.2f}",
                    c.dataset,
                    by(c.preprocessing.size),
                    f"{c.preprocessing.crop:.3g}",
                )
            )
    if not rows:
        yield "No weights are published in a format that this package reads."
        return
    titles = ("network", "which sets", "file of", "licence", "top-1, %", "top-5, %", "of", "pixels", "crop")
    yield markdown(titles, "llllrrllr", rows)
    yield (
        "A licence marked (code) is that of the publisher's code; the publisher states none for the weights. A file "
        "marked (page) is served to browsers only: download it, and give its path. "
        "Accuracies are the publishers', with one central crop of that share of the image's side, resized to the "
        'pixels. The first tag of a network is `weights="imagenet"`: [published weights](../howto/weights.md).'
    )


def _evidence(networks: list[Architecture]) -> Iterable[str]:
    compared = [
        (f"`{a.name}`", LIBRARIES.get(library, library), name, golden["version"], f"{golden['parameters']:,}")
        for a in networks
        for golden in parity(a)
        for library, _, name in [golden["reference"].partition(":")]
    ]
    compared = list(dict.fromkeys(compared))
    if compared:
        yield "The same weights give the same logits, to 1e-4, in these implementations (`make parity`):"
        yield markdown(("network", "implementation", "its name", "version", "trained parameters"), "llllr", compared)
    else:
        yield "There is no independent implementation: the tests compare shapes, parameters and cost with the paper."
    names = [a.name for a in networks]
    if rows := [row for row in conformance("tflite") if row["network"] in names]:
        yield "As .tflite files in float32 and full int8, with random weights (`make conformance-tflite`):"
        columns = {
            "network": "network",
            "input": "input",
            "operators": "int8 operators",
            "left in float": "int8 float",
            "float32, dB": "none dB",
            "int8, dB": "int8 dB",
            "rounding alone, dB": "rounded dB",
            "ok": "ok",
        }
        yield _measured(columns, rows)
        yield "dB: signal to noise of the logits against the Keras network's. Random weights lose more than trained."
    else:
        yield (
            "Every network is exported to TFLite in float32 and in int8, with no operator left in float, by "
            "`make test-all` (tests/conformance/test_tflite.py)."
        )
    if rows := [row for row in conformance("qat") if row["network"] in names]:
        yield "Quantisation-aware training, with random weights, for one step (`make conformance-qat`):"
        columns = {
            "network": "network",
            "input": "input",
            "operators": "operators",
            "left in float": "float",
            "file/fake": "file/fake",
            "fake/float": "fake/float",
            "ok": "ok",
        }
        yield _measured(columns, rows)
        yield (
            "file/fake: correlation of the file's logits with the fake-quantised network's; fake/float: of the "
            "fake-quantised network's with the float network's."
        )


def _measured(columns: dict[str, str], rows: list[dict[str, str]]) -> str:
    """Some columns of a conformance table, title -> its name there."""
    cells = [[f"`{row[c]}`" if c == "network" else row[c] for c in columns.values()] for row in rows]
    return markdown(tuple(columns), "ll" + "r" * (len(columns) - 3) + "l", cells)


# ------------------------------------------------------------------------------------------------------------ the stub


def stub() -> str:
    """models/__init__.pyi: every builder with every argument, its type and its default."""
    parts = [
        "# generated by `python -m docs.generate`",
        "from pathlib import Path\nfrom typing import Literal\n",
        "import keras\n",
        "from ..layers import Numerics\nfrom ..weights import Checkpoint\n",
    ]
    for a in architectures():
        lines = [f"    {x.name}: {_type(x.type)} = {_literal(x.default)}," for x in arguments(a).values()]
        about = f"{a.paper.authors}, {a.paper.year}. {a.paper.url}"
        parts += [f"def {a.builder}(\n    *,\n" + "\n".join(lines) + f'\n) -> keras.Model:\n    """{about}"""\n']
    parts += [f"{a.alias} = {a.builder}" for a in architectures() if a.alias]
    return "\n".join(parts) + "\n"


def _type(kind: object) -> str:
    """A type as a stub spells it."""
    options = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return f"Literal[{', '.join(map(_literal, options))}]"
    if typing.get_origin(kind) is tuple:
        return f"tuple[{', '.join(map(_type, options))}]"
    if options:
        values = [
            value
            for option in options
            if typing.get_origin(option) is typing.Literal
            for value in typing.get_args(option)
        ]
        others = [_type(option) for option in options if typing.get_origin(option) is not typing.Literal]
        return " | ".join([*([_type(typing.Literal[tuple(values)])] if values else []), *others])
    if kind is type(None):
        return "None"
    assert isinstance(kind, type), kind
    return f"keras.{kind.__name__}" if kind.__module__.startswith("keras.") else kind.__name__


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


# ---------------------------------------------------------------------------------------------------------- the facts


def facts_text() -> str:
    """keras_inception/facts.json: a network a line. Every network is planned for it, which takes a minute or two."""
    lines = ",\n".join(json.dumps(described(a), separators=(",", ":")) for a in architectures())
    return f"[\n{lines}\n]\n"


def hosted_text() -> str:
    """keras_inception/weights/hosted.json: the fingerprints of TF-Slim's networks that TensorFlow hosts as .tflite."""
    found: dict[str, str] = {}
    for c in checkpoints():
        if c.layout == "slim" and c.model.startswith(("inception", "mobilenet")):
            arguments = {"numerics": c.numerics, **{k: v for k, v in c.kwargs.items() if k != "aux_heads"}}
            known = json.dumps([c.model, arguments])
            if known not in found.values():
                found[Network(blueprint(get(c.model).build, **arguments)).wiring.fingerprint()] = known
    return "{\n" + ",\n".join(f'"{key}":{known}' for key, known in found.items()) + "\n}\n"


# --------------------------------------------------------------------------------------------------------- other pages


def _index() -> str:
    rows = [
        (
            str(paper.year),
            f"[{FAMILIES[paper.url].heading}]({FAMILIES[paper.url].slug}.md)",
            ", ".join(f"`{a.builder}`" for a in networks),
            _span([a.parameters for a in networks]),
            _published(networks),
        )
        for paper, networks in papers().items()
    ]
    toc = "\n".join(FAMILIES[paper.url].slug for paper in papers())
    return (
        GENERATED
        + "# The networks\n\n"
        + f"{len(architectures())} networks of {len(rows)} papers. Each page has the paper, the diagram, every "
        + "variant, its checkpoints, and what the tests check.\n\n"
        + markdown(("year", "family", "builders", "parameters", "checkpoints (top-1)"), "lllrl", rows)
        + f"\n\n```{{toctree}}\n:hidden:\n{toc}\n```\n"
    )


def _departures() -> str:
    """Each backbone's docstring without its first sentence."""
    parts = [
        "# Papers and networks: what differs",
        "Papers leave things out, contradict themselves, or differ from the released weights. Where they do, the "
        "default follows what has weights and parity, and the network's docstring states it. This page has them all.",
    ]
    for backbone in dict.fromkeys(a.backbone for a in architectures()):
        _, *rest = (inspect.getdoc(backbone) or "").split("\n\n")
        if rest:
            family = FAMILIES[_first(backbone).paper.url]
            names = [a.builder for a in architectures() if a.backbone is backbone]
            many = f"{names[0]} to {names[-1]}" if len(names) > 3 else ", ".join(names)
            parts += [f"## {many}", f"[{family.heading}](families/{family.slug}.md)", *map(_safe, rest)]
    return GENERATED + "\n\n".join(parts) + "\n"


def _benchmarks() -> str:
    """All of benchmarks/: each has a script and its output."""
    results = sorted((ROOT / "benchmarks").glob("*.md"))
    parts = [
        "# Benchmarks",
        "Each result comes with the command that repeats it. The scripts have the same names in `benchmarks/`.",
        *(f"```{{include}} ../benchmarks/{path.name}\n:heading-offset: 1\n:relative-images:\n```" for path in results),
    ]
    return GENERATED + "\n\n".join(parts) + "\n"


def _api() -> str:
    parts = [
        "# Networks",
        _rst(
            ".. automodule:: keras_inception",
            *(
                f".. autofunction:: keras_inception.{name}"
                for name in ("create_model", "list_models", "model_info", "preprocess_input", "decode_predictions")
            ),
        ),
    ]
    for paper, networks in papers().items():
        names = [name for a in networks for name in (a.builder, a.alias) if name]
        parts += [f"## {FAMILIES[paper.url].heading}", _rst(*(f".. autofunction:: keras_inception.{n}" for n in names))]
    return GENERATED + "\n\n".join(parts) + "\n"


def _rst(*directives: str) -> str:
    return "```{eval-rst}\n" + "\n\n".join(directives) + "\n```"


# --------------------------------------------------------------------------------------------------------------- pieces


def markdown(titles: Sequence[str], sides: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `sides` has an "l" or an "r" for each column."""
    line = "|".join({"l": "---", "r": "---:"}[side] for side in sides)
    return "\n".join([f"| {' | '.join(titles)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)])


def _published(networks: list[Architecture]) -> str:
    """How many checkpoints there are, and the best top-1 that a publisher states on ImageNet."""
    checkpoints = [c for a in networks for c in a.weights]
    best = max((c.top1 for c in checkpoints if c.top1 and c.dataset == "imagenet"), default=None)
    return f"{len(checkpoints) or 'none'}" + (f" ({best:.1f} %)" if best else "")


def _share(count: int, networks: list[Architecture]) -> str:
    return "all" if count == len(networks) else f"{count} of {len(networks)}" if count else "-"


def _span(numbers: list[int | None]) -> str:
    known = sorted(n for n in numbers if n)
    ends = dict.fromkeys((_short(known[0]), _short(known[-1]))) if known else ["-"]
    return "–".join(ends)


def _short(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _safe(text: str) -> str:
    """Plain text as Markdown: escape what would be markup outside of code."""
    pieces = text.split("`")
    return "`".join(re.sub(r"([*_<])", r"\\\1", piece) if i % 2 == 0 else piece for i, piece in enumerate(pieces))


# ------------------------------------------------------------------------------------------------------------- diagrams


def draw_all(folder: Path = DOCS / "diagrams") -> None:
    """Draw a diagram of each family's network, as a small file. This takes half a minute."""
    from keras_inception.analysis.cost import blueprint
    from keras_inception.diagram.draw import draw
    from keras_inception.registry import get

    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for family in FAMILIES.values():
            drawn = draw(blueprint(get(family.drawn).build), Path(work) / f"{family.slug}.svg")
            (folder / drawn.name).write_text(slim(drawn.read_text(encoding="utf-8")), encoding="utf-8")


def slim(svg: str) -> str:
    """Matplotlib's SVG in a third of its bytes: tenths of a point, styles as classes, nothing invisible."""
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<clipPath.*?</defs>", "", svg, flags=re.DOTALL)
    drawn_again = set(re.findall(r'href="#([^"]*)"', svg))  # ticks and markers
    svg = re.sub(r' clip-path="[^"]*"', "", svg)
    svg = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in drawn_again else "", svg)
    svg = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), svg)
    svg = re.sub(r"font-family: [^;]*;", "font-family: 'DejaVu Sans', Verdana, sans-serif;", svg)
    classes = {style: f"s{i}" for i, style in enumerate(dict.fromkeys(re.findall(r'style="([^"]*)"', svg)))}
    svg = re.sub(r'style="([^"]*)"', lambda style: f'class="{classes[style[1]]}"', svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    svg = svg.replace("</style>", f"{rules}</style>", 1)
    return re.sub(r'> <|\s+(?=")', lambda m: "><" if m[0] == "> <" else "", re.sub(r"\s+", " ", svg)).strip() + "\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    facts.FILE.write_text(facts_text(), encoding="utf-8")
    tflite.KNOWN.write_text(hosted_text(), encoding="utf-8")
    if "--diagrams" in sys.argv:
        draw_all()
