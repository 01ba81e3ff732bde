"""requirements-dev.lock: the versions of constraints.txt, the hashes of their files, and no address."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
PIN = re.compile(r"^(\S+?)==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", re.MULTILINE)
# Pinned for environments that have more than the development tools.
ELSEWHERE = {"torch"}


def locked() -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(LOCK)}


def test_it_has_pins_with_hashes_and_nothing_else() -> None:
    left = PIN.sub("", re.sub(r"^#.*$", "", LOCK, flags=re.MULTILINE)).strip()
    assert left == "", "not a pin with hashes"
    assert "://" not in LOCK


def test_it_agrees_with_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    owned = {canonicalize_name(name): version for name, version in pins.items()}
    assert {name: version for name, version in owned.items() if name not in ELSEWHERE} == locked(), "run `make lock`"


def test_it_has_what_a_developer_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    texts = [*project["project"]["dependencies"], *groups["docs"], *(t for t in groups["dev"] if isinstance(t, str))]
    for requirement in map(Requirement, texts):
        version = locked().get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not locked: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} excludes {version}"
