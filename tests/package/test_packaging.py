"""What the wheel contains, and what `make help` lists."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_listed() -> None:
    """The list is kept by hand: setuptools' discovery does not know that `export/` is `keras_inception.export`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = [
        p.parent.relative_to(ROOT).parts
        for top in ("keras_inception", "export")
        for p in (ROOT / top).rglob("__init__.py")
    ]
    there = {".".join(parts if parts[0] != "export" else ("keras_inception", *parts)) for parts in found}
    assert set(project["tool"]["setuptools"]["packages"]) == there


def test_make_help_describes_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)
    assert set(re.findall(r"^([a-z0-9-]+):.*## ", text, re.MULTILINE)) == set(phony.split())
