"""The fast subset of the tests on every Python, with the lowest and the highest versions that pyproject allows.

    python -m tests.conformance.versions --uv UV               # all environments that are not in the table yet
    python -m tests.conformance.versions --uv UV 3.13-highest  # these again

The tests, and the options of pytest, are the lines of versions.txt. uv chooses and installs the versions: the lowest of
each requirement ("lowest-direct"), or the highest of all. An environment is a folder below .venv-matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeAlias

from ..markdown import lines_of, rows_in

Row: TypeAlias = dict[str, str]

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_suffix(".md")
TESTS = Path(__file__).with_suffix(".txt").relative_to(ROOT)
FOLDER = ROOT / ".venv-matrix"
SHOWN = ("tensorflow", "keras", "ai-edge-litert", "numpy")
COLUMNS = ("environment", "python", *SHOWN, "passed", "failed", "skipped", "s", "date", "ok")
LIMIT = 1800  # seconds of tests in an environment
COMPILED = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # uv compiles nothing, and tests start many processes


@dataclass(frozen=True)
class Environment:
    """A Python, and how uv chooses the versions. `further` are installed in the place of what was chosen."""

    python: str
    kind: str
    options: tuple[str, ...] = ()
    further: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.python}-{self.kind}"


LOWEST = ("--resolution", "lowest-direct")
ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        *(Environment(python, "lowest", LOWEST) for python in ("3.11", "3.12", "3.13")),
        *(Environment(python, "highest") for python in ("3.11", "3.12", "3.13")),
        Environment("3.13", "nightly", further=("keras-nightly",)),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.versions", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help=f"environments; by default all missing ones of {', '.join(ENVIRONMENTS)}"
    )
    parser.add_argument("--uv", required=True, help="the uv to install with")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - ENVIRONMENTS.keys():
        parser.error(f"no environment {', '.join(sorted(unknown))}; there are {', '.join(ENVIRONMENTS)}")
    for name in arguments.names or ENVIRONMENTS:
        if not arguments.names and name in {row["environment"] for row in read() if row["ok"] == "yes"}:
            continue
        row = measure(ENVIRONMENTS[name], arguments.uv)
        write([*(other for other in read() if other["environment"] != name), row])
        print(json.dumps(row), flush=True)
    if bad := [row["environment"] for row in read() if row["ok"] != "yes"]:
        sys.exit(f"not ok: {', '.join(bad)}")


def measure(environment: Environment, uv: str) -> Row:
    """Install an environment and run the tests in it. What failed is in the last column."""
    row = dict.fromkeys(COLUMNS, "") | {"environment": environment.name, "date": str(date.today())}
    try:
        versions = install(environment, uv)
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if line.strip()), f"ended with {error.returncode}")
        return row | {"ok": f"not installed: {reason[:200]}".replace("|", "/")}
    row |= {shown: versions.get(shown) or versions.get(f"{shown}-nightly", "") for shown in SHOWN}
    row["python"] = versions["python"]
    started, report = time.monotonic(), FOLDER / f"{environment.name}.xml"
    report.unlink(missing_ok=True)
    command = [python_of(environment), "-m", "pytest", "-q", f"--junitxml={report}", f"@{TESTS}"]
    with open(report.with_suffix(".log"), "w") as log:
        try:
            subprocess.run(
                command, cwd=ROOT, env=COMPILED, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return row | {"ok": f"not done after {LIMIT} s"}
    row["s"] = str(round(time.monotonic() - started))
    if not report.exists():
        return row | {"ok": f"pytest did not run: see {report.with_suffix('.log').relative_to(ROOT)}"}
    found, failed = results(report)
    row |= {outcome: str(found[outcome]) for outcome in ("passed", "failed", "skipped")}
    return row | {"ok": ", ".join(failed).replace("|", "/") if failed else "yes" if found["passed"] else "no test ran"}


def install(environment: Environment, uv: str) -> Row:
    """Make an environment anew: its versions by package, and that of Python."""

    def run(*arguments: str) -> str:
        return subprocess.run([uv, *arguments], cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout

    env = os.environ | {"VIRTUAL_ENV": str(FOLDER / environment.name)}
    run("venv", "--clear", "--python", environment.python, env["VIRTUAL_ENV"])
    run("pip", "install", *environment.options, "--editable", ".[qat,tfds]")
    run("pip", "install", "pytest")
    for package in environment.further:
        run("pip", "uninstall", package.removesuffix("-nightly"))
        run("pip", "install", "--no-deps", "--prerelease", "allow", package)
    found = {package["name"]: package["version"] for package in json.loads(run("pip", "list", "--format", "json"))}
    python = [python_of(environment), "-c", "import platform; print(platform.python_version())"]
    return found | {"python": subprocess.run(python, check=True, capture_output=True, text=True).stdout.strip()}


def python_of(environment: Environment) -> str:
    return str(FOLDER / environment.name / "bin" / "python")


def results(report: Path) -> tuple[Counter[str], list[str]]:
    """How many tests passed, failed and were skipped, by pytest's JUnit file, and the names of those that failed."""
    found, failed = Counter[str](), []
    for case in ET.parse(report).iter("testcase"):
        kinds = {element.tag for element in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[outcome] += 1
        if outcome == "failed":
            failed.append(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
    return found, failed


def ranges() -> str:
    """What pyproject requires, which a table is valid for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return ", ".join(f"`{requirement}`" for requirement in sorted(project["dependencies"]))


def read() -> list[Row]:
    """The rows, if they were measured with these requirements."""
    if not TABLE.exists() or ranges() not in (text := TABLE.read_text(encoding="utf-8")):
        return []
    return rows_in(text, COLUMNS)


def write(rows: Iterable[Row]) -> None:
    rows = sorted(rows, key=lambda row: list(ENVIRONMENTS).index(row["environment"]))
    missing = ", ".join(name for name in ENVIRONMENTS if name not in {row["environment"] for row in rows})
    lines = [
        "# The versions that the tests pass with",
        "",
        f"{sum(row['ok'] == 'yes' for row in rows)} of {len(ENVIRONMENTS)} environments ok"
        f"{f'; not measured yet: {missing}' if missing else ''}. `make matrix` measures it: the tests that "
        f"{TESTS.name} lists, in an environment for each row. `lowest` has the lowest version of each requirement that "
        "exists for this Python, `highest` the highest of everything, `nightly` that and the nightly build of Keras.",
        "",
        f"Required: {ranges()}.",
        "",
        *lines_of(rows, COLUMNS, words=set(COLUMNS) - {"passed", "failed", "skipped", "s"}),
    ]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
