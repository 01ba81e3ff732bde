"""The table of versions: what it is made from, and that it is of what pyproject requires now."""

import re
import tomllib

from . import versions

REPORT = """<testsuites><testsuite><testcase classname="tests.export.test_x" name="test_a"/>
<testcase classname="tests.export.test_x" name="test_b[1]"><failure message="no"/></testcase>
<testcase classname="tests.export.test_x" name="test_c"><error message="no"/></testcase>
<testcase classname="tests.export.test_x" name="test_d"><skipped message="no"/></testcase></testsuite></testsuites>"""


def test_results_are_read_from_the_report(tmp_path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    found, failed = versions.results(tmp_path / "report.xml")
    assert found == {"passed": 1, "failed": 2, "skipped": 1}
    assert failed == ["test_x::test_b[1]", "test_x::test_c"]


def test_a_table_of_other_requirements_is_measured_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(versions, "TABLE", tmp_path / "versions.md")
    row = dict.fromkeys(versions.COLUMNS, "1") | {"environment": "3.11-lowest", "ok": "yes"}
    versions.write([row])
    assert versions.read() == [row]
    monkeypatch.setattr(versions, "ranges", lambda: "`keras>=4`")
    assert versions.read() == []


def test_the_pythons_are_those_of_pyproject() -> None:
    project = tomllib.loads((versions.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = [re.search(r":: (3\.\d+)$", classifier) for classifier in project["classifiers"]]
    assert {environment.python for environment in versions.ENVIRONMENTS.values()} == {m[1] for m in stated if m}


def test_the_fast_subset_exists() -> None:
    lines = (versions.ROOT / versions.TESTS).read_text(encoding="utf-8").splitlines()
    files = [line for line in lines if line.startswith("tests/")]
    assert files
    assert [file for file in files if not (versions.ROOT / file).is_file()] == []


def test_the_table_is_of_the_requirements_of_today() -> None:
    assert versions.read(), "run `make matrix`"
