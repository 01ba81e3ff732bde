"""Parts of a table of answers, computed by the workers of a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..errors import InputError, first_line

SECONDS = 10  # to connect to a cluster


def need() -> None:
    """Raise an InputError unless Ray Data is installed."""
    if not importlib.util.find_spec("ray"):
        raise InputError("Ray is not installed: pip install 'keras-inception[ray]'")


def write(
    numbers: Sequence[int],
    writer: Callable[[], Callable[[int], int]],
    address: str | None,
    advance: Callable[[int], object],
) -> None:
    """Write the parts of these numbers from the workers of a cluster, one worker a machine.

    Ray computes a part again whose worker ended. Each is a file that is complete or absent, so it counts once.

    Args:
        numbers: of the parts.
        writer: makes, in a worker, what writes a part and returns how many images it has.
        address: of the cluster, as of `predict_many`.
        advance: is told how many more images are done.

    Raises:
        InputError: the cluster cannot be reached, or what a worker raises of this kind.
    """
    import ray

    with _cluster(address):
        machines = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
        done = ray.data.from_items([{"number": number} for number in numbers]).map_batches(
            _Worker,
            fn_constructor_args=(writer, os.getcwd()),
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

    def __init__(self, writer: Callable[[], Callable[[int], int]], folder: str):
        os.chdir(folder)  # what the names of images start from
        self.writer = cache(writer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"images": [self.writer()(number) for number in batch["number"].tolist()]}


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
