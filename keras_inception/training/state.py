"""The state of a training on disk: whatever moment it is killed at, it resumes after the last whole epoch.

A process that is asked to end, as a preempted one, writes where it is within the epoch too, and resumes there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import PART, discard, parse_json, write_file
from ..run import STATE
from ..terminal import note, uninterrupted

SCHEMA = 1  # of state.json
KIND = "keras-inception training"  # what marks a folder as ours

PAUSED = "paused_1.keras", "paused_2.keras"  # the one that state.json does not name is written

Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Paused:
    """An epoch that was interrupted between two batches; `file` is of the network and its optimizer.

    `batches` are trained, `row` is what is known of the epoch, all but its validation if no batch is left. `values` are
    those of variables that the file does not hold, in the order in which the trainer gives them; they are of
    `devices`. It took `seconds` so far.
    """

    file: str = PAUSED[0]
    batches: int
    row: dict[str, float]
    values: list[Any]
    devices: int
    seconds: float


class TrainingState:
    """`state.json` in a folder of its own: the request, the history, and the files of the last whole epoch.

    An epoch that was interrupted after it has a file too, until it is whole.

    Every file is whole or not there, and state.json is written last. A file is never replaced: the new one has a name
    of its own, and the old one is discarded when state.json names the new one. Only files that state.json names, or
    that were kept by this object, and parts that a killed process left, are ever deleted.
    """

    writes = True  # only the first of several workers does; the others read, and keep the history in memory

    def __init__(self, folder: Path, *, name: Path | None = None):
        """`name` is what messages call the training: its run directory, or the folder itself."""
        self.folder, self.name = folder, name or folder
        self.history: list[dict[str, float]] = []
        self.found: dict[str, Any] = {}  # what the training has shown this machine to need: see `remember`
        self.trackers: dict[str, str] = {}  # name -> the id of the run there
        self.paused: Paused | None = None  # the epoch after the history
        self._file = folder / "state.json"
        self._kept: dict[str, str] = {}  # name -> file
        self._obsolete: list[str] = []  # files that the next state.json does not name
        self._last = ""

    @property
    def exists(self) -> bool:
        """Whether the folder holds an unfinished training of ours."""
        return self._read() is not None

    @property
    def epochs(self) -> int:
        """How many epochs are saved there."""
        state = self._read()
        return 0 if state is None else len(state["history"])

    @property
    def request(self) -> Mapping[str, Any] | None:
        """What the unfinished training there was asked for; None where there is none."""
        state = self._read()
        return None if state is None else state["request"]

    @property
    def weights(self) -> str | None:
        """What the unfinished training that is there starts from."""
        with self.readable():
            return self.request["start"]["weights"] if self.request else None

    def _read(self) -> dict[str, Any] | None:
        try:
            state = parse_json(self._file.read_text(encoding="utf-8"))
            return state if state["kind"] == KIND and _is_sound(state) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn what a damaged request raises in the block into an InputError that says so."""
        try:
            yield
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"{self._file} is damaged ({error!r:.80}), so the training cannot be resumed: delete {self.folder} and "
                "repeat the command to begin again"
            ) from error

    def open(
        self,
        request: Mapping[str, Any],
        difference: Callable[[Mapping[str, Any]], str | None],
        measures: Iterable[str] = (),
    ) -> None:
        """Resume the training that is there, or begin one; what cannot be written fails here, before the work.

        Args:
            request: what is asked for, as JSON values.
            difference: what differs between another request and this one, in words; None if they are the same.
            measures: what each epoch of the history is to have.

        Raises:
            InputError: the folder holds an unfinished training of another request, or of a newer version, or is
                damaged.
        """
        self._request = request
        state = self._read()
        if state is None:
            if self.writes:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._save()
            return
        if state.get("schema", 0) > SCHEMA:
            raise InputError(f"{self.name} was begun by a newer keras-inception: upgrade, or give another folder")
        with self.readable():
            other = difference(state["request"])
            if lacking := [name for name in measures if not all(name in row for row in state["history"])]:
                raise KeyError(lacking[0])
        if other:
            raise InputError(
                f"{self.name} holds an unfinished training with {other}: repeat its own command to resume it, "
                "or give another folder (--out)"
            )
        if self.writes:
            for part in self.folder.glob(f"{PART}????????.*"):
                discard(part)
        self.history, self._last, self._kept = state["history"], state["last"], dict(state["kept"])
        self.found = dict(state.get("found", {}))
        self.trackers = dict(state.get("trackers", {}))
        self.paused = _paused(state)
        if self.paused:
            done, epoch = self.paused.batches, len(self.history) + 1
            note(f"resuming {self.name} after {done:,} batches of epoch {epoch}", style="")
        elif self.history:
            done = int(self.history[-1].get("epoch", len(self.history)))
            note(f"resuming {self.name} after epoch {done}", style="")

    def remember(self, **found: Any) -> None:
        """Keep for the rest of the training, and for resumptions, what it needs on this machine."""
        self.found |= found
        self._save()

    @property
    def last(self) -> Path:
        """The file of the last whole epoch, or of the one that was interrupted after it."""
        return self.folder / (self.paused.file if self.paused else self._last)

    @property
    def begun(self) -> int:
        """How many epochs have a state to resume from: those of the history, and one that was interrupted."""
        return len(self.history) + (self.paused is not None)

    @property
    def seconds(self) -> float:
        """What all of them took."""
        return sum(row["seconds"] for row in self.history) + (self.paused.seconds if self.paused else 0.0)

    def path(self, name: str) -> Path:
        """Where what was kept under a name is."""
        return self.folder / self._kept.get(name, name)

    def keep(self, name: str, write: Callable[[Path], Any]) -> None:
        """Keep a file beside the epochs, in place of one of that name, "best.keras", once the epoch is saved.

        The best epoch is kept before the epoch itself is saved. If the process is killed in between, the epoch is
        trained again, to the same weights, and the file is written again.
        """
        if not self.writes:
            return
        stem, dot, suffix = name.partition(".")
        file = f"{stem}_{len(self.history) + 1}{dot}{suffix}"
        write_file(self.folder / file, write)
        if (before := self._kept.get(name, file)) != file:
            self._obsolete.append(before)
        self._kept[name] = file

    def best(self, first: int = 0) -> int:
        """The epoch, from 0, with the best validation accuracy; of equal ones the one with the smallest loss."""
        return min(range(first, len(self.history)), key=lambda i: rank(self.history[i]))

    def is_best(self, row: Row, first: int = 0) -> bool:
        """Whether an epoch is better than all before it, from the epoch `first` on; of equal ones the first is best."""
        return all(rank(row) < rank(other) for other in self.history[first:])

    def save(self, write: Callable[[Path], Any], row: Row, *, suffix: str) -> None:
        """Save an epoch; the files of the one before stay until this one is whole."""
        if not self.writes:
            self.history.append(dict(row))
            return
        name = f"epoch_{len(self.history) + 1}{suffix}"
        write_file(self.folder / name, write)
        before, self._last = self._last, name
        paused, self.paused = self.paused, None
        self.history.append(dict(row))
        try:
            self._save()
        except BaseException:
            self.history.pop()
            self._last, self.paused = before, paused
            discard(self.folder / name)
            raise
        if before and before != name:
            self._obsolete.append(before)
        self._obsolete.extend(PAUSED)
        self._discard_obsolete()

    def pause(self, write: Callable[[Path], Any], paused: Paused) -> None:
        """Save where an epoch is interrupted; what was saved before stays until this is whole."""
        before = self.paused
        name = next(name for name in PAUSED if before is None or name != before.file)
        with uninterrupted():
            write_file(self.folder / name, write)
            self.paused = replace(paused, file=name)
            try:
                self._save()
            except BaseException:
                self.paused = before
                raise
            if before:
                self._obsolete.append(before.file)
            self._discard_obsolete()

    def forget_pause(self) -> None:
        """Resume from the last whole epoch."""
        self.paused = None
        self._save()

    def _discard_obsolete(self) -> None:
        while self._obsolete:
            discard(self.folder / self._obsolete.pop())

    def track(self, name: str, run: str) -> None:
        """Remember the id of the run in a tracker, which a resumption continues."""
        if self.trackers.get(name) != run:
            self.trackers[name] = run
            self._save()

    def _save(self) -> None:
        if not self.writes:
            return
        state = {
            "kind": KIND,
            "schema": SCHEMA,
            "request": self._request,
            "last": self._last,
            "kept": self._kept,
            "history": self.history,
            "found": self.found,
            "trackers": self.trackers,
            "paused": asdict(self.paused) if self.paused else None,
        }
        write_file(self._file, lambda part: part.write_text(json.dumps(state), encoding="utf-8"))

    def clear(self) -> None:
        """Delete the files of the training, and the folder if nothing else is in it.

        The record goes first: while it is there the same command finishes the run, from all of them.
        """
        if not self.writes:
            return
        for name in (self._file.name, *self._kept.values(), *self._obsolete, *PAUSED, self._last):
            if name:
                discard(self.folder / name)
        with suppress(OSError):
            self.folder.rmdir()


def _is_sound(state: dict[str, Any]) -> bool:
    """Whether the fields are as `_save` writes them. Files are named without folders: they are deleted at the end."""
    rows, names = state["history"], [state["last"], *state["kept"].values()]
    found, trackers = state.get("found", {}), state.get("trackers", {})
    return (
        all(isinstance(value, dict) for value in (state["request"], state["kept"], found, trackers, *rows))
        and all(isinstance(value, int | float) for row in rows for value in row.values())
        and all(isinstance(name, str) and Path(name).name == name != ".." for name in names)
        and isinstance(state.get("schema", 0), int)
        and bool(rows) == bool(state["last"])
        and _is_sound_pause(_paused(state))
    )


def _is_sound_pause(paused: Paused | None) -> bool:
    return paused is None or (
        paused.file in PAUSED
        and isinstance(paused.row, dict)
        and "learning_rate" in paused.row
        and isinstance(paused.values, list)
        and all(isinstance(x, int | float) for x in (*paused.row.values(), paused.batches, paused.seconds))
    )


def _paused(state: dict[str, Any]) -> Paused | None:
    return Paused(**state["paused"]) if state.get("paused") else None


def rank(row: Row) -> tuple[float, float]:
    """What orders epochs, the best first: the accuracy on the validation images, then the loss."""
    return -row["val_accuracy"], row["val_loss"]


def is_finished(out: Path) -> bool:
    """Whether a folder holds a run and nothing is left to do: a training that ends writes the report last."""
    return (out / "run.json").exists() and not TrainingState(out / STATE).exists


def check_directory(out: Path) -> None:
    """A run directory may be written to if it is empty, or holds an unfinished training of ours.

    Raises:
        InputError: it is neither; nothing in it is touched.
    """
    if is_finished(out):
        raise InputError(
            f"{out} holds a finished run; give another --out, or remove it. To train it for more epochs: "
            f"keras-inception train IMAGES --weights {out} --out {out}-2 --epochs N"
        )
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} exists and is not a folder; give another --out")
    if any(out.iterdir()) and not TrainingState(out / STATE).exists:
        raise InputError(f"{out} is neither empty nor an unfinished run of ours; give another --out")
