"""pip-audit on a database of invented advisories: the vulnerable version is found, its neighbours are not."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .audit import ROOT, affects, read

PIP_AUDIT = Path(os.environ.get("PIP_AUDIT", ROOT / ".venv-supply" / "bin" / "pip-audit"))


def advisory(name: str, *events: dict[str, str], versions: tuple[str, ...] = (), **more: object) -> dict[str, object]:
    affected = {"package": {"name": name, "ecosystem": "PyPI"}, "versions": list(versions)}
    if events:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": list(events)}]
    record = {"id": f"TEST-{name}", "modified": "2020-01-01T00:00:00Z", "summary": "invented", "affected": [affected]}
    return record | more


@pytest.mark.parametrize(
    ("events", "vulnerable", "safe"),
    [
        ([{"introduced": "0"}, {"fixed": "1.10"}], ["0.1", "1.9", "1.10rc1"], ["1.10", "2.0"]),
        ([{"introduced": "1.2"}, {"last_affected": "1.4"}], ["1.2", "1.4"], ["1.1", "1.4.1"]),
        ([{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "3.1"}], ["1.5", "3.0"], ["2.5", "3.1"]),
        ([{"introduced": "2"}], ["2.0", "99"], ["1.9"]),
        ([{"introduced": "0"}, {"fixed": "one"}], ["1.0"], []),  # a bad record is shown to a person
    ],
)
def test_ranges(events, vulnerable, safe) -> None:
    record = advisory("pkg", *events)
    assert [v for v in vulnerable + safe if affects(record, "pkg", v)] == vulnerable


def test_listed_versions_and_other_packages() -> None:
    record = advisory("Some_Pkg", versions=("1.0",))
    assert affects(record, "some-pkg", "1.0")
    assert not affects(record, "some-pkg", "1.1")
    assert not affects(record, "pkg", "1.0")


def test_a_database_is_a_zip_a_folder_or_a_file(tmp_path) -> None:
    records = [
        advisory("Some_Pkg", versions=("1.0",)),
        advisory("gone", versions=("1.0",), withdrawn="2020-01-02T00:00:00Z"),
    ]
    for record in records:
        (tmp_path / f"{record['id']}.json").write_text(json.dumps(record))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for record in records:
            packed.writestr(f"{record['id']}.json", json.dumps(record))
    for path in (tmp_path, tmp_path / "all.zip", tmp_path / "TEST-Some_Pkg.json"):
        assert read(path) == {"some-pkg": records[:1]}


def audit(database: Path, requirements: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.supply.audit", database, "--pip-audit", PIP_AUDIT, requirements]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not PIP_AUDIT.exists(), reason="pip-audit is in the environment that `make audit` makes")
def test_pip_audit_finds_a_vulnerable_version_offline(tmp_path, monkeypatch) -> None:
    """Every way out is a dead proxy; only the server on the loopback interface can answer."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    requirements, database = tmp_path / "pins.txt", tmp_path / "TEST-vulnerable.json"
    pins = ("vulnerable==1.9", "fixed==1.10")
    requirements.write_text("".join(f"{pin} --hash=sha256:{'0' * 64}\n" for pin in pins))
    database.write_text(json.dumps(advisory("vulnerable", {"introduced": "0"}, {"fixed": "1.10"})))
    found = audit(database, requirements)
    assert found.returncode == 1, found.stderr
    assert re.search(r"^vulnerable +1\.9 +TEST-vulnerable +1\.10", found.stdout, re.MULTILINE)
    assert not re.search(r"^fixed", found.stdout, re.MULTILINE)
    requirements.write_text(f"{pins[1]} --hash=sha256:{'0' * 64}\n")
    clean = audit(database, requirements)
    assert clean.returncode == 0, clean.stderr
    assert "No known vulnerabilities found" in clean.stderr


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_database_with_nothing_in_it_is_no_clean_bill(tmp_path, content) -> None:
    database = tmp_path / "all.json"
    if content:
        database.write_text(content)
    done = audit(database, tmp_path / "pins.txt")
    assert done.returncode == 1
    assert re.fullmatch(r".* (does not exist|has no advisory about a package of PyPI): .*\n", done.stderr)
