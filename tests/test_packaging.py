"""What a wheel would contain."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_listed() -> None:
    """setuptools' discovery does not know that `export/` is `keras_inception.export`, so the list is kept by hand."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    there = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "keras_inception").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == there | {"keras_inception.export"}
