"""The arrows of the design: who imports whom, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, EXPORT = ROOT / "keras_inception", ROOT / "export"

# From the bottom up: a module imports from lower levels only. What is not listed stands on MODELS, below the command
# line; there, and among models, neighbours may import each other.
LEVELS = [
    {"errors", "quiet"},
    {"layers", "preprocessing", "layout"},
    {"graph", "run", "page", "data", "weights"},
    {"cost", "registry"},
    {"models"},
    set(),  # training, report, info, diagram, recipes, ...
    {"export"},
    {"public", "cli"},
    {"__main__"},
]
MODELS, LIBRARY = 4, 5
NEIGHBOURLY = {MODELS, LIBRARY, LEVELS.index({"export"})}


def level(module: str) -> int:
    return next((i for i, modules in enumerate(LEVELS) if module in modules), LIBRARY)


def files() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *EXPORT.rglob("*.py")])


def module_of(path: Path) -> str:
    """The module of the package, or its subpackage as a whole, that a file belongs to."""
    if path.is_relative_to(EXPORT):
        return "export"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Full names of what a statement imports, "keras_inception.layers.Conv"."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = ["keras_inception", *(["export"] if path.is_relative_to(EXPORT) else [])]
        package += path.relative_to(EXPORT if path.is_relative_to(EXPORT) else PACKAGE).parts[:-1]
        base = package[: len(package) + 1 - node.level] if node.level else []
        yield from (".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names)


def imports(path: Path) -> list[str]:
    return [name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node, path)]


def own_modules(path: Path) -> set[str]:
    """The package's modules that a file imports, at any depth."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("keras_inception.")}
    known = {module_of(file) for file in files()}
    return {name if name in known else "__init__" for name in names}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    module = module_of(path)
    if module == "__init__":
        assert not own_modules(path) & {"cli", "export", "__main__"}
        return
    here = level(module)
    wrong = {
        other
        for other in own_modules(path) - {module}
        if other == "__init__" or not (level(other) < here or (level(other) == here and here in NEIGHBOURLY))
    }
    assert not wrong, f"{module} must not import {', '.join(sorted(wrong))}"


def test_the_command_line_imports_export_only_when_it_is_asked_to() -> None:
    """Export pulls in converters; `keras-inception --help` waits for none of them."""
    path = PACKAGE / "cli.py"
    at_start = [name for node in ast.parse(path.read_text()).body for name in imported(node, path)]
    assert not [name for name in at_start if name.startswith(("keras_inception.export", "tensorflow", "keras."))]
    assert "keras" not in at_start


@pytest.mark.parametrize("name", ["layers.py", "registry.py", "graph.py", "cost.py", "models"])
def test_networks_are_backend_neutral(name: str) -> None:
    path = PACKAGE / name
    for file in path.rglob("*.py") if path.is_dir() else [path]:
        roots = {imported_name.split(".")[0] for imported_name in imports(file)}
        assert not roots & {"tensorflow", "torch", "jax", "tf_keras"}, file.name


def test_nobody_imports_keras_private_modules() -> None:
    for file in files():
        assert not [name for name in imports(file) if name.startswith("keras.src")], file.name
