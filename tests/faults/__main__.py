"""Disturb commands, and write what was found into faults.md."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

from ..markdown import lines_of, rows_in
from .commands import CLI, COMMANDS, TRAIN, Command, Digests, pictures

PAGE = Path(__file__).with_name("faults.md")
ROOT = Path(__file__).parents[2]
MOMENTS = 20
LIMIT = 900  # seconds that a command may take on a busy machine
SMALL = 24_000_000  # bytes of the disk that is filled
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
COLUMNS = ("disturbed", "moments", "while it ran", "it ended", "the same command finishes", "same result", "at")


@dataclass
class Room:
    """A folder with what a command needs, and the process of the command."""

    command: Command
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen | None = None
    undo: Callable[[], object] = lambda: None
    given: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        environment |= self.environment | self.given
        self.process = subprocess.Popen(
            [*map(str, self.command.words)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    @property
    def out(self) -> Path:
        return self.folder / self.command.out

    def made(self) -> Digests:
        return self.command.made(self.out)


# ----------------------------------------------------------------------------------------------------------- the faults


def killed(room: Room) -> None:
    room.process.kill()


def terminated(room: Room) -> None:
    room.process.send_signal(signal.SIGTERM)


def disk_full(room: Room) -> None:
    """Its folder is a small file system of its own, and another file takes what is free."""
    ballast = room.folder / "ballast"
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    room.undo = ballast.unlink


def read_only(room: Room) -> None:
    """The folder into which it writes takes no file, of root's neither."""
    folder = room.out if room.out.is_dir() else room.folder
    subprocess.run(["chattr", "+i", str(folder)], check=True)
    room.undo = lambda: subprocess.run(["chattr", "-i", str(folder)], check=True)


def clock_moved(room: Room) -> None:
    """It is the day before."""
    (room.folder / "clock").write_text("-1d\n")


def image_gone(room: Room) -> None:
    image = random.choice(sorted((room.folder / room.command.reads).rglob("*.png")))
    hidden = room.folder / "hidden.png"
    image.rename(hidden)
    room.undo = lambda: hidden.rename(image)


def image_cut(room: Room) -> None:
    image = random.choice(sorted((room.folder / room.command.reads).rglob("*.png")))
    content, times = image.read_bytes(), image.stat()
    image.write_bytes(content[:200])

    def whole() -> None:
        image.write_bytes(content)
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))

    room.undo = whole


FAULTS: dict[str, Callable[[Room], None]] = {
    "killed": killed,
    "terminated": terminated,
    "disk full": disk_full,
    "folder read-only": read_only,
    "clock moved": clock_moved,
    "image gone": image_gone,
    "image cut": image_cut,
}
ON_IMAGES = ("image gone", "image cut")
ROWS = [f"{name} / {fault}" for name, c in COMMANDS.items() for fault in FAULTS if c.reads or fault not in ON_IMAGES]


def lacks(fault: str) -> str:
    """What a fault needs that is not here."""
    if fault in ("disk full", "folder read-only") and os.geteuid():
        return "needs root"
    return "needs libfaketime" if fault == "clock moved" and not FAKETIME.exists() else ""


# ---------------------------------------------------------------------------------------------------------- the trials


def measure(row: str, moments: int, base: Path) -> dict[str, str]:
    """Disturb a command at so many moments while it runs, from the first file that it writes on."""
    name, _, fault = row.partition(" / ")
    command = COMMANDS[name]
    if reason := lacks(fault):
        return dict.fromkeys(COLUMNS, "") | {"disturbed": row, "it ended": reason}
    with tempfile.TemporaryDirectory() as folder, command.environment() as environment:
        room = _room(command, base, Path(folder) / "undisturbed", environment)
        first, whole = _undisturbed(room)
        wanted = room.made()
    random.seed(row)
    found: Counter[str] = Counter()
    trials = ran = 0
    while found["ran"] < moments and trials < 2 * moments:  # no two runs take the same time
        moment = first + (whole - first) * (trials % moments + random.random()) / moments
        trials += 1
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            environment = stack.enter_context(command.environment())
            if fault == "disk full":
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=True)
                stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
            room = _room(command, base, Path(folder) / "room", environment)
            if fault == "clock moved":
                (room.folder / "clock").write_text("+0d\n")
                room.given = {
                    "LD_PRELOAD": str(FAKETIME),
                    "FAKETIME_TIMESTAMP_FILE": str(room.folder / "clock"),
                    "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }
            found += _trial(room, FAULTS[fault], moment, wanted)
        if found["ran"] == ran:  # faster than the one that nothing disturbed
            whole = first + 0.9 * (whole - first)
        ran = found["ran"]
        print(f"{row}: {trials}: {dict(found)}", flush=True)
    stages = ", ".join(f"{found[s]} {s[3:]}" for s in found if s.startswith("at "))
    return {
        "disturbed": row,
        "moments": str(trials),
        "while it ran": str(found["ran"]),
        "it ended": ", ".join(f"{found[end]} {end[4:]}" for end in sorted(found) if end.startswith("end ")),
        "the same command finishes": str(found["finished"]),
        "same result": str(found["same"]),
        "at": stages,
    }


def _room(command: Command, base: Path, folder: Path, environment: dict[str, str]) -> Room:
    shutil.copytree(base, folder, copy_function=shutil.copy2)
    home = environment.get("KERAS_INCEPTION_HOME", "home")  # caches of its own
    return Room(command, folder, environment | {"KERAS_INCEPTION_HOME": str(folder / home)})


def _undisturbed(room: Room) -> tuple[float, float]:
    """The seconds until a command writes its first file, and until its end."""
    before, began = _files(room.folder), time.monotonic()
    process, first = room.start(), None
    while process.poll() is None:
        if first is None and _files(room.folder) != before:
            first = time.monotonic() - began
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"undisturbed, it ends with {process.returncode}: {process.stderr.read()[-2000:]}")
    whole = time.monotonic() - began
    return (first if first is not None else whole / 2), whole


def _files(folder: Path) -> set[Path]:
    return {*folder.glob("*"), *folder.glob("*/*")}


def _trial(room: Room, disturb: Callable[[Room], None], moment: float, wanted: Digests) -> Counter[str]:
    """One disturbance: what became of the command, of its result, and of the same command after it."""
    found: Counter[str] = Counter()
    process = room.start()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        found["ran"] += 1
        if stage := room.command.phase(room.out):
            found[f"at {stage}"] += 1
    disturb(room)
    try:
        _, said = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said, found["end by a hang"] = "", 1
    code = process.returncode
    lines = [line for line in said.splitlines() if line.strip()]
    if "Traceback" in said:
        found["end with a traceback"] += 1
        print(said[-3000:], flush=True)
    elif code == 0:
        found["end well"] += 1
    elif code < 0:
        found["end killed"] += 1
    else:
        found["end with a line"] += 1
        print(f"    {lines[-1][:160] if lines else code}", flush=True)
    room.undo()
    again = room.start() if code or "Traceback" in said else None
    if again is not None:
        _, said = again.communicate(timeout=LIMIT)
        # After its last step a command has made what it refuses to write again.
        if again.returncode and not _is_whole(room, wanted):
            print(f"    again: {again.returncode} {said[-2000:]}", flush=True)
            return found
    found["finished"] += 1
    made = room.made()
    if made == wanted:
        found["same"] += 1
    else:
        print(f"    other: {[part for part in wanted if made.get(part) != wanted[part]]}", flush=True)
    return found


def _is_whole(room: Room, wanted: Digests) -> bool:
    with suppress(OSError, KeyError):  # of files that are not there
        return room.made() == wanted
    return False


# ------------------------------------------------------------------------------------------------------------ the table


def read() -> list[dict[str, str]]:
    if not PAGE.exists():
        return []
    return rows_in(PAGE.read_text(encoding="utf-8"), COLUMNS)


def write(rows: list[dict[str, str]]) -> None:
    rows = sorted(rows, key=lambda row: ROWS.index(row["disturbed"]))
    total, good = (sum(int(row[column] or 0) for row in rows) for column in ("moments", "same result"))
    lines = [
        "# Commands that are disturbed",
        "",
        f"{total} disturbances, after {good} of which the same command made what an undisturbed one makes, to the "
        f"byte. {date.today()}; keras-inception {version('keras-inception')}, tensorflow {version('tensorflow')}.",
        "",
        "`make faults` measures the rows that are missing. The moments are spread over the time from the "
        "first file that the command writes to its end. No two runs take the same time: those that came after "
        'the end were repeated, at most 20 times. It ended "well" where the disturbance did not matter, "with '
        'a line" that says what to do, "killed" where a signal ended the process, as one does that comes '
        "after the work, while Python unloads TensorFlow. The same command finishes, or says that its whole "
        "result exists. An image that was gone or cut before the command came to it is not in its result, or "
        "in a table of `predict` with the reason, and a report for which it cannot be read is left out with a "
        "remark: that is right, and not the same.",
        "",
        *lines_of(rows, COLUMNS, words=("disturbed", "it ended", "at")),
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="by default those that are missing")
    parser.add_argument("--moments", type=int, default=MOMENTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    done = {row["disturbed"] for row in read()}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        pictures(base / "images", 0)
        pictures(base / "others", 1)
        train = [*CLI, "train", "others", "--out", "run", *TRAIN]
        subprocess.run([*map(str, train)], cwd=base, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        for row in arguments.rows or [row for row in ROWS if row not in done]:
            found = measure(row, arguments.moments, base)
            write([*(other for other in read() if other["disturbed"] != row), found])


if __name__ == "__main__":
    main()
