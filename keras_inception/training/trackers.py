"""Experiment trackers, Weights & Biases and MLflow: one run there for a training, with a point for each epoch.

Their own callbacks follow a single call of `fit`. A training here is a call for each epoch, which is measured after it,
so the rows of the history are sent, and what a resumed or interrupted training has not sent yet is sent later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ..errors import InputError, first_line
from ..run import Run
from ..terminal import note, quiet
from .request import TrainingRequest
from .state import Row, TrainingState

CREDENTIALS = re.compile(r"//[^/@\s]+@")  # in an address: user:password


class Tracker(Protocol):
    """A run in a tracker: `id` is its name there, `where` what a person looks for, `epochs` how many it has."""

    id: str
    where: str
    epochs: int

    def describe(self, config: Mapping[str, Any]) -> None:
        """Send what decides the training; nested, as JSON values."""

    def log(self, epoch: int, row: Row) -> None:
        """Send a row of the history; epochs count from 1."""

    def finish(self, metrics: Mapping[str, float], page: Path) -> None:
        """Send the result and the report, if there is one; the run is finished."""

    def interrupt(self) -> None:
        """The training has ended early; another call may resume it."""


class Trackers:
    """The trackers of a training. One that fails, for lack of a connection or a login, costs a line and is left out.

    As a context it marks what is not finished at its end as interrupted.

    Raises:
        InputError: there is no such tracker, or its package is not installed.
    """

    def __init__(self, names: str | Sequence[str]):
        self._names = list(dict.fromkeys([names] if isinstance(names, str) else names))
        self._open: dict[str, Tracker] = {}
        for name in self._names:
            if name not in TRACKERS:
                raise InputError(f"track is {' or '.join(TRACKERS)}; got {name!r}")
            if (spec := find_spec(name)) is None or spec.origin is None:  # a folder wandb/ is none
                raise InputError(f"{name} is not installed: pip install 'keras-inception[{name}]'")

    def start(self, out: Path, request: TrainingRequest, state: TrainingState) -> None:
        """Begin a run in each tracker, or continue that of the state, and send what it lacks of the history."""
        for name in self._names:
            with self._surviving(name):
                self._open[name] = TRACKERS[name](out, state.trackers.get(name))
            if tracker := self._open.get(name):
                state.track(name, tracker.id)
                note(f"tracked by {name}: {tracker.where}", style="")
                with self._surviving(name):
                    tracker.describe(config_of(request))
        self.log(state.history)

    def log(self, history: Sequence[Row]) -> None:
        """Send the epochs that a tracker lacks."""
        for name, tracker in list(self._open.items()):
            with self._surviving(name):
                for epoch in range(tracker.epochs + 1, len(history) + 1):
                    tracker.log(epoch, history[epoch - 1])
                    tracker.epochs = epoch

    def finish(self, run: Run) -> None:
        """Send the result of the training, "test_top1" and the like, and its report."""
        sides = {"validation": run.validation_metrics, run.measured_on: run.metrics}
        metrics = {f"{side}_{name}": float(x) for side, found in sides.items() for name, x in found.items()}
        for name, tracker in list(self._open.items()):
            with self._surviving(name):
                tracker.finish(metrics, run.path / "report.html")
                del self._open[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for name, tracker in list(self._open.items()):
            with self._surviving(name):
                tracker.interrupt()
                del self._open[name]

    @contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        """Leave a tracker out that fails within the block; whatever its package raises, the training continues.

        It prints nothing meanwhile, and asks nothing: without a terminal, packages do not ask for a login.
        """
        try:
            with quiet():
                yield
        except Exception as error:
            note(f"{name} fails, and the training continues without it: {CREDENTIALS.sub('//', first_line(error))}")
            if tracker := self._open.pop(name, None):
                with suppress(Exception), quiet():
                    tracker.interrupt()


def config_of(request: TrainingRequest) -> dict[str, Any]:
    """What decides the training, without the lists of files and classes."""
    record = request.to_dict()
    data = {k: record["data"].get(k) for k in ("train", "val", "test", "fingerprint")}
    return record | {"data": data, "labels": len(record["labels"])}


# ----------------------------------------------------------------------------------------------------------- internals


class _WandB:
    """A run of Weights & Biases. Project, entity and mode are its environment variables, WANDB_PROJECT for example."""

    def __init__(self, out: Path, known: str | None):
        import wandb

        self._run = wandb.init(
            id=known,
            name=out.name,
            resume="allow",
            reinit="create_new",  # a run of the caller's stays as it is
            dir=os.environ.get("WANDB_DIR", out),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.id: str = self._run.id
        self.where = str(Path(self._run.dir).parent if self._run.offline else self._run.url)
        # The next step; an offline run does not know that of earlier ones, and gets all of the history.
        self.epochs = max(0, self._run.starting_step - 1)

    def describe(self, config: Mapping[str, Any]) -> None:
        self._run.config.update(dict(config), allow_val_change=True)

    def log(self, epoch: int, row: Row) -> None:
        self._run.log({"epoch": epoch, **row}, step=epoch)

    def finish(self, metrics: Mapping[str, float], page: Path) -> None:
        self._run.summary.update(dict(metrics))
        if page.is_file():
            self._run.log_artifact(page, name=f"report-{self.id}", type="report")
        self._run.finish()

    def interrupt(self) -> None:
        self._run.finish(exit_code=1)


class _MLflow:
    """A run of MLflow, below the caller's if one is active. Server and experiment are its environment variables."""

    def __init__(self, out: Path, known: str | None):
        import mlflow

        self._mlflow = mlflow
        run = mlflow.start_run(run_id=known, run_name=None if known else out.name, nested=True)
        self.id: str = run.info.run_id
        self.where = f"run {self.id}"
        sent = mlflow.MlflowClient().get_metric_history(self.id, "val_accuracy") if known else []
        self.epochs = max((metric.step for metric in sent), default=0)

    def describe(self, config: Mapping[str, Any]) -> None:
        self._mlflow.log_params(dict(_flat(config)))

    def log(self, epoch: int, row: Row) -> None:
        self._mlflow.log_metrics(dict(row), step=epoch, run_id=self.id)

    def finish(self, metrics: Mapping[str, float], page: Path) -> None:
        self._mlflow.log_metrics(dict(metrics), run_id=self.id)
        if page.is_file():
            self._mlflow.log_artifact(str(page), run_id=self.id)
        self._mlflow.end_run()

    def interrupt(self) -> None:
        self._mlflow.end_run("KILLED")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted names: "recipe.epochs"."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# Its name is that of its package and of the extra -> what begins a run in it, or continues one by its id.
TRACKERS: dict[str, Callable[[Path, str | None], Tracker]] = {"wandb": _WandB, "mlflow": _MLflow}
