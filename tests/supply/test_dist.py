"""Two builds of a commit, in other folders and at another time, have the same bytes; the sdist is the repository."""

import os
import tarfile
import zipfile

import pytest

from .dist import ROOT, build, git

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an sdist has no commits to build"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("dist"))


def test_two_builds_have_the_same_bytes(built, tmp_path, monkeypatch) -> None:
    """The second with the permissions of a careful user, in another time zone; the time goes on by itself."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = os.umask(0o077)
    try:
        again = build(tmp_path / "dist")
    finally:
        os.umask(before)
    assert [path.name for path in again] == [path.name for path in built]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]


def test_an_sdist_has_every_file_of_the_repository(built) -> None:
    with tarfile.open(built[0]) as tar:
        names = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
        [owner] = {(member.uname, member.uid, member.mtime) for member in tar.getmembers()}
    tracked = set(git("ls-tree", "-r", "--name-only", "-z", "HEAD").decode().rstrip("\0").split("\0"))
    assert tracked <= names
    assert {name for name in names - tracked if not name.startswith("keras_inception.egg-info/")} == {
        "PKG-INFO",
        "setup.cfg",
    }
    assert owner == ("", 0, int(git("log", "-1", "--format=%ct")))


def test_a_wheel_has_the_package_alone(built) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"keras_inception", "keras_inception-0.1.0.dist-info"}
    for name in ("facts.json", "export/web/page/index.html", "weights/imagenet.txt", "export/phone/kit/README.md"):
        assert f"keras_inception/{name}" in names
