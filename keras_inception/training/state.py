"""The state of a training on disk: whatever moment it is killed at, it goes on behind the last whole epoch."""

from __future__ import annotations

import json

import keras

from ..errors import InputError
from ..files import write_file
from ..run import Run
from ..terminal import console

START = "start.keras"  # a pretrained network as it came, beside which an epoch on features keeps the head alone
BEST, BEST_HEAD = "best.keras", "best_head.keras"


class Checkpoints:
    """`state.json` names the model of the last whole epoch and holds the history so far; it is written last."""

    def __init__(self, run: Run):
        self.folder = run.path / "checkpoints"
        self.history: list[dict[str, float]] = []
        self._name = ""
        self._start: keras.Model | None = None
        self._path = run.path
        self._state = self.folder / "state.json"
        # As it comes back from JSON, so that the two compare.
        request = {
            "builder": run.builder,
            "kwargs": run.kwargs,
            "labels": run.labels,
            "weights": run.weights,
            "preprocessing": run.preprocessing.to_dict(),
            "training": run.training,
        }
        self._request = json.loads(json.dumps(request))
        self._resume()

    def _resume(self) -> None:
        if not self._state.is_file():
            return
        state = json.loads(self._state.read_text(encoding="utf-8"))
        if state["request"] != self._request:
            changed = [k for k, v in self._request.items() if state["request"].get(k) != v]
            raise InputError(
                f"{self._path} holds an unfinished run with other {' and '.join(changed)}; repeat its command to "
                "resume it, or give another --out"
            )
        self.history, self._name = state["history"], state["model"]
        console.print(f"resuming {self._path} behind epoch {len(self.history)}", highlight=False)

    def model(self, name: str) -> keras.Model:
        """One that is kept here, not compiled."""
        return keras.models.load_model(self.folder / name, compile=False)

    def last(self) -> keras.Model:
        """The model that the last whole epoch trained, with its optimizer."""
        return keras.models.load_model(self.folder / self._name)

    def start(self) -> keras.Model:
        """The network that a fine-tuning began with; whoever changes it takes a copy of his own."""
        if self._start is None:
            self._start = self.model(START)
        return self._start

    def keep_start(self, network: keras.Model) -> None:
        """Keep the network that a fine-tuning begins with."""
        write_file(self.folder / START, network.save)
        self._start = network

    @property
    def best(self) -> int:
        """The epoch, from 0, with the best held-out accuracy, of equal ones that with the smallest loss."""
        return min(range(len(self.history)), key=lambda i: _rank(self.history[i]))

    def is_best(self, logs: dict[str, float]) -> bool:
        """Whether an epoch is better than all before it."""
        return all(_rank(logs) < _rank(row) for row in self.history)

    def keep_best(self, model: keras.Model, name: str) -> None:
        """Keep the best; should the epoch not be saved whole after it, it is trained again, to the same weights."""
        write_file(self.folder / name, lambda part: model.save(part, include_optimizer=False))

    def save(self, model: keras.Model, logs: dict[str, float]) -> None:
        """Keep this epoch; the one before stays until this one is whole."""
        name = f"epoch_{len(self.history) + 1}.keras"
        write_file(self.folder / name, model.save)
        state = {"request": self._request, "model": name, "history": [*self.history, logs]}
        write_file(self._state, lambda part: part.write_text(json.dumps(state), encoding="utf-8"))
        self.history.append(logs)
        self._name = name
        for old in self.folder.glob("epoch_*.keras"):
            if old.name != name:
                old.unlink()

    def clear(self) -> None:
        """Delete what a finished run has elsewhere."""
        for name in (START, BEST, BEST_HEAD):
            (self.folder / name).unlink(missing_ok=True)


def _rank(logs: dict[str, float]) -> tuple[float, float]:
    return -logs["val_accuracy"], logs["val_loss"]
