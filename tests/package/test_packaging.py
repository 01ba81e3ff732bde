"""What a wheel would contain."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_listed() -> None:
    """setuptools' discovery does not know that `export/` is `keras_inception.export`, so the list is kept by hand."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = [
        p.parent.relative_to(ROOT).parts
        for top in ("keras_inception", "export")
        for p in (ROOT / top).rglob("__init__.py")
    ]
    there = {".".join(parts if parts[0] != "export" else ("keras_inception", *parts)) for parts in found}
    assert set(project["tool"]["setuptools"]["packages"]) == there
