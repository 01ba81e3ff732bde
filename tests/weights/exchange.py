"""The protocol with a reference implementation in another Python: a JSON line each way, arrays in an .npz file."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Reference:
    """The client: one process for all requests."""

    def __init__(self, python: str, module: str):
        root = Path(__file__).parents[2]
        command = [python, "-m", f"tests.weights.{module}"]
        self.process = subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, images: np.ndarray, path: Path, **about: Any) -> tuple[dict[str, np.ndarray], str]:
        """Logits of `images` by a network with random weights, which is written to `path`, and its version."""
        exchange = path.parent / "exchange.npz"
        np.savez(exchange, images=images)
        about |= {"path": str(path), "exchange": str(exchange)}
        print(json.dumps(about), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise SystemExit("the reference environment's Python stopped; its messages are above")
        if error := json.loads(line).get("error"):
            raise RuntimeError(error)
        with np.load(exchange) as archive:
            return dict(archive), json.loads(line)["version"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


Answer = Callable[[Mapping[str, Any], np.ndarray], tuple[dict[str, np.ndarray], str]]


def serve(answer: Answer) -> None:
    """The server: (request, images) -> logits by output, version."""
    channel, sys.stdout = sys.stdout, sys.stderr  # libraries print to stdout
    for line in sys.stdin:
        try:
            request = json.loads(line)
            with np.load(request["exchange"]) as archive:
                images = archive["images"]
            logits, version = answer(request, images)
            np.savez(request["exchange"], **logits)
            reply = {"version": version}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=channel, flush=True)
