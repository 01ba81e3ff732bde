"""The first run of a file, in a process of its own: what it does there it does not do here.

LiteRT checks the structure of a file, and few of the numbers in it: a changed size can end the process, run for ever,
or fill the memory. A file that passes has run once on a grey image, with as many threads as it gets here.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from . import worker

WORKER = Path(__file__).with_name("trial_worker.py")
THREADS = min(4, os.cpu_count() or 1)  # of LiteRT: phones have four fast cores at most
SECONDS = 300  # the most for one image; networks need less than a second, in int16 kernels a minute
MEMORY = 2**31  # bytes, and eight times the file: a float16 file is unpacked, and packed again by XNNPACK


def try_out(path: Path, *, pixels: bool = False) -> bool:
    """Run a .tflite file once; whether all that it gives is finite. `pixels` says that it takes 0..255.

    Raises:
        RuntimeError: LiteRT refuses it, or it ends the process, or needs more than `SECONDS` or `MEMORY`.
    """
    request = [str(path.absolute()), 128 if pixels else 0, SECONDS, MEMORY + 8 * path.stat().st_size]
    said, _, code = _worker(os.getpid()).ask(json.dumps(request)).rpartition("\t")
    if said:
        result = json.loads(said)
        if "refusal" in result:
            raise RuntimeError(result["refusal"])
        return bool(result["finite"])
    if int(code) == -signal.SIGALRM:
        raise RuntimeError(f"one image takes more than {SECONDS} s")
    raise RuntimeError(f"it ends the process by signal {-int(code)}")


def try_out_in_openvino(file: Path) -> None:
    """Run an OpenVINO model a few times.

    Raises:
        RuntimeError: it ends the process. Whatever else is wrong OpenVINO says itself.
    """
    command = [sys.executable, "-P", worker.__file__, "openvino", str(file), str(THREADS)]
    code = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    if code < 0:
        raise RuntimeError(f"it ends the process by signal {-code}")


@cache
def _worker(process: int) -> _Worker:
    """The worker of this process; a fork of it has its own."""
    return _Worker()


class _Worker:
    """A process that tries files one after another; it ends with this one."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(THREADS)],  # -P: modules in this folder do not hide the runtime's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for us
        )
        atexit.register(self.end)
        self._reply()

    def ask(self, request: str) -> str:
        with self.turn:
            assert self.process.stdin
            try:
                print(request, file=self.process.stdin, flush=True)
                return self._reply()
            except BaseException:  # Ctrl-C: the next one would get this one's reply
                _worker.cache_clear()
                self.end()
                raise

    def _reply(self) -> str:
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{WORKER.name} has ended: LiteRT cannot be loaded in a new process")
        return line.rstrip("\n")

    def end(self) -> None:
        with self.process:
            self.process.kill()
