"""What image files are, found out before any training: their contents as hashes, their sizes, which are damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import PIL

from ..terminal import progress_bar
from .decoding import content_of, header_and_pixels, reason
from .manifest import Entry, File, Manifest, files_at
from .near_duplicates import difference_hash
from .split import content_digest

MANY_FILES = 500  # from this number on a progress bar is shown
BATCH = 4096  # sources that are looked up, and kept, together
RECORD = np.dtype(
    [
        ("digest", "u1", 32),  # SHA-256 of the content
        ("hash", "<u8", 2),  # difference hash
        ("height", "<u4"),  # these are of a `decoding.Header`
        ("width", "<u4"),
        ("format", "S4"),
        ("mode", "S6"),
        ("orientation", "u1"),
    ]
)
READER = f"1, Pillow {PIL.__version__}"  # count it up when records or reasons change


class Scan(NamedTuple):
    """A record of each source, (n,) of `RECORD`; and by its index why a source cannot be decoded: its record is 0."""

    records: np.ndarray
    rejected: dict[int, str]


def examine_all(sources: Sequence[Any]) -> Scan:
    """Examine encoded images, each a path (`str`), `bytes`, or an object that has `read_bytes`.

    Of an object that has `examined` that is the record, as bytes: of a `shards.Record`.

    Files that are unchanged since an earlier scan are not read: see `manifest`. Others are read by threads, with a
    progress bar on a terminal if there are many sources.
    """
    found = Scan(np.zeros(len(sources), RECORD), {})
    with threads() as pool, Manifest(READER) as manifest, _progress(len(sources)) as advance:
        for start in range(0, len(sources), BATCH):
            batch = sources[start : start + BATCH]
            files = files_at(batch)
            entries = [getattr(s, "examined", None) or e for s, e in zip(batch, manifest.find(files), strict=True)]
            unknown = [i for i, entry in enumerate(entries) if entry is None]
            advance(len(batch) - len(unknown))
            new: list[tuple[File, Entry]] = []
            try:
                for i, (entry, lasting) in zip(unknown, pool.map(examine, [batch[i] for i in unknown]), strict=True):
                    entries[i] = entry
                    if lasting and (file := files[i]):
                        new.append((file, entry))
                    advance(1)
            finally:  # an interrupted scan resumes here
                manifest.add(new)
            good = [start + i for i, entry in enumerate(entries) if isinstance(entry, bytes)]
            found.records[good] = np.frombuffer(b"".join(e for e in entries if isinstance(e, bytes)), RECORD)
            found.rejected.update({start + i: entry for i, entry in enumerate(entries) if isinstance(entry, str)})
    return found


def examine(source: Any) -> tuple[Entry, bool]:
    """Return the record of an encoded image, or why it cannot be decoded; and whether that lasts as long as the file.

    A file that cannot be opened may be readable the next time.
    """
    try:
        content = content_of(source)
        # At a small size a JPEG skips most inverse transforms, but still reads every bit.
        header, pixels = header_and_pixels(BytesIO(content), detail=64)
    except Exception as error:  # see `reason`
        why = reason(error).encode(errors="backslashreplace").decode()
        return why, not isinstance(error, MemoryError) and getattr(error, "errno", None) is None
    digest = np.frombuffer(content_digest(content), np.uint8)
    return np.array((digest, difference_hash(pixels), *header), RECORD).tobytes(), True


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads to decode images in."""
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of oddities in images that it can decode
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    if count < MANY_FILES:
        yield lambda steps: None
        return
    with progress_bar("Checking images", count) as advance:
        yield advance
