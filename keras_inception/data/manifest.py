"""What scans have found in image files, kept in the cache, so that an unchanged file is not read again.

A row is known by the file's folder, name, size and time of change. It lies beside the other rows of its folder in an
SQLite database, which several processes may read and write. Files that are as in the row need no reading; whatever else
happens to the database, the files are read.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from ..errors import InputError
from ..files import cache_directory
from ..terminal import note

Entry = bytes | str  # a record of `scan.RECORD`, or why the image cannot be decoded

NAME = "images.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS folders (id INTEGER PRIMARY KEY, path BLOB, reader TEXT, used REAL, UNIQUE (path, reader));
CREATE TABLE IF NOT EXISTS images (folder INTEGER, name BLOB, size INTEGER, changed INTEGER, entry BLOB, crc INTEGER,
                                   PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""
KEPT = 2**31  # bytes, of 15 million images; the folders that were least recently read are deleted
DAY = 24 * 3600  # seconds; how exactly it is known when a folder was read
TICK = 2  # seconds, the coarsest clock of a file system; a file may change again within it, unnoticed
PATIENCE = 5  # seconds to wait for another process that is writing
UNAVAILABLE = {  # the database may be sound, but cannot be opened, read or written
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
}


class Row(NamedTuple):
    """A file as it was, and what was found in it."""

    folder: bytes
    name: bytes
    size: int
    changed: int  # nanoseconds
    entry: Entry

    def crc(self) -> int:
        """A checksum: SQLite notices a damaged page, but not a damaged value. -1 for values of another type."""
        entry = self.entry.encode() if isinstance(self.entry, str) else self.entry
        try:
            return zlib.crc32(b"%b/%b %d %d %b" % (self.folder, self.name, self.size, self.changed, entry))
        except TypeError:
            return -1


class File(NamedTuple):
    """A file as the manifest knows it."""

    folder: bytes
    name: bytes
    size: int
    changed: int  # nanoseconds


def file_at(path: str) -> File | None:
    """The file at a path as it is now; None for what is not there, or has changed just now and might change again."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    if time.time_ns() - about.st_mtime_ns < TICK * 1e9:
        return None
    folder, name = os.path.split(os.path.abspath(path))
    return File(os.fsencode(folder), os.fsencode(name), about.st_size, about.st_mtime_ns)


class Manifest:
    """The database, open while the block of `with` runs.

    One that is damaged is made anew. Where none can be opened nothing is found, and where none can be written nothing
    is kept. A line on standard error says so, once.

    Args:
        reader: names what makes the entries; those of another reader are not found.
    """

    def __init__(self, reader: str):
        self._reader = reader
        self._database: sqlite3.Connection | None = None
        self._readable = self._writable = True
        self._seen: set[int] = set()  # folders that were read, the first time in a day

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        if self._seen:
            self._write(self._mark_used)
        self._close()

    def find(self, files: Sequence[File | None]) -> list[Entry | None]:
        """The entry of each file that is unchanged since it was added; None for the others."""
        found: list[Entry | None] = [None] * len(files)
        folders: dict[bytes, dict[bytes, int]] = defaultdict(dict)
        for i, file in enumerate(files):
            if file:
                folders[file.folder][file.name] = i
        for folder, places in folders.items():
            for row in self._read(folder, places):
                if row[:4] == files[i := places[row.name]]:
                    found[i] = row.entry
        return found

    def add(self, entries: Iterable[tuple[File, Entry]]) -> None:
        """Keep the entries of these files, in place of older ones."""
        folders: dict[bytes, list[Row]] = defaultdict(list)
        for file, entry in entries:
            folders[file.folder].append(Row(*file, entry))
        if folders:
            self._write(lambda database: self._insert(database, folders))

    def _rows(self, database: sqlite3.Connection, folder: bytes, names: Iterable[bytes]) -> list[Row]:
        query = "SELECT id, used < ? FROM folders WHERE path = ? AND reader = ?"
        known = database.execute(query, (time.time() - DAY, folder, self._reader)).fetchone()
        if known is None:
            return []
        if known[1]:
            self._seen.add(known[0])
        values = known[0], *names
        query = (
            "SELECT name, size, changed, entry, crc FROM images WHERE folder = ? "
            f"AND name IN ({','.join('?' * (len(values) - 1))})"
        )
        found = []
        for *row, crc in database.execute(query, values):
            found.append(Row(folder, *row))
            if crc != found[-1].crc():
                raise sqlite3.DatabaseError("a row is damaged")
        return found

    def _insert(self, database: sqlite3.Connection, folders: Mapping[bytes, Sequence[Row]]) -> None:
        for folder, rows in folders.items():
            database.execute(
                "INSERT INTO folders (path, reader, used) VALUES (?, ?, ?) "
                "ON CONFLICT (path, reader) DO UPDATE SET used = excluded.used",
                (folder, self._reader, time.time()),
            )
            query = "SELECT id FROM folders WHERE path = ? AND reader = ?"
            (number,) = database.execute(query, (folder, self._reader)).fetchone()
            values = ((number, *row[1:], row.crc()) for row in rows)
            database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)", values)
        _prune(database)

    def _mark_used(self, database: sqlite3.Connection) -> None:
        values = [(time.time(), number) for number in self._seen]
        database.executemany("UPDATE folders SET used = ? WHERE id = ?", values)

    def _read(self, folder: bytes, names: Iterable[bytes]) -> list[Row]:
        try:
            return self._rows(self._opened(), folder, names) if self._readable else []
        except (sqlite3.Error, OSError, InputError) as error:
            self._readable = self._recover(error)
            return []

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            if self._readable and self._writable:
                with self._opened() as database:  # a transaction
                    work(database)
        except (sqlite3.Error, OSError, InputError) as error:
            self._writable = self._recover(error)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            path = cache_directory() / NAME
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=PATIENCE)
            self._database.executescript(TABLES)
        return self._database

    def _close(self) -> None:
        if self._database:
            self._database.close()
        self._database = None

    def _recover(self, error: Exception) -> bool:
        """Delete a damaged database; False if it is not damaged but unavailable."""
        if not isinstance(error, sqlite3.Error) or getattr(error, "sqlite_errorcode", 0) & 0xFF in UNAVAILABLE:
            _note_once(f"images are checked anew each time, because what is known of them cannot be kept: {error}")
            return False
        self._close()
        self._seen.clear()
        path = cache_directory() / NAME
        _note_once(f"{path} is damaged, and is made anew: images are checked again")
        try:
            for file in (path, path.with_name(f"{NAME}-journal")):
                file.unlink(missing_ok=True)
        except OSError as refused:
            return self._recover(refused)
        return True


_note_once = cache(note)


def _prune(database: sqlite3.Connection) -> None:
    """Delete the folders that were least recently read, beyond `KEPT` bytes."""

    def size() -> int:
        pages, free, each = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * each

    while size() > KEPT and (oldest := database.execute("SELECT id FROM folders ORDER BY used LIMIT 1").fetchone()):
        database.execute("DELETE FROM images WHERE folder = ?", oldest)
        database.execute("DELETE FROM folders WHERE id = ?", oldest)
