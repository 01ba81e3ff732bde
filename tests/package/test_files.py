"""Files are complete or absent, whatever ends the writer and however many processes write."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from keras_inception import InputError, files
from keras_inception.files import discard, locked, new_output, uninterrupted, write_file


@pytest.fixture
def python():
    """Start processes with the file functions at hand."""
    processes = []

    def start(code: str, *arguments: object) -> subprocess.Popen:
        imports = "import sys, time; from pathlib import Path; from keras_inception.files import *\n"
        command = [sys.executable, "-c", imports + code, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def succeeds(process: subprocess.Popen) -> None:
    assert process.wait(60) == 0, process.stderr.read()


def said(process: subprocess.Popen, line: str) -> None:
    assert process.stdout.readline() == f"{line}\n", process.stderr.read()


def last_line(process: subprocess.Popen) -> str:
    return process.stderr.read().strip().splitlines()[-1]


def is_any(path: Path) -> bool:
    return True


def output(path: Path, **options):
    return new_output(path, **({"overwrite": True, "kind": "folder", "is_kind": is_any} | options))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------------------- write_file


def test_a_file_is_replaced_whole(tmp_path) -> None:
    path = tmp_path / "state.json"
    write_file(path, lambda part: part.write_text("1"))

    def breaks(part: Path) -> None:
        part.write_text("2")
        assert path.read_text() == "1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, breaks)
    assert path.read_text() == "1"
    assert names(tmp_path) == ["state.json"]


def test_writers_of_one_file_have_parts_of_their_own_with_its_ending(tmp_path) -> None:
    path, parts = tmp_path / "model.weights.h5", []

    def write(part: Path) -> None:
        parts.append(part)
        part.write_text(str(len(parts)))
        if len(parts) == 1:
            write_file(path, write)  # another process, meanwhile
            assert path.read_text() == "2"

    write_file(path, write)
    assert path.read_text() == "1"
    assert len(set(parts)) == 2
    assert all(part.name.endswith(".weights.h5") and part.name.startswith(".") for part in parts)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    events = []
    monkeypatch.setattr(os, "fsync", lambda file: events.append(os.fstat(file).st_ino))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("renamed"), replace(self, to)))
    write_file(tmp_path / "a", lambda part: part.write_text("1"))
    assert events == [(tmp_path / "a").stat().st_ino, "renamed"]


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.ENOSPC, True)])
def test_a_file_system_without_fsync(tmp_path, monkeypatch, number, raises) -> None:
    def fails(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    path = tmp_path / "a"
    with pytest.raises(OSError, match="No space") if raises else nullcontext():
        write_file(path, lambda part: part.write_text("1"))
    assert names(tmp_path) == ([] if raises else ["a"])


def test_an_error_names_the_file_that_was_asked_for(tmp_path) -> None:
    with pytest.raises(OSError, match="No such file") as raised:
        write_file(tmp_path / "missing" / "a", lambda part: part.write_text("1"))
    assert raised.value.filename == str(tmp_path / "missing" / "a")


def test_a_discarded_file_is_empty_before_it_is_deleted(tmp_path, monkeypatch) -> None:
    """Google Drive moves deleted files to its bin, where their bytes count."""
    sizes, unlink = [], Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, **kw: (sizes.append(self.exists() and self.stat().st_size), unlink(self, **kw))
    )
    (tmp_path / "a").write_text("a checkpoint")
    (tmp_path / "b").write_text("another")
    os.link(tmp_path / "b", tmp_path / "copy")
    for name in "abc":
        discard(tmp_path / name)
    assert sizes == [0, 7, False]
    assert names(tmp_path) == ["copy"]
    assert (tmp_path / "copy").read_text() == "another"


def test_ctrl_c_waits_for_an_archive_and_for_nothing_else(tmp_path) -> None:
    """Raised within a zip it would come out as an error of the zip's."""

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as archive, archive.open("member", "w") as member:
            member.write(b"1")
            signal.raise_signal(signal.SIGINT)
            member.write(b"2")

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a.npz", write)
    assert zipfile.ZipFile(tmp_path / "a.npz").read("member") == b"12"

    def compute(part: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("Ctrl-C had to wait")

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a.npy", compute)
    assert names(tmp_path) == ["a.npz"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_uninterrupted_in_another_thread_leaves_signals_alone() -> None:
    seen = []

    def block() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_processes_that_write_one_file_leave_one_of_theirs(python, tmp_path) -> None:
    path = tmp_path / "file.txt"
    code = """
path, letter = Path(sys.argv[1]), sys.argv[2]
for _ in range(40):
    write_file(path, lambda part: part.write_text(letter * 100_000))
    assert len(set(path.read_text())) == 1 and path.stat().st_size == 100_000
"""
    processes = [python(code, path, letter) for letter in "abc"]
    for process in processes:
        succeeds(process)
    assert names(tmp_path) == ["file.txt"]


# -------------------------------------------------------------------------------------------------------------- locked


def test_a_lock_is_refused_in_a_line_that_names_who_has_it(python, tmp_path) -> None:
    path = tmp_path / "runs"
    code = "with locked(Path(sys.argv[1])): print('has it', flush=True); time.sleep(30)"
    holder = python(code, path)
    said(holder, "has it")
    for _ in range(2):  # asking does not wipe out the name
        with pytest.raises(InputError) as error, locked(path, "training into", wait=False):
            pytest.fail("two have it")
        host = os.uname().nodename
        assert str(error.value).startswith(f"process {holder.pid} on {host} is training into {path}: ")
        assert "\n" not in str(error.value)
    holder.kill()  # what is left of it is no lock
    holder.wait(20)
    with locked(path, wait=False):
        assert names(tmp_path) == [".runs.lock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_remarked_on(tmp_path, monkeypatch, capsys, number) -> None:
    import fcntl

    def fails(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fails)
    with locked(tmp_path / "run", wait=False):
        assert names(tmp_path) == []
    assert "is on a file system without locks" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_a_folder_that_is_mounted_where_nothing_can_be_written(tmp_path, monkeypatch) -> None:
    """Its lock is inside; so it is of the working directory, whose path has no name."""
    monkeypatch.setattr(files.os, "access", lambda path, mode: Path(path) != tmp_path.parent)
    monkeypatch.chdir(tmp_path)
    with locked(Path()):
        assert names(tmp_path) == [".lock"]
        with pytest.raises(InputError, match="is writing"), locked(tmp_path, wait=False):
            pytest.fail("two have it")
    assert names(tmp_path) == []


def test_who_waits_says_for_whom(python, tmp_path, capsys) -> None:
    code = "with locked(Path(sys.argv[1])): print('has it', flush=True); time.sleep(0.5); Path(sys.argv[1]).touch()"
    holder = python(code, tmp_path / "a")
    said(holder, "has it")
    with locked(tmp_path / "a", "computing"):
        assert (tmp_path / "a").exists()
    assert capsys.readouterr().err.startswith(f"process {holder.pid} on ")
    succeeds(holder)


def test_processes_count_together(python, tmp_path) -> None:
    """Read, add, write: without the lock, or with one that is lost when its file is removed, counts are lost."""
    code = """
path = Path(sys.argv[1])
for _ in range(25):
    with locked(path):
        count = int(path.read_text()) if path.exists() else 0
        time.sleep(0.001)
        path.write_text(str(count + 1))
"""
    processes = [python(code, tmp_path / "count") for _ in range(4)]
    for process in processes:
        succeeds(process)
    assert (tmp_path / "count").read_text() == "100"
    assert names(tmp_path) == ["count"]


# ---------------------------------------------------------------------------------------------------------- new_output


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


class Killed(BaseException):
    pass


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Killed, OSError])
def test_an_interruption_between_the_two_renames_loses_neither_folder(tmp_path, monkeypatch, interruption) -> None:
    path = folder_with(tmp_path / "saved", "old")
    rename = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target == path:
            assert not path.exists()  # the old one is out of the way
            raise interruption
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(InputError if interruption is OSError else interruption), output(path) as part:
        folder_with(part, "new")
    assert (path / "file").read_text() == "old"
    assert names(tmp_path) == ["saved"]


def test_ctrl_c_during_the_renames_comes_after_them(tmp_path, monkeypatch) -> None:
    path = folder_with(tmp_path / "saved", "old")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), output(path) as part:
        folder_with(part, "new")
    assert (path / "file").read_text() == "new"
    assert names(tmp_path) == ["saved"]


def test_what_cannot_be_replaced_stays(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists: give another path"), output(path, overwrite=False):
        pass
    with pytest.raises(InputError, match="is not a folder, so it is not replaced"), output(path, is_kind=Path.is_dir):
        pass
    with pytest.raises(InputError, match=f"{path} is not a folder"), output(path / "below"):
        pass
    with pytest.raises(ValueError, match="broken"), output(tmp_path / "a" / "b" / "c"):
        raise ValueError("broken")
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "mine"


def test_two_processes_with_one_target(python, tmp_path) -> None:
    path = tmp_path / "made" / "saved"
    code = """
target = dict(overwrite=True, kind="folder", is_kind=Path.is_dir)
with new_output(Path(sys.argv[1]), **target) as part:
    part.mkdir()
    (part / "file").write_text(sys.argv[2])
    print("writes", flush=True)
    while not Path(sys.argv[3]).exists():
        time.sleep(0.01)
"""
    end = tmp_path / "end"
    first = python(code, path, "first", end)
    said(first, "writes")
    second = python(code, path, "second", end)
    assert second.wait(20) == 1
    end.touch()
    line = last_line(second)
    assert f"process {first.pid} on " in line
    assert f"is writing {path}" in line
    succeeds(first)
    assert (path / "file").read_text() == "first"
    assert names(path.parent) == ["saved"]


def test_a_killed_writer_does_no_harm(python, tmp_path) -> None:
    path = folder_with(tmp_path / "saved", "old")
    code = """
target = dict(overwrite=True, kind="folder", is_kind=Path.is_dir)
with new_output(Path(sys.argv[1]), **target) as part:
    print("writes", flush=True)
    time.sleep(30)
"""
    killed = python(code, path)
    said(killed, "writes")
    killed.kill()
    killed.wait(20)
    assert (path / "file").read_text() == "old"
    with output(path) as part:
        folder_with(part, "new")
    assert (path / "file").read_text() == "new"


@pytest.mark.parametrize("silenced", [False, True])
def test_ctrl_c_ends_a_long_export(python, tmp_path, silenced) -> None:
    code = """
from keras_inception.terminal import quiet
from contextlib import nullcontext
with new_output(Path(sys.argv[1]), overwrite=False, kind="file", is_kind=Path.is_file):
    print("computes", flush=True)
    with quiet() if int(sys.argv[2]) else nullcontext():
        time.sleep(30)
"""
    process = python(code, tmp_path / "a" / "file", int(silenced))
    said(process, "computes")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    assert process.wait(20) != 0
    assert time.monotonic() - start < 1
    assert last_line(process) == "KeyboardInterrupt"
    assert names(tmp_path) == []


def test_the_ground_floor_does_not_load_tensorflow(python) -> None:
    process = python("print([name for name in ('tensorflow', 'keras') if name in sys.modules])")
    assert process.stdout.read() == "[]\n"
