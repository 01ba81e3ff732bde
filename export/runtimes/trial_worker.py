"""Tries .tflite files in LiteRT, each in a process of its own: `python trial_worker.py THREADS`.

It imports only the runtime, and forks for each file, so that every file finds a fresh process. Each line of its
standard input is a JSON list: a path, the grey level to run on, the most seconds and the most bytes. The reply is what
the run gave as JSON, nothing if it died, then a tab and how its process ended, as `subprocess` says it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def run(path: str, grey: int, threads: int) -> dict[str, Any]:
    """Run a file once: whether all that it gives is finite, or why LiteRT refuses it."""
    try:
        interpreter = Interpreter(path, num_threads=threads)
        interpreter.allocate_tensors()
        for given in interpreter.get_input_details():
            level = 128 if given["dtype"] == np.uint8 else grey
            interpreter.set_tensor(given["index"], np.full(given["shape"], level).astype(given["dtype"]))
        interpreter.invoke()
        outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
    except Exception as error:  # ValueError or RuntimeError, with several lines
        return {"refusal": str(error) or type(error).__name__}
    return {"finite": all(y.dtype.kind != "f" or bool(np.isfinite(y).all()) for y in outputs)}


def main(threads: str) -> None:
    """Reply to standard input until it ends."""
    replies = os.dup(1)  # what a runtime prints goes to stderr
    os.dup2(2, 1)
    os.write(replies, b"ready\n")
    for line in sys.stdin:
        path, grey, seconds, memory = json.loads(line)
        if (process := os.fork()) == 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with suppress(ValueError, OSError):  # the limit of the user is lower, or the system has none
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends native code too
            os.write(replies, json.dumps(run(path, grey, int(threads))).encode())
            os._exit(0)
        _, status = os.waitpid(process, 0)
        os.write(replies, f"\t{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
