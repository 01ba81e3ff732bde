"""Parts of a table of answers, computed by the workers of a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from ..errors import InputError, first_line

SECONDS = 10  # to connect to a cluster


class Parts(Protocol):
    """The files of a table: `many.Parts`."""

    def images(self, number: int) -> range:
        """The indices of a part's images."""

    def write(self, missing: Sequence[int], job: Any, advance: Callable[[int], object]) -> None:
        """Compute parts, which this process writes."""


def need() -> None:
    """Raise an InputError unless Ray Data is installed."""
    if not importlib.util.find_spec("ray"):
        raise InputError("Ray is not installed: pip install 'keras-inception[ray]'")


def write(
    parts: Parts, missing: Sequence[int], job: Callable[[], Any], address: str | None, advance: Callable[[int], object]
) -> None:
    """Write parts from the workers of a cluster, one worker a machine; `advance` is told how many images are done.

    Ray computes a part again whose worker ended. Each is a file that is complete or absent, so it counts once.

    Raises:
        InputError: the cluster cannot be reached, or what a worker raises of this kind.
    """
    import ray

    with _cluster(address):
        machines = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
        numbers = ray.data.from_items([{"number": number} for number in missing])
        done = numbers.map_batches(
            _Worker,
            fn_constructor_args=(parts, job, os.getcwd()),
            batch_size=1,
            num_cpus=min(machines),  # TensorFlow and the readers of images take all cores of a machine
            concurrency=(1, len(machines)),
        )
        try:
            for row in done.iter_rows():
                advance(int(row["images"]))
        except Exception as error:  # of many kinds; what a worker raised is in its text
            if found := re.search(r"InputError: (.+)$", str(error), re.MULTILINE):
                raise InputError(found[1]) from error
            raise


class _Worker:
    """A process of the cluster. It opens the network once, and in a task: Ray repeats what fails before for ever."""

    def __init__(self, parts: Parts, job: Callable[[], Any], folder: str):
        os.chdir(folder)  # what the names of images start from
        self.parts, self.job = parts, cache(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        numbers = batch["number"].tolist()
        self.parts.write(numbers, self.job(), lambda count: None)
        return {"images": [len(self.parts.images(number)) for number in numbers]}


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A connection to the cluster; one that is there already stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.data import DataContext

    if ray.is_initialized():
        yield
        return
    if address and (place := re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address)):
        _reach(address, place[1], int(place[2]))
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise InputError(f"there is no Ray cluster at {address}: {first_line(error)}") from error
    DataContext.get_current().enable_progress_bars = False  # ours counts images
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str, host: str, port: int) -> None:
    """Raise an InputError unless something listens there: Ray itself would try for many minutes."""
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        raise InputError(f"there is no Ray cluster at {address} ({error}): `ray status` on it says where") from error
