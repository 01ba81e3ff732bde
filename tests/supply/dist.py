"""The sdist and the wheel of a commit, with the same bytes wherever and whenever they are built.

    python -m tests.supply.dist FOLDER  # of HEAD

setuptools writes the time and the user into an sdist: it is packed again, with the commit's time. The wheel is built
from the unpacked sdist, with the installed setuptools, whose version is in it.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path, commit: str = "HEAD") -> list[Path]:
    """Build a commit of the repository into a folder: [sdist, wheel]."""
    time = git("log", "-1", "--format=%ct", commit).decode().strip()
    with tempfile.TemporaryDirectory() as made:
        tree, unpacked = Path(made, "tree"), Path(made, "sdist")
        unpack(io.BytesIO(git("archive", "--format=tar", commit)), tree)
        sdist = run(tree, "--sdist", Path(made), time)
        repack(sdist, folder / sdist.name, int(time))
        with open(folder / sdist.name, "rb") as packed:
            unpack(packed, unpacked)
        return [folder / sdist.name, run(next(unpacked.iterdir()), "--wheel", folder, time)]


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True).stdout


def unpack(packed: io.BufferedIOBase, folder: Path) -> None:
    with tarfile.open(fileobj=packed) as tar:
        tar.extractall(folder, filter="data")


def run(tree: Path, kind: str, folder: Path, time: str) -> Path:
    """Build what a tree holds, without a download: the file that was made."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", folder, tree],
        env=os.environ | {"SOURCE_DATE_EPOCH": time},
        umask=0o022,  # a wheel has the files' permissions
        check=True,
        stdout=subprocess.DEVNULL,
    )
    [made] = set(folder.iterdir()) - before
    return made


def repack(sdist: Path, to: Path, time: int) -> None:
    """Copy a .tar.gz with its members in order, as of one time and no user."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile(to, "wb", mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)


if __name__ == "__main__":
    for path in build(Path(sys.argv[1])):
        print(path)
