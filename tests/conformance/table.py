"""A table that takes hours: one row per network, measured in a process of its own and written at once.

The table is a Markdown file beside its module. A row that is ok and was measured with the same versions is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from keras_inception.registry import Architecture, architectures

from ..markdown import lines_of, rows_in
from .networks import SLOW_TO_BUILD

Row: TypeAlias = dict[str, Any]

LIMIT = 3600  # seconds per row


def every_network() -> dict[str, Architecture]:
    """The registry, the smallest networks first."""
    return {a.name: a for a in sorted(architectures(), key=lambda a: (a.name in SLOW_TO_BUILD, a.parameters or 0))}


@dataclass(frozen=True, kw_only=True)
class Table:
    """`columns` are the figures of a row, between its name and its seconds; `notes` explain them.

    The row of a network that could not be measured has the reason in its last column. `networks` are measured in their
    order, by default the registry's; they may be anything else that has a row, whose names have then the title `key`.
    `machine` is given where figures depend on it: rows of other machines are measured again.
    """

    module: str
    path: Path
    title: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    packages: tuple[str, ...]
    measure: Callable[[Any], Row]
    networks: Mapping[str, Any] = field(default_factory=every_network)
    key: str = "network"
    machine: str = ""

    def main(self) -> None:
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=self.title)
        parser.add_argument(
            "names", nargs="*", metavar=self.key, help="by default all that are missing, the smallest first"
        )
        parser.add_argument("--row", action="store_true", help="measure one of them in this process and print its row")
        arguments = parser.parse_args()
        if arguments.row:
            started, [name] = time.monotonic(), arguments.names
            row = {self.key: name} | self.measure(self.networks[name])
            print(json.dumps(row | {"s": round(time.monotonic() - started)}))
            return
        for name in arguments.names or self.networks:
            if not arguments.names and name in {row[self.key] for row in self.read() if row["ok"] == "yes"}:
                continue
            row = self.run(name)
            # Read again: another process may have written.
            others = [other for other in self.read() if other[self.key] != name]
            self.write([*others, row])
            print(json.dumps(row), flush=True)
        if bad := [row[self.key] for row in self.read() if row["ok"] != "yes"]:
            sys.exit(f"not ok: {', '.join(bad)}")

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (self.key, *self.columns, "s", "ok")

    @property
    def versions(self) -> str:
        versions = ", ".join(f"{package} {version(package)}" for package in self.packages)
        return f"{versions}; {self.machine}" if self.machine else versions

    def run(self, name: str) -> Row:
        """A row, measured in another process."""
        try:
            command = [sys.executable, "-m", self.module, "--row", name]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            reason = f"not done after {LIMIT} s"
        else:
            if not done.returncode:
                return json.loads(done.stdout.splitlines()[-1])
            errors = re.findall(r"^[\w.]+(?:Error|Exception): .+", done.stderr, re.MULTILINE)
            reason = errors[-1][:200].replace("|", "/") if errors else f"ended with {done.returncode}"
        return dict.fromkeys(self.all_columns, "") | {self.key: name, "ok": reason}

    def read(self) -> list[Row]:
        """The rows, if they were measured with these versions, and on such a machine."""
        if not self.path.exists() or self.versions not in (text := self.path.read_text(encoding="utf-8")):
            return []
        return rows_in(text, self.all_columns)

    def write(self, rows: Iterable[Row]) -> None:
        rows = sorted(rows, key=lambda row: row[self.key])
        good = sum(row["ok"] == "yes" for row in rows)
        shown = [{column: _cell(row[column]) for column in self.all_columns} for row in rows]
        missing = len(self.networks) - len(rows)
        lines = [
            f"# {self.title}",
            "",
            f"{good} of {len(rows)} ok, {missing} not measured. {date.today()}; {self.versions}.",
            "",
            *self.notes,
            "",
            *lines_of(shown, self.all_columns, words=(self.key, "ok")),
        ]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.1e}"
    return str(value)
