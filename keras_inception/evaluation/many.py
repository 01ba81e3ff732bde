"""What a network says of any number of images: computed in batches, written in parts, resumed where it was cut."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..arguments import Count, checked
from ..data import Listing, listed
from ..data.decoding import reason
from ..data.rendering import Renderer
from ..data.sources import Sources
from ..errors import InputError
from ..files import PART, discard, locked, need_writable, write_file
from ..outputs import EMBEDDING, MAIN
from ..terminal import progress_bar, tell_progress
from . import on_ray
from .answers import Answer, Table, table_for
from .batch import ahead
from .predictor import BatchFunction, BatchPredictor, ranked

TOLD = 60.0  # seconds from one line of progress in a log to the next
PER_PART = 1000  # images in a part at most, in whole batches: what a killed process has to compute again
REQUEST = "request.json"  # in the folder of the parts: what they answer
DIFFERENT = {  # entries of a request -> what another one is of
    "images": "other images",
    "network": "another network",
    "top": "another number of classes",
    "embeddings": "other columns",
    "batch_size": "another batch size",
    "per_part": "parts of another size",
}

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A table that is complete: where it is, how many images it has, and how many of them cannot be read.

    `computed` is how many of them this call computed, `seconds` what that took.
    """

    path: Path
    images: int
    unreadable: int
    computed: int
    seconds: float


@checked
def predict_many(
    predictor: BatchPredictor,
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    top: Count = 3,
    batch_size: Count = 32,
    embeddings: bool = False,
    shards: Count = 1,
    shard: int = 0,
    engine: EngineName = "local",
    address: str | None = None,
) -> Written:
    """Write the most probable classes of any number of images into a table, a row for each image, in their order.

    Images are read on all cores, ahead of the network. Each part of about a thousand images is a file in the folder
    `OUT.parts`, complete or absent; at the end the parts are compared with the images and joined, and the folder is
    removed. After a process was killed, the same call continues with the parts that are missing. Batches are the same
    then, so the answers are those of an uninterrupted call.

    The columns are `image`; `label` and `probability` of the best class; the lists `labels` and `probabilities` of the
    `top` classes (in CSV columns `label_2`, `probability_2` ...); `error`, empty or why the image cannot be read; and
    `embedding`.

    Args:
        predictor: a run, or an exported file from `export.open_predictor`.
        images: files, folders, lists, archives, shard sets, Parquet files or addresses: what `data.listed` takes.
        out: the file to write, which must not exist: .parquet, .csv or .jsonl.
        top: how many classes; all of them where there are fewer.
        batch_size: images at a time.
        embeddings: write what the main classifier takes, (features,) float32; of a run, into .parquet or .jsonl.
        shards: how many processes, on any machines, share the images; their calls differ in `shard` alone.
        shard: which of them this is, from 0. With several, the file is OUT-00000-of-00004.parquet.
        engine: who computes the parts: "local", this process, or "ray", the workers of a Ray cluster, which find the
            network, the images and OUT at the same paths. A part whose worker ends is computed by another.
        address: of the cluster; by default the one of RAY_ADDRESS, one that runs here, or a new one of this machine.

    Raises:
        InputError: an argument cannot be used, the file exists, the parts there are of another request or damaged, or
            another process is writing them; or Ray is missing, or a worker cannot open the network.
    """
    _check_engine(engine, address)
    if not 0 <= shard < shards:
        raise InputError(f"shard must be from 0 to {shards - 1}; got {shard}")
    out, top = Path(out), min(top, len(predictor.labels))
    table = table_for(out, top=top, embeddings=embeddings)
    if shards > 1:
        out = out.with_name(f"{out.stem}-{shard:05d}-of-{shards:05d}{out.suffix}")
    folder = out.with_name(f"{out.name}.parts")
    if out.exists() and not folder.exists():
        raise _exists(out)
    need_writable(out.parent)
    function, listing = predictor.batch_function(embeddings=embeddings), listed(images)
    batch_size = min(batch_size, len(listing))
    asked = listing, batch_size, top
    batches = min(max(1, PER_PART // batch_size), -(-len(listing) // (batch_size * shards)))  # in a part
    parts = _Parts(listing, batches * batch_size, folder, table, shards, shard)
    elsewhere = partial(_writer, predictor.opener(), embeddings, parts, asked) if engine == "ray" else None
    request = {
        "images": parts.digest(),
        "network": predictor.digest(),
        "top": top,
        "embeddings": embeddings,
        "batch_size": batch_size,
        "per_part": parts.size,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False):
        _begin(folder, request)
        began = time.monotonic()
        missing = [] if out.exists() else parts.missing()
        with _progress(len(parts), missing=sum(len(parts.images(number)) for number in missing)) as advance:
            if elsewhere and missing:
                on_ray.write(missing, elsewhere, address, advance)
            else:
                parts.write(missing, _Job(function, predictor.labels, *asked), advance)
        seconds = time.monotonic() - began
        unreadable = parts.checked(out) if out.exists() else parts.join(out)
        _remove(folder)
    computed = sum(len(parts.images(number)) for number in missing)
    return Written(path=out, images=len(parts), unreadable=unreadable, computed=computed, seconds=seconds)


@dataclass(frozen=True)
class _Job:
    """What is computed of each image."""

    function: BatchFunction
    labels: Sequence[str]
    listing: Listing
    batch_size: int
    top: int

    def answers(self, batches: Iterable[Sequence[int]]) -> Iterator[tuple[int, Answer]]:
        """The images of some batches, by their indices, with their answers."""
        for batch, (inputs, failed) in ahead(self._read, batches):
            outputs = self.function.run(inputs)
            if (shape := outputs[MAIN].shape[1:]) != (len(self.labels),):
                raise InputError(f"there are {len(self.labels)} labels for the output {shape}: export the file again")
            for place, index in enumerate(batch):
                yield index, self._answer(index, place, outputs, failed)

    def _read(self, batch: Sequence[int]) -> tuple[np.ndarray, dict[int, InputError]]:
        sources = Sources.of([self.listing.sources[index] for index in batch])
        return Renderer(sources, self.function.preprocessing, None).attempt(self.batch_size)

    def _answer(self, index: int, place: int, outputs: dict[str, np.ndarray], failed: dict[int, InputError]) -> Answer:
        name = self.listing.name(index)
        if error := failed.get(place):
            return Answer(image=name, error=_why(error))
        best = ranked(name, outputs[MAIN][place], self.labels, self.top)
        embedding = outputs[EMBEDDING][place] if EMBEDDING in outputs else None
        return Answer(image=name, labels=best.labels, probabilities=best.probabilities, embedding=embedding)


@dataclass(frozen=True)
class _Parts:
    """The files of the parts, each of `size` images that follow each other; those of one shard."""

    listing: Listing
    size: int
    folder: Path
    table: Table
    shards: int
    shard: int

    @property
    def numbers(self) -> range:
        """The numbers of the parts of this shard: every one of so many."""
        return range(self.shard, -(-len(self.listing) // self.size), self.shards)

    def __len__(self) -> int:
        return sum(len(self.images(number)) for number in self.numbers)

    def images(self, number: int) -> range:
        """The indices of a part's images."""
        return range(number * self.size, min((number + 1) * self.size, len(self.listing)))

    def file(self, number: int) -> Path:
        """Where a part is; its name has the ending of the table."""
        return self.folder / f"{number:08d}{self.folder.with_suffix('').suffix}"

    def missing(self) -> list[int]:
        """The parts that are not written yet."""
        return [number for number in self.numbers if not self.file(number).exists()]

    def digest(self) -> str:
        """A hash of the names of all images."""
        found = hashlib.sha256()
        for index in range(len(self.listing)):
            found.update(f"{self.listing.name(index)}\0".encode())
        return found.hexdigest()

    def write(self, missing: Sequence[int], job: _Job, advance: Callable[[int], object]) -> None:
        """Compute parts and write each as soon as its images are answered; `advance` is told of each image."""
        batches = (
            images[start : start + job.batch_size]
            for images in map(self.images, missing)
            for start in range(0, len(images), job.batch_size)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of oddities in images that it can decode
            for number, answered in groupby(job.answers(batches), lambda answer: answer[0] // self.size):
                answers = []
                for _, answer in answered:
                    answers.append(answer)
                    advance(1)
                write_file(self.file(number), partial(self.table.write, answers=answers))

    def join(self, out: Path) -> int:
        """Make the whole table of the parts, each of which must have its images once; how many cannot be read.

        Raises:
            InputError: a part has other rows.
        """
        whole = 0
        for number in self.numbers:
            if (unreadable := self._unreadable(self.file(number), self.images(number))) is None:
                raise InputError(f"{self.file(number)} is damaged: remove it, and run the same command again")
            whole += unreadable
        joined = self.folder / out.name
        write_file(joined, lambda part: self.table.join(map(self.file, self.numbers), part))
        joined.replace(out)
        return whole

    def checked(self, out: Path) -> int:
        """How many images cannot be read, by a table that a process joined before it was killed.

        Raises:
            InputError: it is another file.
        """
        unreadable = self._unreadable(out, [index for number in self.numbers for index in self.images(number)])
        if unreadable is None:
            raise _exists(out)
        return unreadable

    def _unreadable(self, file: Path, images: Sequence[int]) -> int | None:
        """How many images of a file cannot be read; None if its rows are not these images, in their order."""
        try:
            rows = zip(images, self.table.rows(file), strict=True)
            errors = [bool(error) for index, (name, error) in rows if name == self.listing.name(index)]
        except Exception:  # whatever a damaged or a foreign file makes its reader raise, and too few or many rows
            return None
        return sum(errors) if len(errors) == len(images) else None


def _writer(
    opener: Callable[[], BatchPredictor],
    embeddings: bool,
    parts: _Parts,
    asked: tuple[Listing, int, int],
) -> Callable[[int], int]:
    """What writes a part by its number, in a process that opens the network itself, and returns its images."""
    predictor = opener()
    job = _Job(predictor.batch_function(embeddings=embeddings), predictor.labels, *asked)

    def write(number: int) -> int:
        parts.write([number], job, lambda count: None)
        return len(parts.images(number))

    return write


@contextmanager
def _progress(total: int, *, missing: int) -> Iterator[Callable[[int], None]]:
    """A bar over all images, or a line a minute in a log; it is told how many more are done."""
    done, began = total - missing, time.monotonic()
    told = began
    with progress_bar("Predicting", total, done=done) as advance:

        def further(count: int) -> None:
            nonlocal done, told
            done += count
            advance(count)
            if (now := time.monotonic()) >= told + TOLD:
                rate, told = (done - total + missing) / (now - began), now
                left = timedelta(seconds=round((total - done) / rate))
                tell_progress(f"{done:,} of {total:,} images  {rate:,.1f} images/s  {left} left")

        yield further


def _check_engine(engine: str, address: str | None) -> None:
    if address is not None and engine != "ray":
        raise InputError("an address is of a Ray cluster: give engine ray too, or leave it out")
    if engine == "ray":
        on_ray.need()


def _exists(out: Path) -> InputError:
    return InputError(f"{out} exists: give another path, or remove it")


def _begin(folder: Path, request: dict[str, Any]) -> None:
    """Note what is asked, or check that it is what the parts that are there answer."""
    folder.mkdir(exist_ok=True)
    file = folder / REQUEST
    for part in folder.glob(f"{PART}*"):  # of a process that was killed
        discard(part)
    if not file.exists():
        if any(folder.iterdir()):
            raise InputError(f"{folder} holds other files than unfinished answers: give another --out, or remove it")
        text = json.dumps(request)
        write_file(file, lambda part: part.write_text(text, encoding="utf-8"))
    elif (before := json.loads(file.read_text(encoding="utf-8"))) != request:
        other = next(what for key, what in DIFFERENT.items() if before.get(key) != request[key])
        raise InputError(
            f"{folder} holds unfinished answers of another request ({other}): repeat its own command to resume it, "
            "give another --out, or remove the folder"
        )


def _remove(folder: Path) -> None:
    """Delete the parts; what they answer last, so that a process that is killed here is resumed too."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name == REQUEST):
        file.unlink()
    folder.rmdir()


def _why(error: InputError) -> str:
    """Why an image cannot be read, without its name."""
    text = reason(error.__cause__) if isinstance(error.__cause__, Exception) else str(error)
    return text.encode(errors="backslashreplace").decode()
