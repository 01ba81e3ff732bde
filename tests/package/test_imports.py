"""The arrows of the design: who imports whom, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, EXPORT = ROOT / "keras_inception", ROOT / "export"

# The rooms, from the ground floor up: a module imports from its own room, its own floor and the floors below.
FLOORS = [
    {"backend", "errors", "files", "hub", "terminal", "transport"},
    {"arguments", "facts", "layers", "model_graph", "outputs", "preprocessing"},
    {"callbacks", "data", "weights"},
    {"builder", "licences", "registry"},
    {"models"},
    {"analysis"},
    {"backbones", "diagram", "evaluation", "run"},
    {"report", "sharing"},
    {"training"},
    {"early_exit", "export"},
    {"cli"},
    {"__main__"},
]
APART = FLOORS[2]  # rooms that know nothing of each other, though they are on one floor
NEUTRAL = FLOORS[0] | {"backbones", "layers", "outputs", "model_graph", "registry", "builder", "callbacks", "models"}
NEUTRAL_TOO = "keras_inception.analysis.boxes", "keras_inception.analysis.cost"
PRIVATE = re.compile(r"\b(_keras_history|_inbound_nodes|_outbound_nodes|keras_tensors|fill_in|_run_through_graph)\b")


def module_of(path: Path) -> str:
    """ "keras_inception.data.folders"; a folder is the module in its `__init__.py`."""
    parts = (
        ["export", *path.relative_to(EXPORT).parts] if path.is_relative_to(EXPORT) else path.relative_to(PACKAGE).parts
    )
    return ".".join(["keras_inception", *parts]).removesuffix(".py").removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted([*PACKAGE.rglob("*.py"), *EXPORT.rglob("*.py")])}


def room_of(module: str) -> str:
    """The room of a module, "data"; of the package itself ""."""
    return module.partition(".")[2].partition(".")[0]


def floor(room: str) -> int:
    found = [i for i, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"{room} is on no floor: give it its place in FLOORS"
    return found[0]


def imported(node: ast.AST, module: str) -> Iterator[str]:
    """Full names of what a statement imports, "keras_inception.layers.Conv"."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
        base = package[: len(package) + 1 - node.level] if node.level else []
        yield from (".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names)


def imports(module: str) -> list[str]:
    """At any depth, so within functions too."""
    return [name for node in ast.walk(ast.parse(FILES[module].read_text())) for name in imported(node, module)]


def own_modules(module: str) -> set[str]:
    """The package's modules that a module imports; a name of a module is that module."""
    found = set()
    for name in imports(module):
        while name.startswith("keras_inception") and name not in FILES:
            name = name.rpartition(".")[0]
        found |= {name} & set(FILES)
    return found - {module}


GRAPH = {module: own_modules(module) for module in FILES}


@pytest.mark.parametrize("module", FILES)
def test_arrows(module: str) -> None:
    rooms = {room_of(other) for other in GRAPH[module]}
    if module == "keras_inception":
        assert not rooms & {"cli", "__main__"}
        return
    here = floor(room_of(module))
    apart = APART - {room_of(module)} if room_of(module) in APART else set()
    wrong = sorted(room or "the package" for room in rooms if not room or floor(room) > here or room in apart)
    assert not wrong, f"{module} must not import {', '.join(wrong)}"


def test_no_circles() -> None:
    """Between modules of one room or floor, where the floors allow any arrow. The package itself imports lazily."""
    left = {module: others - {"keras_inception"} for module, others in GRAPH.items() if module != "keras_inception"}
    while done := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in done}
    while done := left.keys() - set().union(*left.values()):  # what only leads to a circle is not of it
        left = {module: others for module, others in left.items() if module not in done}
    assert not left, f"modules import each other in a circle: {', '.join(sorted(left))}"


@pytest.mark.parametrize("module", [module for module in FILES if room_of(module) == "cli"])
def test_the_command_line_imports_tensorflow_only_when_it_is_asked_to(module: str) -> None:
    """`keras-inception --help` does not wait for it, nor for converters."""
    at_start = [name for node in ast.parse(FILES[module].read_text()).body for name in imported(node, module)]
    slow = re.compile(r"(keras_inception\.export|tensorflow|keras)(\.|$)")
    assert not list(filter(slow.match, at_start))


@pytest.mark.parametrize("module", [module for module in FILES if room_of(module) in NEUTRAL or module in NEUTRAL_TOO])
def test_networks_are_backend_neutral(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(module)}
    assert not roots & {"tensorflow", "torch", "jax", "tf_keras"}


@pytest.mark.parametrize("module", FILES)
def test_nobody_imports_keras_private_modules(module: str) -> None:
    assert not [name for name in imports(module) if name.startswith("keras.src")]


def test_one_module_knows_keras_private_graph() -> None:
    """An update of Keras that changes it changes one file."""
    knowing = {module for module, path in FILES.items() if PRIVATE.search(path.read_text())}
    assert knowing == {"keras_inception.model_graph"}
