"""Starts the workers of a training on the loopback interface, each a process of its own (`worker_run.py`)."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = "tests.training.worker_run"


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Workers:
    """So many workers that train into a folder, from their start on; as a context they end with the block."""

    def __init__(self, count: int, folder: Path, **settings: object):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        folder.parent.mkdir(parents=True, exist_ok=True)
        words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        command = [sys.executable, "-m", SCRIPT, str(folder), *words]
        self.logs = [folder.parent / f"{folder.name}_{i}" for i in range(count)]
        self.processes = []
        for index, log in enumerate(self.logs):
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
            if count > 1:
                task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
                environment["TF_CONFIG"] = json.dumps(task)
            with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
                self.processes.append(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, env=environment))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def lines(self, index: int) -> list[dict]:
        return [json.loads(line) for line in self.logs[index].with_suffix(".out").read_text().splitlines()]

    def said(self, index: int) -> str:
        return self.logs[index].with_suffix(".err").read_text()

    def trained(self, epoch: int, timeout: float = 300) -> None:
        """Wait until all have trained this epoch, from 0."""
        end = time.monotonic() + timeout
        while any({"epoch": epoch} not in self.lines(i) for i in range(len(self.processes))):
            ended = [p.poll() for p in self.processes]
            assert set(ended) == {None}, [(code, self.said(i)[-2000:]) for i, code in enumerate(ended)]
            assert time.monotonic() < end
            time.sleep(0.1)

    def results(self, timeout: float = 600) -> list[dict]:
        """The last line of each, when all have finished."""
        for index, process in enumerate(self.processes):
            assert process.wait(timeout) == 0, self.said(index)[-3000:]
        return [self.lines(index)[-1] for index in range(len(self.processes))]
