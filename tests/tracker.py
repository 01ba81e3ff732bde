"""An experiment tracker in memory, which fails where a test asks for it."""

from typing import Any

from keras_inception.training import trackers

NAME = "zipfile"  # of a package that is installed, as a tracker's must be


class Memory:
    """A tracker that keeps its runs in `runs`, and fails in the calls that `fails` names."""

    runs: dict[str, dict]
    fails: set[str]

    def __init__(self, out, known):
        self.check("start")
        self.id = known or f"{out.name}-{len(self.runs)}"
        self.run = self.runs.setdefault(self.id, {"epochs": {}})
        self.where, self.epochs = "memory", len(self.run["epochs"])

    def check(self, call):
        print("a tracker's own lines")
        if call in self.fails:
            raise ConnectionError(f"no way to http://me:secret@host for {call}\nfurther lines")

    def describe(self, config):
        self.check("describe")
        self.run["config"] = config

    def log(self, epoch, row):
        self.check("log")
        assert epoch not in self.run["epochs"]
        self.run["epochs"][epoch] = dict(row)

    def finish(self, metrics, page):
        self.check("finish")
        self.run |= {"metrics": metrics, "page": page.read_text(), "ended": "finished"}

    def interrupt(self):
        self.run["ended"] = "interrupted"


def in_memory(monkeypatch: Any) -> type[Memory]:
    """Let it be one of the trackers, without runs."""
    monkeypatch.setattr(Memory, "runs", {}, raising=False)
    monkeypatch.setattr(Memory, "fails", set(), raising=False)
    monkeypatch.setitem(trackers.TRACKERS, NAME, Memory)
    return Memory
