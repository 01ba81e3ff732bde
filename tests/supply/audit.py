"""Look for known vulnerabilities in pinned requirements without a network: pip-audit on a given database.

    python -m tests.supply.audit advisories.zip --pip-audit .venv-supply/bin/pip-audit requirements-dev.lock

pip-audit has no database of its own: it asks a service for the advisories of each package and version. A server on the
loopback interface answers it from records in OSV's format (https://ossf.github.io/osv-schema): a .zip, as OSV publishes
one for PyPI, a folder of .json files, or one .json file. The exit code is pip-audit's: 1 if it finds anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeAlias

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..server import answering

Record: TypeAlias = dict[str, Any]
Database: TypeAlias = dict[str, list[Record]]  # the records about each package

ROOT = Path(__file__).parents[2]


def read(path: Path) -> Database:
    """The records about packages of PyPI that are not withdrawn."""
    found: Database = {}
    for text in texts(path):
        record = json.loads(text)
        if record.get("withdrawn"):
            continue
        for name in {canonicalize_name(a["package"]["name"]) for a in of_pypi(record)}:
            found.setdefault(name, []).append(record)
    return found


def texts(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        yield from (file.read_bytes() for file in sorted(path.glob("**/*.json")))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist() if name.endswith(".json"))
    else:
        yield path.read_bytes()


def of_pypi(record: Record) -> list[Record]:
    return [a for a in record.get("affected", []) if a.get("package", {}).get("ecosystem") == "PyPI"]


def affects(record: Record, name: str, version: str) -> bool:
    """Whether a record lists the version, or has it in a range."""
    return any(
        version in affected.get("versions", []) or any(within(r, version) for r in affected.get("ranges", []))
        for affected in of_pypi(record)
        if canonicalize_name(affected["package"]["name"]) == name
    )


def within(bounds: Record, version: str) -> bool:
    """Whether the last event up to a version, in a range of versions, is an introduction."""
    if bounds.get("type") != "ECOSYSTEM":
        return False
    events = [(kind, text) for event in bounds["events"] for kind, text in event.items()]
    inside, wanted = False, Version(version)
    try:
        for kind, text in sorted(events, key=lambda event: Version(event[1])):
            match kind:
                case "introduced" if Version(text) <= wanted:
                    inside = True
                case "fixed" if Version(text) <= wanted:
                    inside = False
                case "last_affected" if Version(text) < wanted:
                    inside = False
    except InvalidVersion:  # some old record's: rather found than missed
        return True
    return inside


@contextmanager
def serving(database: Database) -> Iterator[str]:
    """Answer OSV's query on the loopback interface within the block: its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = canonicalize_name(query["package"]["name"]), query["version"]
            found = [record for record in database.get(name, []) if affects(record, name, version)]
            answer = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """One line for each package says nothing."""

    with answering(Handler) as address:
        yield f"{address}/v1/query"


def audit(database: Database, requirements: Path, pip_audit: str) -> int:
    """Run pip-audit on a file of pins with hashes: its exit code."""
    with serving(database) as address:
        command = [pip_audit, "--vulnerability-service", "osv", "--osv-url", address, "--progress-spinner", "off"]
        command += ["--require-hashes", "--disable-pip", "--requirement", str(requirements)]
        return subprocess.run(command, env=os.environ | {"NO_PROXY": "127.0.0.1"}, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.supply.audit", description=__doc__.splitlines()[0])
    parser.add_argument("database", type=Path, help="advisories in OSV's format: a .zip, a folder or a .json file")
    parser.add_argument("requirements", type=Path, help="pins with hashes")
    parser.add_argument("--pip-audit", required=True, help="the pip-audit to run")
    arguments = parser.parse_args()
    if not arguments.database.exists():
        sys.exit(f"{arguments.database} does not exist: download OSV's database of PyPI, or give ADVISORIES=FILE")
    database = read(arguments.database)
    if not database:
        sys.exit(f"{arguments.database} has no advisory about a package of PyPI: nothing could be found with it")
    print(f"{sum(map(len, database.values())):,} advisories about {len(database):,} packages", file=sys.stderr)
    sys.exit(audit(database, arguments.requirements, arguments.pip_audit))


if __name__ == "__main__":
    main()
