"""The documentation: its code runs, generated pages are current, public names are documented, and the site builds."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import keras_inception
from docs.families import FAMILIES
from docs.generate import DOCS, pages
from keras_inception import export
from keras_inception.cli import app, main
from keras_inception.registry import architectures

ROOT = DOCS.parent
# A code block with the comment before it that says how to run it, or a comment with set-up code.
BLOCK = re.compile(
    r"(?:<!-- (?P<how>not run|run with|slow): (?P<why>[^\n]+?) -->\n+)?^(?P<indent> *)```(?P<language>\S*)\n"
    r"(?P<code>.*?)^(?P=indent)```$|<!-- setup\n(?P<setup>.*?)-->",
    re.DOTALL | re.MULTILINE,
)
RUN = ("python", "console")
SHOWN = ("kotlin", "swift", "groovy", "ruby", "json", "text", "{toctree}", "{eval-rst}", "{include}")
WRITTEN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(set(DOCS.rglob("*.md")) - set(pages()) - set(DOCS.glob("_build/**/*.md"))),
]
SLOW = {"quantize", "detection_and_segmentation"}  # the better part of a minute each
RUNNABLE = [page for page in WRITTEN if re.search(r"^ *```(python|console)$", page.read_text(encoding="utf-8"), re.M)]


@dataclass(frozen=True)
class Code:
    """A code block of a page. `line` is its first line."""

    language: str
    text: str
    line: int
    how: str | None  # "not run", "run with", "slow"
    why: str  # the reason, or what to replace by what


def blocks(page: Path) -> list[Code]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["setup"] is not None:
            found.append(Code("python", match["setup"], line, None, ""))
        else:
            code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            found.append(Code(match["language"], code, line, match["how"], match["why"] or ""))
    return found


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ----------------------------------------------------------------------------------------------------- code that is run


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Three classes of real handwritten digits, which the pages use as `images/`."""
    folder, digits = tmp_path_factory.mktemp("shown") / "images", load_digits()
    for i, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit < 3 and i < 250:
            (folder / f"{digit}").mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.uint8(pixels * 15)).resize((48, 48)).convert("RGB")
            image.save(folder / f"{digit}" / f"{i}.jpg")
    return folder


@pytest.fixture(scope="session")
def trained(images):
    """A run trained on them, which the pages use as `runs/flowers`."""
    from keras_inception.training.train import train

    run = images.parent / "flowers"
    train(images, out=run, model="lenet5", epochs=6, learning_rate=0.003, batch_size=16)
    return run


@pytest.fixture
def desk(tmp_path, images, request, monkeypatch):
    """The working folder of a page: offline, with `images/`, and a finished run if the page asks for one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_INCEPTION_OFFLINE", "1")
    monkeypatch.setenv("KERAS_INCEPTION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    shutil.copytree(images, tmp_path / "images")
    shutil.copy(next(images.glob("1/*.jpg")), tmp_path / "holiday.jpg")
    if "\n<!-- given: runs/flowers -->\n" in request.getfixturevalue("page").read_text(encoding="utf-8"):
        shutil.copytree(request.getfixturevalue("trained"), tmp_path / "runs" / "flowers")
    return tmp_path


def commands(text: str) -> list[list[str]]:
    """The lines after a prompt, split into words as a shell does, without comments."""
    lines = re.findall(r"^\$ (.*)", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def run_command(words: list[str], monkeypatch, capfd) -> tuple[int, str]:
    """Run one of our commands in this process: its exit code and output."""
    assert words[0] == "keras-inception", f"only our own commands are run; mark the block as not run, and why: {words}"
    found = [match for word in words for match in (sorted(Path().glob(word)) if "*" in word else [word])]
    monkeypatch.setattr(sys, "argv", list(map(str, found)))
    with pytest.raises(SystemExit) as stop:
        main()
    said = capfd.readouterr()
    return stop.value.code or 0, said.out + said.err


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["fast", "whole"])
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=name(page), marks=[pytest.mark.slow] * (page.stem in SLOW)) for page in RUNNABLE]
)
def test_what_a_page_shows_runs(page: Path, desk, monkeypatch, capfd, whole: bool):
    """Blocks run in order, in one namespace and one folder. "run with" replaces a large network or a download."""
    namespace: dict = {}
    codes = blocks(page)
    if whole and not any(code.how == "slow" for code in codes):
        pytest.skip("the fast test runs the whole page")
    for code in codes:
        if code.language not in RUN or code.how == "not run" or (code.how == "slow" and not whole):
            continue
        text = code.text
        if code.how == "run with":
            for pair in code.why.split(";"):
                old, new = (part.removeprefix(" ").removesuffix(" ") for part in pair.split("=>"))
                assert old in text, f"{name(page)}:{code.line} has no {old!r} to replace"
                text = text.replace(old, new)
        if code.language == "python":
            exec(compile("\n" * code.line + text, name(page), "exec"), namespace)
            continue
        for words in commands(text):
            status, said = run_command(words, monkeypatch, capfd)
            where = f"{name(page)}:{code.line}: {shlex.join(words)}: {said}"
            assert status == 0, where


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_every_block_runs_or_says_why_not(page: Path):
    for code in blocks(page):
        where = f"{name(page)}:{code.line}"
        assert code.language in RUN + SHOWN, f"{where}: a block says its language; got {code.language!r}"
        if code.how == "not run":
            assert len(code.why) > 10, f"{where}: say why it is not run"
        if code.language == "python":
            compile(code.text, where, "exec")
        if code.language == "console" and code.how in ("not run", "run with"):
            for words in commands(code.text):
                if words[0] == "keras-inception":
                    known_options(words, where)


def known_options(words: list[str], where: str) -> None:
    """Check that a command which is not run as written exists and has the options that it is given."""
    import typer

    command = typer.main.get_command(app).commands.get(words[1])
    assert command, f"{where}: there is no command {words[1]}"
    options = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= options, where


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_links_lead_somewhere(page: Path):
    """Links to files and headings. Web addresses are not opened."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            aim = (page.parent / file).resolve() if file else page
            assert aim.exists(), f"{name(page)} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)", aim.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {slug(heading) for heading in headings}, f"{name(page)} links to {target}"


def test_addresses_of_the_repository_are_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Repository"].removeprefix("https://github.com/")
    for page in WRITTEN:
        found = re.findall(r"github(?:\.com)?/([\w-]*inception[\w-]*/[\w-]+)", page.read_text(encoding="utf-8"))
        assert set(found) <= {repository}, name(page)


def test_names_on_the_page_for_movers_are_ours():
    """In the columns titled "here", names that look like builders are builders, and tags are published."""
    here: set[str] = set()
    for rows in re.findall(r"(?:^\|.*\n)+", (DOCS / "migration.md").read_text(encoding="utf-8"), re.MULTILINE):
        titles, _, *body = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines())
        column = titles.index("here")
        here |= {word for row in body for word in re.findall(r"`([A-Z]\w+)", row[column])}
        tags = {tag for row in body if "`weights=`" in titles for tag in re.findall(r"`(\w+)`", row[-1])}
        assert tags <= {c.tag for a in architectures() for c in a.weights}
    assert len(here) > 20
    assert not [word for word in here if not hasattr(keras_inception, word)]


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


# -------------------------------------------------------------------------------------------------- generated pages


def test_generated_pages_are_up_to_date(accept):
    """They are made from the registry, the parity goldens and the conformance tables."""
    made = pages()
    if accept:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
    stale = [name(path) for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert not stale, "`pytest --accept tests/docs/test_docs.py` renews them"
    assert set((DOCS / "families").glob("*.md")) <= set(made), "a page of a family that was removed"


def test_every_paper_has_a_page_and_a_diagram():
    assert set(FAMILIES) == {a.paper.url for a in architectures()}
    for family in FAMILIES.values():
        diagram = DOCS / "diagrams" / f"{family.slug}.svg"
        assert 1_000 < diagram.stat().st_size < (130_000 if family.slug == "nasnet" else 60_000)
        assert f">{family.drawn}</text>" in diagram.read_text(encoding="utf-8")


@pytest.mark.slow
def test_diagrams_are_up_to_date(tmp_path):
    from docs.generate import draw_all

    draw_all(tmp_path)
    stale = [p.name for p in tmp_path.iterdir() if p.read_bytes() != (DOCS / "diagrams" / p.name).read_bytes()]
    assert not stale, "`make diagrams` renews them"


# --------------------------------------------------------------------------------------------------- docstrings

PUBLIC = [(module, public) for module in (keras_inception, export) for public in module.__all__]


@pytest.mark.parametrize(("module", "public"), PUBLIC, ids=[f"{m.__name__}.{p}" for m, p in PUBLIC])
def test_public_names_are_described(module, public: str):
    thing = getattr(module, public)
    if not callable(thing):
        return
    text = inspect.getdoc(thing) or ""
    assert len(text) > 40
    assert not text.startswith(f"{public}("), "a dataclass without a docstring of its own"
    if inspect.isfunction(thing) and len(parameters := inspect.signature(thing).parameters) > 1:
        read = "".join(read_with(module, public, set()))
        silent = [p for p in parameters if not re.search(rf"\b{p}\b", read)]
        assert not silent, f"{public} does not say what these are: {silent}"


def read_with(module, public: str, seen: set[str]) -> set[str]:
    """A docstring, and those of the public functions that it refers to."""
    seen.add(public)
    text = inspect.getdoc(getattr(module, public)) or ""
    others = {other for other in re.findall(r"`(\w+)`", text) if other in module.__all__} - seen
    return {text}.union(*(read_with(module, other, seen) for other in others))


@pytest.mark.parametrize("architecture", architectures(), ids=lambda a: a.name)
def test_builders_cite_their_paper_and_say_what_they_take(architecture):
    text = inspect.getdoc(architecture.build)
    paper = architecture.paper
    assert all(part in text for part in (paper.authors, str(paper.year), paper.title, paper.url))
    assert "x".join(map(str, architecture.input_shape[:2])) in text.replace(" x ", "x")
    assert all(section in text for section in ("Args:", "Returns:", "Raises:", "float32", "pixels"))
    assert all(re.search(rf"\b{own}\b", text) for own in architecture.own)


def test_examples_in_docstrings_run():
    modules = [importlib.import_module(f"keras_inception.{m}") for m in module_names()]
    results = [doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE) for module in modules]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


def module_names() -> list[str]:
    found = pkgutil.walk_packages(keras_inception.__path__, prefix="")
    return [module.name for module in found if not module.name.startswith("__")]


# ------------------------------------------------------------------------------------------------------- the site


def test_the_site_builds_without_a_warning(tmp_path):
    """As `make docs` builds it, in a separate process."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    reference = (tmp_path / "api" / "networks.html").read_text(encoding="utf-8")
    assert [a.builder for a in architectures() if f'id="keras_inception.{a.builder}"' not in reference] == []
